//! The broker's side of remote control.

use std::time::Duration;

use celery_protocol::amqp::Content;
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::{DecodeError, DecodeOptions};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::held::Held;
use super::tag::Tag;

/// The most revocations that are kept: Celery's `REVOKES_MAX`.
pub(crate) const MOST_REVOKED: usize = 50_000;
/// How long a revocation is kept. Celery keeps it for three hours, and so forgets it before a task
/// that is due tomorrow.
pub(crate) const REVOKED_FOR: Duration = Duration::from_hours(24);

/// The most requests that wait for their turn. Further ones are dropped, or wait in RabbitMQ: their
/// senders do not wait longer than a second for replies anyway.
pub(crate) const WAITING: u16 = 64;
/// The largest request. A revocation of 10,000 tasks has half a megabyte.
pub(crate) const MOST_REQUEST: usize = 1 << 20;
/// The most replies to a request of the worker's own. Workers of one fleet know mostly the same.
pub(crate) const MOST_REPLIES: usize = 32;
/// About the most bytes of these replies. One of 50,000 revoked tasks has two megabytes.
pub(crate) const MOST_REPLY_BYTES: usize = 4 << 20;

/// What is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// Tasks by their ids.
    Ids,
    /// Tasks by their stamps, each written as `header=value`.
    Stamps,
}

/// What a control channel reports.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The channel is open, for the first time or again. Requests that were sent while it was
    /// closed are lost.
    Open,
    /// The broker does not let this worker listen. It is asked again from time to time.
    Refused,
    /// A request.
    Request(RawRequest),
}

/// A request as its broker carries it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RawRequest {
    Redis(Vec<u8>),
    Amqp(Content),
}

impl RawRequest {
    /// Reads the request.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] if it is malformed, or has a content type that is not accepted.
    pub(crate) fn decode(&self, options: &DecodeOptions<'_>) -> Result<Request, DecodeError> {
        match self {
            RawRequest::Redis(raw) => Request::decode_redis(raw, options),
            RawRequest::Amqp(content) => {
                // Without properties the content type is missing, which is an error.
                let properties = content.properties().unwrap_or_default();
                Request::decode_amqp(&properties, &content.body, options)
            }
        }
    }
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

    /// Returns held messages, without changing their leases. Returns `None` for a message that is gone
    /// or cannot be read now.
    fn read_held(&mut self, tags: &[Tag]) -> impl Future<Output = Read> + Send;

    /// Returns `true` if the broker keeps revocations for workers that start later.
    fn keeps_revocations(&self) -> bool {
        true
    }

    /// Returns the revocations that the broker keeps, oldest first. Returns `None` if they cannot
    /// be read now.
    fn revoked(&mut self, kind: Named) -> impl Future<Output = Option<Vec<String>>> + Send;

    /// Stores revocations.
    fn revoke(&mut self, kind: Named, names: &[&str]) -> impl Future<Output = ()> + Send;

    /// Stores the documents of the state REVOKED, each with the id of its task. It leaves out tasks
    /// that a worker has begun, according to their stored state.
    fn store_revoked(&mut self, documents: &[(&str, Vec<u8>)]) -> impl Future<Output = ()> + Send;

    /// Sends a request of this worker's own to all workers, and listens for their replies. A loss on
    /// the way is not noticed.
    fn ask(&mut self, request: Request) -> impl Future<Output = ()> + Send;

    /// Returns the replies to the last request that have come, and listens for no more.
    fn replies(&mut self) -> impl Future<Output = Vec<Reply>> + Send;

    /// Returns why the broker does not let this worker consume a queue, if it does not. Returns
    /// `None` while the broker cannot be asked: the consumer waits for it.
    fn obstacle(&mut self, queue: &str) -> impl Future<Output = Option<String>> + Send;

    /// Tells the broker that this worker no longer listens.
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The channel of any broker. Requests are rare, so that dispatch at run time costs little.
pub(crate) struct AnyChannel(Box<dyn Dispatched>);

impl AnyChannel {
    pub(crate) fn new(channel: impl ControlChannel) -> Self {
        AnyChannel(Box::new(channel))
    }
}

/// Messages as [`ControlChannel::read_held`] returns them.
pub(crate) type Read = Vec<Option<Box<dyn Held>>>;

/// The methods of [`ControlChannel`] in a form that can be dispatched at run time.
trait Dispatched: Send {
    fn next(&mut self) -> BoxFuture<'_, Heard>;
    fn reply<'a>(&'a mut self, reply: &'a Reply, address: &'a ReplyTo) -> BoxFuture<'a, ()>;
    fn read_held<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Read>;
    fn keeps_revocations(&self) -> bool;
    fn revoked(&mut self, kind: Named) -> BoxFuture<'_, Option<Vec<String>>>;
    fn revoke<'a>(&'a mut self, kind: Named, names: &'a [&'a str]) -> BoxFuture<'a, ()>;
    fn store_revoked<'a>(&'a mut self, documents: &'a [(&'a str, Vec<u8>)]) -> BoxFuture<'a, ()>;
    fn ask(&mut self, request: Request) -> BoxFuture<'_, ()>;
    fn replies(&mut self) -> BoxFuture<'_, Vec<Reply>>;
    fn obstacle<'a>(&'a mut self, queue: &'a str) -> BoxFuture<'a, Option<String>>;
    fn close(self: Box<Self>) -> BoxFuture<'static, ()>;
}

