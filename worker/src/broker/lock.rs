//! The broker's side of unique tasks: locks, each of which belongs to a held message.

use std::sync::Arc;
use std::time::Duration;

use super::tag::Tag;

/// A lock of the calls of a task that have the same arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Lock {
    /// The name of the task.
    pub task: Arc<str>,
    /// The digest of the arguments.
    pub digest: Arc<str>,
}

/// A message that asks for the lock of its task.
#[derive(Debug)]
pub(crate) struct Locking<'a> {
    pub(crate) tag: Tag,
    /// The id of its task.
    pub(crate) id: &'a str,
    pub(crate) lock: &'a Lock,
    /// How long the message waits for its ETA.
    pub(crate) wait: Duration,
    /// How long the lock is live from its first call on, whatever happens to the message. Without
    /// it, the lock is live while the message is held.
    pub(crate) time: Option<Duration>,
}

/// The answer to a message that asks for a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Locked {
    /// It has the lock.
    Ours,
    /// The task with this id has it.
    Taken(String),
    /// The message is no longer held.
    Lost,
}
