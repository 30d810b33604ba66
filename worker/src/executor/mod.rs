//! Runs the deliveries the consumer hands over, and answers each of them exactly once.
//!
//! A *slot* is the right to run: there are as many as the worker's concurrency, and a batch takes one. A delivery that
//! waits for a slot is still held by the consumer, which bounds how many there can be and renews their leases.
//!
//! Ends: in [`Phase::Warm`] whatever has not begun goes back and what runs is waited for; in [`Phase::Cold`] what runs
//! is dropped and goes back too. When a quarter of the slots are lost to tasks that do not end, the executor stops the
//! worker by itself and says so.

mod batch;
mod once;
mod report;
mod settle;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::delivery::{Delivery, Settler, Verdict};
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Registry, Run, Shared, TaskDef};

/// One in so many slots may be lost to stuck tasks before the process is better started anew.
const STUCK_SHARE: usize = 4;

/// How the executor came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// It was asked to, or the consumer has gone.
    Asked,
    /// Too many tasks did not end when told to.
    Stuck {
        /// How many.
        tasks: usize,
    },
}

/// What every running task needs; one for the executor, shared by all it starts.
pub(crate) struct Stage {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settler: Settler,
    pub(crate) shutdown: Shutdown,
    slots: Arc<Semaphore>,
    concurrency: usize,
    stuck: AtomicUsize,
    /// As many places as there are cores, for tasks that compute.
    pub(crate) cores: Arc<Semaphore>,
}

/// The right to run; gives its place back when dropped.
pub(crate) struct Slot(OwnedSemaphorePermit);

impl Stage {
    pub(crate) fn new(shared: Arc<Shared>, shutdown: Shutdown, concurrency: usize) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Stage {
            settler: shared.settler.clone(),
            shared,
            shutdown,
            slots: Arc::new(Semaphore::new(concurrency)),
            concurrency,
            stuck: AtomicUsize::new(0),
            cores: Arc::new(Semaphore::new(cores)),
        }
    }

    /// Waits for a slot; `None` when the worker stops first.
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

    /// Writes off the slot of a task that does not end.
    pub(crate) fn write_off(&self, slot: Slot) {
        slot.0.forget();
        let stuck = self.stuck.fetch_add(1, Ordering::Relaxed) + 1;
        if self.is_beyond_hope(stuck) {
            tracing::error!(
                "{stuck} of {} slots are lost to tasks that do not end; giving back what is held and stopping",
                self.concurrency
            );
            self.shutdown.advance(Phase::Cold);
        }
    }

    fn is_beyond_hope(&self, stuck: usize) -> bool {
        stuck * STUCK_SHARE >= self.concurrency
    }

    fn ended(&self) -> Ended {
        match self.stuck.load(Ordering::Relaxed) {
            tasks if tasks > 0 && self.is_beyond_hope(tasks) => Ended::Stuck { tasks },
            _ => Ended::Asked,
        }
    }

    /// Hands a delivery back that has not begun.
    pub(crate) fn give_back(&self, delivery: Delivery) {
        self.settler
            .finish(delivery, Verdict::GiveBack { started: false });
    }
}

/// Runs deliveries until there are no more or the worker stops; returns when nothing runs any longer.
pub(crate) async fn run(
    mut deliveries: mpsc::Receiver<Delivery>,
    registry: &Registry,
    stage: Stage,
) -> Ended {
    let stage = Arc::new(stage);
    // Everything started holds a clone of `busy`; when the last is gone, `idle` ends.
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
    // Nothing is ever sent: this is the end of the last clone.
    let _ = idle.recv().await;
    stage.ended()
}

fn start(
    delivery: Delivery,
    registry: &Registry,
    stage: &Arc<Stage>,
    batches: &HashMap<Arc<str>, mpsc::UnboundedSender<Delivery>>,
    busy: &mpsc::Sender<()>,
) {
    let Some(task) = registry.get(&delivery.task.name) else {
        // The consumer asks the registry first; should the two ever disagree, another worker may know it.
        return stage.give_back(delivery);
    };
    if let Some(batch) = batches.get(&task.name) {
        if let Err(refused) = batch.send(delivery) {
            stage.give_back(refused.0);
        }
        return;
    }
    let (task, stage, busy) = (Arc::clone(task), Arc::clone(stage), busy.clone());
    tokio::spawn(async move {
        run_one(delivery, &task, &stage).await;
        drop(busy);
    });
}

async fn run_one(delivery: Delivery, task: &TaskDef, stage: &Arc<Stage>) {
    let Some(slot) = stage.slot().await else {
        return stage.give_back(delivery);
    };
    match once::until_settled(&delivery.task, task, stage).await {
        once::End::Outcome(outcome, took) => {
            // The slot is free before the verdict is written: settling is the consumer's work.
            drop(slot);
            settle::outcome(delivery, outcome, took, task, &stage.settler);
        }
        once::End::GaveUp { started } => {
            stage
                .settler
                .finish(delivery, Verdict::GiveBack { started });
        }
        once::End::TimeLimit { limit, ended } => {
            settle::time_limit(delivery, limit, &stage.settler);
            if !ended {
                stage.write_off(slot);
            }
        }
    }
}
