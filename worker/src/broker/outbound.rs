//! The part of a broker that carries out the consumer's verdicts.

use std::sync::Arc;

use super::backend::Backend;
use super::held::Held;
use super::lock::{Lock, Locked, Locking};
use super::settlement::{Settled, Settlement};
use super::tag::Tag;

/// A message whose task is about to begin, or whose body is about to be read. It was redelivered, or
/// may begin only once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun<'a> {
    pub(crate) tag: Tag,
    /// The name under which its starts are counted. All deliveries of a message share it.
    pub(crate) name: &'a str,
    /// How often it may begin.
    pub(crate) limit: u64,
    /// `true` if its first start counts, too, and not only those after a redelivery.
    pub(crate) from_first: bool,
}

/// The answer about a redelivered message that is about to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// It has been counted, and may begin.
    Run,
    /// It was put back with its new count, and is no longer held. It will be delivered again.
    Again,
    /// It has begun more often than the limit allows: this many times. It is still held.
    Poison(u64),
}

/// Carries out verdicts, and decides about redelivered and waiting messages.
///
/// Each role has a part of its own. Every call lasts until the broker has answered. A lost
/// connection is opened again, and the call is repeated where that is safe.
pub(crate) trait Outbound: Backend {
    /// The message as this broker carries it.
    type Message: Held;

    /// Waits until the connection is open. Roles that may be idle for long call it first, so that a
    /// worker reports ready only when every connection is open.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Settles a batch. If the broker keeps the results, each delivery is settled as one step;
    /// otherwise it is acknowledged last.
    fn settle(&mut self, batch: &[Settlement]) -> impl Future<Output = Settled> + Send;

    /// Counts that these messages begin, once for each delivery, and returns, for each message,
    /// whether it may begin. A broker that cannot count says [`Begin::Run`].
    fn begin(&mut self, begun: &[Begun<'_>]) -> impl Future<Output = Vec<Begin>> + Send;

    /// Forgets how often the messages of these names have begun.
    fn forget_begun(&mut self, names: &[String]) -> impl Future<Output = ()> + Send;

    /// Takes the locks of unique tasks for their messages. Returns an answer for each.
    ///
    /// A broker with a single worker need not know locks: each message has its own then.
    fn lock(&mut self, calls: &[Locking<'_>]) -> impl Future<Output = Vec<Locked>> + Send {
        std::future::ready(vec![Locked::Ours; calls.len()])
    }

    /// Frees the locks that these messages have.
    fn unlock(&mut self, locks: &[(Tag, Lock)]) -> impl Future<Output = ()> + Send {
        let _ = locks;
        std::future::ready(())
    }

    /// Renews the leases of held deliveries. Returns the tags that the broker no longer knows.
    fn renew(&mut self, tags: &[Tag]) -> impl Future<Output = Vec<Tag>> + Send;

    /// Lets held messages wait, each for its number of microseconds. Returns the tags of messages
    /// that this worker need not fetch: another worker has them, or the broker delivers them anew
    /// when they are due. The others are fetched with [`fetch_parked`](Self::fetch_parked).
    fn park(&mut self, messages: &[(Tag, i64)]) -> impl Future<Output = Vec<Tag>> + Send;

    /// Returns parked messages that are due, and holds them again. Returns `None` for a message
    /// that is gone.
    fn fetch_parked(
        &mut self,
        tags: &[Tag],
    ) -> impl Future<Output = Vec<Option<(Arc<str>, Self::Message)>>> + Send;
}
