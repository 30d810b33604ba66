//! The interface between the consumer, which moves messages, and the executor, which runs tasks.
//!
//! The consumer hands over [`Delivery`]s: decoded, due, not expired, and of a registered task. The
//! executor calls [`Settler::begin`] before it runs one. It then reports exactly once what happened
//! to it: an [`Outcome`], through [`Settler::finish`]. The executor reports only facts. The
//! consumer's rules (`consumer/verdict.rs`) alone decide what they mean for the message, the
//! result, the log and the metrics.
//!
//! Bounds: a delivery counts as *held* from its claim until it has been settled, and the consumer
//! claims no more than [`held_limit`] allows. The queues between the two therefore cannot grow
//! beyond that. An executor or a backend that is slow also slows down the claims.

mod outbox;
mod rerun;
mod retries;
mod unique;

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::result::{ExceptionDoc, ResultDoc};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::outbox::{Caller, Manner, Outbox, Planned, Sending, Sent};
pub use self::rerun::NewArguments;
pub use self::retries::{Backoff, Retries};
pub(crate) use self::retries::{MaxRetries, RetryHeaders};
pub use self::unique::{Unique, Until};
use crate::broker::{Ledger, Settlement};
pub use crate::broker::{Lock, MAX_HELD, Tag};
use crate::clock::now;
use crate::monitor::Of;
use crate::trace::Run;

/// How many messages are held for each slot unless the setting `prefetch_multiplier` says
/// otherwise. Celery has the same default.
pub const PREFETCH_MULTIPLIER: usize = 4;

/// The most messages that a worker holds while its tasks are short, unless the setting
/// `prefetch_multiplier` is given. Holding more does not make a worker faster, and it gives back
/// this many in less than a second when it stops.
pub const MAX_HELD_SHORT: usize = 1_600;

/// The size in bytes of the held messages, roughly, at which the worker stops reading and claiming.
/// That is two of the largest bodies, or 64 KiB for each of [`MAX_HELD`]. It is a small part of the
/// memory of a machine that runs a hundred tasks.
pub const MAX_HELD_BYTES: usize = 256 << 20;

/// Returns how many messages a worker may hold at once.
///
/// It is `concurrency × prefetch_multiplier`, as in Celery, where a multiplier of 0 means "no
/// limit". It is always enough for two of the largest batches, so that one batch can fill while the
/// other runs.
pub fn held_limit(concurrency: usize, prefetch_multiplier: usize, largest_batch: usize) -> usize {
    let by_slots = match prefetch_multiplier {
        0 => MAX_HELD,
        n => concurrency.saturating_mul(n),
    };
    by_slots
        .max(largest_batch.saturating_mul(2))
        .clamp(1, MAX_HELD)
}

/// A message to be run. If a bug drops it without an outcome, it goes back as if its task had
/// begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The claim that this delivery belongs to.
    pub tag: Tag,
    /// The queue that the message was claimed from (without prefix and priority step).
    pub queue: Arc<str>,
    /// The decoded message.
    pub task: Arc<Task>,
    /// When the message was claimed, or, if it has an ETA, when it became due.
    pub received: Instant,
    /// The size of the message in bytes, as it was claimed.
    pub(crate) size: usize,
    /// What its task has sent.
    pub(crate) outbox: Outbox,
    /// The span of its run, if its trace is recorded.
    pub(crate) run: Option<Arc<Run>>,
    /// The lock that it has, if its task is unique.
    pub(crate) unique: Option<Unique>,
    /// `true` if the broker has noted that its task begins, which may begin only once.
    pub(crate) is_noted: bool,
    /// The channel for its outcome, until the outcome is known.
    pub(crate) orders: Option<mpsc::UnboundedSender<Order>>,
}

