//! Makes a session the part that carries out verdicts, and the store of results.

use std::sync::Arc;

use celery_protocol::result::ResultDoc;

use super::session::Session;
use crate::broker::backend::Backend;
use crate::broker::held::Envelope;
use crate::broker::lock::{Lock, Locked, Locking};
use crate::broker::outbound::{Begin, Begun, Outbound};
use crate::broker::settlement::{Chord, Complete, Document, Join, Part, Settled, Settlement};
use crate::broker::tag::Tag;

impl Outbound for Session {
    type Message = Envelope;

    async fn ready(&mut self) {
        self.connect().await;
    }

    async fn settle(&mut self, batch: &[Settlement]) -> Settled {
        self.settle_batch(batch).await
    }

    async fn begin(&mut self, begun: &[Begun<'_>]) -> Vec<Begin> {
        let most = begun.iter().map(|begun| begun.limit).max().unwrap_or(0);
        let counts = self.count_begun(begun, most + 1).await;
        counts
            .into_iter()
            .zip(begun)
            .map(|(count, begun)| match count {
                count if count > begun.limit => Begin::Poison(count),
                _ => Begin::Run,
            })
            .collect()
    }

    async fn forget_begun(&mut self, names: &[String]) {
        self.forget_counts(names).await;
    }

    async fn lock(&mut self, calls: &[Locking<'_>]) -> Vec<Locked> {
        self.take_locks(calls).await
    }

    async fn unlock(&mut self, locks: &[(Tag, Lock)]) {
        self.free_locks(locks).await;
    }

    async fn renew(&mut self, tags: &[Tag]) -> Vec<Tag> {
        self.renew_leases(tags).await
    }

    async fn park(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
        self.park_messages(messages).await
    }

    async fn fetch_parked(&mut self, tags: &[Tag]) -> Vec<Option<(Arc<str>, Envelope)>> {
        self.parked_messages(tags).await
    }
}

impl Backend for Session {
    async fn store(&mut self, documents: &[Document]) {
        self.store_results(documents).await;
    }

    async fn read(&mut self, ids: &[String]) -> Vec<Option<ResultDoc>> {
        self.read_results(ids).await
    }

    async fn count(&mut self, parts: &[Part]) -> Vec<Result<Option<Complete>, String>> {
        self.count_parts(parts).await
    }

    async fn chords(&mut self, begin: &[Chord], end: &[Join]) {
        self.change_chords(begin, end).await;
    }
}
