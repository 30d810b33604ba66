//! Collecting calls into batches, running a batch, and halving one that fails.
//!
//! A batch keeps its one slot until the last of its calls has an answer. While what it needs is away it waits as single
//! calls do; when the worker stops meanwhile, its calls go back as if they had not begun.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::once::{Waits, caught_panic};
use super::{Slot, Stage, settle};
use crate::delivery::{Delivery, Verdict};
use crate::failpoint::failpoint;
use crate::monitor::metrics::Of;
use crate::shutdown::Phase;
use crate::task::{BatchOptions, Outcome, RunBatch, TaskDef, TaskError};

/// Collects and runs the calls of one task.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) def: Arc<TaskDef>,
    pub(crate) options: BatchOptions,
    pub(crate) run: Arc<RunBatch>,
    pub(crate) stage: Arc<Stage>,
}

impl Runner {
    /// Collects until the executor hands over no more.
    pub(crate) async fn collect(
        self,
        mut calls: mpsc::UnboundedReceiver<Delivery>,
        busy: mpsc::Sender<()>,
    ) {
        let size = self.options.size;
        while let Some(first) = calls.recv().await {
            let mut batch = vec![first];
            let complete_at = tokio::time::Instant::now() + self.options.linger;
            while batch.len() < size {
                match timeout_at(complete_at, calls.recv()).await {
                    Ok(Some(call)) => batch.push(call),
                    Ok(None) | Err(_) => break,
                }
            }
            let Some(slot) = self.stage.slot().await else {
                self.give_back(batch);
                continue;
            };
            // What came while all slots were taken rides along.
            while batch.len() < size {
                let Ok(call) = calls.try_recv() else { break };
                batch.push(call);
            }
            let (runner, busy) = (self.clone(), busy.clone());
            let tasks = runner.stage.tasks.clone();
            tasks.spawn(async move {
                runner.settle(batch, slot).await;
                drop(busy);
            });
        }
    }

    /// Runs a batch until every call has its verdict. Parts of it run one after the other.
    async fn settle(&self, batch: Vec<Delivery>, _slot: Slot) {
        let metrics = &self.stage.monitor.metrics;
        batch
            .iter()
            .for_each(|call| metrics.started(Of::delivery(call)));
        let mut parts = VecDeque::from([batch]);
        let mut waits = Waits::new();
        while let Some(part) = parts.pop_front() {
            let started = Instant::now();
            let Some(answers) = self.answers(&part).await else {
                for call in part.into_iter().chain(parts.into_iter().flatten()) {
                    let verdict = Verdict::GiveBack { started: true };
                    self.stage.settler.finish(call, verdict);
                }
                return;
            };
            let mut away = Vec::new();
            match answers {
                Ok(answers) => {
                    for (call, answer) in part.into_iter().zip(answers) {
                        match answer {
                            Err(TaskError::Unavailable { .. }) => away.push(call),
                            answer => self.finish(call, answer, started),
                        }
                    }
                }
                Err(TaskError::Unavailable { cause }) => {
                    tracing::debug!("{} calls of {} wait: {cause}", part.len(), self.def.name);
                    away = part;
                }
                Err(error) => self.divide(part, error, started, &mut parts),
            }
            if away.is_empty() {
                continue;
            }
            parts.push_front(away);
            if !waits.wait(&self.stage).await {
                break;
            }
        }
        self.give_back(parts.into_iter().flatten());
    }

    /// A part that failed as a whole: all of it is at fault, or the one call in it, or somebody in either half.
    fn divide(
        &self,
        mut part: Vec<Delivery>,
        error: TaskError,
        started: Instant,
        parts: &mut VecDeque<Vec<Delivery>>,
    ) {
        let everyones = match &error {
            TaskError::Failed(exception) => exception.is_of_whole_batch(),
            _ => true,
        };
        if part.len() > 1 && !everyones {
            let rest = part.split_off(part.len() / 2);
            parts.push_front(rest);
            parts.push_front(part);
            return;
        }
        for call in part {
            self.finish(call, Err(error.clone()), started);
        }
    }

    fn finish(&self, call: Delivery, answer: Outcome, started: Instant) {
        settle::outcome(call, answer, started.elapsed(), &self.def, &self.stage);
    }

    fn give_back(&self, calls: impl IntoIterator<Item = Delivery>) {
        calls
            .into_iter()
            .for_each(|call| self.stage.give_back(call));
    }

    /// One run of the task's function; `None` when the worker stops cold meanwhile.
    async fn answers(&self, part: &[Delivery]) -> Option<Result<Vec<Outcome>, TaskError>> {
        let metrics = &self.stage.monitor.metrics;
        metrics.batch(&self.def.name, part.len());
        let _running = metrics.running(part.len());
        let tasks = part.iter().map(|call| Arc::clone(&call.task)).collect();
        let shared = Arc::clone(&self.stage.shared);
        failpoint!("run");
        let future = async { (self.run)(tasks, shared).await };
        let future = AssertUnwindSafe(future).catch_unwind();
        tokio::select! {
            biased;
            answers = future => Some(answers.unwrap_or_else(|panic| Err(caught_panic(&*panic)))),
            () = self.stage.shutdown.reached(Phase::Cold) => None,
        }
    }
}
