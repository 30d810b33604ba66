//! The seam between the consumer, which moves messages, and the executor, which runs tasks.
//!
//! The consumer hands over [`Delivery`]s: decoded, due, not expired, and of a name the registry knows. The executor asks
//! [`Settler::begin`] before it runs one, and reports exactly once what happened to it: an [`Outcome`], through
//! [`Settler::finish`]. The executor reports facts only. What they mean for the message, the result, the log and the
//! metrics is decided by the consumer's rules (`consumer/verdict.rs`) alone.
//!
//! Bounds: a delivery counts as *held* from its claim until it has been settled, and the consumer claims no more than
//! [`held_limit`] allows. No queue between the two can therefore grow beyond that, and an
//! executor or a backend that is slow slows the claiming down.

mod ledger;

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, oneshot};

pub(crate) use self::ledger::{ACKS, Ledger};
use crate::clock::now;
use crate::source::Settlement;
pub use crate::source::Tag;

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

/// A message to be run. One that is dropped without an outcome, by a bug, goes back as if its task had begun.
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
    /// Where its outcome goes, until there is one.
    pub(crate) orders: Option<mpsc::UnboundedSender<Order>>,
}

impl Delivery {
    /// Pairs the delivery with its outcome. It will not report another one when it is dropped.
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
            orders: None,
        };
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        let _ = orders.send(delivery.ended(Outcome::Interrupted));
    }
}

/// What redeliveries of a message are counted by: its own delivery tag, which stays the same through all of them.
pub(crate) fn redelivery_name(task: &Task) -> &str {
    task.delivery_tag.as_deref().unwrap_or(&task.id)
}

/// What happened to a delivery, as far as the executor knows.
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
        /// Whether another run can end better. `false` for wrong arguments and bugs.
        retryable: bool,
    },
    /// Its code asked to be run again.
    Retry {
        /// How long to wait before that run.
        countdown: Duration,
        /// The error behind the request.
        reason: Option<ExceptionDoc>,
        /// The largest number of retries that the code allows. `None` is no limit.
        max_retries: Option<u32>,
    },
    /// Its code refused the message.
    Rejected {
        /// Why.
        reason: String,
        /// Whether the message may be delivered again.
        requeue: bool,
    },
    /// Its code asked that its end is not recorded.
    Ignored,
    /// Its code panicked with this message.
    Panicked(String),
    /// Its code was stopped because it ran longer than this, its hard time limit.
    TimedOut(Duration),
    /// Its `expires` passed before its code began, or while its code waited for something that was away.
    Expired,
    /// Its code did not begin: the worker stops, or another worker has the message.
    NotStarted,
    /// Its code needs something that is away, and the worker stops or has lost the message to another worker.
    Unavailable {
        /// What is away, and what was seen of it.
        cause: String,
    },
    /// Its code was dropped unfinished because the worker stops.
    Interrupted,
}

/// How failures of a task are run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// The largest number of retries.
    pub most: u32,
    /// How long to wait before each.
    pub delay: Duration,
}

/// What the consumer has to know of the tasks that are registered here.
pub trait TaskNames: Send + Sync {
    /// True if a task of this name is registered.
    fn knows(&self, name: &str) -> bool;

    /// Returns how failures of this task are run again. `None`: they are final.
    fn retries(&self, name: &str) -> Option<Retries> {
        let _ = name;
        None
    }

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

/// Takes the outcomes. Cheap to clone; every clone feeds the same buffer.
#[derive(Clone, Debug)]
pub struct Settler {
    pub(crate) orders: mpsc::UnboundedSender<Order>,
    pub(crate) ledger: Arc<Ledger>,
}

/// What the settle buffer is asked to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// What happened to this delivery in the end.
    Finish(Delivery, Outcome),
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
    /// Returns the delivery if its code may start now; otherwise settles it and returns `None`. To be called before the
    /// code runs.
    ///
    /// The code may not start when another worker has the message, when its `expires` has passed, or when `stop` ends
    /// before all of this is known. A message that is marked as redelivered is counted: one that was begun too often
    /// without being finished becomes a dead letter. Waiting in a worker that dies is not counted.
    pub async fn begin(
        &self,
        delivery: Delivery,
        stop: impl Future<Output = ()>,
    ) -> Option<Delivery> {
        let mut stop = std::pin::pin!(stop);
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
        if !delivery.task.redelivered {
            return Some(delivery);
        }
        let (begun, begin) = oneshot::channel();
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        self.orders.send(Order::Begin(delivery, begun)).ok()?;
        tokio::select! {
            biased;
            delivery = begin => delivery.ok(),
            // An answer that comes later finds no receiver, and the delivery goes back.
            () = stop => None,
        }
    }

    /// Returns what ends a delivery before its code runs once more, if anything does: another worker has the message, or
    /// its `expires` has passed. For code that waited for something that was away.
    pub(crate) fn obstacle(&self, delivery: &Delivery) -> Option<Outcome> {
        if self.ledger.is_lost(delivery.tag) {
            Some(Outcome::NotStarted)
        } else if delivery.is_expired(now()) {
            Some(Outcome::Expired)
        } else {
            None
        }
    }

    /// Reports what happened to a delivery. Never waits: the number of reports is bounded by what is held.
    pub fn finish(&self, delivery: Delivery, outcome: Outcome) {
        // Refused only after the consumer has closed; then the lease returns the message to its queue.
        let _ = self.orders.send(delivery.ended(outcome));
    }

    /// Stores an intermediate state (`STARTED`, `PROGRESS`, …) and publishes it, as Celery's `update_state`. Returns
    /// once it is stored, so that a task that reports in a loop is slowed down to the backend's pace. A stored SUCCESS
    /// is never overwritten. Does nothing for tasks whose results are ignored.
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
