//! Runs the deliveries that the consumer hands over, and reports exactly once what happened to each
//! of them. The consumer decides what the report means.
//!
//! A *slot* is the right to run: there are as many slots as the worker's concurrency, and a batch
//! takes one. The consumer still holds a delivery that waits for a slot. It limits the number of
//! such deliveries, and renews their leases.
//!
//! There are two runtimes. The code of tasks runs on the runtime that the worker was started on;
//! everything else runs on the worker's own. A task that never yields can therefore block other
//! tasks, but neither its time limit nor a lease nor a signal. Short tasks run in the [`lane`], one
//! after the other on one thread.
//!
//! How it ends: in [`Phase::Warm`], deliveries that have not begun go back, and the executor waits
//! for the running ones. In [`Phase::Cold`], running tasks are dropped and their messages go back
//! too. When a quarter of the slots, or every thread, is lost to tasks that do not end, the
//! executor stops the worker and logs why.

mod code;
mod collect;
mod engine;
mod gate;
mod lane;
mod limited;
mod limits;
mod recycling;
mod slots;
mod stage;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::engine::Engine;
use self::gate::{Gate, Limited};
use self::lane::{Lane, Runs, Standing};
use self::limited::Lines;
pub(crate) use self::recycling::Recycling;
pub(crate) use self::slots::Slots;
use self::slots::{Slot, Turn};
pub(crate) use self::stage::{Ended, Stage};
use crate::delivery::Delivery;
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Registry, Run, TaskDef};

/// How long a cold stop waits for tasks to be dropped. A task that yields at all has ended by then.
/// A task that does not is left behind, and its message goes back with the rest.
const LAST_MOMENT: Duration = Duration::from_secs(2);

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
    let lane = Lane::new(stage.tasks.clone());
    let mut lines = {
        let places = Arc::new(places(registry, &stage, &busy));
        let (of_lines, lane, of_calls) = (Arc::clone(&stage), lane.clone(), busy.clone());
        let start = move |task: &Arc<TaskDef>, delivery, slot| {
            if let Some(place) = places.get(&task.name) {
                place.start(delivery, slot, &of_lines, &lane, &of_calls);
            }
        };
        let gate = open_gate(&stage, &busy, start.clone());
        Lines::new(&stage, &busy, move |task, delivery| match &gate {
            Some(gate) if task.policy.fleet.are_set() => {
                // The gate ends only after its sender.
                let _ = gate.send((Arc::clone(task), delivery));
            }
            _ => start(task, delivery, None),
        })
    };
    // Its drop ends the watch.
    let mut watch = JoinSet::new();
    watch.spawn(lane.watch());
    loop {
        let delivery = tokio::select! {
            biased;
            () = stage.shutdown.reached(Phase::Warm) => break,
            delivery = deliveries.recv() => delivery,
        };
        let Some(delivery) = delivery else { break };
        match registry.get(&delivery.task.name) {
            Some(task) => lines.take(task, delivery),
            // The consumer checks the registry first. If the two ever disagree, another worker may
            // know the task.
            None => stage.give_back(delivery),
        }
    }
    deliveries.close();
    while let Some(delivery) = deliveries.recv().await {
        stage.give_back(delivery);
    }
    drop(lines);
    drop(busy);
    tokio::select! {
        // Nothing is ever sent: `recv` returns when the last clone of `busy` is gone.
        _ = idle.recv() => {}
        () = last_moment(&stage.shutdown) => {
            tracing::warn!("Some tasks did not end when they were dropped; their messages go back nevertheless");
        }
    }
    stage.ended()
}

/// Starts the gate for tasks with limits that hold across all workers, if those are kept.
fn open_gate<S>(
    stage: &Arc<Stage>,
    busy: &mpsc::Sender<()>,
    start: S,
) -> Option<mpsc::UnboundedSender<Limited>>
where
    S: Fn(&Arc<TaskDef>, Delivery, Option<Slot>) + Send + Sync + 'static,
{
    let requests = stage.admission.clone()?;
    let (gate, calls) = mpsc::unbounded_channel();
    let (through, busy) = (Gate::new(stage, requests, start), busy.clone());
    tokio::spawn(async move {
        through.run(calls).await;
        drop(busy);
    });
    Some(gate)
}

