//! The broker's side of remote control.

use std::sync::Arc;

use celery_protocol::control::{Reply, ReplyTo};

use super::Tag;

/// What a control channel reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The channel is open, for the first time or again. Requests that were sent while it was
    /// closed are lost.
    Open,
    /// A request, as it was published.
    Request(Vec<u8>),
}

/// The channel on which a worker hears requests and answers them.
///
/// Requests and replies may be lost: a client waits for a second and then goes on with the replies
/// that it has.
pub(crate) trait ControlChannel: Send + 'static {
    /// Waits for the next request. Opens the channel first, and again after each loss, however long
    /// that takes.
    fn next(&mut self) -> impl Future<Output = Heard> + Send;

    /// Sends a reply. Drops it if the broker does not take it, or the client has gone.
    fn reply(&mut self, reply: &Reply, address: &ReplyTo) -> impl Future<Output = ()> + Send;

    /// Returns held messages as they were claimed, each with its queue, without changing their
    /// leases. Returns `None` for a message that is gone or cannot be read now.
    fn read_held(
        &mut self,
        tags: &[Tag],
    ) -> impl Future<Output = Vec<Option<(Arc<str>, Vec<u8>)>>> + Send;

    /// Tells the broker that nothing listens any more.
    fn close(self) -> impl Future<Output = ()> + Send;
}
