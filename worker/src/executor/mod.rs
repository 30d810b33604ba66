//! Runs the deliveries that the consumer hands over, and reports exactly once what happened to each
//! of them. The consumer decides what the report means.
//!
//! A *slot* is the right to run: there are as many slots as the worker's concurrency, and a batch
//! takes one. The consumer still holds a delivery that waits for a slot. It limits the number of
//! such deliveries, and renews their leases.
//!
//! There are two runtimes. The code of tasks runs on the runtime that the worker was started on;
//! everything else runs on the worker's own. A task that never yields can therefore block other
//! tasks, but neither its time limit nor a lease nor a signal.
//!
//! How it ends: in [`Phase::Warm`], deliveries that have not begun go back, and the executor waits
//! for the running ones. In [`Phase::Cold`], running tasks are dropped and their messages go back
//! too. When a quarter of the slots, or every thread, is lost to tasks that do not end, the
//! executor stops the worker and logs why.

mod batch;
mod once;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::delivery::{Delivery, Outcome, Settler};
use crate::failpoint::failpoint;
use crate::monitor::Monitor;
use crate::monitor::metrics::Of;
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Registry, Run, Shared, TaskDef};
use crate::task_log::{label, log_task};

/// The worker stops when one in this many slots is lost to stuck tasks: a new process serves
/// better.
const STUCK_SHARE: usize = 4;

/// How long a cold stop waits for tasks to be dropped. A task that yields at all has ended by then.
/// A task that does not is left behind, and its message goes back with the rest.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// The longest time that putting the arguments of a call, or of the calls of a batch, in their
/// places may take. The largest body takes about a second on an idle machine.
const BINDING_LIMIT: Duration = Duration::from_secs(30);

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
    slots: Arc<Semaphore>,
    concurrency: usize,
    /// Stuck tasks, each of which keeps a thread of `tasks` busy.
    blocked: AtomicUsize,
    pub(crate) monitor: Monitor,
    /// As many permits as there are cores, for tasks that compute.
    pub(crate) cores: Arc<Semaphore>,
    pub(crate) binding_limit: Duration,
    /// `true` if a call waits while something that it needs is away. A test ends the call instead.
    pub(crate) waits: bool,
}

/// The right to run a task. Dropping it frees the slot.
pub(crate) struct Slot(OwnedSemaphorePermit);

impl Stage {
    pub(crate) fn new(
        shared: Arc<Shared>,
        shutdown: Shutdown,
        concurrency: usize,
        tasks: Handle,
        monitor: Monitor,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Stage {
            settler: shared.settler.clone(),
            shared,
            shutdown,
            tasks,
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            blocked: AtomicUsize::new(0),
            monitor,
            cores: Arc::new(Semaphore::new(cores)),
            binding_limit: BINDING_LIMIT,
            waits: true,
        }
    }

    /// Waits for a slot. Returns `None` if the worker stops first.
    pub(crate) async fn slot(&self) -> Option<Slot> {
        if self.shutdown.phase() >= Phase::Warm {
            return None;
        }
        if let Ok(permit) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(Slot(permit));
        }
        tokio::select! {
            biased;
            () = self.shutdown.reached(Phase::Warm) => None,
            permit = Arc::clone(&self.slots).acquire_owned() => permit.ok().map(Slot),
        }
    }

    /// Waits for a core to compute on. Returns `None` if the worker stops first.
    async fn core(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            biased;
            core = Arc::clone(&self.cores).acquire_owned() => core.ok(),
            () = self.shutdown.reached(Phase::Warm) => None,
        }
    }

    /// Writes off the slot of a task that does not end. A blocking task has a thread of its own;
    /// any other task blocks a thread that other tasks need.
    fn write_off(&self, slot: Slot, run: &Run) {
        slot.0.forget();
        if !matches!(run, Run::Blocking(_)) {
            self.blocked.fetch_add(1, Ordering::Relaxed);
        }
        let stuck = self.monitor.one_more_stuck();
        if self.is_beyond_hope() {
            tracing::error!(
                "{stuck} of {} slots are lost to tasks that do not end; giving back what is held and stopping",
                self.concurrency
            );
            self.shutdown.advance(Phase::Cold);
        }
    }

    fn is_beyond_hope(&self) -> bool {
        let (stuck, blocked) = (self.monitor.stuck(), self.blocked.load(Ordering::Relaxed));
        stuck > 0
            && (stuck * STUCK_SHARE >= self.concurrency
                || blocked >= self.tasks.metrics().num_workers())
    }

    fn ended(&self) -> Ended {
        if self.is_beyond_hope() {
            Ended::Stuck {
                tasks: self.monitor.stuck(),
            }
        } else {
            Ended::Asked
        }
    }

    /// Returns the delivery if its code may run now; otherwise settles it and returns `None`.
    pub(crate) async fn begin(&self, delivery: Delivery) -> Option<Delivery> {
        let stop = self.shutdown.reached(Phase::Warm);
        let delivery = self.settler.begin(delivery, stop).await?;
        if tracing::enabled!(tracing::Level::DEBUG) {
            log_task!(
                debug,
                delivery,
                "Task accepted: {} pid:{}",
                label(&delivery.task),
                std::process::id()
            );
        }
        self.monitor.metrics.started(Of::delivery(&delivery));
        Some(delivery)
    }

    /// Reports what happened to a delivery.
    pub(crate) fn finish(&self, delivery: Delivery, outcome: Outcome) {
        failpoint!("ran");
        self.settler.finish(delivery, outcome);
    }

    /// Hands back a delivery whose code has not begun.
    pub(crate) fn give_back(&self, delivery: Delivery) {
        self.settler.finish(delivery, Outcome::NotStarted);
    }
}

