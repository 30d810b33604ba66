//! Parks messages that wait for their ETA, and counts redeliveries.

use std::sync::Arc;

use celery_client::aio::{Cmd, Failure, Value, scripts};

use super::answer::{bytes, number, positions};
use super::session::{MAX_TAGS, Session};
use crate::broker::held::Envelope;
use crate::broker::outbound::Begun;
use crate::broker::tag::Tag;
use crate::failpoint::failpoint;

/// The most messages that one call parks or fetches. All fetched bodies come in one answer.
const MAX_PARKED: usize = 250;

/// How many seconds a count of redeliveries is kept: longer than any chain of rescues of one
/// message takes.
const COUNT_TTL: u64 = 7 * 86_400;

impl Session {
    /// Lets held messages wait for the given number of microseconds, and returns the tags that are
    /// gone. The call passes a duration and not a time of day, because Redis's clock, not this
    /// machine's, decides which messages are orphans.
    pub(super) async fn park_messages(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
        let mut lost = Vec::new();
        for chunk in messages.chunks(MAX_PARKED) {
            let mut call = scripts::call(&scripts::PARK, 1, 1 + 2 * chunk.len(), 60 * chunk.len());
            call.arg(&self.layout.index);
            for (tag, wait) in chunk {
                let wait = (*wait).max(0);
                call.arg(self.layout.tag(*tag)).arg(format!(
                    "{}.{:06}",
                    wait / 1_000_000,
                    wait % 1_000_000
                ));
            }
            let gone = self.insist(&scripts::PARK, &call, positions, "park").await;
            lost.extend(gone.into_iter().filter_map(|i| Some(chunk.get(i)?.0)));
        }
        lost
    }

    /// Returns the messages that are due, and holds them again. Returns `None` for a message that
    /// is gone.
    pub(super) async fn parked_messages(
        &mut self,
        tags: &[Tag],
    ) -> Vec<Option<(Arc<str>, Envelope)>> {
        let mut messages = Vec::with_capacity(tags.len());
        for chunk in tags.chunks(MAX_PARKED) {
            let mut call =
                scripts::call(&scripts::FETCH_PARKED, 2, 2 + chunk.len(), 40 * chunk.len());
            call.arg(&self.layout.unacked).arg(&self.layout.index);
            for tag in chunk {
                call.arg(self.layout.tag(*tag));
            }
            let read = |value| match value {
                Value::Array(entries) if entries.len() == chunk.len() => Some(entries),
                _ => None,
            };
            let entries = self
                .insist(&scripts::FETCH_PARKED, &call, read, "fetch_parked")
                .await;
            messages.extend(
                entries
                    .into_iter()
                    .map(|entry| self.layout.open_entry(bytes(entry)?)),
            );
        }
        messages
    }

    /// Counts that deliveries of redelivered messages begin. Returns, for each delivery, how many
    /// deliveries of its message have begun so far, but not more than `most`. The message's own
    /// delivery tag identifies the message.
    ///
    /// A delivery counts once, even if the answer is lost and the call is repeated. The count
    /// cannot be kept in the message: Python restores without changing it, and copies unknown
    /// headers into retries. If Redis refuses to count (its memory is full, or the user has no
    /// right), the answer is 0, which means unknown.
    pub(super) async fn count_begun(&mut self, begun: &[Begun<'_>], most: u64) -> Vec<u64> {
        let mut counts = Vec::with_capacity(begun.len());
        for chunk in begun.chunks(MAX_TAGS) {
            let arguments = 2 + 2 * chunk.len();
            let mut call = scripts::call(&scripts::COUNT_BEGUN, chunk.len(), arguments, 0);
            for begun in chunk {
                call.arg(self.layout.keys.redelivered(begun.name));
            }
            call.arg(COUNT_TTL).arg(most);
            for begun in chunk {
                call.arg(self.layout.tag(begun.tag));
            }
            counts.extend(self.count_chunk(&call, chunk.len()).await);
            failpoint!("begun");
        }
        counts
    }

    async fn count_chunk(&mut self, call: &Cmd, len: usize) -> Vec<u64> {
        let read = |answer| match answer {
            Value::Array(counts) if counts.len() == len => {
                let count = |value| number(value).unwrap_or(0) as u64;
                Some(counts.iter().map(count).collect())
            }
            _ => None,
        };
        loop {
            let answer = self
                .link
                .connection()
                .await
                .run(&scripts::COUNT_BEGUN, call);
            let answer = answer.await;
            match answer.and_then(|value| read(value).ok_or(Failure::Answer("count_begun"))) {
                Ok(counts) => {
                    self.link.worked();
                    return counts;
                }
                Err(refused) if refused.is_lasting() || refused.is_refusal("OOM") => {
                    return vec![0; len];
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Forgets the count of this message. Where Redis refuses, the count stays.
    pub(super) async fn forget_counts(&mut self, delivery_tags: &[String]) {
        if delivery_tags.is_empty() {
            return;
        }
        let mut forget = Cmd::new();
        forget.arg("DEL");
        for tag in delivery_tags {
            forget.arg(self.layout.keys.redelivered(tag));
        }
        loop {
            match self.link.connection().await.query(&forget).await {
                Ok(_) | Err(Failure::Refused { .. }) => return self.link.worked(),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }
}
