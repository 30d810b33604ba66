//! RabbitMQ as broker, over AMQP 0-9-1.
//!
//! # Layout
//!
//! * `endpoint`: the address of a RabbitMQ, the login to it and the virtual host, from a URL.
//! * `blocking` (feature `blocking`): a client without a runtime and with one deadline for each
//!   call.
//!
//! The codec and the state of a connection are in [`celery_protocol::amqp`].

mod endpoint;

#[cfg(feature = "blocking")]
pub mod blocking;

pub use endpoint::AmqpEndpoint;
pub(crate) use endpoint::{AMQP_SCHEMES, DEFAULT_PORT, DEFAULT_TLS_PORT, vhost};
