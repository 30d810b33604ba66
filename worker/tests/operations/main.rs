//! The life of the process as its supervisor, its operator and its monitoring see it. The tests run
//! the built programs and send real signals.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

mod celery;
mod first_worker;
mod leases;
mod life;
mod logins;
mod numbers;
mod secrets;
mod settings;
mod statements;
mod stopping;
mod tls;
mod verdicts;
mod world;
