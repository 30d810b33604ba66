//! Remote control over Redis: requests arrive on a channel, replies go to a list of the client.
//!
//! kombu's fanout exchange is a channel that every worker subscribes to. In addition, kombu lists
//! each worker's (never used) queue in the exchange's set of bindings, where tools can find it.
//! This module does so, too. A reply goes to the list of the client, as long as the client's own
//! binding is there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::aio::{Cmd, Failure, Pipeline, Push, Supervised, Value, scripts};
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::names::CONTROL_EXCHANGE;
use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};

use super::answer::bytes;
use super::asking::Asked;
use super::connector::{Connector, Store};
use super::layout::Layout;
use super::revoking::{self, RevokedResults, is_for_good};
use super::session::MAX_TAGS;
use crate::broker::control::{
    ControlChannel, Heard, MOST_REQUEST, MOST_REVOKED, Named, REVOKED_FOR, RawRequest, Read,
    WAITING,
};
use crate::broker::held::Held;
use crate::broker::tag::Tag;
use crate::monitor::Pulse;

/// How often the link is tried while nothing is heard, so that a dead link is noticed.
const CHECK: Duration = Duration::from_secs(15);
/// How often subscribing is tried again where it is refused, so that a mended ACL is noticed.
const REFUSED: Duration = Duration::from_mins(1);
/// How long kombu's sweepers leave a binding alone after its last refresh: `MIN_BINDING_TTL`.
const BINDING_TTL: Duration = Duration::from_hours(1);
/// How often a binding is refreshed, as in kombu: three times in its lifetime.
const REFRESH: Duration = Duration::from_mins(20);
/// How many seconds a list of replies lives if its client dies: longer than a client waits.
const REPLIES_TTL: u64 = 60;

/// The connection of the control role.
#[expect(clippy::struct_excessive_bools, reason = "each is a state of its own")]
pub(super) struct RedisControl {
    pub(super) link: Supervised,
    /// The connection to the server of the results, if it is not the broker.
    results: Option<RevokedResults>,
    pub(super) layout: Arc<Layout>,
    pub(super) channel: String,
    heard: mpsc::Receiver<Vec<u8>>,
    closed: Arc<Notify>,
    /// `true` if the present connection has subscribed.
    subscribed: bool,
    /// `true` if the channel was opened and the caller does not know it yet.
    opened: bool,
    refreshed: Option<Instant>,
    /// The request of this worker's own that is under way.
    pub(super) asked: Option<Asked>,
    /// `true` if the list of its replies could not be removed.
    leftover: bool,
    /// `true` once the log says that subscribing is refused.
    told: bool,
}

impl Connector {
    /// Returns the control channel, with a connection of its own. The pulse beats at every answer
    /// and every failed try.
    pub(super) fn control(&self, results: Option<&Store>, pulse: &Arc<Pulse>) -> RedisControl {
        let pulse = Arc::clone(pulse);
        let (requests, heard) = mpsc::channel(WAITING.into());
        let closed = Arc::new(Notify::new());
        let lost = Arc::clone(&closed);
        let link = self.link("control");
        RedisControl {
            // A worker is ready without remote control.
            link: link
                .at_need()
                .watched(move || pulse.beat())
                .listening(move |push| match push {
                    Push::Message(request) if request.len() > MOST_REQUEST => {
                        tracing::warn!("A control request of {} bytes was dropped", request.len());
                    }
                    Push::Message(request) => {
                        if requests.try_send(request).is_err() {
                            tracing::debug!("A control request was dropped: {WAITING} others wait");
                        }
                    }
                    Push::Disconnected => lost.notify_one(),
                    Push::Invalidated => {}
                }),
            results: results.map(Store::revoked),
            channel: self.layout.keys.pidbox_channel(self.endpoint.database()),
            layout: Arc::clone(&self.layout),
            heard,
            closed,
            subscribed: false,
            opened: false,
            refreshed: None,
            asked: None,
            leftover: false,
            told: false,
        }
    }
}

impl RedisControl {
    /// Opens the connection if needed, and subscribes.
    pub(super) async fn open(&mut self) -> Result<(), Failure> {
        if self.subscribed && self.link.is_open() {
            return Ok(());
        }
        self.subscribed = false;
        if !self.link.is_open() {
            // A command may have noticed the loss first. The report of the old connection's end
            // must not close the new one.
            let _ = self.closed.notified().now_or_never();
        }
        let connection = self.link.connection().await;
        if !connection.hears() {
            return Err(Failure::Answer("HELLO 3"));
        }
        let mut subscribe = Cmd::new();
        subscribe.arg("SUBSCRIBE").arg(&self.channel);
        connection.query(&subscribe).await?;
        self.link.worked();
        (self.subscribed, self.opened) = (true, true);
        (self.told, self.refreshed) = (false, None);
        Ok(())
    }

