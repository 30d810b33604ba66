//! The messages that wait for their ETA, in the order in which they are due. Reads no clock.
//!
//! It keeps only what is needed to ask for the body again: about seventy bytes for each message.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use crate::broker::Tag;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiting {
    /// Unix microseconds. The first field, so that it decides the order.
    pub(crate) eta: i64,
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) priority: u8,
    /// The size of the claimed message in bytes.
    pub(crate) size: usize,
    /// The hash of the task's id, by which a revoked task is found.
    pub(crate) id: u64,
}

/// Returns the hash of a task's id. It is the same in one process only.
pub(crate) fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// The waiting messages, the first one that is due on top.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    heap: BinaryHeap<Reverse<Waiting>>,
}

impl Parked {
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.heap.push(Reverse(waiting));
    }

    /// Returns the time at which the first message is due.
    pub(crate) fn next_eta(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(first)| first.eta)
    }

    /// Takes up to `most` messages that are due at `now`, and stops once they have `bytes` bytes.
    pub(crate) fn due(&mut self, now: i64, most: usize, bytes: usize) -> Vec<Waiting> {
        let (mut due, mut size) = (Vec::new(), 0);
        while due.len() < most && size < bytes && self.next_eta().is_some_and(|eta| eta <= now) {
            let first = self.heap.pop().map(|Reverse(waiting)| waiting);
            size += first.as_ref().map_or(0, |first| first.size);
            due.extend(first);
        }
        due
    }

    /// Returns the messages that are due first: up to `most` of them, and only until they have
    /// `bytes` bytes.
    pub(crate) fn first(&self, most: usize, bytes: usize) -> Vec<Waiting> {
        let mut first: Vec<&Waiting> = self.heap.iter().map(|Reverse(it)| it).collect();
        if first.len() > most {
            first.select_nth_unstable(most);
            first.truncate(most);
        }
        first.sort_unstable();
        let mut size = 0;
        let fits = first.into_iter().take_while(|waiting| {
            let fits = size < bytes;
            size += waiting.size;
            fits
        });
        fits.cloned().collect()
    }

    /// Takes the messages whose tasks have one of these hashed ids.
    pub(crate) fn of_tasks(&mut self, ids: &HashSet<u64>) -> Vec<Waiting> {
        if !self.heap.iter().any(|Reverse(it)| ids.contains(&it.id)) {
            return Vec::new();
        }
        let all = self.drain().into_iter();
        let (found, others) = all.partition(|waiting| ids.contains(&waiting.id));
        self.heap = Vec::into_iter(others).map(Reverse).collect();
        found
    }

    /// Takes all messages, in no particular order.
    pub(crate) fn drain(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.heap)
            .into_iter()
            .map(|Reverse(waiting)| waiting)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(eta: i64, index: u64) -> Waiting {
        Waiting {
            eta,
            tag: Tag { call: 1, index },
            queue: "celery".into(),
            priority: 0,
            size: 100,
            id: index,
        }
    }

    #[test]
    fn the_due_come_in_order_and_no_others() {
        let mut parked = Parked::default();
        for (eta, index) in [(30, 1), (10, 2), (20, 3), (10, 4)] {
            parked.push(waiting(eta, index));
        }
        assert_eq!(parked.next_eta(), Some(10));
        assert!(parked.due(9, 10, 1000).is_empty());
        let first: Vec<_> = parked
            .due(20, 2, 1000)
            .iter()
            .map(|w| w.tag.index)
            .collect();
        assert_eq!(first, [2, 4]);
        // A clock that jumps back makes no message due early.
        assert!(parked.due(5, 10, 1000).is_empty());
        // No more are taken than fit, but at least one.
        assert_eq!(parked.due(i64::MAX, 10, 1).len(), 1);
        assert_eq!(parked.due(i64::MAX, 10, 1000).len(), 1);
        assert_eq!(parked.next_eta(), None);
    }

    #[test]
    fn a_list_of_the_first_takes_nothing() {
        let mut parked = Parked::default();
        for (eta, index) in [(30, 1), (10, 2), (20, 3), (40, 4)] {
            parked.push(waiting(eta, index));
        }
        let first = |most, bytes| -> Vec<u64> {
            let first = parked.first(most, bytes);
            first.iter().map(|waiting| waiting.tag.index).collect()
        };
        assert_eq!(first(10, 1_000), [2, 3, 1, 4]);
        assert_eq!(first(2, 1_000), [2, 3]);
        assert_eq!(first(10, 1), [2]);
        assert_eq!(first(10, 101), [2, 3]);
        assert!(first(0, 1_000).is_empty());
        assert_eq!(parked.next_eta(), Some(10));
    }

    #[test]
    fn revoked_tasks_are_taken_and_the_others_keep_their_order() {
        let mut parked = Parked::default();
        for (eta, index) in [(30, 1), (10, 2), (20, 3), (40, 2)] {
            parked.push(waiting(eta, index));
        }
        assert!(parked.of_tasks(&HashSet::from([7])).is_empty());
        let mut taken = parked.of_tasks(&HashSet::from([2, 7]));
        taken.sort_unstable();
        let etas = |waiting: &[Waiting]| -> Vec<i64> { waiting.iter().map(|w| w.eta).collect() };
        assert_eq!(etas(&taken), [10, 40]);
        assert_eq!(etas(&parked.due(i64::MAX, 9, 9_999)), [20, 30]);
        assert_eq!(hash("an-id"), hash("an-id"));
        assert_ne!(hash("an-id"), hash("another"));
    }

    #[test]
    fn draining_takes_all() {
        let mut parked = Parked::default();
        parked.push(waiting(1, 1));
        parked.push(waiting(i64::MAX, 2));
        assert_eq!(parked.drain().len(), 2);
        assert!(parked.drain().is_empty());
    }
}
