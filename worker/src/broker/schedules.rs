//! The broker's side of schedules: where entries are kept, which process leads, and how a due task
//! is sent.
//!
//! The broker decides who leads and what time it is. Each change is one step that does nothing if
//! the caller no longer leads, or if what it has read is no longer true. All times are Unix
//! milliseconds by the broker's clock.

use std::sync::Arc;

use celery_client::redis::RedisEndpoint;
use celery_protocol::schedule::NextDue;
use futures_util::future::BoxFuture;

use super::contract::Connectivity;
use super::redis;
use crate::monitor::Pulse;

/// The store of schedules, with the connection of one process to it. Each call lasts until the
/// broker has answered.
pub(crate) trait ScheduleStore: Send + 'static {
    /// Takes or renews the lease of the leader, unless another process has it, and returns what is
    /// due.
    fn look(&mut self) -> BoxFuture<'_, Look>;

    /// Sends the messages of an entry that is due, and moves its due time, in one step.
    fn fire<'a>(&'a mut self, firing: &'a Firing<'a>) -> BoxFuture<'a, Fired>;

    /// Returns all entries.
    fn entries(&mut self) -> BoxFuture<'_, Vec<(Vec<u8>, Vec<u8>)>>;

    /// Changes an entry. Returns `false` if the entry is no longer as it was read.
    fn write<'a>(&'a mut self, change: &'a Change<'a>) -> BoxFuture<'a, bool>;

    /// Gives the lease of the leader back, if this process has it.
    fn resign(&mut self) -> BoxFuture<'_, ()>;
}

/// The answer to a look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) now: i64,
    /// The token of the leader: its instance, a colon and the number of its lease.
    pub(crate) leader: String,
    /// How long the leader's lease still lasts.
    pub(crate) lease: i64,
    /// What this process has to do if it leads.
    pub(crate) lead: Option<Lead>,
}

/// What the leader has to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The next time at which an entry is due that is not due yet.
    pub(crate) next: Option<i64>,
    /// The entries that are due, at most [`MOST_DUE`].
    pub(crate) due: Vec<Due>,
}

/// An entry that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    pub(crate) name: Vec<u8>,
    /// Its due time. Zero or less: the leader computes it.
    pub(crate) at: i64,
    /// Its due time as it is stored.
    pub(crate) stored: Vec<u8>,
    /// The entry as it is stored; empty if there is none.
    pub(crate) entry: Vec<u8>,
}

/// The most entries that one look returns.
pub(crate) const MOST_DUE: usize = 100;

/// The most messages of one firing.
pub(crate) const MOST_MESSAGES: usize = 100;

/// The end of a due time.
#[derive(Debug)]
pub(crate) struct Firing<'a> {
    /// The token of the leader, from the look that reported the entry.
    pub(crate) token: &'a str,
    pub(crate) due: &'a Due,
    /// The next due time, if there is one.
    pub(crate) next: Option<i64>,
    /// The messages to send, to one queue with one priority. There may be none.
    pub(crate) queue: &'a str,
    pub(crate) priority: u8,
    pub(crate) messages: &'a [Vec<u8>],
}

/// The outcome of a firing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fired {
    /// It was done.
    Done,
    /// It was not done: another program has changed the entry, or the call was sent twice.
    Changed,
    /// It was not done: this process no longer leads.
    NotLeading,
    /// The messages were not sent, because their queue cannot take them. The due time was moved.
    NotSent(String),
    /// The broker refuses the call for good. Nothing was done.
    Refused(String),
}

/// A change of an entry.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) name: &'a [u8],
    /// The entry as it was read; empty if there was none.
    pub(crate) read: &'a [u8],
    /// The new entry; empty to remove it.
    pub(crate) entry: &'a [u8],
    pub(crate) due: NextDue,
}

/// A store that was opened, and the state of its connection.
pub(crate) type Opened = (Box<dyn ScheduleStore>, Arc<dyn Connectivity>);

/// Returns the store of the schedules on a broker. It connects at the first call.
pub(crate) fn open(broker: &Arc<RedisEndpoint>, node: &str, pulse: &Arc<Pulse>) -> Opened {
    redis::schedules(broker, node, pulse)
}
