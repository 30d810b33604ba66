//! What every broker has to do for the consumer, and what Redis does besides: messages in,
//! deliveries out, verdicts carried out, faults survived. The tests run the real consumer.
//!
//! * [`broker`] – the interface to a broker, in Celery's words;
//! * [`behaviour`] – what has to hold on every broker, one module for each subject;
//! * [`suite`] – the list of these behaviours;
//! * [`memory`] – the harness of the broker in memory;
//! * [`amqp`] – the harness of RabbitMQ;
//! * [`redis`] – the harness of Redis, and the tests of its keys, its clock, its scripts and its
//!   refusals.
//!
//! Another broker joins with a module of its own that implements [`broker::Broker`] and says
//! `conformance!(crate::its::Name);`, with its capabilities (see [`suite`]).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    async_fn_in_trait,
    reason = "tests"
)]

#[macro_use]
mod suite;
mod amqp;
mod behaviour;
mod broker;
#[path = "../common/documented.rs"]
mod documented;
mod memory;
mod redis;
mod rig;
