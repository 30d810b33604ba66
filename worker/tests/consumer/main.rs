//! The consumer against a real Redis: messages in, deliveries out, verdicts carried out, faults survived.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    reason = "tests"
)]

mod chords;
mod faults;
mod hostile;
mod queues;
mod refusals;
mod rescue;
mod rig;
mod rights;
mod verdicts;
