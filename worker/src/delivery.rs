//! The seam between the consumer, which moves messages, and the executor, which runs tasks.
//!
//! The consumer hands over [`Delivery`]s: decoded, due, not expired, and of a name the registry knows. The executor
//! answers each of them exactly once with a [`Verdict`] through [`Settler::finish`]. Everything between the two – what
//! a verdict means for the broker and for the result backend – is the consumer's affair.
//!
//! Bounds: a delivery counts as *held* from its claim until its verdict has been carried out, and the consumer claims
//! no more than [`held_limit`] allows. No queue between the two can therefore grow beyond that, and an
//! executor or a backend that is slow slows the claiming down.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

use crate::consumer::Ledger;
use crate::source::Settlement;

/// The most messages one worker holds, whatever its concurrency: what a claim may cost to give back or to run again.
pub const MAX_HELD: usize = 4_000;

/// About how much memory the messages that a worker holds may take before it reads and claims no more: two of the largest
/// bodies, or 64 KiB for each of [`MAX_HELD`]; a small part of what a machine has that runs a hundred tasks.
pub const MAX_HELD_BYTES: usize = 256 << 20;

/// How many messages a worker may hold at once.
///
/// `concurrency × prefetch_multiplier` as in Celery (whose multiplier 0 means "no limit"), and always enough for two of
/// the largest batches, so that one can be filled while the other runs.
pub fn held_limit(concurrency: usize, prefetch_multiplier: usize, largest_batch: usize) -> usize {
    let by_slots = match prefetch_multiplier {
        0 => MAX_HELD,
        n => concurrency.saturating_mul(n),
    };
    by_slots
        .max(largest_batch.saturating_mul(2))
        .clamp(1, MAX_HELD)
}

/// Names one claim of one message. Never reused by this worker, and never the message's own delivery tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The number of the claim.
    pub(crate) call: u64,
    /// The position in it, from 1.
    pub(crate) index: u16,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}", self.call, self.index)
    }
}

/// A message to be run. One that is dropped without a verdict, by a bug, goes back as if its task had begun.
#[derive(Debug)]
#[non_exhaustive]
pub struct Delivery {
    /// The claim this delivery answers for.
    pub tag: Tag,
    /// The queue it was claimed from (no prefix, no priority step).
    pub queue: Arc<str>,
    /// What the message says.
    pub task: Arc<Task>,
    /// When it was claimed, or, for one with an ETA, when it became due.
    pub received: Instant,
    /// The bytes of the message, as it was claimed.
    pub(crate) size: usize,
    /// Where its verdict goes, until there is one.
    pub(crate) orders: Option<mpsc::UnboundedSender<Order>>,
}

impl Delivery {
    /// This delivery with its verdict.
    pub(crate) fn settled(mut self, verdict: Verdict) -> Order {
        self.orders = None;
        Order::Finish(self, verdict)
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
            orders: None,
        };
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        let _ = orders.send(delivery.settled(Verdict::GiveBack { started: true }));
    }
}

/// What redeliveries of a message are counted by: its own delivery tag, which stays the same through all of them.
pub(crate) fn redelivery_name(task: &Task) -> &str {
    task.delivery_tag.as_deref().unwrap_or(&task.id)
}

/// Whether a task is not to be run any more.
pub(crate) fn is_expired(task: &Task, now: Timestamp) -> bool {
    task.expires
        .is_some_and(|expires| expires.unix_micros() <= now.unix_micros())
}

