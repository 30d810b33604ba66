//! Redis as broker and result backend, on kombu's and Celery's keys.
//!
//! # Layout
//!
//! * `endpoint`: the address of a Redis and the login to it, from a URL.
//! * [`script`]: the Lua scripts that both drivers send. Each has a file of its own under
//!   `scripts/`.
//! * [`dead_letters`]: reading dead letters and putting them back.
//! * [`waiting`]: the lists in which the tasks of a queue wait.
//! * [`mode`]: what a server says of itself: kinds of Redis that cannot be used, and its role.
//! * `inquiry`: finding a Redis that has no fixed address: the master of a group of servers
//!   (`sentinel`), or the node that owns the slot of the keys (`cluster`).
//! * `blocking` (feature `blocking`): the client of the PHP extension, without a runtime and with
//!   one deadline for each call.
//! * `aio` (feature `aio`): the connections of the worker, on tokio.
//!
//! Commands are packed by redis-rs.

#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers ask nodes")
)]
mod cluster;
pub mod dead_letters;
mod endpoint;
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers ask where a server is")
)]
mod inquiry;
pub mod mode;
pub mod script;
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers ask Sentinels")
)]
mod sentinel;
pub mod waiting;

#[cfg(feature = "aio")]
pub mod aio;
#[cfg(feature = "blocking")]
pub mod blocking;

pub use cluster::{Cluster, slot};
pub(crate) use endpoint::Place;
pub(crate) use endpoint::database;
pub use endpoint::url::RedisUrl;
pub(crate) use endpoint::url::SCHEMES as REDIS_SCHEMES;
pub use endpoint::{DEFAULT_PORT, RedisEndpoint};
pub use script::{CHORDS, DELETE_UNCHANGED, PUBLISH_ONCE, PUBLISH_ONCE_GUARD, Script, sha1};
pub use sentinel::Sentinels;