    /// Opens the channel, however long that takes. Returns `false` when the broker has refused for
    /// the first time.
    async fn until_open(&mut self) -> bool {
        while let Err(failure) = self.open().await {
            if !is_for_good(&failure) {
                self.link.failed(&failure);
                continue;
            }
            // The worker is not cut off from its broker: the connection stays open.
            self.link.worked();
            if std::mem::replace(&mut self.told, true) {
                tokio::time::sleep(REFUSED).await;
            } else {
                tracing::warn!(
                    "Remote control is off: the broker does not let this worker subscribe to {} ({failure})",
                    self.channel
                );
                return false;
            }
        }
        true
    }

    /// Tries the link, and refreshes the binding where it is time.
    async fn check(&mut self) -> Result<(), Failure> {
        let binding = self.binding();
        let connection = self.link.connection().await;
        let mut time = Cmd::new();
        time.arg("TIME");
        let now = unix_ms(connection.query(&time).await?).ok_or(Failure::Answer("TIME"))?;
        if self.refreshed.is_none_or(|then| then.elapsed() >= REFRESH) {
            let keys = &self.layout.keys;
            let deadline = now + BINDING_TTL.as_millis();
            let mut refresh = Pipeline::new();
            refresh
                .cmd("SADD")
                .arg(keys.binding(CONTROL_EXCHANGE))
                .arg(&binding);
            refresh.cmd("ZADD").arg(keys.binding_deadlines()).arg("GT");
            refresh.arg(deadline.to_string()).arg(CONTROL_EXCHANGE);
            match connection.pipeline(&refresh).await {
                // Only tools read the binding, so a refusal does no harm.
                Ok(_) | Err(Failure::Refused(_)) => self.refreshed = Some(Instant::now()),
                Err(failure) => return Err(failure),
            }
        }
        if self.leftover {
            self.forget().await?;
            self.leftover = false;
        }
        self.link.worked();
        Ok(())
    }

    /// Returns the member of the exchange's set of bindings for this worker.
    fn binding(&self) -> String {
        let queue = format!("{}.{CONTROL_EXCHANGE}", self.layout.node);
        self.layout.keys.binding_member("", "", &queue)
    }

    async fn try_reply(&mut self, call: &Cmd) -> Result<(), Failure> {
        self.open().await?;
        let connection = self.link.connection().await;
        connection.run(&scripts::CONTROL_REPLY, call).await?;
        self.link.worked();
        Ok(())
    }

    async fn try_read_held(&mut self, tags: &[Tag]) -> Result<Vec<Value>, Failure> {
        self.open().await?;
        let mut call = Cmd::new();
        call.arg("HMGET").arg(&self.layout.unacked);
        for tag in tags {
            call.arg(self.layout.tag(*tag));
        }
        let answer = self.link.connection().await.query(&call).await?;
        self.link.worked();
        match answer {
            Value::Array(entries) => Ok(entries),
            _ => Err(Failure::Answer("HMGET")),
        }
    }

    fn revoked_key(&self, kind: Named) -> String {
        match kind {
            Named::Ids => self.layout.keys.revoked(),
            Named::Stamps => self.layout.keys.revoked_stamps(),
        }
    }

    async fn try_revoked(&mut self, kind: Named) -> Result<Vec<String>, Failure> {
        self.open().await?;
        let mut call = Cmd::new();
        call.arg("ZRANGE")
            .arg(self.revoked_key(kind))
            .arg(0)
            .arg(-1);
        let answer = self.link.connection().await.query(&call).await?;
        self.link.worked();
        let Value::Array(ids) = answer else {
            return Err(Failure::Answer("ZRANGE"));
        };
        let ids = ids.into_iter().filter_map(bytes);
        Ok(ids.filter_map(|id| String::from_utf8(id).ok()).collect())
    }

    async fn try_revoke(&mut self, kind: Named, ids: &[&str]) -> Result<(), Failure> {
        self.open().await?;
        let key = self.revoked_key(kind);
        for chunk in ids.chunks(MAX_TAGS) {
            let mut call = scripts::call(&scripts::REVOKE, 1, 3 + chunk.len(), 40 * chunk.len());
            call.arg(&key)
                .arg(REVOKED_FOR.as_secs())
                .arg(MOST_REVOKED)
                .arg(chunk);
            self.link
                .connection()
                .await
                .run(&scripts::REVOKE, &call)
                .await?;
        }
        self.link.worked();
        Ok(())
    }

    /// Stores documents on the broker.
    async fn try_store(&mut self, documents: &[(&str, Vec<u8>)]) -> Result<(), Failure> {
        self.open().await?;
        revoking::store(&mut self.link, &self.layout, documents).await
    }

    /// Claims nothing from the lists of a queue. Where the user may not read or change them, Redis
    /// would refuse every claim that names them.
    async fn try_look(&mut self, queue: &str) -> Result<(), Failure> {
        self.open().await?;
        let lists = self.layout.keys.queue_lists(queue);
        let (keys, layout) = (3 + lists.len(), &self.layout);
        let mut call = scripts::call(&scripts::ACK_CLAIM, keys, keys + 5 + 2 * lists.len(), 256);
        call.arg(&layout.unacked)
            .arg(&layout.index)
            .arg(&layout.dead)
            .arg(&lists);
        // No messages, no tags, no acknowledgements.
        call.arg(0).arg("").arg("").arg(0).arg(0);
        for _ in &lists {
            call.arg("").arg("");
        }
        self.link
            .connection()
            .await
            .run(&scripts::ACK_CLAIM, &call)
            .await?;
        self.link.worked();
        Ok(())
    }

