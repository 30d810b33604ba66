//! The part of a broker that brings messages to the consumer.

use std::sync::Arc;

use super::held::Held;
use super::tag::Tag;

/// A message that this worker holds from now on.
#[derive(Debug)]
pub(crate) struct Claimed<M> {
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) message: M,
}

/// What one call of [`Inbound::take`] brought.
#[derive(Debug)]
pub(crate) struct Batch<M> {
    pub(crate) messages: Vec<Claimed<M>>,
    /// The number of acknowledged deliveries that this worker no longer held.
    pub(crate) lost: usize,
    /// The number of messages that were not JSON objects and became dead letters.
    pub(crate) dead: usize,
}

impl<M> Default for Batch<M> {
    fn default() -> Self {
        Batch {
            messages: Vec::new(),
            lost: 0,
            dead: 0,
        }
    }
}

/// Brings messages, and carries the acknowledgements that wait in the ledger.
///
/// The fetch role owns it, and calls one method after the other. There are two methods because a
/// wait may be dropped at any time, but a call to the broker may not: its answer names the messages
/// that this worker now holds.
pub(crate) trait Inbound: Send + 'static {
    /// The message as this broker carries it.
    type Message: Held;

    /// Waits until [`take`](Self::take) should be called: there is room and there may be messages,
    /// or acknowledgements have waited long enough. Returns the room to pass to it. The future may
    /// be dropped at any time. Other roles use room in the meantime, so this method calls `room`
    /// again after each event.
    fn due(&mut self, room: impl Fn() -> usize + Send + Sync)
    -> impl Future<Output = usize> + Send;

    /// Takes up to `room` messages, and sends the acknowledgements that wait. With no room, it only
    /// acknowledges. It ends when the broker has answered.
    fn take(&mut self, room: usize) -> impl Future<Output = Batch<Self::Message>> + Send;

    /// Deletes the messages that wait in the consumed queues, and returns their number. It ends when
    /// the broker has answered.
    fn purge(&mut self) -> impl Future<Output = usize> + Send;

    /// Notes that this worker takes no more messages: there is never room again. A broker that
    /// pushes messages is told to stop, and gets those back that were not taken.
    fn stop(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}
