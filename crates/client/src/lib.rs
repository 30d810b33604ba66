//! Brokers and result backends of Celery: one set of commands and scripts, a blocking and an async
//! driver.
//!
//! # Layout
//!
//! * [`endpoint`]: the address and login of a Redis, from a URL or from separate options.
//! * [`error`]: what can go wrong, and whether a post may have arrived nevertheless.
//! * [`backoff`]: pauses between attempts, which double and carry jitter.
//! * [`mask`]: shows text that may hold a URL without its password.
//! * [`secret`]: passwords that cannot be printed by accident.
//! * [`tls`]: the configuration of rustls for an endpoint, on ring, never installed as a default.
//! * [`redis`]: the Lua scripts that both drivers send.
//! * `blocking` (feature `blocking`): the driver of the PHP extension, without a runtime and with
//!   one deadline for each call.
//! * `aio` (feature `aio`): the driver of the worker, on tokio.

pub mod backoff;
pub mod endpoint;
pub mod error;
pub mod mask;
pub mod redis;
pub mod secret;
pub mod tls;

#[cfg(feature = "aio")]
pub mod aio;
#[cfg(feature = "blocking")]
pub mod blocking;

pub use endpoint::Endpoint;
pub use error::{ClientError, ConfigError, PublishError, ServerError};
pub use secret::Secret;
