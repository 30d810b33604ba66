//! The broker's side of remote control.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::control::{Reply, ReplyTo};

use super::Tag;

/// The most revocations that are kept: Celery's `REVOKES_MAX`.
pub(crate) const MOST_REVOKED: usize = 50_000;
/// How long a revocation is kept. Celery's three hours would forget a task that is due tomorrow.
pub(crate) const REVOKED_FOR: Duration = Duration::from_hours(24);

/// What a control channel reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The channel is open, for the first time or again. Requests that were sent while it was
    /// closed are lost.
    Open,
    /// The broker does not let this worker listen. It is asked again from time to time.
    Refused,
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

    /// Returns the ids of the revoked tasks that the broker keeps, oldest first. Returns `None` if
    /// they cannot be read now.
    fn revoked(&mut self) -> impl Future<Output = Option<Vec<String>>> + Send;

    /// Keeps the ids of revoked tasks. Then stores the documents of the state REVOKED, each with
    /// the id of its task, where the stored state says that no worker has begun the task.
    fn revoke(
        &mut self,
        ids: &[&str],
        documents: &[(&str, Vec<u8>)],
    ) -> impl Future<Output = ()> + Send;

    /// Tells the broker that nothing listens any more.
    fn close(self) -> impl Future<Output = ()> + Send;
}
