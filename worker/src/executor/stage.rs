//! The environment of running tasks: slots, cores, the worker's stop, and what reports outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use celery_protocol::result::State;
use prometheus_client::metrics::counter::Counter;
use serde_json::json;
use serde_json::value::to_raw_value;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::recycling::Recycling;
use super::slots::{Slot, Slots, Turn};
use crate::broker::admission::Request;
use crate::delivery::{Delivery, Outcome, Settler, Unique, Until};
use crate::failpoint::failpoint;
use crate::monitor::{Monitor, Observer, Observers};
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Policy, Run, Shared};

/// The worker stops when one in this many slots is lost to stuck tasks, because a new process has
/// all slots again.
const STUCK_SHARE: usize = 4;

/// The limit for binding: for putting the arguments of a call, or of all calls of a batch, in their
/// places. The largest body takes about a second on an idle machine.
const BINDING_LIMIT: Duration = Duration::from_secs(30);

/// Code is stuck if it still runs this long after it was stopped (our choice; Celery kills the
/// process of the task instead).
const STUCK_AFTER: Duration = Duration::from_secs(10);

/// The reason why the executor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// A stop was requested, or the consumer has gone.
    Asked,
    /// Too many tasks did not end after they were stopped.
    Stuck {
        /// The number of these tasks.
        tasks: usize,
    },
}

/// The environment of every running task. An executor has one, and shares it with all tasks that it
/// starts.
pub(crate) struct Stage {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settler: Settler,
    pub(crate) shutdown: Shutdown,
    /// The runtime that runs the code of tasks.
    pub(crate) tasks: Handle,
    slots: Arc<Slots>,
    /// Stuck tasks, each of which keeps a thread of `tasks` busy.
    blocked: AtomicUsize,
    pub(crate) monitor: Monitor,
    pub(crate) observers: Observers,
    /// The limits of this process on tasks and memory.
    pub(crate) recycling: Arc<Recycling>,
    /// As many permits as there are cores, for tasks that compute.
    pub(crate) cores: Arc<Semaphore>,
    /// Asks the broker whether calls of limited tasks may begin. `None`: those limits are not kept.
    pub(crate) admission: Option<mpsc::Sender<Request>>,
    /// How often a call could not begin because of a limit that holds across all workers.
    pub(crate) limit_waits: Counter,
    pub(crate) binding_limit: Duration,
    /// How long code may still run after it was stopped.
    pub(crate) stuck_after: Duration,
    /// `true` if a call waits while a server that it needs is away. A test ends the call instead.
    pub(crate) waits: bool,
}

impl Stage {
    pub(crate) fn new(
        shared: Arc<Shared>,
        shutdown: Shutdown,
        slots: Arc<Slots>,
        tasks: Handle,
        monitor: Monitor,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Stage {
            settler: shared.settler.clone(),
            shared,
            shutdown,
            tasks,
            slots,
            blocked: AtomicUsize::new(0),
            observers: monitor.observers(),
            monitor,
            recycling: Arc::default(),
            cores: Arc::new(Semaphore::new(cores)),
            admission: None,
            limit_waits: Counter::default(),
            binding_limit: BINDING_LIMIT,
            stuck_after: STUCK_AFTER,
            waits: true,
        }
    }

    /// Takes a slot if one is free and the worker does not stop.
    pub(super) fn try_slot(&self) -> Option<Slot> {
        if self.shutdown.phase() >= Phase::Warm {
            return None;
        }
        self.slots.try_acquire()
    }

