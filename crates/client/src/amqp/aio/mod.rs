//! The async driver of RabbitMQ, for the worker.
//!
//! * [`Connection`]: a connection, opened within one deadline. Its owner asks for what happens next
//!   ([`Connection::event`]), and meanwhile the connection writes, reads and sends heartbeats.
//! * [`Publication`] and [`Confirm`]: messages whose confirms the owner waits for.
//! * [`Connection::find_queue`]: a queue, looked at first and created if it is missing;
//!   [`Consumer`]: its consumer.
//! * [`Connection::declare_temporary`]: a queue of remote control or events.
//! * [`Failure`]: what went wrong.
//!
//! The driver starts no task, and repeats nothing by itself. Only the owner knows whether a message
//! may be published twice.

mod connection;
mod failure;
mod opening;
mod publish;
mod topology;

pub use connection::{ConnectOptions, Connection};
pub use failure::Failure;
pub use publish::{Confirm, Publication};
pub use topology::Consumer;
