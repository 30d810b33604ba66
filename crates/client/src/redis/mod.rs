//! Redis as broker and result backend, on kombu's and Celery's keys.
//!
//! # Layout
//!
//! * `endpoint`: the address of a Redis and the login to it, from a URL.
//! * [`script`]: the Lua scripts that both drivers send. Each has a file of its own under
//!   `scripts/`.
//! * [`dead_letters`]: reading dead letters and putting them back.
//! * [`mode`]: what a server says of itself: kinds of Redis that cannot be used, and its role.
//! * `sentinel`: finding the master of a group of servers.
//! * `blocking` (feature `blocking`): the client of the PHP extension, without a runtime and with
//!   one deadline for each call.
//! * `aio` (feature `aio`): the connections of the worker, on tokio.
//!
//! Commands are packed by redis-rs.

pub mod dead_letters;
mod endpoint;
pub mod mode;
pub mod script;
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers ask Sentinels")
)]
mod sentinel;

#[cfg(feature = "aio")]
pub mod aio;
#[cfg(feature = "blocking")]
pub mod blocking;

pub(crate) use endpoint::database;
pub use endpoint::url::RedisUrl;
pub(crate) use endpoint::url::SCHEMES as REDIS_SCHEMES;
pub use endpoint::{DEFAULT_PORT, RedisEndpoint};
pub use script::{CHORDS, DELETE_UNCHANGED, PUBLISH_ONCE, PUBLISH_ONCE_GUARD, Script, sha1};
pub(crate) use sentinel::Place;
pub use sentinel::Sentinels;
