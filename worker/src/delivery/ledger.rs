//! What is held: how much of it counts against the limit, whose leases are to be renewed, what is to be acknowledged.
//!
//! ```text
//!   claimed ──► busy ──► acknowledgement waits ──► forgotten
//!                │ ▲
//!                ▼ │
//!              parked (not here: no slot, no renewal)
//! ```
//!
//! Two limits: a number of messages, and about the memory they take – as they came, decoded, or as what is to be written
//! for them. What is above the second may be one message more: nobody knows the size of one before it is there.
//!
//! One lock, taken for whole batches. The counts can be read without it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::source::Tag;

/// This many acknowledgements are not kept waiting: a claim carries them at once.
pub(crate) const ACKS: usize = 100;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: usize,
    byte_limit: usize,
    /// How long a lease is good without being renewed.
    lease: Duration,
    busy: AtomicUsize,
    bytes: AtomicUsize,
    parked: AtomicUsize,
    inner: Mutex<Inner>,
    /// Held by whoever changes scores in the index by what the leases here are: renewing and parking take turns.
    pub(crate) scores: tokio::sync::Mutex<()>,
    /// Wakes the fetch loop: there is room, or something to acknowledge.
    pub(crate) nudge: Notify,
    /// Wakes whoever reads messages: less is in memory.
    pub(crate) lighter: Notify,
    /// Wakes whoever renews leases: somebody has to know now.
    pub(crate) doubt: Notify,
    /// Wakes whoever waits for that.
    renewed: Notify,
    /// Wakes whoever waits for everything to be settled.
    settled: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// Every lease: of what is busy, and of what waits for its acknowledgement.
    leases: HashMap<Tag, Lease>,
    acks: Vec<Tag>,
}

#[derive(Debug)]
struct Lease {
    /// About what is in memory for it.
    bytes: usize,
    /// It was ours then.
    since: Instant,
    /// What is to be done with it is known. Whether it was still ours then is told by the answer to that.
    answered: bool,
    lost: bool,
}

/// What is known of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ours,
    Lost,
    /// It was not renewed for as long as it lasts: this process was frozen, or cut off.
    Unsure,
}

