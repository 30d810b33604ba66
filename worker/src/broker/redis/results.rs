//! Stores and reads results outside settlements.

use std::sync::Arc;

use celery_client::aio::{Failure, Value, scripts};
use celery_protocol::result::{ResultDoc, State};

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
        let stored = self.stored_results(ids).await;
        let stored = stored.into_iter().zip(ids);
        let read = stored.map(|(stored, id)| match stored {
            Stored::Missing => None,
            Stored::TooLarge => {
                let id = one_line(id);
                tracing::warn!("The result of {id} has more than {LARGEST} bytes: it is not read");
                None
            }
            Stored::Bytes(stored) => ResultDoc::decode_any(&stored).ok(),
        });
        read.collect()
    }

    /// Returns what is stored as the results of tasks.
    pub(super) async fn stored_results(&mut self, ids: &[String]) -> Vec<Stored> {
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
            let found = found.into_iter().take(chunk.len());
            documents.extend(found.map(|found| match found {
                Value::Int(-1) => Stored::TooLarge,
                found => bytes(found).map_or(Stored::Missing, Stored::Bytes),
            }));
        }
        documents
    }
}

/// What is stored as the result of a task.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Missing,
    /// More than [`LARGEST`] bytes.
    TooLarge,
    Bytes(Vec<u8>),
}

impl Stored {
    /// Returns `true` if it is a SUCCESS, or must be taken for one because it is too large to be read,
    /// stored or unpacked. Only what a task returned can be as large; an exception or a state is not.
    pub(super) fn has_succeeded(&self) -> bool {
        match self {
            Stored::Missing => false,
            Stored::TooLarge => true,
            Stored::Bytes(stored) => match ResultDoc::decode_any(stored) {
                Ok(doc) => doc.status == State::Success,
                Err(why) => why.is_too_large(),
            },
        }
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

#[cfg(test)]
mod tests {
    use celery_protocol::compression::Compression;
    use celery_protocol::result::StoredForm;

    use super::*;

    #[test]
    fn what_is_too_large_to_be_read_counts_as_a_success() {
        let compressed = StoredForm {
            compression: Some(Compression::Zlib),
            ..StoredForm::default()
        };
        let stored = |json: &str| Stored::Bytes(compressed.write(json.as_bytes()).unwrap().into());
        assert!(stored(r#"{"status":"SUCCESS","result":1,"task_id":"a"}"#).has_succeeded());
        assert!(!stored(r#"{"status":"STARTED","result":1,"task_id":"a"}"#).has_succeeded());
        assert!(!Stored::Missing.has_succeeded());
        assert!(!Stored::Bytes(b"text".to_vec()).has_succeeded());
        assert!(Stored::TooLarge.has_succeeded());
        // As Python stores it: a small document that unpacks to more than is read.
        let mut python = b"\0celery-compressed\0application/x-gzip\0".to_vec();
        let most = celery_protocol::message::DEFAULT_MAX_UNPACKED;
        python.extend(Compression::Zlib.compress(&vec![b' '; most + 1]).unwrap());
        assert!(Stored::Bytes(python).has_succeeded());
    }
}