impl Delivery {
    /// Returns its task for observers.
    pub(crate) fn of(&self) -> Of<'_> {
        Of {
            task: &self.task,
            queue: &self.queue,
            run: self.run.as_deref(),
        }
    }

    /// Pairs the delivery with its outcome. The delivery then does not report another outcome when
    /// it is dropped.
    pub(crate) fn ended(mut self, outcome: Outcome) -> Order {
        self.orders = None;
        Order::Finish(self, outcome)
    }

    /// Returns `true` if its `expires` has passed, so that its task must not start any more.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        let expires = self.task.expires;
        expires.is_some_and(|expires| expires.unix_micros() <= now.unix_micros())
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(orders) = self.orders.take() else {
            return;
        };
        let delivery = Delivery {
            tag: self.tag,
            queue: Arc::clone(&self.queue),
            task: Arc::clone(&self.task),
            received: self.received,
            size: self.size,
            outbox: self.outbox.clone(),
            run: self.run.clone(),
            unique: self.unique.clone(),
            is_noted: self.is_noted,
            orders: None,
        };
        // The send fails only after the consumer has closed; then the lease returns the message to
        // its queue.
        let _ = orders.send(delivery.ended(Outcome::Interrupted));
    }
}

/// The end of a delivery, as far as the executor can see.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Its code returned a value.
    Succeeded {
        /// The value, as JSON.
        value: Box<RawValue>,
        /// How long the code ran; in a batch, how long the whole batch ran.
        runtime: Duration,
    },
    /// Its code raised an error.
    Raised {
        /// The error, in the shape of a Python exception.
        exception: ExceptionDoc,
        /// `true` if another run can end better; `false` for wrong arguments and bugs.
        retryable: bool,
    },
    /// Its code asked to be run again.
    Retry {
        /// How long to wait before that run.
        countdown: Duration,
        /// The error behind the request.
        reason: Option<ExceptionDoc>,
        /// The largest number of retries that the code allows. `None` means no limit.
        max_retries: Option<u32>,
        /// The arguments of that run. `None`: they stay.
        arguments: Option<Box<NewArguments>>,
    },
    /// Its code refused the message.
    Rejected {
        /// Why.
        reason: String,
        /// `true` if the message may be delivered again.
        requeue: bool,
    },
    /// Its code asked not to record how it ended.
    Ignored,
    /// Its code put another call in its place, which goes on under its id.
    Replaced,
    /// Its code had begun in a worker that was lost, and must not begin again.
    WorkerLost,
    /// Its code panicked with this message.
    Panicked(String),
    /// Its code was stopped because it ran longer than this, its hard time limit.
    TimedOut(Duration),
    /// Its `expires` passed before its code began, or while its code waited for a server that was
    /// away.
    Expired,
    /// It was revoked before its code began.
    Revoked,
    /// Its task is unique, and another call with the same arguments waits or runs.
    Duplicate {
        /// The id of that call.
        of: String,
    },
    /// Its code was ended by remote control.
    Terminated {
        /// The number of the signal that a process would have got.
        signal: i32,
    },
    /// Its code did not begin: the worker stops, or another worker has the message.
    NotStarted,
    /// Its code does not begin: an earlier delivery of this message has succeeded, as its stored
    /// result says.
    SucceededBefore {
        /// The stored value.
        value: Box<RawValue>,
        /// `true` if the calls that follow from it have been published.
        has_followed: bool,
    },
    /// Its code needs a server that is away, and the worker stops or has lost the message to
    /// another worker.
    Unavailable {
        /// What is away, and the error that showed it.
        cause: String,
    },
    /// Its code was dropped unfinished because the worker stops.
    Interrupted,
}

/// What the consumer needs to know about registered tasks.
pub trait TaskNames: Send + Sync {
    /// Returns `true` if a task of this name is registered.
    fn knows(&self, name: &str) -> bool;

    /// Returns what makes a call unique, or `None` if its task is not.
    fn unique(&self, task: &Task) -> Option<Unique> {
        let _ = task;
        None
    }

    /// Returns how this failure of a task is retried, or `None` if it is final.
    fn retries(&self, task: &Task, exception: &ExceptionDoc) -> Option<Retries> {
        let _ = (task, exception);
        None
    }

    /// Returns `true` if this failure of a task is expected.
    fn expects(&self, name: &str, exception: &ExceptionDoc) -> bool {
        let _ = (name, exception);
        false
    }