/// Runs deliveries until there are no more or the worker stops. Returns when no task is running, or
/// only tasks that the executor cannot wait for.
pub(crate) async fn run(
    mut deliveries: mpsc::Receiver<Delivery>,
    registry: &Registry,
    stage: Stage,
) -> Ended {
    let stage = Arc::new(stage);
    // Every started future holds a clone of `busy`; when the last clone is gone, `idle` ends.
    let (busy, mut idle) = mpsc::channel::<()>(1);
    let mut batches: HashMap<Arc<str>, mpsc::UnboundedSender<Delivery>> = HashMap::new();
    for task in registry.iter() {
        if let Run::Batched(options, run) = &task.run {
            let (sender, calls) = mpsc::unbounded_channel();
            batches.insert(Arc::clone(&task.name), sender);
            let runner = batch::Runner {
                def: Arc::clone(task),
                options: *options,
                run: Arc::clone(run),
                stage: Arc::clone(&stage),
            };
            tokio::spawn(runner.collect(calls, busy.clone()));
        }
    }
    loop {
        let delivery = tokio::select! {
            biased;
            () = stage.shutdown.reached(Phase::Warm) => break,
            delivery = deliveries.recv() => delivery,
        };
        let Some(delivery) = delivery else { break };
        start(delivery, registry, &stage, &batches, &busy);
    }
    deliveries.close();
    while let Some(delivery) = deliveries.recv().await {
        stage.give_back(delivery);
    }
    drop(batches);
    drop(busy);
    tokio::select! {
        // Nothing is ever sent: `recv` returns when the last clone of `busy` is gone.
        _ = idle.recv() => {}
        () = last_moment(&stage.shutdown) => {
            tracing::warn!("Some tasks did not end when they were dropped; their messages go back all the same");
        }
    }
    stage.ended()
}

async fn last_moment(shutdown: &Shutdown) {
    shutdown.reached(Phase::Cold).await;
    tokio::time::sleep(LAST_MOMENT).await;
}

fn start(
    delivery: Delivery,
    registry: &Registry,
    stage: &Arc<Stage>,
    batches: &HashMap<Arc<str>, mpsc::UnboundedSender<Delivery>>,
    busy: &mpsc::Sender<()>,
) {
    let Some(task) = registry.get(&delivery.task.name) else {
        // The consumer checks the registry first. If the two ever disagree, another worker may know
        // the task.
        return stage.give_back(delivery);
    };
    if let Some(batch) = batches.get(&task.name) {
        if let Err(refused) = batch.send(delivery) {
            stage.give_back(refused.0);
        }
        return;
    }
    let (task, stage, busy) = (Arc::clone(task), Arc::clone(stage), busy.clone());
    // The future that enforces a task's limits runs on the worker's own runtime, where a task that
    // does not yield cannot delay it.
    let place = if once::is_watched(&delivery.task, &task) {
        Handle::current()
    } else {
        stage.tasks.clone()
    };
    place.spawn(async move {
        run_one(delivery, &task, &stage).await;
        drop(busy);
    });
}

async fn run_one(delivery: Delivery, task: &TaskDef, stage: &Arc<Stage>) {
    let Some(slot) = stage.slot().await else {
        return stage.give_back(delivery);
    };
    let Some(delivery) = stage.begin(delivery).await else {
        return;
    };
    let end = once::until_ended(&delivery, task, stage).await;
    if end.stuck {
        // The outcome is reported before the slot is written off, because that may stop the worker.
        stage.finish(delivery, end.outcome);
        stage.write_off(slot, &task.run);
    } else {
        // Free the slot before the consumer settles the outcome.
        drop(slot);
        stage.finish(delivery, end.outcome);
    }
}
