//! Keeps the rate limits of tasks: calls wait here until their task may begin one more.
//!
//! A call that waits has no slot. It keeps its lease, and does not count against the number of
//! messages that may be held, so that it does not keep other tasks away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use super::stage::Stage;
use crate::broker::Waits;
use crate::delivery::Delivery;
use crate::shutdown::Phase;
use crate::task::TaskDef;

/// A call that waits, and its mark in the ledger.
type Waiting = (Delivery, Waits);

/// The lines in which calls of limited tasks wait, by the names of the tasks.
pub(super) struct Lines<S> {
    stage: Arc<Stage>,
    by_task: HashMap<Arc<str>, mpsc::UnboundedSender<Waiting>>,
    /// Starts a call whose turn has come.
    start: S,
    /// Every line holds a clone until it is empty.
    busy: mpsc::Sender<()>,
}

impl<S: Fn(&Arc<TaskDef>, Delivery) + Clone + Send + Sync + 'static> Lines<S> {
    pub(super) fn new(stage: &Arc<Stage>, busy: &mpsc::Sender<()>, start: S) -> Self {
        Lines {
            stage: Arc::clone(stage),
            by_task: HashMap::new(),
            start,
            busy: busy.clone(),
        }
    }

    /// Starts a call at once, or as soon as the rate of its task allows it.
    pub(super) fn take(&mut self, task: &Arc<TaskDef>, delivery: Delivery) {
        let line = match self.by_task.get(&task.name) {
            Some(line) => line,
            None if !task.live.rate.is_set() => return (self.start)(task, delivery),
            None => {
                let (line, calls) = mpsc::unbounded_channel();
                let (start, busy) = (self.start.clone(), self.busy.clone());
                let (stage, of) = (Arc::clone(&self.stage), Arc::clone(task));
                tokio::spawn(async move {
                    serve(&stage, &of, calls, start).await;
                    drop(busy);
                });
                self.by_task.entry(Arc::clone(&task.name)).or_insert(line)
            }
        };
        let waits = self.stage.settler.ledger.waits();
        if let Err(refused) = line.send((delivery, waits)) {
            self.stage.give_back(refused.0.0);
        }
    }
}

/// Starts the calls of a task in their order, each when its turn comes. When the worker drains or
/// stops, gives back those that still wait, because their turn may be hours away.
async fn serve(
    stage: &Stage,
    task: &Arc<TaskDef>,
    mut calls: mpsc::UnboundedReceiver<Waiting>,
    start: impl Fn(&Arc<TaskDef>, Delivery),
) {
    while let Some((delivery, waits)) = calls.recv().await {
        // A call that will not run needs no turn, and leaves it to the next one.
        if !stage.settler.is_over(&delivery) {
            tokio::select! {
                biased;
                () = stage.shutdown.reached(Phase::Draining) => {
                    stage.give_back(delivery);
                    continue;
                }
                () = task.live.rate.turn() => {}
            }
            if !stage.settler.is_over(&delivery) {
                task.live.rate.take(Instant::now());
            }
        }
        drop(waits);
        start(task, delivery);
    }
}
