//! Redis as broker and result backend, on kombu's and Celery's keys.
//!
//! # Layout
//!
//! * [`script`]: the Lua scripts that both drivers send. Each has a file of its own under
//!   `scripts/`.
//! * [`mode`]: detects kinds of Redis that cannot be used.
//! * `blocking` (feature `blocking`): the client of the PHP extension, without a runtime and with
//!   one deadline for each call.
//! * `aio` (feature `aio`): the connections of the worker, on tokio.
//!
//! Commands are packed by redis-rs.

pub mod mode;
pub mod script;

#[cfg(feature = "aio")]
pub mod aio;
#[cfg(feature = "blocking")]
pub mod blocking;

pub use script::{DELETE_UNCHANGED, PUBLISH_ONCE, PUBLISH_ONCE_GUARD, Script, sha1};
