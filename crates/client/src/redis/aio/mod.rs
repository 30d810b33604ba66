//! The async driver, for the worker.
//!
//! * [`Connection`]: a connection to a Redis server, opened within one deadline, with another
//!   deadline for each command;
//! * [`Failure`]: what went wrong, and whether the command may have been executed;
//! * [`Supervised`]: the connection of one role, which reopens with growing, jittered pauses for as
//!   long as it takes;
//! * [`scripts`]: the Lua scripts of the worker.
//!
//! The driver never sends a command twice by itself, because only the caller knows whether that is
//! safe. The one exception is `NOSCRIPT`: that answer means that nothing was executed.

mod connection;
mod locate;
mod opening;
pub mod scripts;
mod supervised;

pub use connection::{ConnectOptions, Connection, Failure, Push, Tracking};
pub use supervised::Supervised;

pub use crate::health::{Health, Problem, Standing};

/// The command builder of redis-rs, for [`Connection::query`] and [`Connection::run`].
pub use redis::Cmd;
/// Several commands, for [`Connection::pipeline`] and [`Connection::each`].
pub use redis::Pipeline;
/// Writes an argument of a [`Cmd`] in parts.
pub use redis::RedisWrite;
/// A decoded answer.
pub use redis::Value;
