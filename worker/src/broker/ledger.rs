//! Keeps account of the held messages: their number and size, the leases to renew, and the
//! deliveries to acknowledge.
//!
//! ```text
//!   claimed ──► busy ──► acknowledgement waits ──► forgotten
//!                │ ▲
//!                ▼ │
//!              parked (only counted: no slot, no renewal)
//! ```
//!
//! There are two limits: one on the number of messages, and an approximate one on their memory. A
//! message counts in its present form: as claimed, decoded, or as the settlement to be written. One
//! message may exceed the second limit, because its size is unknown until it has arrived.
//!
//! There is one lock, taken for whole batches. The counts can be read without it.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use tokio::sync::Notify;

use super::held_limit::HeldLimit;
use super::revoked::{Revoked, stamps};
use super::tag::Tag;

/// When this many acknowledgements wait, the next claim is made at once and carries them.
pub(crate) const ACKS: usize = 100;

/// The longest time that an acknowledgement or a verdict waits for others. Under load, also the
/// longest time that room for a message stays unused until there is room for more.
pub(crate) const LINGER: Duration = Duration::from_millis(5);

/// The most messages that a worker holds, whatever its concurrency. It bounds how many messages
/// must be given back or run again when the worker ends.
pub const MAX_HELD: usize = 4_000;

/// The account of the held messages.
#[derive(Debug)]
pub(crate) struct Ledger {
    limit: HeldLimit,
    byte_limit: usize,
    /// How many held messages wait for a limit of their task. They do not count against the
    /// limit, only against [`MAX_HELD`].
    waiting: AtomicUsize,
    /// How long a lease lasts without a renewal. `None`: until the broker says that it is lost.
    lease: Option<Duration>,
    busy: AtomicUsize,
    bytes: AtomicUsize,
    parked: AtomicUsize,
    inner: Mutex<Inner>,
    /// The lock for changing scores in the index according to the leases here. It makes renewing
    /// and parking take turns.
    pub(crate) scores: tokio::sync::Mutex<()>,
    /// Wakes the fetch loop: there is room, or something to acknowledge.
    pub(crate) nudge: Notify,
    /// Wakes the reader of messages: less memory is in use.
    pub(crate) lighter: Notify,
    /// Wakes the role that renews leases: a task waits until its lease is known to be good or lost.
    pub(crate) doubt: Notify,
    /// Wakes the tasks in doubt about their leases: a renewal was answered.
    renewed: Notify,
    /// Wakes the roles that wait until everything is settled.
    settled: Notify,
    /// Wakes the role that lets limited tasks begin: messages are no longer held.
    pub(crate) ended: Notify,
    /// Wakes the running tasks: one of them must end.
    terminations: Notify,
    /// The tasks that must not run, by their ids.
    pub(crate) revoked: Revoked,
    /// The tasks that must not run, by their stamps.
    pub(crate) revoked_stamps: Revoked,
}

/// A hasher for tags, which are looked up several times for each task. They are two numbers that the
/// worker chooses itself, so the map needs no protection against chosen keys.
type QuickHash = foldhash::fast::RandomState;

#[derive(Debug, Default)]
struct Inner {
    /// Every lease: of busy messages, and of those that wait for their acknowledgement.
    leases: HashMap<Tag, Lease, QuickHash>,
    acks: Vec<Tag>,
    /// How many tasks of each name have begun.
    begun: HashMap<String, u64>,
}

/// A task whose outcome is not known yet, as remote control shows it.
#[derive(Clone, Debug)]
pub(crate) struct InHand {
    pub(crate) task: Arc<Task>,
    /// When its code began. `None` while it waits for a slot.
    pub(crate) began: Option<Timestamp>,
    /// The number of the signal that ends it, once remote control has asked for that.
    signal: Option<i32>,
}

#[derive(Debug)]
struct Lease {
    /// About how many bytes the message takes in memory.
    bytes: usize,
    /// The last time at which this worker certainly held the lease.
    since: Instant,
    /// `true` once the verdict is known. The answer to its settlement then tells whether the lease
    /// was still held.
    answered: bool,
    lost: bool,
    /// The task, once the message was read and until its outcome is known.
    task: Option<InHand>,
}

/// The state of a lease, as far as this worker knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Ours,
    Lost,
    /// The lease was not renewed for as long as it lasts: this process was frozen, or cut off.
    Unsure,
}