impl Ledger {
    pub(crate) fn new(limit: usize, byte_limit: usize, lease: Duration) -> Self {
        Ledger {
            limit,
            byte_limit,
            lease,
            busy: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            parked: AtomicUsize::new(0),
            inner: Mutex::default(),
            scores: tokio::sync::Mutex::new(()),
            nudge: Notify::new(),
            lighter: Notify::new(),
            doubt: Notify::new(),
            renewed: Notify::new(),
            settled: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing in a locked section can leave the two collections in contradiction.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many more may be claimed: none while what is held is too large.
    pub(crate) fn free(&self) -> usize {
        if self.bytes() < self.byte_limit {
            self.limit.saturating_sub(self.busy())
        } else {
            0
        }
    }

    /// How many are held that are neither parked nor done but for their acknowledgement.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// About how much memory is taken by what is held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    pub(crate) fn byte_limit(&self) -> usize {
        self.byte_limit
    }

    pub(crate) fn parked_count(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// Held from now on, each with its size; ours since `since` at the latest.
    pub(crate) fn hold(&self, since: Instant, held: impl ExactSizeIterator<Item = (Tag, usize)>) {
        self.busy.fetch_add(held.len(), Ordering::AcqRel);
        let mut inner = self.lock();
        for (tag, bytes) in held {
            self.bytes.fetch_add(bytes, Ordering::AcqRel);
            let lease = Lease {
                bytes,
                since,
                answered: false,
                lost: false,
            };
            inner.leases.insert(tag, lease);
        }
    }

    /// It takes so much memory now.
    pub(crate) fn weigh(&self, tag: Tag, bytes: usize) {
        if let Some(lease) = self.lock().leases.get_mut(&tag) {
            self.reweigh(lease, bytes);
        }
    }

    /// What is to be done with it is known, and takes so much memory.
    pub(crate) fn answered(&self, tag: Tag, bytes: usize) {
        if let Some(lease) = self.lock().leases.get_mut(&tag) {
            lease.answered = true;
            self.reweigh(lease, bytes);
        }
        self.lighter.notify_one();
    }

    fn reweigh(&self, lease: &mut Lease, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes.fetch_sub(lease.bytes, Ordering::AcqRel);
        lease.bytes = bytes;
    }

    /// Held no longer: settled, or given back.
    pub(crate) fn forget(&self, tags: &[Tag]) {
        self.remove(tags);
        self.make_room(tags.len());
    }

    fn remove(&self, tags: &[Tag]) {
        let mut inner = self.lock();
        for tag in tags {
            if let Some(lease) = inner.leases.remove(tag) {
                self.bytes.fetch_sub(lease.bytes, Ordering::AcqRel);
            }
        }
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
        self.settled.notify_waiters();
    }

    /// Done but for the acknowledgement, which rides with the next claim. Makes room at once: that claim takes away
    /// what it replaces.
    pub(crate) fn acknowledge(&self, tags: &[Tag]) {
        let (before, after) = {
            let mut inner = self.lock();
            for tag in tags {
                if let Some(lease) = inner.leases.get_mut(tag) {
                    lease.answered = true;
                    self.reweigh(lease, 0);
                }
            }
            let before = inner.acks.len();
            inner.acks.extend_from_slice(tags);
            (before, inner.acks.len())
        };
        self.busy.fetch_sub(tags.len(), Ordering::AcqRel);
        self.lighter.notify_one();
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
        self.remove(tags);
        self.settled.notify_waiters();
    }

    /// Every lease to be renewed.
    pub(crate) fn leases(&self) -> Vec<Tag> {
        let inner = self.lock();
        let ours = inner.leases.iter().filter(|(_, lease)| !lease.lost);
        ours.map(|(tag, _)| *tag).collect()
    }

    /// Whether this one is still held, as far as known here.
    pub(crate) fn holds(&self, tag: Tag) -> bool {
        self.lock()
            .leases
            .get(&tag)
            .is_some_and(|lease| !lease.lost)
    }

    /// A renewal that was sent at `at` was answered: these leases are good, but for the lost ones. Gives back how many
    /// of those are news. Not so one that was answered meanwhile: it may have been settled between the two looks.
    pub(crate) fn renewed(&self, tags: &[Tag], lost: &[Tag], at: Instant) -> usize {
        let mut inner = self.lock();
        for tag in tags {
            if let Some(lease) = inner.leases.get_mut(tag) {
                lease.since = at;
            }
        }
        let mut news = 0;
        for tag in lost {
            if let Some(lease) = inner.leases.get_mut(tag).filter(|lease| !lease.answered) {
                news += usize::from(!std::mem::replace(&mut lease.lost, true));
            }
        }
        drop(inner);
        self.renewed.notify_waiters();
        news
    }

    /// These are known to be lost. Gives back how many of them that was not known of.
    pub(crate) fn lose(&self, tags: &[Tag]) -> usize {
        let mut inner = self.lock();
        let mut news = 0;
        for tag in tags {
            if let Some(lease) = inner.leases.get_mut(tag) {
                news += usize::from(!std::mem::replace(&mut lease.lost, true));
            }
        }
        news
    }

    /// Whether this one is lost, as far as known here.
    pub(crate) fn is_lost(&self, tag: Tag) -> bool {
        self.standing(tag) == Standing::Lost
    }

    /// Whether this one is ours. Where that is in doubt, because no renewal was answered for the time of a lease, waits for
    /// the next one.
    pub(crate) async fn is_ours(&self, tag: Tag) -> bool {
        loop {
            let renewed = self.renewed.notified();
            tokio::pin!(renewed);
            renewed.as_mut().enable();
            match self.standing(tag) {
                Standing::Ours => return true,
                Standing::Lost => return false,
                Standing::Unsure => {}
            }
            self.doubt.notify_one();
            renewed.await;
        }
    }

    fn standing(&self, tag: Tag) -> Standing {
        match self.lock().leases.get(&tag) {
            Some(lease) if lease.lost => Standing::Lost,
            Some(lease) if lease.since.elapsed() >= self.lease => Standing::Unsure,
            // One that is not here has no lease to lose.
            _ => Standing::Ours,
        }
    }

    /// Waits until nothing is held.
    pub(crate) async fn empty(&self) {
        self.until(|inner| inner.leases.is_empty()).await;
    }

    /// Waits until nothing is held and nothing is parked.
    pub(crate) async fn deserted(&self) {
        self.until(|inner| inner.leases.is_empty() && self.parked_count() == 0)
            .await;
    }

    async fn until(&self, so: impl Fn(&Inner) -> bool) {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            settled.as_mut().enable();
            if so(&self.lock()) {
                return;
            }
            settled.await;
        }
    }

    fn make_room(&self, count: usize) {
        if count > 0 {
            self.busy.fetch_sub(count, Ordering::AcqRel);
            self.nudge.notify_one();
            self.lighter.notify_one();
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

    fn ledger(limit: usize) -> Ledger {
        Ledger::new(limit, 1_000, Duration::from_secs(30))
    }

    fn hold(ledger: &Ledger, tags: &[Tag]) {
        ledger.hold(Instant::now(), tags.iter().map(|tag| (*tag, 10)));
    }

    #[tokio::test]
    async fn an_acknowledgement_makes_room_but_keeps_its_lease() {
        let ledger = ledger(3);
        let tags = tags(3);
        hold(&ledger, &tags);
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
        let ledger = ledger(2);
        let tags = tags(2);
        hold(&ledger, &tags);
        ledger.park(&tags);
        assert_eq!(
            (ledger.free(), ledger.parked_count(), ledger.leases().len()),
            (2, 2, 0)
        );
        ledger.unpark(1);
        assert_eq!(ledger.parked_count(), 1);
    }

    #[test]
    fn what_is_large_takes_the_place_of_many() {
        let ledger = ledger(3);
        let tags = tags(3);
        hold(&ledger, &tags[..2]);
        assert_eq!((ledger.bytes(), ledger.free()), (20, 1));
        ledger.weigh(tags[0], 995);
        assert_eq!((ledger.bytes(), ledger.free()), (1_005, 0));
        ledger.answered(tags[0], 20);
        assert_eq!((ledger.bytes(), ledger.free()), (30, 1));
        ledger.weigh(tags[1], 2_000);
        ledger.acknowledge(&tags[1..2]);
        assert_eq!((ledger.bytes(), ledger.free()), (20, 2));
        ledger.forget(&tags[..1]);
        ledger.acknowledged(&tags[1..2]);
        // Not held: it weighs nothing.
        ledger.weigh(tags[2], 7);
        assert_eq!((ledger.bytes(), ledger.free()), (0, 3));
    }

    #[test]
    fn a_lost_lease_is_news_once_and_renewed_no_more() {
        let ledger = ledger(3);
        let tags = tags(3);
        hold(&ledger, &tags);
        // Being settled: whether it was lost says the answer to that.
        ledger.answered(tags[2], 0);
        let at = Instant::now();
        assert_eq!(ledger.renewed(&tags, &tags[1..], at), 1);
        assert_eq!(ledger.renewed(&tags, &tags[1..], at), 0);
        assert!(ledger.is_lost(tags[1]) && !ledger.is_lost(tags[2]));
        let mut leases = ledger.leases();
        leases.sort_unstable();
        assert_eq!(leases, [tags[0], tags[2]]);
        assert_eq!(ledger.lose(&tags[1..]), 1);
    }

    #[tokio::test]
    async fn a_lease_that_was_not_renewed_in_time_is_asked_for() {
        let ledger = ledger(2);
        let tags = tags(2);
        let then = Instant::now().checked_sub(ledger.lease).unwrap();
        ledger.hold(then, tags.iter().map(|tag| (*tag, 1)));
        let asked = async { tokio::join!(ledger.is_ours(tags[0]), ledger.is_ours(tags[1])) };
        let renewal = async {
            ledger.doubt.notified().await;
            ledger.renewed(&tags, &tags[1..], Instant::now());
        };
        let (asked, ()) = tokio::join!(asked, renewal);
        assert_eq!(asked, (true, false));
    }
}