impl<C: ControlChannel> Dispatched for C {
    fn next(&mut self) -> BoxFuture<'_, Heard> {
        ControlChannel::next(self).boxed()
    }

    fn reply<'a>(&'a mut self, reply: &'a Reply, address: &'a ReplyTo) -> BoxFuture<'a, ()> {
        ControlChannel::reply(self, reply, address).boxed()
    }

    fn read_held<'a>(&'a mut self, tags: &'a [Tag]) -> BoxFuture<'a, Read> {
        ControlChannel::read_held(self, tags).boxed()
    }

    fn keeps_revocations(&self) -> bool {
        ControlChannel::keeps_revocations(self)
    }

    fn revoked(&mut self, kind: Named) -> BoxFuture<'_, Option<Vec<String>>> {
        ControlChannel::revoked(self, kind).boxed()
    }

    fn revoke<'a>(&'a mut self, kind: Named, names: &'a [&'a str]) -> BoxFuture<'a, ()> {
        ControlChannel::revoke(self, kind, names).boxed()
    }

    fn store_revoked<'a>(&'a mut self, documents: &'a [(&'a str, Vec<u8>)]) -> BoxFuture<'a, ()> {
        ControlChannel::store_revoked(self, documents).boxed()
    }

    fn ask(&mut self, request: Request) -> BoxFuture<'_, ()> {
        ControlChannel::ask(self, request).boxed()
    }

    fn replies(&mut self) -> BoxFuture<'_, Vec<Reply>> {
        ControlChannel::replies(self).boxed()
    }

    fn obstacle<'a>(&'a mut self, queue: &'a str) -> BoxFuture<'a, Option<String>> {
        ControlChannel::obstacle(self, queue).boxed()
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, ()> {
        ControlChannel::close(*self).boxed()
    }
}

impl ControlChannel for AnyChannel {
    async fn next(&mut self) -> Heard {
        self.0.next().await
    }

    async fn reply(&mut self, reply: &Reply, address: &ReplyTo) {
        self.0.reply(reply, address).await;
    }

    async fn read_held(&mut self, tags: &[Tag]) -> Read {
        self.0.read_held(tags).await
    }

    fn keeps_revocations(&self) -> bool {
        self.0.keeps_revocations()
    }

    async fn revoked(&mut self, kind: Named) -> Option<Vec<String>> {
        self.0.revoked(kind).await
    }

    async fn revoke(&mut self, kind: Named, names: &[&str]) {
        self.0.revoke(kind, names).await;
    }

    async fn store_revoked(&mut self, documents: &[(&str, Vec<u8>)]) {
        self.0.store_revoked(documents).await;
    }

    async fn ask(&mut self, request: Request) {
        self.0.ask(request).await;
    }

    async fn replies(&mut self) -> Vec<Reply> {
        self.0.replies().await
    }

    async fn obstacle(&mut self, queue: &str) -> Option<String> {
        self.0.obstacle(queue).await
    }

    async fn close(self) {
        self.0.close().await;
    }
}

/// The channel of a broker without remote control: no request comes.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// `true` once the caller knows that no request can come.
    is_known: bool,
}

impl ControlChannel for Silence {
    async fn next(&mut self) -> Heard {
        if std::mem::replace(&mut self.is_known, true) {
            std::future::pending().await
        } else {
            Heard::Refused
        }
    }

    async fn reply(&mut self, _: &Reply, _: &ReplyTo) {}

    async fn read_held(&mut self, tags: &[Tag]) -> Read {
        tags.iter().map(|_| None).collect()
    }

    async fn revoked(&mut self, _: Named) -> Option<Vec<String>> {
        None
    }

    async fn revoke(&mut self, _: Named, _: &[&str]) {}

    async fn store_revoked(&mut self, _: &[(&str, Vec<u8>)]) {}

    async fn ask(&mut self, _: Request) {}

    async fn replies(&mut self) -> Vec<Reply> {
        Vec::new()
    }

    async fn obstacle(&mut self, _: &str) -> Option<String> {
        None
    }

    async fn close(self) {}
}
