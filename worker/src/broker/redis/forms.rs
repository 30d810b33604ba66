//! The form in which results are stored. Elsewhere in the worker a document is JSON.
//!
//! The scripts know a stored SUCCESS, which is never overwritten, only in plain JSON. In any other
//! form, the session reads the stored documents before it stores others.

use std::borrow::Cow;
use std::collections::HashSet;

use celery_protocol::result::StoredForm;

use super::layout::Layout;
use super::session::Session;
use crate::broker::settlement::{Chord, Document, ResultStep, Settlement, Step};

/// The ids of tasks whose stored SUCCESS the scripts cannot recognise.
pub(super) type Kept = HashSet<String>;

impl Session {
    /// Returns which of these documents would replace a SUCCESS that the scripts cannot recognise.
    ///
    /// Between this look and the call of the script, another worker can store a SUCCESS only if the
    /// lease of the task is lost meanwhile.
    pub(super) async fn succeeded<'d>(
        &mut self,
        documents: impl Iterator<Item = &'d Document>,
    ) -> Kept {
        if self.layout.form.is_plain() {
            return Kept::new();
        }
        let ids: Vec<String> = documents.map(|document| document.id.clone()).collect();
        let stored = self.stored_results(&ids).await;
        let stored = ids.into_iter().zip(stored);
        let succeeded = stored.filter(|(_, stored)| stored.has_succeeded());
        succeeded.map(|(id, _)| id).collect()
    }
}

impl Layout {
    /// Returns a document as it is stored; nothing for one that must not be stored.
    pub(super) fn stored<'d>(&self, document: &'d Document, kept: &Kept) -> Cow<'d, [u8]> {
        if kept.contains(&document.id) {
            return Cow::default();
        }
        self.in_form(&document.json)
    }

    /// Returns the saved result of a chord's group; nothing if there is none.
    pub(super) fn saved<'c>(&self, chord: &'c Chord) -> Cow<'c, [u8]> {
        let saved = chord.saved.as_deref();
        saved.map_or_else(Cow::default, |saved| self.in_form(saved))
    }

    /// Returns JSON in the form in which results are stored. The rules of the consumer have replaced
    /// values that the serializer has no form for. If one is left, the document is stored as JSON,
    /// which the clients of this project read.
    pub(super) fn in_form<'j>(&self, json: &'j [u8]) -> Cow<'j, [u8]> {
        self.form.write(json).unwrap_or_else(|why| {
            tracing::error!("A result is stored as JSON: {why}");
            Cow::Borrowed(json)
        })
    }
}

impl Layout {
    /// Cuts a batch so that no part has two documents of one task: the look before a part does not see
    /// what the part itself stores. Plain JSON needs no cut, because the scripts look for themselves.
    pub(super) fn parts_without_repeats<'b, T, D>(
        &self,
        batch: &'b [T],
        documents: impl Fn(&'b [T]) -> D,
    ) -> Vec<&'b [T]>
    where
        D: Iterator<Item = &'b Document>,
    {
        if self.form.is_plain() {
            return vec![batch];
        }
        let mut parts = Vec::with_capacity(1);
        let (mut begin, mut seen) = (0, HashSet::new());
        for (at, item) in batch.iter().enumerate() {
            let ids: Vec<&str> = documents(std::slice::from_ref(item))
                .map(|document| &*document.id)
                .collect();
            if ids.iter().any(|id| seen.contains(id)) {
                parts.push(batch.get(begin..at).unwrap_or_default());
                begin = at;
                seen.clear();
            }
            seen.extend(ids);
        }
        parts.push(batch.get(begin..).unwrap_or_default());
        parts
    }
}

/// Returns the documents that a batch stores.
pub(super) fn documents(batch: &[Settlement]) -> impl Iterator<Item = &Document> {
    batch.iter().flat_map(|settlement| {
        let mut found = Vec::new();
        collect(&settlement.steps, &mut found);
        found
    })
}

fn collect<'s>(steps: &'s [Step], found: &mut Vec<&'s Document>) {
    for step in steps {
        match step {
            Step::Result(ResultStep::Store(document)) => found.push(document),
            Step::Result(ResultStep::Join(join)) => collect(&join.steps, found),
            _ => {}
        }
    }
}

/// Returns what another worker has stored as JSON. What cannot be read stays as it is, so that its
/// reader says why.
pub(super) fn as_json(stored: Vec<u8>) -> Vec<u8> {
    if matches!(stored.first(), Some(b'[' | b'{')) {
        return stored;
    }
    StoredForm::read(&stored).map_or(stored, String::into_bytes)
}
