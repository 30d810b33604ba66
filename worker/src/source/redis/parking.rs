//! Messages that wait for their ETA, and the count of redeliveries.

use std::sync::Arc;

use celery_client::aio::{Failure, Pipeline, Value, scripts};

use super::{RedisSource, bytes, number, positions};
use crate::delivery::Tag;

/// The most messages parked or fetched in one call; fetched bodies are answered all at once.
pub(crate) const MAX_PARKED: usize = 250;

/// How long a count of redeliveries is kept: longer than any chain of rescues of one message takes.
const COUNT_TTL: u64 = 7 * 86_400;

impl RedisSource {
    /// Lets held messages wait for so many microseconds; gives back the tags that are gone. A wait and no time of day: the
    /// clock by which orphans are judged is Redis's, not this machine's.
    pub(crate) async fn park(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
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
            let (gone, _) = self.insist(&scripts::PARK, &call, positions, "park").await;
            lost.extend(gone.into_iter().filter_map(|i| Some(chunk.get(i)?.0)));
        }
        lost
    }

    /// The messages that are due, held from now on again; none for those that are gone.
    pub(crate) async fn fetch_parked(&mut self, tags: &[Tag]) -> Vec<Option<(Arc<str>, Vec<u8>)>> {
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
            let (entries, _) = self
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

    /// Counts one more delivery for each of these messages, by their own delivery tags. The count cannot be kept in the
    /// message: Python restores without changing it, and copies unknown headers into retries. Where Redis refuses to
    /// count (it is full, or it is forbidden), nothing is known and 0 is answered.
    pub(crate) async fn count_redelivered(&mut self, delivery_tags: &[String]) -> Vec<u64> {
        let mut counting = Pipeline::new();
        for tag in delivery_tags {
            let key = self.layout.keys.redelivered(tag);
            counting.cmd("INCR").arg(&key);
            counting.cmd("EXPIRE").arg(&key).arg(COUNT_TTL);
        }
        loop {
            match self.link.connection().await.pipeline(&counting).await {
                Ok(answers) => {
                    self.link.worked();
                    let counts = answers.iter().step_by(2);
                    return counts
                        .map(|count| number(count).unwrap_or(0) as u64)
                        .collect();
                }
                // Full, forbidden, or no number: that will not change by asking again.
                Err(Failure::Refused { code, .. })
                    if ["OOM", "NOPERM", "WRONGTYPE", "ERR"].contains(&code.as_str()) =>
                {
                    return vec![0; delivery_tags.len()];
                }
                Err(failure) => self.link.failed(&failure),
            }
        }
    }
}