    /// Returns `true` if the message of a failed task becomes a dead letter.
    fn keeps_failed(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns `true` if the message of a task over its time limit goes back to its queue.
    fn requeues_late(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns `true` if this task is not run again after a worker was lost that had begun it.
    fn at_most_once(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns `true` if the results of this task are not stored unless the message asks for it.
    fn ignores_result(&self, name: &str) -> bool {
        let _ = name;
        false
    }

    /// Returns `true` if the errors of this task are stored even where its results are not.
    fn stores_errors(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// The reason why a state could not be stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// The worker is stopping.
    #[error("the worker is stopping")]
    Stopping,
    /// The state's name, or the state itself, cannot be written.
    #[error("not a storable state: {0}")]
    Invalid(String),
}

/// The handle that takes outcomes. It is cheap to clone, and all clones feed one buffer.
#[derive(Clone)]
pub struct Settler {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) ledger: Arc<Ledger>,
    /// Plans the calls that tasks make.
    pub(crate) caller: Arc<dyn Caller>,
}

impl std::fmt::Debug for Settler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settler")
            .field("ledger", &self.ledger)
            .finish_non_exhaustive()
    }
}

/// A request to the settle buffer.
#[derive(Debug)]
pub(crate) enum Order {
    /// Settle a delivery with its outcome.
    Finish(Delivery, Outcome),
    /// Decide whether the code of a redelivered message may run. If so, its delivery is sent back.
    Begin(Delivery, oneshot::Sender<Delivery>),
    /// Settle a message that was never handed out.
    Settle(Settlement),
    /// Store an intermediate state of a task that is still running.
    State {
        task: Arc<Task>,
        state: String,
        meta: Box<RawValue>,
        stored: oneshot::Sender<()>,
    },
    /// Read the documents of tasks.
    Read(Vec<String>, oneshot::Sender<Vec<Option<ResultDoc>>>),
    /// Free the lock of a message whose code is about to begin.
    Unlock(Tag, Lock, oneshot::Sender<()>),
}

impl Settler {
    /// Returns the delivery if its code may start now; otherwise settles it and returns `None`. It
    /// must be called before the code runs.
    ///
    /// The code may not start if another worker has the message, if its `expires` has passed, or
    /// if `stop` ends before these answers are known. A message that is marked as redelivered is
    /// counted. If it was begun too often without being finished, it becomes a dead letter. Waiting
    /// in a worker that dies is not counted.
    pub async fn begin(
        &self,
        delivery: Delivery,
        stop: impl Future<Output = ()>,
    ) -> Option<Delivery> {
        self.begin_counted(delivery, false, stop).await
    }

    /// Like [`begin`](Self::begin), but with `always` also counts a message that was not
    /// redelivered. The starts of a task that may begin only once are counted from the first.
    pub(crate) async fn begin_counted(
        &self,
        delivery: Delivery,
        always: bool,
        stop: impl Future<Output = ()>,
    ) -> Option<Delivery> {
        let mut stop = std::pin::pin!(stop);
        let delivery = self.may_run(delivery, &mut stop).await?;
        let delivery = self.count(delivery, always, stop).await?;
        if self.ledger.begin(delivery.tag, now()) {
            return Some(delivery);
        }
        self.finish(delivery, Outcome::Revoked);
        None
    }

    /// Returns the delivery if its code may run as far as this worker knows: it still holds the
    /// message, and the task is neither revoked nor expired. Otherwise settles it. It waits until
    /// revocations and the lease are known, and gives the message back if `stop` ends before.
    pub(crate) async fn may_run(
        &self,
        delivery: Delivery,
        mut stop: impl Future<Output = ()> + Unpin,
    ) -> Option<Delivery> {
        let listed = tokio::select! {
            biased;
            () = self.ledger.revoked.ready() => true,
            () = &mut stop => false,
        };
        if !listed {
            self.finish(delivery, Outcome::NotStarted);
            return None;
        }
        let ours = tokio::select! {
            biased;
            ours = self.ledger.is_ours(delivery.tag) => ours,
            () = &mut stop => false,
        };
        if !ours {
            self.finish(delivery, Outcome::NotStarted);
            return None;
        }
        if delivery.is_expired(now()) {
            self.finish(delivery, Outcome::Expired);
            return None;
        }
        if self.ledger.is_revoked(&delivery.task) {
            self.finish(delivery, Outcome::Revoked);
            return None;
        }
        Some(delivery)
    }

