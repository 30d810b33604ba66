//! Stores and reads results outside settlements.

use std::sync::Arc;

use celery_client::aio::{Failure, Value, scripts};
use celery_protocol::result::ResultDoc;

use super::answer::{bytes, positions};
use super::session::{MAX_TAGS, Session};
use super::settle::warn_unpublished;
use crate::broker::settlement::Document;
use crate::printable::one_line;

/// About how many bytes of results are read at a time: they must arrive within the time-out of an
/// answer.
const ANSWER: usize = 4 << 20;

/// The most bytes of a result that is read.
const LARGEST: usize = 64 << 20;

impl Session {
    /// Stores results and states, and publishes them, even if another worker holds the messages.
    pub(super) async fn store_results(&mut self, documents: &[Document]) {
        let layout = Arc::clone(&self.layout);
        for part in layout.parts_without_repeats(documents, |one| one.iter()) {
            // The script has one time to live for all of its documents.
            for equal in part.chunk_by(|a, b| layout.ttl_of(a) == layout.ttl_of(b)) {
                for chunk in equal.chunks(MAX_TAGS) {
                    self.store_chunk(chunk).await;
                }
            }
        }
    }

    /// Stores results of different tasks, which live equally long. Before each attempt it looks which of them have succeeded:
    /// another worker can have done such a task while the server was away.
    async fn store_chunk(&mut self, chunk: &[Document]) {
        loop {
            let kept = self.succeeded(chunk.iter()).await;
            let size = chunk
                .iter()
                .map(|document| document.id.len() + document.json.len() + 64)
                .sum();
            let mut call = scripts::call(
                &scripts::STORE_RESULTS,
                chunk.len(),
                1 + 2 * chunk.len(),
                size,
            );
            for document in chunk {
                call.arg(self.layout.keys.result(&document.id));
            }
            let ttl = chunk.first().map(|document| self.layout.ttl_of(document));
            call.arg(ttl.unwrap_or(self.layout.result_ttl));
            for document in chunk {
                call.arg(&*self.layout.stored(document, &kept));
            }
            let connection = self.link.connection().await;
            let answer = connection.run(&scripts::STORE_RESULTS, &call).await;
            let stored =
                answer.and_then(|value| read_stored(value).ok_or(Failure::Answer("store_results")));
            match stored {
                Ok(_) => return self.link.worked(),
                Err(failure) => self.link.failed(&failure),
            }
        }
    }

    /// Returns the documents of tasks. A document in any of the serializers is understood. One that is
    /// larger than [`LARGEST`] counts as missing.
    pub(super) async fn read_results(&mut self, ids: &[String]) -> Vec<Option<ResultDoc>> {
        let mut documents = Vec::with_capacity(ids.len());
        while let Some(rest) = ids.get(documents.len()..).filter(|rest| !rest.is_empty()) {
            let chunk = rest.get(..MAX_TAGS).unwrap_or(rest);
            let size = chunk.iter().map(|id| id.len() + 64).sum();
            let mut call =
                scripts::call(&scripts::READ_RESULTS, chunk.len(), chunk.len() + 2, size);
            for id in chunk {
                call.arg(self.layout.keys.result(id));
            }
            call.arg(ANSWER).arg(LARGEST);
            let read = |value| match value {
                // An answer without an element would be asked for without end.
                Value::Array(found) if !found.is_empty() => Some(found),
                _ => None,
            };
            let found = self
                .insist(&scripts::READ_RESULTS, &call, read, "read_results")
                .await;
            for (id, found) in chunk.iter().zip(found) {
                if found == Value::Int(-1) {
                    let id = one_line(id);
                    tracing::warn!(
                        "The result of {id} has more than {LARGEST} bytes: it is not read"
                    );
                }
                documents.push(bytes(found).and_then(|stored| ResultDoc::decode_any(&stored).ok()));
            }
        }
        documents
    }
}

fn read_stored(answer: Value) -> Option<Vec<usize>> {
    let Value::Array(parts) = answer else {
        return None;
    };
    let mut parts = parts.into_iter();
    let kept = positions(parts.next()?)?;
    warn_unpublished(parts.next());
    Some(kept)
}
