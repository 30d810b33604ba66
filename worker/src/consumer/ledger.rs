//! What is held: how much of it counts against the limit, whose leases are to be renewed, what is to be acknowledged.
//!
//! ```text
//!   claimed ──► busy ──► acknowledgement waits ──► forgotten
//!                │ ▲
//!                ▼ │
//!              parked (not here: no slot, no renewal)
//! ```
//!
//! One lock, taken for whole batches. The counts can be read without it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::pace::ACKS;
use crate::delivery::Tag;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: usize,
    busy: AtomicUsize,
    parked: AtomicUsize,
    inner: Mutex<Inner>,
    /// Held by whoever changes scores in the index by what the leases here are: renewing and parking take turns.
    pub(crate) scores: tokio::sync::Mutex<()>,
    /// Wakes the fetch loop: there is room, or something to acknowledge.
    pub(crate) nudge: Notify,
    /// Wakes whoever waits for everything to be settled.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every lease to be renewed: what is busy, and what waits for its acknowledgement.
    leases: HashSet<Tag>,
    acks: Vec<Tag>,
}

impl Ledger {
    pub(crate) fn new(limit: usize) -> Self {
        Ledger {
            limit,
            busy: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            inner: Mutex::default(),
            scores: tokio::sync::Mutex::new(()),
            nudge: Notify::new(),
            settled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in a locked section can leave the two collections in contradiction.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more may be claimed.
    pub(crate) fn free(&self) -> usize {
        self.limit.saturating_sub(self.busy())
    }

    /// How many are held that are neither parked nor done but for their acknowledgement.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    pub(crate) fn parked_count(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// Held from now on.
    pub(crate) fn hold(&self, tags: impl ExactSizeIterator<Item = Tag>) {
        self.busy.fetch_add(tags.len(), Ordering::AcqRel);
        self.lock().leases.extend(tags);
    }

    /// Held no longer: settled, lost, or given back.
    pub(crate) fn forget(&self, tags: &[Tag]) {
        {
            let mut inner = self.lock();
            for tag in tags {
                inner.leases.remove(tag);
            }
        }
        self.make_room(tags.len());
    }

    /// Waits for its ETA from now on.
    pub(crate) fn park(&self, tags: &[Tag]) {
        self.parked.fetch_add(tags.len(), Ordering::AcqRel);
        self.forget(tags);
    }

    /// Waited for its ETA until now, and is held again or was forgotten.
    pub(crate) fn unpark(&self, count: usize) {
        self.parked.fetch_sub(count, Ordering::AcqRel);
        self.nudge.notify_one();
    }

    /// Done but for the acknowledgement, which rides with the next claim. Makes room at once: that claim takes away
    /// what it replaces.
    pub(crate) fn acknowledge(&self, tags: &[Tag]) {
        let (before, after) = {
            let mut inner = self.lock();
            let before = inner.acks.len();
            inner.acks.extend_from_slice(tags);
            (before, inner.acks.len())
        };
        self.busy.fetch_sub(tags.len(), Ordering::AcqRel);
        if before == 0 || (before < ACKS && after >= ACKS) {
            self.nudge.notify_one();
        }
    }

    pub(crate) fn acks_waiting(&self) -> usize {
        self.lock().acks.len()
    }

    /// Takes up to `most` acknowledgements, oldest first.
    pub(crate) fn take_acks(&self, most: usize) -> Vec<Tag> {
        let mut inner = self.lock();
        if inner.acks.len() <= most {
            std::mem::take(&mut inner.acks)
        } else {
            inner.acks.drain(..most).collect()
        }
    }

    /// These acknowledgements were answered.
    pub(crate) fn acknowledged(&self, tags: &[Tag]) {
        let mut inner = self.lock();
        for tag in tags {
            inner.leases.remove(tag);
        }
        drop(inner);
        self.settled.notify_waiters();
    }

    /// Every lease to be renewed.
    pub(crate) fn leases(&self) -> Vec<Tag> {
        self.lock().leases.iter().copied().collect()
    }

    /// Whether this one is still held, as far as known here.
    pub(crate) fn holds(&self, tag: Tag) -> bool {
        self.lock().leases.contains(&tag)
    }

    /// Waits until nothing is held.
    pub(crate) async fn empty(&self) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if self.lock().leases.is_empty() {
                return;
            }
            settled.await;
        }
    }

    fn make_room(&self, count: usize) {
        if count > 0 {
            self.busy.fetch_sub(count, Ordering::AcqRel);
            self.nudge.notify_one();
            self.settled.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(n: u16) -> Vec<Tag> {
        (1..=n).map(|index| Tag { call: 1, index }).collect()
    }

    #[tokio::test]
    async fn an_acknowledgement_makes_room_but_keeps_its_lease() {
        let ledger = Ledger::new(3);
        let tags = tags(3);
        ledger.hold(tags.iter().copied());
        assert_eq!((ledger.free(), ledger.leases().len()), (0, 3));
        ledger.acknowledge(&tags[..2]);
        assert_eq!(
            (ledger.free(), ledger.leases().len(), ledger.acks_waiting()),
            (2, 3, 2)
        );
        let taken = ledger.take_acks(1);
        assert_eq!(taken, tags[..1]);
        ledger.acknowledged(&taken);
        assert_eq!((ledger.leases().len(), ledger.acks_waiting()), (2, 1));
        ledger.forget(&tags[2..]);
        let rest = ledger.take_acks(10);
        ledger.acknowledged(&rest);
        ledger.empty().await;
        assert_eq!(ledger.free(), 3);
    }

    #[test]
    fn the_parked_take_no_place() {
        let ledger = Ledger::new(2);
        let tags = tags(2);
        ledger.hold(tags.iter().copied());
        ledger.park(&tags);
        assert_eq!(
            (ledger.free(), ledger.parked_count(), ledger.leases().len()),
            (2, 2, 0)
        );
        ledger.unpark(1);
        assert_eq!(ledger.parked_count(), 1);
    }
}
