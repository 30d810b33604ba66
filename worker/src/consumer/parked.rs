//! Messages that wait for their ETA, in the order in which they are due. No clock.
//!
//! Only what is needed to ask for the body again is kept: some seventy bytes a message.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use crate::source::Tag;

/// A message that waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Waiting {
    /// Unix microseconds. First, so that it decides the order.
    pub(crate) eta: i64,
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) priority: u8,
    /// Its bytes, as it was claimed.
    pub(crate) size: usize,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Parked {
    heap: BinaryHeap<Reverse<Waiting>>,
}

impl Parked {
    pub(crate) fn push(&mut self, waiting: Waiting) {
        self.heap.push(Reverse(waiting));
    }

    /// When the first is due.
    pub(crate) fn next_eta(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse(first)| first.eta)
    }

    /// Takes up to `most` that are due at `now`; no more once they have so many bytes.
    pub(crate) fn due(&mut self, now: i64, most: usize, bytes: usize) -> Vec<Waiting> {
        let (mut due, mut size) = (Vec::new(), 0);
        while due.len() < most && size < bytes && self.next_eta().is_some_and(|eta| eta <= now) {
            let first = self.heap.pop().map(|Reverse(waiting)| waiting);
            size += first.as_ref().map_or(0, |first| first.size);
            due.extend(first);
        }
        due
    }

    /// Takes all, in no order.
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

    fn waiting(eta: i64, index: u16) -> Waiting {
        Waiting {
            eta,
            tag: Tag { call: 1, index },
            queue: "celery".into(),
            priority: 0,
            size: 100,
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
        // A clock that jumps back takes nothing out of turn.
        assert!(parked.due(5, 10, 1000).is_empty());
        // Nor are more taken than fit, but one at least.
        assert_eq!(parked.due(i64::MAX, 10, 1).len(), 1);
        assert_eq!(parked.due(i64::MAX, 10, 1000).len(), 1);
        assert_eq!(parked.next_eta(), None);
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
