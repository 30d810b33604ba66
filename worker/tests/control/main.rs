//! Remote control and events: Python's client asks this worker, and monitors listen to it, beside a
//! worker of Celery 5.7.
//!
//! Without Celery 5.7 in `.venv`, the tests print why and pass.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, reason = "tests")]

mod answers;
mod away;
mod beat;
mod broker;
#[path = "../common/documented.rs"]
mod documented;
mod events;
mod faults;
mod flower;
mod limits;
mod queues;
mod rabbitmq;
mod results;
mod revocations;
mod shapes;
mod top;
mod world;
