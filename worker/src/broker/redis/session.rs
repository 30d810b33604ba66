//! The connection of one role: calls that outlast lost connections.

use std::sync::Arc;

use celery_client::aio::{Cmd, Failure, Supervised, Value, scripts};
use celery_client::redis::Script;
use celery_client::redis::waiting::purge_arguments;

use super::answer::{number, positions};
use super::doorbell::Doorbell;
use super::layout::Layout;
use super::moving::Moving;
use crate::broker::ClaimMode;
use crate::broker::tag::Tag;

/// About how many dead letters are kept.
pub(super) const DEAD_LETTERS: usize = 100_000;

/// The most tags in one call: Lua unpacks arguments onto a stack of 8,000.
pub(super) const MAX_TAGS: usize = 1_000;

/// The connection of one role, and what its calls about messages need.
pub(crate) struct Session {
    pub(super) link: Supervised,
    pub(super) layout: Arc<Layout>,
    /// The number of the last claim.
    pub(super) calls: u64,
    /// Decides which queue goes first at the next claim. It is not the number of the call, because
    /// some calls only acknowledge. If every second call only acknowledged, the same queue would
    /// always go first.
    pub(super) turn: usize,
    /// A claim that may have been carried out although no answer came.
    pub(super) unanswered: Option<u64>,
    /// The claims by native commands.
    pub(super) moving: Moving,
    /// The bell of the role that claims.
    pub(super) doorbell: Doorbell,
    /// The offset in the index at which the next sweep begins.
    pub(super) passed_over: usize,
}

impl Session {
    /// Makes the session of a role from its connection.
    pub(super) fn new(link: Supervised, layout: Arc<Layout>) -> Self {
        Session {
            link,
            calls: 0,
            turn: 0,
            unanswered: None,
            moving: Moving::new(ClaimMode::Script),
            doorbell: Doorbell::default(),
            passed_over: 0,
            layout,
        }
    }

    /// Waits until the connection is open.
    pub(super) async fn connect(&mut self) {
        let mut ping = Cmd::new();
        ping.arg("PING");
        loop {
            match self.link.connection().await.query(&ping).await {
                Ok(_) => return self.link.worked(),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Sends a call that may be sent twice, until it is answered. The call must name only the
    /// worker's own keys: a server that refuses them is waited for like one that is away.
    pub(super) async fn insist<T>(
        &mut self,
        script: &Script,
        call: &Cmd,
        read: impl Fn(Value) -> Option<T>,
        what: &'static str,
    ) -> T {
        loop {
            match self.until_told(script, call, &read, what).await {
                Ok((answer, _)) => return answer,
                Err(refused) => self.link.failed(&refused),
            }
        }
    }

    /// Sends a call that may be sent twice, until it is answered or refused for good. The returned
    /// `bool` is `true` if the call was sent more than once.
    pub(super) async fn until_told<T>(
        &mut self,
        script: &Script,
        call: &Cmd,
        read: impl Fn(Value) -> Option<T>,
        what: &'static str,
    ) -> Result<(T, bool), Failure> {
        let mut repeated = false;
        loop {
            let answer = self.link.connection().await.run(script, call).await;
            match answer.and_then(|value| read(value).ok_or(Failure::Answer(what))) {
                Ok(answer) => {
                    self.link.worked();
                    return Ok((answer, repeated));
                }
                Err(refused) if refused.is_lasting() => return Err(refused),
                Err(failure) => {
                    repeated = true;
                    self.link.failed(&failure);
                }
            }
        }
    }

    /// Handles a batch in one call. If the server refuses the call for good, the batch is halved
    /// until each refused item stands alone. One message that names a forbidden key, or that is too
    /// large, thus does not stop the others. Returns the answers in order, each with the position
    /// of the first item that it is about.
    pub(super) async fn in_parts<I, T>(
        &mut self,
        batch: &[I],
        script: &Script,
        call: impl Fn(&Self, &[I]) -> Cmd,
        read: impl Fn(Value, usize) -> Option<T>,
        what: &'static str,
    ) -> Vec<(usize, Result<(T, bool), Failure>)> {
        let mut answers = Vec::with_capacity(1);
        let mut parts = Vec::from([(0, batch.len())]);
        while let Some((start, end)) = parts.pop() {
            let items = batch.get(start..end).unwrap_or_default();
            if items.is_empty() {
                continue;
            }
            let call = call(self, items);
            let read = |value| read(value, items.len());
            match self.until_told(script, &call, read, what).await {
                Err(_) if items.len() > 1 => {
                    let middle = start + items.len() / 2;
                    parts.extend([(middle, end), (start, middle)]);
                }
                answer => {
                    if answer.is_err() {
                        // The server has answered, although it refused.
                        self.link.worked();
                    }
                    answers.push((start, answer));
                }
            }
        }
        answers
    }

    /// Deletes the messages that wait in the consumed queues and their groups, and returns their
    /// number. If an answer is lost, those that the unanswered call has deleted are not counted.
    pub(super) async fn purge_queues(&mut self) -> usize {
        let mut count = 0;
        for queue in &*self.layout.queues().names() {
            let mut groups = purge_arguments(&self.layout.keys, queue);
            for list in self.layout.keys.queue_lists(queue) {
                // The call for the first list deletes all groups.
                count += self.purge_list(&list, &groups).await;
                groups.clear();
            }
        }
        count
    }

    /// Deletes a list, and groups first. A key that is not a list is passed over, as by a claim.
    async fn purge_list(&mut self, list: &str, groups: &[String]) -> usize {
        let bytes = list.len() + 64 * groups.len();
        let mut call = scripts::call(&scripts::PURGE, 1, 1 + groups.len(), bytes);
        call.arg(list).arg(groups);
        let deleted = |answer| number(&answer);
        loop {
            match self
                .until_told(&scripts::PURGE, &call, deleted, "purge")
                .await
            {
                Ok((count, _)) => return count,
                Err(refused) if refused.is_refusal("WRONGTYPE") => {
                    self.layout.pass_over(list, &refused.to_string());
                    return 0;
                }
                Err(refused) => self.link.failed(&refused),
            }
        }
    }

    /// Renews the leases of held deliveries. Returns the tags that Redis no longer knows.
    pub(super) async fn renew_leases(&mut self, tags: &[Tag]) -> Vec<Tag> {
        let mut lost = Vec::new();
        for chunk in tags.chunks(MAX_TAGS) {
            let gone = self.renew_chunk(chunk).await;
            lost.extend(gone.into_iter().filter_map(|i| chunk.get(i)));
        }
        lost
    }

    /// Renews one chunk of tags. Returns the positions of tags that are gone.
    async fn renew_chunk(&mut self, tags: &[Tag]) -> Vec<usize> {
        let mut call = scripts::call(&scripts::RENEW, 1, 1 + tags.len(), 40 * tags.len());
        call.arg(&self.layout.index);
        for tag in tags {
            call.arg(self.layout.tag(*tag));
        }
        self.insist(&scripts::RENEW, &call, positions, "renew")
            .await
    }
}