    /// Counts a delivery whose message is marked as redelivered, or each. Returns it if it may
    /// begin.
    async fn count(
        &self,
        delivery: Delivery,
        always: bool,
        stop: impl Future<Output = ()>,
    ) -> Option<Delivery> {
        if !delivery.task.redelivered && !always {
            return Some(delivery);
        }
        let (begun, begin) = oneshot::channel();
        // The send fails only after the consumer has closed; then the lease returns the message to
        // its queue.
        self.orders.send(Order::Begin(delivery, begun)).ok()?;
        tokio::select! {
            biased;
            delivery = begin => delivery.ok(),
            // A later answer finds no receiver, and the delivery goes back.
            () = stop => None,
        }
    }

    /// Returns `true` if it is already known that the code of a waiting delivery will not run.
    /// [`begin`](Self::begin) then settles the delivery.
    pub(crate) fn is_over(&self, delivery: &Delivery) -> bool {
        self.obstacle(delivery).is_some() || self.ledger.is_revoked(&delivery.task)
    }

    /// Returns the outcome of a delivery whose code must not run again, or `None` if the code may
    /// run. It must not run if another worker has the message, remote control has ended the task,
    /// or its `expires` has passed. This check is for calls that have waited since their start was
    /// allowed.
    pub(crate) fn obstacle(&self, delivery: &Delivery) -> Option<Outcome> {
        if self.ledger.is_lost(delivery.tag) {
            Some(Outcome::NotStarted)
        } else if let Some(signal) = self.ledger.signal(delivery.tag) {
            Some(Outcome::Terminated { signal })
        } else if delivery.is_expired(now()) {
            Some(Outcome::Expired)
        } else {
            None
        }
    }

    /// Reports what happened to a delivery. It never waits: the number of held messages bounds the
    /// number of reports.
    pub fn finish(&self, delivery: Delivery, outcome: Outcome) {
        // The send fails only after the consumer has closed; then the lease returns the message to
        // its queue.
        let _ = self.orders.send(delivery.ended(outcome));
    }

    /// Frees the lock that a delivery has. Returns once it is free, or when the consumer stops.
    pub(crate) async fn unlock(&self, tag: Tag, lock: Lock) {
        let (freed, done) = oneshot::channel();
        // An error means that the consumer stops: the lock ends with the hold of the message.
        if self.orders.send(Order::Unlock(tag, lock, freed)).is_ok() {
            let _ = done.await;
        }
    }

    /// Returns the documents of tasks; `None` for one that has none, or none that can be read. Returns
    /// `None` for all if the consumer stops.
    pub(crate) async fn read_results(&self, ids: Vec<String>) -> Vec<Option<ResultDoc>> {
        let count = ids.len();
        let (answer, answered) = oneshot::channel();
        if self.orders.send(Order::Read(ids, answer)).is_ok()
            && let Ok(documents) = answered.await
        {
            return documents;
        }
        vec![None; count]
    }

