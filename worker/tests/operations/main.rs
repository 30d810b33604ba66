//! The life of the process as its supervisor, its operator and its monitoring see it. The tests run
//! the built programs and send real signals.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

mod beat_clock;
mod bench;
mod celery;
#[path = "../common/documented.rs"]
mod documented;
#[path = "../common/door.rs"]
mod door;
mod fair;
mod first_worker;
mod fleet_limits;
mod leases;
mod life;
mod logins;
mod numbers;
mod schedules;
mod secrets;
mod settings;
mod statements;
mod stopping;
mod tls;
mod traces;
mod unique;
mod verdicts;
mod world;
