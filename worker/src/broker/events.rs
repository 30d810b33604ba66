//! The broker's side of events.

use celery_protocol::events::Message;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// The channel on which a worker publishes events.
///
/// Events may be lost: a program that is not subscribed at that moment does not get them.
pub(crate) trait EventChannel: Send + 'static {
    /// Publishes messages, in their order. Waits for the broker, however long that takes. Drops the
    /// messages if the broker refuses them, or if it is unknown whether it took them.
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, ()>;
}

/// The channel of a broker on which no program listens.
pub(crate) struct Unheard;

impl EventChannel for Unheard {
    fn publish<'a>(&'a mut self, _messages: &'a [Message]) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