    /// Stores an intermediate state (`STARTED`, `PROGRESS`, …) and publishes it, as Celery's
    /// `update_state` does.
    ///
    /// Returns once the state is stored, so that the backend's speed limits a task that reports in
    /// a loop. A stored SUCCESS is never overwritten. Does nothing for tasks whose results are
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`StateError`] if the name is empty, or the consumer stops before the state is stored.
    pub async fn store_state(
        &self,
        task: &Arc<Task>,
        state: &str,
        meta: Box<RawValue>,
    ) -> Result<(), StateError> {
        if state.is_empty() {
            return Err(StateError::Invalid("an empty name".into()));
        }
        let (stored, done) = oneshot::channel();
        let order = Order::State {
            task: Arc::clone(task),
            state: state.to_owned(),
            meta,
            stored,
        };
        self.orders.send(order).map_err(|_| StateError::Stopping)?;
        done.await.map_err(|_| StateError::Stopping)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::shutdown::{Phase, Shutdown};
    use crate::task::testing::task;
    use crate::testing::delivery;

    /// Polls a future once, so that it waits.
    fn begin_to_wait<T>(future: &mut (impl Future<Output = T> + Unpin)) {
        assert!(future.now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_stop_ends_the_wait_for_the_list_of_revoked_tasks() {
        let started = None;
        for (phase, expected) in [
            (Phase::Warm, Some("NotStarted")),
            (Phase::Cold, Some("NotStarted")),
            // The worker goes on to run what it holds.
            (Phase::Draining, started),
            (Phase::Running, started),
        ] {
            let (orders, mut ordered) = mpsc::unbounded_channel();
            let ledger = Arc::new(Ledger::new(1, 1, None));
            let settler = Settler {
                orders,
                ledger: Arc::clone(&ledger),
                caller: crate::testing::caller(),
            };
            let shutdown = Shutdown::new();
            ledger.revoked.begin_loading();
            let delivery = delivery(Tag { call: 1, index: 1 }, task("t", "[]"));
            let stop = shutdown.reached(Phase::Warm);
            let mut begin = std::pin::pin!(settler.begin(delivery, stop));
            begin_to_wait(&mut begin);
            shutdown.advance(phase);
            if expected.is_none() {
                begin_to_wait(&mut begin);
                ledger.revoked.end_loading();
            }
            assert_eq!(begin.await.is_some(), expected.is_none(), "{phase:?}");
            let outcome = match ordered.try_recv() {
                Ok(Order::Finish(_, outcome)) => Some(format!("{outcome:?}")),
                _ => None,
            };
            assert_eq!(outcome.as_deref(), expected, "{phase:?}");
        }
    }

    #[tokio::test]
    async fn a_task_terminated_just_before_its_code_begins_does_not_begin() {
        for (terminated, expected) in [("id", None), ("another", Some("id"))] {
            let (orders, mut ordered) = mpsc::unbounded_channel();
            let ledger = Arc::new(Ledger::new(1, 1, None));
            let settler = Settler {
                orders,
                ledger: Arc::clone(&ledger),
                caller: crate::testing::caller(),
            };
            let mut task = task("t", "[]");
            task.id = "id".to_owned();
            let delivery = delivery(Tag { call: 1, index: 1 }, task);
            ledger.hold(Instant::now(), [(delivery.tag, 1)].into_iter());
            ledger.reserve(delivery.tag, &delivery.task);
            ledger.terminate(&[terminated], 15);
            let begun = settler.begin(delivery, std::future::pending()).await;
            assert_eq!(begun.as_ref().map(|call| &*call.task.id), expected);
            let revoked = matches!(ordered.try_recv(), Ok(Order::Finish(_, Outcome::Revoked)));
            assert_eq!(revoked, expected.is_none());
            assert_eq!(ledger.begun().is_empty(), expected.is_none());
        }
    }

    #[test]
    fn waits_double_up_to_a_limit() {
        let backoff = |factor, most, jitter| Backoff {
            factor,
            most: Duration::from_secs(most),
            jitter,
        };
        for (backoff, retries, random, seconds) in [
            (backoff(1, 600, false), 0, 0.9, 1),
            (backoff(1, 600, false), 3, 0.9, 8),
            (backoff(5, 600, false), 2, 0.0, 20),
            (backoff(1, 600, false), 10, 0.0, 600),
            (backoff(1, 600, false), u32::MAX, 0.0, 600),
            (backoff(u32::MAX, u64::MAX, false), 63, 0.0, u64::MAX),
            (backoff(1, 600, true), 3, 0.0, 0),
            (backoff(1, 600, true), 3, 0.5, 4),
            (backoff(1, 600, true), 3, 0.999, 8),
            (backoff(u32::MAX, u64::MAX, true), 99, 0.0, 0),
        ] {
            let retries_of = Retries {
                most: None,
                delay: Duration::ZERO,
                backoff: Some(backoff),
            };
            assert_eq!(
                retries_of.wait(retries, random).as_secs(),
                seconds,
                "{backoff:?}"
            );
        }
    }

    #[test]
    fn the_held_limit_follows_slots_and_batches() {
        assert_eq!(held_limit(100, 4, 0), 400);
        assert_eq!(held_limit(1, 1, 500), 1_000);
        assert_eq!(held_limit(1_000, 4_000, 0), MAX_HELD);
        assert_eq!(held_limit(10, 0, 0), MAX_HELD);
        assert_eq!(held_limit(0, 4, 0), 1);
    }
}
