//! Collecting calls into batches, running a batch, and halving one that fails.
//!
//! A batch keeps its one slot until the last of its calls has an answer. While what it needs is away it waits as single
//! calls do; when the worker stops meanwhile, its calls go back as if they had not begun.
//!
//! The time limit of the task's definition holds for one run of a batch, and one that takes longer is halved like one that
//! fails. The limits of the messages are not looked at: they are meant for a call that is alone.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout, timeout_at};

use super::once::{STUCK_AFTER, Waits, caught_panic, panicked};
use super::{Slot, Stage, settle};
use crate::clock::now;
use crate::delivery::{Delivery, Verdict, is_expired};
use crate::duration::LONGEST;
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
            let complete_at = tokio::time::Instant::now() + self.options.linger.min(LONGEST);
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
            // Whoever keeps the limit must not wait behind the task.
            let place = match self.def.policy.time_limit {
                Some(_) => Handle::current(),
                None => self.stage.tasks.clone(),
            };
            place.spawn(async move {
                runner.settle(batch, slot).await;
                drop(busy);
            });
        }
    }

    /// Runs a batch until every call has its verdict. Parts of it run one after the other.
    async fn settle(&self, batch: Vec<Delivery>, slot: Slot) {
        let begun = batch.into_iter().map(|call| self.stage.begin(call));
        let batch: Vec<Delivery> = join_all(begun).await.into_iter().flatten().collect();
        let metrics = &self.stage.monitor.metrics;
        batch
            .iter()
            .for_each(|call| metrics.started(Of::delivery(call)));
        let mut parts = VecDeque::from([batch]);
        let mut waits = Waits::new();
        while let Some(part) = parts.pop_front() {
            // Looked at when they were claimed, too; but they have waited since.
            let now = now();
            let (late, part): (Vec<_>, Vec<_>) = part
                .into_iter()
                .partition(|call| is_expired(&call.task, now));
            for call in late {
                settle::expired(call, &self.stage);
            }
            let lost = |call: &Delivery| self.stage.settler.is_lost(call);
            let (lost, part): (Vec<_>, Vec<_>) = part.into_iter().partition(lost);
            self.give_back(lost);
            if part.is_empty() {
                continue;
            }
            let started = Instant::now();
            let answers = match self.run_once(&part).await {
                Ran::Ended(answers) => answers,
                Ran::Dropped => {
                    for call in part.into_iter().chain(parts.into_iter().flatten()) {
                        let verdict = Verdict::GiveBack { started: true };
                        self.stage.settler.finish(call, verdict);
                    }
                    return;
                }
                Ran::Stuck(limit) => {
                    for call in part {
                        settle::time_limit(call, limit, &self.stage);
                    }
                    self.stage.write_off(slot, &self.def.run);
                    return self.give_back(parts.into_iter().flatten());
                }
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

    /// One run of the task's function.
    async fn run_once(&self, part: &[Delivery]) -> Ran {
        let metrics = &self.stage.monitor.metrics;
        metrics.batch(&self.def.name, part.len());
        let _running = metrics.running(part.len());
        let tasks = part.iter().map(|call| Arc::clone(&call.task)).collect();
        let (run, shared) = (Arc::clone(&self.run), Arc::clone(&self.stage.shared));
        failpoint!("run");
        // Dropped with the task's code.
        let (life, end) = oneshot::channel::<()>();
        let future = AssertUnwindSafe(async move {
            let _life = life;
            run(tasks, shared).await
        });
        let future = future
            .catch_unwind()
            .map(|answers| answers.unwrap_or_else(|panic| Err(caught_panic(&*panic))));
        let stopped = self.stage.shutdown.reached(Phase::Cold);
        let Some(limit) = self.def.policy.time_limit else {
            return tokio::select! {
                biased;
                answers = future => Ran::Ended(answers),
                () = stopped => Ran::Dropped,
            };
        };
        let mut running = self.stage.tasks.spawn(future);
        tokio::select! {
            biased;
            answers = &mut running => {
                Ran::Ended(answers.unwrap_or_else(|error| Err(panicked(&error.to_string()))))
            }
            () = sleep(limit) => {
                running.abort();
                match timeout(STUCK_AFTER, end).await {
                    Ok(_) => Ran::Ended(Err(TaskError::Failed(settle::limit_exceeded(limit)))),
                    Err(_) => Ran::Stuck(limit),
                }
            }
            () = stopped => {
                running.abort();
                Ran::Dropped
            }
        }
    }
}

/// What came of one run.
enum Ran {
    /// Answers, or an error in their place; taking too long is one.
    Ended(Result<Vec<Outcome>, TaskError>),
    /// It took longer than this and did not end when dropped.
    Stuck(Duration),
    /// The worker stops cold.
    Dropped,
}
