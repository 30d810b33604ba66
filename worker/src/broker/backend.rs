//! The store of results and chords: part of the broker, or a server of its own.

use celery_protocol::result::ResultDoc;

use super::settlement::{Chord, Complete, Document, Join, Part};

/// Stores results and chords.
///
/// If the broker is also the backend, a [`Settlement`](super::Settlement) carries most results.
/// Only states of running tasks and counts of chord members come here. With a separate backend,
/// everything comes here. Every call lasts until it is answered.
pub(crate) trait Backend: Send + 'static {
    /// Stores and publishes documents, even if another worker holds the messages of their tasks. A
    /// document does not replace a SUCCESS.
    fn store(&mut self, documents: &[Document]) -> impl Future<Output = ()> + Send;

    /// Returns the documents of tasks. `None`: there is none, it cannot be understood, or this store
    /// cannot be read.
    fn read(&mut self, ids: &[String]) -> impl Future<Output = Vec<Option<ResultDoc>>> + Send {
        std::future::ready(vec![None; ids.len()])
    }

    /// Counts ended members of chords, and returns an answer for each. A member that completes
    /// a chord gets the chord's results if this worker publishes the body. A member that cannot be
    /// counted gets the reason.
    fn count(
        &mut self,
        parts: &[Part],
    ) -> impl Future<Output = Vec<Result<Option<Complete>, String>>> + Send;

    /// Begins chords, and forgets chords that end. The steps of the latter are left to the caller.
    fn chords(&mut self, begin: &[Chord], end: &[Join]) -> impl Future<Output = ()> + Send;
}
