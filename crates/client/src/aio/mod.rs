//! The async driver, for the worker.
//!
//! * [`Connection`]: one connection to a Redis server, opened inside one deadline, every command under another;
//! * [`Failure`]: what went wrong, in the terms a caller has to decide by – was the command executed or not?
//! * [`Supervised`]: the connection of one role, opened again with growing, jittered pauses for as long as it takes;
//! * [`scripts`]: the Lua scripts of the worker;
//! * [`Backoff`]: the pauses, as a plain state machine, and [`random`] for their jitter.
//!
//! Nothing here sends a command twice by itself: whether that is safe is known only to whoever sends it. The one
//! exception is `NOSCRIPT`, which says that nothing was executed.

mod backoff;
mod connection;
pub mod scripts;
mod supervised;
mod transport;

pub use backoff::{Backoff, random};
pub use connection::{ConnectOptions, Connection, Failure, Push};
pub use supervised::{Health, Supervised};

/// The command builder of redis-rs, which packs what [`Connection::query`] and [`Connection::run`] send.
pub use redis::Cmd;
/// Several commands, for [`Connection::pipeline`].
pub use redis::Pipeline;
/// A decoded answer.
pub use redis::Value;