async fn last_moment(shutdown: &Shutdown) {
    shutdown.reached(Phase::Cold).await;
    tokio::time::sleep(LAST_MOMENT).await;
}

/// Starts the calls of one task.
struct Place {
    engine: Engine,
    way: Way,
}

enum Way {
    /// Calls are collected into batches.
    Batches(mpsc::UnboundedSender<Delivery>),
    /// Each call runs alone.
    Alone(Standing),
}

/// Returns the place of each registered task, by its name.
fn places(
    registry: &Registry,
    stage: &Arc<Stage>,
    busy: &mpsc::Sender<()>,
) -> HashMap<Arc<str>, Place> {
    let place = |task: &Arc<TaskDef>| {
        let engine = Engine {
            def: Arc::clone(task),
            stage: Arc::clone(stage),
        };
        let way = if let Run::Batched(options, _) = &task.run {
            let (sender, calls) = mpsc::unbounded_channel();
            let collector = collect::collect(engine.clone(), *options, calls, busy.clone());
            tokio::spawn(collector);
            Way::Batches(sender)
        } else {
            Way::Alone(Standing::default())
        };
        (Arc::clone(&task.name), Place { engine, way })
    };
    registry.iter().map(place).collect()
}

impl Place {
    /// Runs a call in this slot, or as soon as it has one. A call for a batch waits for its batch,
    /// which needs a slot only once it is complete.
    fn start(
        &self,
        delivery: Delivery,
        slot: Option<Slot>,
        stage: &Stage,
        lane: &Lane<Single>,
        busy: &mpsc::Sender<()>,
    ) {
        let standing = match &self.way {
            Way::Batches(batch) => {
                if let Err(refused) = batch.send(delivery) {
                    stage.give_back(refused.0);
                }
                return;
            }
            Way::Alone(standing) => standing,
        };
        let in_lane = self.engine.may_be_short(&delivery) && standing.is_short();
        let place = (!in_lane).then(|| self.engine.place(std::slice::from_ref(&delivery)));
        let call = Single {
            delivery,
            engine: self.engine.clone(),
            turn: slot.map_or(Turn::Unasked, |slot| Turn::Ready(Some(slot))),
            place,
            busy: busy.clone(),
        };
        if in_lane {
            lane.run(standing, call);
        } else {
            lane.pass(call);
        }
    }
}

/// A call that runs alone.
struct Single {
    delivery: Delivery,
    engine: Engine,
    turn: Turn,
    /// The runtime for the call. `None`: the lane, or that of tasks.
    place: Option<Handle>,
    /// Is dropped when the call has ended.
    busy: mpsc::Sender<()>,
}

impl Single {
    async fn go(self) {
        let (delivery, engine) = (self.delivery, self.engine);
        match engine.stage.slot_of(self.turn).await {
            None => engine.stage.give_back(delivery),
            Some(slot) => {
                let begun = engine.stage.begin(delivery, &engine.def.policy).await;
                if let Some(delivery) = begun {
                    engine.run_until_done(vec![delivery], slot).await;
                }
            }
        }
        drop(self.busy);
    }
}

impl Runs for Single {
    fn line_up(&mut self) {
        if matches!(self.turn, Turn::Unasked) {
            self.turn = self.engine.stage.line_up();
        }
    }

    fn run(self) -> BoxFuture<'static, ()> {
        Box::pin(self.go())
    }

    fn hand_over(mut self) {
        let place = self.place.take();
        let place = place.unwrap_or_else(|| self.engine.stage.tasks.clone());
        // The call reports its own end.
        drop(place.spawn(self.go()));
    }
}
