//! RabbitMQ as broker, over AMQP 0-9-1.
//!
//! # Layout
//!
//! * `endpoint`: the address of a RabbitMQ, the login to it and the virtual host, from a URL.
//! * `queue` and `declaration`: queues, and the requests that look at them and create them.
//! * [`dead_letters`]: what describes a dead letter.
//! * `temporary`: the exchanges and queues of remote control and events.
//! * `aio` (feature `aio`): a connection that an async program owns.
//! * `blocking` (feature `blocking`): a client without a runtime and with one deadline for each
//!   call.
//!
//! The codec and the state of a connection are in [`celery_protocol::amqp`].

#[cfg(any(feature = "aio", feature = "blocking"))]
pub mod dead_letters;
#[cfg(any(feature = "aio", feature = "blocking"))]
mod declaration;
mod endpoint;
#[cfg(any(feature = "aio", feature = "blocking"))]
mod login;
mod queue;
#[cfg(any(feature = "aio", feature = "blocking"))]
mod temporary;

#[cfg(feature = "aio")]
pub mod aio;

#[cfg(feature = "blocking")]
pub mod blocking;

pub use endpoint::AmqpEndpoint;
pub(crate) use endpoint::{AMQP_SCHEMES, DEFAULT_PORT, DEFAULT_TLS_PORT, vhost};
#[cfg(any(feature = "aio", feature = "blocking"))]
pub(crate) use login::ACCESS_REFUSED;
pub use queue::{Queue, QueueState, QueueType};
#[cfg(any(feature = "aio", feature = "blocking"))]
pub use temporary::{Exchange, Temporary};