/// The mark of a message that waits for a limit of its task.
#[derive(Debug)]
pub(crate) struct Waits(Arc<Ledger>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Ledger {
    /// Returns an empty ledger with an exact limit.
    #[cfg(test)]
    pub(crate) fn new(limit: usize, byte_limit: usize, lease: Option<Duration>) -> Self {
        Self::with(HeldLimit::between(limit, limit), byte_limit, lease)
    }

    /// Returns an empty ledger.
    pub(crate) fn with(limit: HeldLimit, byte_limit: usize, lease: Option<Duration>) -> Self {
        Ledger {
            limit,
            byte_limit,
            waiting: AtomicUsize::new(0),
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
            ended: Notify::new(),
            terminations: Notify::new(),
            revoked: Revoked::default(),
            revoked_stamps: Revoked::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Even if a thread panicked in a locked section, the two collections agree.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns how many more messages may be claimed: 0 while the held ones take too much memory.
    pub(crate) fn free(&self) -> usize {
        if self.bytes() >= self.byte_limit {
            return 0;
        }
        let (limit, busy) = (self.limit(), self.busy());
        let waiting = self.waiting.load(Ordering::Acquire);
        let most = limit.max(MAX_HELD);
        (limit + waiting).min(most).saturating_sub(busy)
    }

    /// Records that a held message waits for a limit of its task, until the returned mark is
    /// dropped.
    pub(crate) fn waits(self: &Arc<Self>) -> Waits {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.nudge.notify_one();
        Waits(Arc::clone(self))
    }

    /// Returns how many held messages are neither parked nor waiting only for their
    /// acknowledgement.
    pub(crate) fn busy(&self) -> usize {
        self.busy.load(Ordering::Acquire)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.get()
    }

    /// Sets how many messages may be held. If the new limit is lower, messages that are held
    /// already stay held.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.set_least(limit);
        self.nudge.notify_one();
    }

    /// Lets the limit follow the number of messages settled until now.
    pub(crate) fn adapt(&self, now: Instant) {
        self.limit.adapt(now);
    }

    /// Returns about how many bytes the held messages take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    pub(crate) fn byte_limit(&self) -> usize {
        self.byte_limit
    }

    pub(crate) fn parked_count(&self) -> usize {
        self.parked.load(Ordering::Acquire)
    }

    /// Holds these messages from now on, each with its size. The worker has held them since `since`
    /// or earlier.
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
                task: None,
            };
            inner.leases.insert(tag, lease);
        }
    }

    /// Records how many bytes a message takes now.
    pub(crate) fn weigh(&self, tag: Tag, bytes: usize) {
        if let Some(lease) = self.lock().leases.get_mut(&tag) {
            self.reweigh(lease, bytes);
        }
    }

    /// Records the task of a message that was read.
    pub(crate) fn reserve(&self, tag: Tag, task: &Arc<Task>) {
        if let Some(lease) = self.lock().leases.get_mut(&tag) {
            lease.task = Some(InHand {
                task: Arc::clone(task),
                began: None,
                signal: None,
            });
        }
    }

    /// Records that the code of a task begins. Returns `false` if remote control has ended the task
    /// before.
    pub(crate) fn begin(&self, tag: Tag, now: Timestamp) -> bool {
        let mut inner = self.lock();
        let Inner { leases, begun, .. } = &mut *inner;
        let Some(held) = leases.get_mut(&tag).and_then(|lease| lease.task.as_mut()) else {
            return true;
        };
        if held.signal.is_some() {
            return false;
        }
        held.began = Some(now);
        match begun.get_mut(&held.task.name) {
            Some(count) => *count += 1,
            None => drop(begun.insert(held.task.name.clone(), 1)),
        }
        true
    }

    /// Ends tasks by their ids: the code of a running one is dropped. Returns the ids of those that
    /// wait or run here.
    pub(crate) fn terminate(&self, ids: &[&str], signal: i32) -> Vec<String> {
        let ids: HashSet<&str> = ids.iter().copied().collect();
        let mut inner = self.lock();
        let held = inner
            .leases
            .values_mut()
            .filter_map(|lease| lease.task.as_mut());
        let mut found = Vec::new();
        for held in held.filter(|held| ids.contains(held.task.id.as_str())) {
            held.signal = Some(signal);
            found.push(held.task.id.clone());
        }
        drop(inner);
        self.terminations.notify_waiters();
        found
    }

    /// Waits until a running task must end, and returns the number of its signal.
    pub(crate) async fn terminated(&self, tag: Tag) -> i32 {
        loop {
            let mut asked = std::pin::pin!(self.terminations.notified());
            asked.as_mut().enable();
            if let Some(signal) = self.signal(tag) {
                return signal;
            }
            asked.await;
        }
    }

    /// Returns the number of the signal that ends a task, once remote control has asked for that.
    pub(crate) fn signal(&self, tag: Tag) -> Option<i32> {
        self.lock().leases.get(&tag)?.task.as_ref()?.signal
    }

    /// Returns `true` if remote control has revoked a task by its id or by a stamp.
    pub(crate) fn is_revoked(&self, task: &Task) -> bool {
        self.revoked.contains(&task.id)
            || (!self.revoked_stamps.is_empty()
                && stamps(task).any(|stamp| self.revoked_stamps.contains(&stamp)))
    }

    /// Returns the tasks whose outcome is not known yet, in the order of their claims.
    pub(crate) fn in_hand(&self) -> Vec<InHand> {
        let inner = self.lock();
        let leases = inner.leases.iter();
        let mut held: Vec<(Tag, InHand)> = leases
            .filter_map(|(tag, lease)| Some((*tag, lease.task.clone()?)))
            .collect();
        drop(inner);
        held.sort_unstable_by_key(|(tag, _)| *tag);
        held.into_iter().map(|(_, task)| task).collect()
    }

    /// Returns how many tasks of each name have begun since the start.
    pub(crate) fn begun(&self) -> HashMap<String, u64> {
        self.lock().begun.clone()
    }

    /// Records that the verdict on a message is known, and how many bytes it takes.
    pub(crate) fn answered(&self, tag: Tag, bytes: usize) {
        self.limit.settled(1);
        // A task may be large: it is dropped without the lock.
        let ended = self.lock().leases.get_mut(&tag).and_then(|lease| {
            lease.answered = true;
            self.reweigh(lease, bytes);
            lease.task.take()
        });
        self.lighter.notify_one();
        drop(ended);
    }

    fn reweigh(&self, lease: &mut Lease, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes.fetch_sub(lease.bytes, Ordering::AcqRel);
        lease.bytes = bytes;
    }

    /// Stops holding messages that are settled or given back.
    pub(crate) fn forget(&self, tags: &[Tag]) {
        self.remove(tags);
        self.make_room(tags.len());
    }

    fn remove(&self, tags: &[Tag]) {
        // Tasks may be large: they are dropped without the lock.
        let mut ended = Vec::new();
        let mut inner = self.lock();
        for tag in tags {
            if let Some(lease) = inner.leases.remove(tag) {
                self.bytes.fetch_sub(lease.bytes, Ordering::AcqRel);
                ended.extend(lease.task);
            }
        }
        drop(inner);
        drop(ended);
        self.ended.notify_one();
    }

    /// Returns those of these messages that are no longer held.
    pub(crate) fn gone(&self, tags: impl Iterator<Item = Tag>) -> Vec<Tag> {
        let inner = self.lock();
        tags.filter(|tag| !inner.leases.contains_key(tag)).collect()
    }

    /// Returns how many held messages wait for a limit of their task.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// Records that these messages wait for their ETA from now on.
    pub(crate) fn park(&self, tags: &[Tag]) {
        self.parked.fetch_add(tags.len(), Ordering::AcqRel);
        self.forget(tags);
    }

    /// Records that messages no longer wait for their ETA: they are held again, or were forgotten.
    pub(crate) fn unpark(&self, count: usize) {
        self.parked.fetch_sub(count, Ordering::AcqRel);
        self.nudge.notify_one();
        self.settled.notify_waiters();
    }

    /// Records messages that only wait for their acknowledgement, which the next claim sends. Their
    /// places are free at once: the claim that fills the places also acknowledges these messages.
    pub(crate) fn acknowledge(&self, tags: &[Tag]) {
        self.limit.settled(tags.len());
        // Tasks may be large: they are dropped without the lock.
        let mut ended = Vec::with_capacity(tags.len());
        let (before, after) = {
            let mut inner = self.lock();
            for tag in tags {
                if let Some(lease) = inner.leases.get_mut(tag) {
                    lease.answered = true;
                    ended.extend(lease.task.take());
                    self.reweigh(lease, 0);
                }
            }
            let before = inner.acks.len();
            inner.acks.extend_from_slice(tags);
            (before, inner.acks.len())
        };
        drop(ended);
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

    /// Records that these acknowledgements were answered.
    pub(crate) fn acknowledged(&self, tags: &[Tag]) {
        self.remove(tags);
        self.settled.notify_waiters();
    }

    /// Returns every lease to be renewed.
    pub(crate) fn leases(&self) -> Vec<Tag> {
        let inner = self.lock();
        let ours = inner.leases.iter().filter(|(_, lease)| !lease.lost);
        ours.map(|(tag, _)| *tag).collect()
    }

    /// Returns `true` if this worker still holds the lease, as far as it knows.
    pub(crate) fn holds(&self, tag: Tag) -> bool {
        self.lock()
            .leases
            .get(&tag)
            .is_some_and(|lease| !lease.lost)
    }

    /// Records the answer to a renewal that was sent at `at`: these leases are good, except for the
    /// lost ones. Returns how many of the lost ones were not yet known to be lost.
    ///
    /// A lease whose verdict is known by now does not count as lost: it may have been settled
    /// between the renewal and its answer.
    pub(crate) fn renewed(&self, tags: &[Tag], lost: &[Tag], at: Instant) -> usize {
        let mut inner = self.lock();
        for tag in tags {
            if let Some(lease) = inner.leases.get_mut(tag) {
                lease.since = at;
            }
        }
        let mut newly_lost = 0;
        for tag in lost {
            if let Some(lease) = inner.leases.get_mut(tag).filter(|lease| !lease.answered) {
                newly_lost += usize::from(!std::mem::replace(&mut lease.lost, true));
            }
        }
        drop(inner);
        self.renewed.notify_waiters();
        newly_lost
    }

    /// Records that these leases are lost. Returns how many of them were not yet known to be lost.
    pub(crate) fn lose(&self, tags: &[Tag]) -> usize {
        let mut inner = self.lock();
        let mut newly_lost = 0;
        for tag in tags {
            if let Some(lease) = inner.leases.get_mut(tag) {
                newly_lost += usize::from(!std::mem::replace(&mut lease.lost, true));
            }
        }
        newly_lost
    }

    /// Returns `true` if this lease is lost, as far as this worker knows.
    pub(crate) fn is_lost(&self, tag: Tag) -> bool {
        self.standing(tag) == Standing::Lost
    }

    /// Returns `true` if this worker holds the lease. If a renewal is overdue, the state is in
    /// doubt, and this function waits for the next renewal.
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
            Some(lease) if self.lease.is_some_and(|good| lease.since.elapsed() >= good) => {
                Standing::Unsure
            }
            // A message that is not held has no lease to lose.
            _ => Standing::Ours,
        }
    }

    /// Waits until no message is held.
    pub(crate) async fn empty(&self) {
        self.until(|inner| inner.leases.is_empty()).await;
    }

    /// Waits until no message is held or parked.
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

    fn tags(n: u64) -> Vec<Tag> {
        (1..=n).map(|index| Tag { call: 1, index }).collect()
    }

    fn ledger(limit: usize) -> Ledger {
        Ledger::new(limit, 1_000, Some(Duration::from_secs(30)))
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
    fn parked_messages_take_no_place() {
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
    fn messages_that_wait_for_their_rate_take_no_place_of_others() {
        let ledger = Arc::new(ledger(3));
        hold(&ledger, &tags(3));
        assert_eq!(ledger.free(), 0);
        let waits = [ledger.waits(), ledger.waits()];
        assert_eq!(ledger.free(), 2);
        drop(waits);
        assert_eq!(ledger.free(), 0);
        let many: Vec<Waits> = (0..2 * MAX_HELD).map(|_| ledger.waits()).collect();
        assert_eq!(ledger.free(), MAX_HELD - 3);
        drop(many);
    }

    #[test]
    fn the_limit_can_change() {
        let ledger = ledger(1);
        hold(&ledger, &tags(2));
        ledger.set_limit(5);
        assert_eq!((ledger.limit(), ledger.free()), (5, 3));
        ledger.set_limit(1);
        assert_eq!(ledger.free(), 0);
    }

    #[test]
    fn large_messages_take_the_place_of_many() {
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
        // A message that is not held takes no memory.
        ledger.weigh(tags[2], 7);
        assert_eq!((ledger.bytes(), ledger.free()), (0, 3));
    }

    #[test]
    fn a_lost_lease_is_reported_once_and_not_renewed() {
        let ledger = ledger(3);
        let tags = tags(3);
        hold(&ledger, &tags);
        // It is being settled: the answer to its settlement tells whether it was lost.
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
    async fn a_lease_in_doubt_waits_for_a_renewal() {
        let ledger = ledger(2);
        let tags = tags(2);
        let then = Instant::now().checked_sub(ledger.lease.unwrap()).unwrap();
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