    /// Notes a failure. It closes the connection, unless the server refuses the command for good.
    fn failed(&mut self, failure: &Failure) {
        if is_for_good(failure) {
            tracing::debug!("A command of remote control is refused: {failure}");
        } else {
            self.link.failed(failure);
        }
    }
}

impl ControlChannel for RedisControl {
    async fn next(&mut self) -> Heard {
        loop {
            if !self.until_open().await {
                return Heard::Refused;
            }
            if self.refreshed.is_none()
                && let Err(failure) = self.check().await
            {
                self.link.failed(&failure);
                continue;
            }
            if std::mem::take(&mut self.opened) {
                return Heard::Open;
            }
            tokio::select! {
                biased;
                () = self.closed.notified() => {
                    self.link.failed(&Failure::Lost("the connection was closed".to_owned()));
                }
                Some(request) = self.heard.recv() => return Heard::Request(RawRequest::Redis(request)),
                () = tokio::time::sleep(CHECK) => {
                    if let Err(failure) = self.check().await {
                        self.link.failed(&failure);
                    }
                }
            }
        }
    }

    async fn reply(&mut self, reply: &Reply, address: &ReplyTo) {
        let message = reply.encode_redis(address, &uuid::Uuid::new_v4().to_string());
        let keys = &self.layout.keys;
        let mut call = scripts::call(&scripts::CONTROL_REPLY, 2, 5, message.len() + 256);
        call.arg(keys.binding(&address.exchange));
        call.arg(address.list(keys));
        call.arg(address.binding_member(keys));
        call.arg(&message).arg(REPLIES_TTL);
        // The second try is for a connection that was lost unnoticed.
        for _ in 0..2 {
            match self.try_reply(&call).await {
                Ok(()) => return,
                Err(failure) => {
                    self.failed(&failure);
                    if is_for_good(&failure) {
                        return;
                    }
                }
            }
        }
    }

    async fn read_held(&mut self, tags: &[Tag]) -> Read {
        let mut messages: Read = Vec::with_capacity(tags.len());
        for chunk in tags.chunks(MAX_TAGS) {
            match self.try_read_held(chunk).await {
                Ok(entries) => messages.extend(
                    entries
                        .into_iter()
                        .map(|entry| self.layout.open_entry(bytes(entry)?))
                        .map(|held| held.map(|(_, it)| Box::new(it) as Box<dyn Held>)),
                ),
                Err(failure) => self.failed(&failure),
            }
        }
        messages.resize_with(tags.len(), || None);
        messages
    }

    async fn revoked(&mut self, kind: Named) -> Option<Vec<String>> {
        match self.try_revoked(kind).await {
            Ok(ids) => Some(ids),
            Err(failure) => {
                self.failed(&failure);
                None
            }
        }
    }

    async fn revoke(&mut self, kind: Named, names: &[&str]) {
        if let Err(failure) = self.try_revoke(kind, names).await {
            tracing::warn!("Failed to store revocations; a restart will lose them: {failure}");
            self.failed(&failure);
        }
    }

    async fn store_revoked(&mut self, documents: &[(&str, Vec<u8>)]) {
        if let Some(results) = &mut self.results {
            return results.store(documents).await;
        }
        if let Err(failure) = self.try_store(documents).await {
            revoking::warn(&failure);
            self.failed(&failure);
        }
    }

    async fn ask(&mut self, request: Request) {
        if let Err(failure) = self.try_ask(request).await {
            self.failed(&failure);
        }
    }

    async fn replies(&mut self) -> Vec<Reply> {
        match self.try_replies().await {
            Ok(replies) => replies,
            Err(failure) => {
                self.failed(&failure);
                self.leftover = true;
                Vec::new()
            }
        }
    }

    async fn obstacle(&mut self, queue: &str) -> Option<String> {
        match self.try_look(queue).await {
            Ok(()) => None,
            Err(failure) => {
                self.failed(&failure);
                is_for_good(&failure).then(|| failure.to_string())
            }
        }
    }

    async fn close(mut self) {
        if !self.link.is_open() {
            return;
        }
        let mut forget = Cmd::new();
        let key = self.layout.keys.binding(CONTROL_EXCHANGE);
        forget.arg("SREM").arg(key).arg(self.binding());
        // If this fails, the binding runs out by itself.
        let _ = self.link.connection().await.query(&forget).await;
    }
}

fn unix_ms(time: Value) -> Option<u128> {
    let Value::Array(parts) = time else {
        return None;
    };
    let mut parts = parts.into_iter().map(|part| {
        let text = String::from_utf8(bytes(part)?).ok()?;
        text.parse::<u128>().ok()
    });
    let (seconds, micros) = (parts.next()??, parts.next()??);
    Some(seconds * 1_000 + micros / 1_000)
}
