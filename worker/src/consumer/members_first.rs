//! Holds back the failure of a chord's body until the results of the members have been visible for
//! a moment.
//!
//! A Python client that waits for the body of a chord raises the exception of the member that
//! failed. It looks at the members, then at the body, and again at the members when it is notified
//! of the body. If all members fail between its first two looks, it raises the `ChordError` of the
//! body instead. Python's worker stores member and body a millisecond apart, and causes this once
//! in a hundred chords. If bodies were stored in one call with their members, it would happen far
//! more often.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::broker::{Document, ResultStep, Settlement, Step};

/// How long the results of the members are visible before the failure of the body. The two looks of
/// a client are about a millisecond apart, or a few on a busy machine. Meanwhile a failed chord
/// occupies a place in the worker.
const HEAD_START: Duration = Duration::from_millis(25);

/// The settlements whose chords failed, in the order in which they are due. Their number is at most
/// that of the messages that the worker holds.
#[derive(Default)]
pub(crate) struct MembersFirst {
    held: VecDeque<(Instant, Settlement)>,
}

impl MembersFirst {
    /// Removes from a batch the settlements that store the failure of a body, and holds them.
    /// Returns the results of their own tasks, which the caller stores at once.
    pub(crate) fn hold(&mut self, batch: &mut Vec<Settlement>, now: Instant) -> Vec<Document> {
        let mut documents = Vec::new();
        for mut settlement in batch.extract_if(.., |settlement| fails_a_body(settlement)) {
            for step in settlement.steps.extract_if(.., |step| is_stored(step)) {
                if let Step::Result(ResultStep::Store(document)) = step {
                    documents.push(document);
                }
            }
            self.held.push_back((now + HEAD_START, settlement));
        }
        documents
    }

    /// Returns the time at which the first settlement is due.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.held.front().map(|(due, _)| *due)
    }

    /// Takes the settlements that are due at a moment.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Settlement> {
        let due = self.held.partition_point(|(due, _)| *due <= now);
        let settlements = self.held.drain(..due);
        settlements.map(|(_, settlement)| settlement).collect()
    }

    /// Takes all settlements, for a worker that stops.
    pub(crate) fn take_all(&mut self) -> Vec<Settlement> {
        let settlements = self.held.drain(..);
        settlements.map(|(_, settlement)| settlement).collect()
    }
}

/// Returns `true` if the settlement ends a chord that failed. Only then does the end of the chord
/// store a result: if the members succeeded, it just publishes the body.
fn fails_a_body(settlement: &Settlement) -> bool {
    settlement.steps.iter().any(|step| match step {
        Step::Result(ResultStep::Join(join)) => join.steps.iter().any(is_stored),
        _ => false,
    })
}

fn is_stored(step: &Step) -> bool {
    matches!(step, Step::Result(ResultStep::Store(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{Fate, Join, Outgoing, Tag};

    fn settlement(steps: Vec<Step>) -> Settlement {
        Settlement {
            tag: Tag { call: 1, index: 1 },
            fate: Fate::Ack,
            steps,
        }
    }

    fn document(id: &str) -> Document {
        Document {
            id: id.to_owned(),
            json: id.as_bytes().to_vec(),
            failed: true,
            reply: None,
        }
    }

    fn result(id: &str) -> Step {
        Step::Result(ResultStep::Store(document(id)))
    }

    fn join(steps: Vec<Step>) -> Step {
        Step::Result(ResultStep::Join(Join {
            group: "group".to_owned(),
            word: "word".to_owned(),
            failed: true,
            steps,
        }))
    }

    fn push() -> Step {
        Step::Publish(Outgoing {
            queue: "celery".into(),
            priority: 0,
            message: Vec::new(),
            span: None,
        })
    }

    #[test]
    fn only_failed_bodies_are_held() {
        let mut batch: Vec<Settlement> = [
            vec![result("a task")],
            vec![result("a member"), join(vec![push()])],
            vec![
                result("the last member"),
                push(),
                join(vec![result("the body"), push()]),
            ],
            vec![],
        ]
        .into_iter()
        .map(settlement)
        .collect();
        let mut later = MembersFirst::default();
        let now = Instant::now();

        let documents = later.hold(&mut batch, now);

        assert_eq!(documents, [document("the last member")]);
        assert_eq!(batch.len(), 3);
        assert_eq!(later.due(), Some(now + HEAD_START));
        assert!(later.take_due(now).is_empty());
        let due = later.take_due(now + HEAD_START);
        assert_eq!(due.len(), 1);
        assert_eq!(
            due[0].steps,
            [push(), join(vec![result("the body"), push()])]
        );
        assert_eq!(later.due(), None);
    }

    #[test]
    fn a_stopping_worker_takes_all_at_once() {
        let mut later = MembersFirst::default();
        let mut batch = vec![settlement(vec![join(vec![result("the body")])])];
        later.hold(&mut batch, Instant::now());
        assert_eq!(later.take_all().len(), 1);
        assert!(later.take_all().is_empty());
    }
}