/// What became of a delivery.
#[derive(Debug)]
pub enum Verdict {
    /// It returned this value (JSON).
    Success(Box<RawValue>),
    /// It failed for good.
    Failure {
        /// The exception as it is stored.
        exception: ExceptionDoc,
        /// A text for people; Celery stores the Python traceback.
        traceback: Option<String>,
    },
    /// It is to be run again: published anew with one retry more, unless that would exceed `max_retries` – then it is
    /// a failure with `reason` or, without one, `MaxRetriesExceededError`.
    Retry {
        /// How long to wait; becomes the ETA of the new message.
        countdown: Duration,
        /// Why, for the RETRY document.
        reason: Option<ExceptionDoc>,
        /// A text for people.
        traceback: Option<String>,
        /// The most retries allowed; `None` is no limit.
        max_retries: Option<u32>,
    },
    /// It was stopped by a revoke or a terminate: REVOKED with this reason (`revoked`, `terminated`, `expired`).
    Revoked(String),
    /// Acknowledge, store nothing.
    Ignore,
    /// Refused by the task itself. With `requeue` it goes to the end of its queue, marked redelivered; without, to the
    /// dead-letter stream.
    Reject {
        /// Whether it may be delivered again.
        requeue: bool,
    },
    /// Not done here: the next worker gets it first. A message whose task had `started` is marked redelivered.
    GiveBack {
        /// Whether the task's code had begun to run.
        started: bool,
    },
}

/// Whether a task name can be served here.
pub trait TaskNames: Send + Sync {
    /// True if a task of this name is registered.
    fn knows(&self, name: &str) -> bool;

    /// Whether the results of this task are not stored when the message does not say.
    fn ignores_result(&self, name: &str) -> bool {
        let _ = name;
        false
    }
}

/// A state could not be stored.
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

/// Takes the verdicts. Cheap to clone; every clone feeds the same buffer.
#[derive(Clone, Debug)]
pub struct Settler {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) ledger: Arc<Ledger>,
}

/// What the settle buffer is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// A verdict, final for this delivery.
    Finish(Delivery, Verdict),
    /// The code of a redelivered message is about to run. It comes back if it may.
    Begin(Delivery, oneshot::Sender<Delivery>),
    /// The end of a message that was never handed out.
    Settle(Settlement),
    /// An intermediate state of a task that goes on running.
    State {
        task: Arc<Task>,
        state: String,
        meta: Box<RawValue>,
        stored: oneshot::Sender<()>,
    },
}

impl Settler {
    /// To be called before the code of a delivery runs. Counts the runs of messages that are marked as redelivered: one
    /// that was begun too often without being finished is not handed back, but is a dead letter. What waits in a worker
    /// that dies is not counted: it is not what killed it. One whose lease is known to be lost is not handed back either:
    /// others run it.
    pub async fn begin(&self, delivery: Delivery) -> Option<Delivery> {
        if !self.is_ours(&delivery).await {
            self.finish(delivery, Verdict::GiveBack { started: false });
            return None;
        }
        if !delivery.task.redelivered {
            return Some(delivery);
        }
        let (begun, begin) = oneshot::channel();
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        self.orders.send(Order::Begin(delivery, begun)).ok()?;
        begin.await.ok()
    }

    /// Hands in the verdict on a delivery. Never waits: what is handed in is bounded by what is held.
    pub fn finish(&self, delivery: Delivery, verdict: Verdict) {
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        let _ = self.orders.send(delivery.settled(verdict));
    }

    /// Whether this delivery is still ours; waits for the broker where that is in doubt.
    pub(crate) async fn is_ours(&self, delivery: &Delivery) -> bool {
        self.ledger.is_ours(delivery.tag).await
    }

    /// Whether others have this delivery now, as far as known.
    pub(crate) fn is_lost(&self, delivery: &Delivery) -> bool {
        self.ledger.is_lost(delivery.tag)
    }

    /// Stores an intermediate state (`STARTED`, `PROGRESS`, …) and publishes it, as Celery's `update_state`. Returns
    /// once it is stored, so that a task that reports in a loop is slowed down to the backend's pace. A stored SUCCESS
    /// is never overwritten. Does nothing for tasks whose results are ignored.
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
    use super::*;

    #[test]
    fn held_follows_slots_and_batches() {
        assert_eq!(held_limit(100, 4, 0), 400);
        assert_eq!(held_limit(1, 1, 500), 1_000);
        assert_eq!(held_limit(1_000, 4_000, 0), MAX_HELD);
        assert_eq!(held_limit(10, 0, 0), MAX_HELD);
        assert_eq!(held_limit(0, 4, 0), 1);
    }
}
