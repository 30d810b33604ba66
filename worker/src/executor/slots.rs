//! The slots: the right to run. Their number can change while the worker runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of a worker.
#[derive(Debug)]
pub(crate) struct Slots {
    permits: Arc<Semaphore>,
    count: AtomicUsize,
    /// The number of slots that will be removed, but whose tasks still run. Each is removed when
    /// its task ends.
    going: AtomicUsize,
    /// The number of slots that were written off. They count, but run nothing any more.
    lost: AtomicUsize,
}

/// The right to run a task. Dropping it frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    slots: Arc<Slots>,
}

/// How a call gets its slot.
pub(super) enum Turn {
    /// It has not asked for one yet.
    Unasked,
    /// It has one, or gets none because the worker stops.
    Ready(Option<Slot>),
    /// It stands in the line for one.
    Waits(BoxFuture<'static, Option<Slot>>),
}

impl Slots {
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Slots {
            permits: Arc::new(Semaphore::new(count)),
            count: AtomicUsize::new(count),
            going: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
        })
    }

    /// Returns the number of slots.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Adds slots. Returns `false` if there would be more than `most`.
    pub(crate) fn grow(&self, by: usize, most: usize) -> bool {
        let grown = |count: usize| count.checked_add(by).filter(|count| *count <= most);
        if self.change(grown).is_err() {
            return false;
        }
        // Slots that were to be removed stay, and count as added.
        let going = self
            .going
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |going| {
                Some(going.saturating_sub(by))
            });
        let going = going.unwrap_or_else(|going| going);
        self.permits.add_permits(by.saturating_sub(going));
        true
    }

    /// Takes slots away: free ones at once, taken ones when their tasks end. Returns `false` if no
    /// slot would be left that can run a task.
    pub(crate) fn shrink(&self, by: usize) -> bool {
        let lost = self.lost.load(Ordering::Acquire);
        let shrunk = |count: usize| count.checked_sub(by).filter(|count| *count > lost);
        if self.change(shrunk).is_err() {
            return false;
        }
        let free = self.permits.forget_permits(by);
        self.going.fetch_add(by - free, Ordering::AcqRel);
        true
    }

    fn change(&self, change: impl Fn(usize) -> Option<usize>) -> Result<usize, usize> {
        self.count
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, change)
    }

    /// Takes a slot if one is free.
    pub(super) fn try_acquire(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        permit.ok().map(|permit| self.slot(permit))
    }

    /// Waits for a slot.
    pub(super) async fn acquire(self: &Arc<Self>) -> Option<Slot> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        // The semaphore is never closed.
        permit.ok().map(|permit| self.slot(permit))
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Slot {
        Slot {
            permit: Some(permit),
            slots: Arc::clone(self),
        }
    }
}

impl Slot {
    /// Loses the slot: its task does not end.
    pub(super) fn write_off(mut self) {
        if let Some(permit) = self.permit.take() {
            permit.forget();
            self.slots.lost.fetch_add(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(permit) = self.permit.take() else {
            return;
        };
        let going = &self.slots.going;
        let one_less = |going: usize| going.checked_sub(1);
        if going.load(Ordering::Acquire) > 0
            && going
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less)
                .is_ok()
        {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many slots can be taken now.
    fn free(slots: &Arc<Slots>) -> usize {
        let taken: Vec<Slot> = std::iter::from_fn(|| slots.try_acquire()).collect();
        taken.len()
    }

    #[test]
    fn slots_are_added_and_taken_away() {
        let slots = Slots::new(2);
        assert!(slots.grow(3, 10) && !slots.grow(6, 10) && !slots.grow(usize::MAX, 10));
        assert_eq!((slots.count(), free(&slots)), (5, 5));
        assert!(slots.shrink(4) && !slots.shrink(1) && !slots.shrink(usize::MAX));
        assert_eq!((slots.count(), free(&slots)), (1, 1));
    }

    #[test]
    fn a_taken_slot_goes_when_its_task_ends() {
        let slots = Slots::new(3);
        let mut taken: Vec<Slot> = std::iter::from_fn(|| slots.try_acquire()).collect();
        assert!(slots.shrink(2));
        taken.pop();
        assert_eq!((slots.count(), free(&slots)), (1, 0));
        // A slot that was to be removed stays if others are added.
        assert!(slots.grow(2, 10));
        assert_eq!((slots.count(), free(&slots)), (3, 1));
        taken.clear();
        assert_eq!(free(&slots), 3);
    }

    #[test]
    fn a_lost_slot_does_not_come_back() {
        let slots = Slots::new(2);
        slots.try_acquire().unwrap().write_off();
        assert_eq!((slots.count(), free(&slots)), (2, 1));
        // The other one has to stay.
        assert!(!slots.shrink(1) && slots.grow(1, 10) && slots.shrink(1));
        assert_eq!((slots.count(), free(&slots)), (2, 1));
    }

    #[tokio::test]
    async fn a_task_that_waits_gets_an_added_slot() {
        let slots = Slots::new(1);
        let _taken = slots.try_acquire().unwrap();
        let waiting = tokio::spawn({
            let slots = Arc::clone(&slots);
            async move { slots.acquire().await.is_some() }
        });
        tokio::task::yield_now().await;
        assert!(slots.grow(1, 2));
        assert!(waiting.await.unwrap());
    }
}
