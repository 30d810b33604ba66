//! Defines what a broker does for the worker: it claims messages in batches, renews what is held, and
//! settles what is done.
//!
//! The consumer uses the trait [`Source`], so that another broker can implement it. A broker
//! moves messages and does not know about tasks. It does not decode a message, and it receives a
//! verdict as finished steps. Every instance has a connection of its own; the consumer takes one
//! for each of its roles.

pub(crate) mod control;
mod options;
pub(crate) mod redis;
mod settlement;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

pub use self::options::{QueueOrder, Results};
pub(crate) use self::settlement::{
    Chord, Complete, Document, Fate, Join, Letter, Outgoing, Part, Redelivery, ResultStep, Settled,
    Settlement, Step,
};

/// The name of one claim of one message. The worker never reuses it, and it is never the message's
/// own delivery tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The number of the claim.
    pub(crate) call: u64,
    /// The message's position in the claim, from 1.
    pub(crate) index: u16,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}", self.call, self.index)
    }
}

/// A message as the broker stores it, with the tag of its claim.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) raw: Vec<u8>,
}

/// The result of one claim.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) messages: Vec<Claimed>,
    /// Acknowledged deliveries that this worker no longer held. After a repeated claim, the first
    /// try may have acknowledged them.
    pub(crate) lost: Vec<Tag>,
    /// The number of messages that were not JSON objects and became dead letters.
    pub(crate) dead: usize,
    /// `true` if there may be more messages: the claim found everything that it asked for.
    pub(crate) filled: bool,
}

/// A broker, reached over one connection.
///
/// Every call lasts until the broker has answered. A lost connection is opened again, and the call
/// is repeated where that is safe. All futures may be dropped at any time. A claim whose answer is
/// dropped with its future is recovered by the next claim.
pub(crate) trait Source: Send + 'static {
    /// Waits until the connection is open. Roles that may be idle for long call it first, so that a
    /// worker reports ready only when every connection is open.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Acknowledges `acks` and claims up to `want` messages, in one step.
    fn claim(&mut self, want: usize, acks: &[Tag]) -> impl Future<Output = Claim> + Send;

    /// Renews the leases of held deliveries. Returns the tags that the broker no longer knows.
    fn renew(&mut self, tags: &[Tag]) -> impl Future<Output = Vec<Tag>> + Send;

    /// Settles a batch, each delivery as one step.
    fn settle(&mut self, batch: &[Settlement]) -> impl Future<Output = Settled> + Send;
}
