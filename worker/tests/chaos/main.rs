//! Faults: the real programs run on a real Redis and a real MariaDB, and an invariant holds
//! whatever happens to them.
//!
//! **The invariant**, checked while no worker runs: every id that was sent is done, queued, held or
//! a dead letter. In the end every id is done, every row completed, and nothing is left in Redis.
//! One place checks it, [`world::World`], which also counts what ran twice and the longest time
//! without progress.
//!
//! As an ordinary test, each scenario runs in small numbers. `make chaos` runs the large ones:
//! `CHAOS_SCALE` is `short` (the default), `middle` or `long`. Each scenario adds its line to the
//! file `CHAOS_REPORT`. `CHAOS_SEED` repeats the random choices of a run. `CHAOS_OLD_WORKER` is the path
//! of a `celery-worker` of an older version.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "a test fails by panicking"
)]

mod broker;
mod busy;
#[cfg(feature = "failpoints")]
mod chords;
#[cfg(feature = "failpoints")]
mod claims;
mod clock;
mod cluster;
mod control;
mod database;
mod database_link;
#[path = "../common/door.rs"]
#[allow(dead_code, reason = "other tests use all of it")]
mod door;
mod endurance;
mod fair;
mod fleet;
mod kills;
mod limits;
mod machine;
mod network;
mod poster;
mod process;
mod programs;
mod rabbitmq;
mod refusals;
mod schedules;
mod sentinel;
#[cfg(feature = "failpoints")]
mod steps;
mod tls;
mod versions;
mod world;
