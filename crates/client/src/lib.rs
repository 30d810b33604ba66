//! Brokers and result backends of Celery, for a blocking caller and for an async one.
//!
//! # Layout
//!
//! * [`endpoint`]: the address and login of a Redis, from a URL or from separate options.
//! * [`error`]: what can go wrong, and whether a post may have arrived nevertheless.
//! * [`backoff`]: pauses between attempts, which double and carry jitter.
//! * [`mask`]: shows text that may hold a URL without its password.
//! * [`secret`]: passwords that cannot be printed by accident.
//! * [`tls`]: the configuration of rustls for an endpoint, on ring, never installed as a default.
//! * `health` and `transport` (feature `aio`): what the async drivers share.
//! * `blocking` (feature `blocking`): deadlines, interrupts, forks, names and sockets for drivers
//!   that block.
//! * [`amqp`]: the client of RabbitMQ.
//! * [`redis`]: the clients of Redis, a blocking and an async one, and their Lua scripts.

#[cfg(windows)]
compile_error!("Windows is not supported: the client needs the sockets and signals of Unix");

pub mod amqp;
pub mod backoff;
pub mod endpoint;
pub mod error;
#[cfg(feature = "aio")]
mod health;
pub mod mask;
pub mod redis;
pub mod secret;
pub mod tls;
#[cfg(feature = "aio")]
mod transport;

#[cfg(feature = "blocking")]
pub mod blocking;

#[cfg(feature = "aio")]
pub use redis::aio;

pub use endpoint::Endpoint;
pub use error::{ClientError, ConfigError, PublishError, ServerError};
pub use secret::Secret;