    /// Waits for a slot. Returns `None` if the worker stops first.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        if self.shutdown.phase() >= Phase::Warm {
            return None;
        }
        if let Some(slot) = self.slots.try_acquire() {
            return Some(slot);
        }
        tokio::select! {
            biased;
            () = self.shutdown.reached(Phase::Warm) => None,
            slot = self.slots.acquire() => slot,
        }
    }

    /// Takes a slot, or joins the line for one at once. Slots are given in the order in which they
    /// were asked for.
    pub(super) fn line_up(self: &Arc<Self>) -> Turn {
        if let Some(slot) = self.try_slot() {
            return Turn::Ready(Some(slot));
        }
        let stage = Arc::clone(self);
        // The future joins the line at its first poll. Where the budget of tokio's tasks is used
        // up, it would not.
        let wait = tokio::task::unconstrained(async move { stage.slot().await });
        let mut wait = Box::pin(wait);
        match wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(slot) => Turn::Ready(slot),
            Poll::Pending => Turn::Waits(wait),
        }
    }

    /// Returns the slot of a call, as soon as it has one. Returns `None` if the worker stops first.
    pub(super) async fn slot_of(self: &Arc<Self>, turn: Turn) -> Option<Slot> {
        match turn {
            Turn::Unasked => self.slot().await,
            Turn::Ready(slot) => slot,
            Turn::Waits(wait) => wait.await,
        }
    }

    /// Waits for a core to compute on. Returns `None` if the worker stops first.
    pub(super) async fn core(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            core = Arc::clone(&self.cores).acquire_owned() => core.ok(),
            () = self.shutdown.reached(Phase::Warm) => None,
        }
    }

    /// Writes off the slot of a task that does not end. A blocking task has a thread of its own;
    /// any other task blocks a thread that other tasks need.
    pub(super) fn write_off(&self, slot: Slot, run: &Run) {
        slot.write_off();
        if !matches!(run, Run::Blocking(_)) {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
        let stuck = self.monitor.one_more_stuck();
        if self.is_beyond_hope() {
            tracing::error!(
                "{stuck} of {} slots are lost to tasks that do not end; giving back what is held and stopping",
                self.slots.count()
            );
            self.shutdown.advance(Phase::Cold);
        }
    }

    fn is_beyond_hope(&self) -> bool {
        let (stuck, blocked) = (self.monitor.stuck(), self.blocked.load(Ordering::Relaxed));
        stuck > 0
            && (stuck * STUCK_SHARE >= self.slots.count()
                || blocked >= self.tasks.metrics().num_workers())
    }

    pub(super) fn ended(&self) -> Ended {
        if self.is_beyond_hope() {
            Ended::Stuck {
                tasks: self.monitor.stuck(),
            }
        } else {
            Ended::Asked
        }
    }

    /// Returns the delivery if its code may run now; otherwise settles it and returns `None`. Stores
    /// the state STARTED if the policy of its task asks for that.
    pub(crate) async fn begin(&self, delivery: Delivery, policy: &Policy) -> Option<Delivery> {
        let stop = self.shutdown.reached(Phase::Warm);
        let begin = self
            .settler
            .begin_counted(delivery, policy.at_most_once(), stop);
        let mut delivery = begin.await?;
        let freed = delivery
            .unique
            .take_if(|unique| unique.until == Until::Started);
        if policy.track_started || freed.is_some() {
            let unlocked = self.unlock(&delivery, freed).await;
            if !unlocked || (policy.track_started && !self.store_started(&delivery).await) {
                self.give_back(delivery);
                return None;
            }
            // A server may have been away for long. Meanwhile the lease may have
            // been lost, or the task revoked.
            let stop = std::pin::pin!(self.shutdown.reached(Phase::Warm));
            delivery = self.settler.may_run(delivery, stop).await?;
            delivery = self.still_to_run(vec![delivery]).pop()?;
        }
        self.observers.started(delivery.of());
        Some(delivery)
    }

    /// Frees the lock of a call that is unique until it starts. Returns `false` if the worker stops
    /// first.
    async fn unlock(&self, delivery: &Delivery, freed: Option<Unique>) -> bool {
        let Some(unique) = freed else { return true };
        tokio::select! {
            biased;
            () = self.settler.unlock(delivery.tag, unique.lock) => true,
            () = self.shutdown.reached(Phase::Warm) => false,
        }
    }

    /// Stores the state STARTED. Returns `false` if the worker stops first.
    async fn store_started(&self, delivery: &Delivery) -> bool {
        let process = json!({"pid": std::process::id(), "hostname": &*self.shared.hostname});
        // A JSON object of texts and numbers can always be written.
        let process = to_raw_value(&process).unwrap_or_default();
        let stored = self
            .settler
            .store_state(&delivery.task, State::Started.as_str(), process);
        tokio::select! {
            biased;
            stored = stored => stored.is_ok(),
            () = self.shutdown.reached(Phase::Warm) => false,
        }
    }

    /// Settles the calls that must not run any more, and returns the others.
    pub(super) fn still_to_run(&self, calls: Vec<Delivery>) -> Vec<Delivery> {
        let runnable = |call: Delivery| match self.settler.obstacle(&call) {
            Some(obstacle) => {
                self.settler.finish(call, obstacle);
                None
            }
            None => Some(call),
        };
        calls.into_iter().filter_map(runnable).collect()
    }

    /// Reports what happened to a delivery.
    pub(crate) fn finish(&self, delivery: Delivery, outcome: Outcome) {
        failpoint!("ran");
        self.settler.finish(delivery, outcome);
        self.recycling.one_more(&self.shutdown);
    }

    /// Hands back a delivery whose code has not begun.
    pub(crate) fn give_back(&self, delivery: Delivery) {
        self.settler.finish(delivery, Outcome::NotStarted);
    }
}
