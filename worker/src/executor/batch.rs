//! Collects calls into batches, runs a batch, and halves a batch that fails.
//!
//! A batch keeps its one slot until each of its calls has an answer. While something that the batch
//! needs is away, the batch waits as a single call does. If the worker stops meanwhile, the calls
//! go back as if they had not begun.
//!
//! The time limit in the task's definition holds for one run of a batch. A batch that exceeds it is
//! halved like one that fails. The limits of the messages are ignored: they are meant for a call
//! that runs alone. Binding large arguments has its own limit, which halves a batch likewise.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{timeout, timeout_at};

use super::once::{self, Caught, STUCK_AFTER, Waits, after, bound_late, first, panic_message};
use super::{Slot, Stage};
use crate::delivery::{Delivery, Outcome};
use crate::duration::LONGEST;
use crate::failpoint::failpoint;
use crate::shutdown::Phase;
use crate::task::{Answer, BatchOptions, Binding, RunBatch, TaskDef, TaskError};

/// Collects and runs the calls of one task.
#[derive(Clone)]
pub(crate) struct Runner {
    pub(crate) def: Arc<TaskDef>,
    pub(crate) options: BatchOptions,
    pub(crate) run: Arc<RunBatch>,
    pub(crate) stage: Arc<Stage>,
}

impl Runner {
    /// Collects calls into batches until the executor hands over no more.
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
            // Calls that arrived while all slots were taken join this batch.
            while batch.len() < size {
                let Ok(call) = calls.try_recv() else { break };
                batch.push(call);
            }
            let (runner, busy) = (self.clone(), busy.clone());
            // The future that enforces the limit runs on the worker's own runtime, where a task
            // that does not yield cannot delay it.
            let watched = self.def.policy.time_limit.is_some() || binding(&batch).is_some();
            let place = if watched {
                Handle::current()
            } else {
                self.stage.tasks.clone()
            };
            place.spawn(async move {
                runner.run_until_done(batch, slot).await;
                drop(busy);
            });
        }
    }

    /// Runs a batch until every call has its outcome. The parts of a halved batch run one after the
    /// other.
    async fn run_until_done(&self, batch: Vec<Delivery>, slot: Slot) {
        let begun = batch.into_iter().map(|call| self.stage.begin(call));
        let batch: Vec<Delivery> = join_all(begun).await.into_iter().flatten().collect();
        let mut parts = VecDeque::from([batch]);
        let mut waits = Waits::new();
        while let Some(part) = parts.pop_front() {
            let part = self.still_to_run(part);
            if part.is_empty() {
                continue;
            }
            let started = Instant::now();
            let ran = self.run_once(&part).await;
            let (mut away, mut cause_away) = (Vec::new(), String::new());
            match ran {
                Ran::Answered(answers) => {
                    for (call, answer) in part.into_iter().zip(answers) {
                        match once::outcome(answer, started.elapsed()) {
                            Outcome::Unavailable { cause } => {
                                cause_away = cause;
                                away.push(call);
                            }
                            outcome => self.stage.finish(call, outcome),
                        }
                    }
                }
                Ran::Unavailable { cause } => {
                    tracing::debug!("{} calls of {} wait: {cause}", part.len(), self.def.name);
                    (away, cause_away) = (part, cause);
                }
                Ran::Failed { divisible, .. } if divisible && part.len() > 1 => {
                    let mut part = part;
                    let rest = part.split_off(part.len() / 2);
                    parts.push_front(rest);
                    parts.push_front(part);
                }
                Ran::Failed { outcome, .. } => self.finish_all(part, &outcome),
                Ran::Dropped => {
                    let calls = part.into_iter().chain(parts.into_iter().flatten());
                    return self.finish_all(calls, &Outcome::Interrupted);
                }
                Ran::Stuck(limit) => {
                    self.finish_all(part, &Outcome::TimedOut(limit));
                    self.stage.write_off(slot, &self.def.run);
                    return self.give_back(parts.into_iter().flatten());
                }
            }
            if away.is_empty() {
                continue;
            }
            if !waits.wait(&self.stage).await {
                self.finish_all(away, &Outcome::Unavailable { cause: cause_away });
                break;
            }
            parts.push_front(away);
        }
        self.give_back(parts.into_iter().flatten());
    }

    /// Settles the calls of a part that must not run any more, and returns the others.
    /// [`Stage::begin`] has checked them already, but they have waited since.
    fn still_to_run(&self, part: Vec<Delivery>) -> Vec<Delivery> {
        let mut runnable = Vec::with_capacity(part.len());
        for call in part {
            match self.stage.settler.obstacle(&call) {
                Some(obstacle) => self.stage.settler.finish(call, obstacle),
                None => runnable.push(call),
            }
        }
        runnable
    }

    fn finish_all(&self, calls: impl IntoIterator<Item = Delivery>, outcome: &Outcome) {
        for call in calls {
            self.stage.finish(call, outcome.clone());
        }
    }

    fn give_back(&self, calls: impl IntoIterator<Item = Delivery>) {
        calls
            .into_iter()
            .for_each(|call| self.stage.give_back(call));
    }

    /// Runs the task's function once.
    async fn run_once(&self, part: &[Delivery]) -> Ran {
        let metrics = &self.stage.monitor.metrics;
        metrics.batch(&self.def.name, part.len());
        let _running = metrics.running(part.len());
        let tasks = part.iter().map(|call| Arc::clone(&call.task)).collect();
        let binding = binding(part);
        let bound = binding.clone();
        let (run, shared) = (Arc::clone(&self.run), Arc::clone(&self.stage.shared));
        failpoint!("run");
        // `_life` is dropped together with the task's code; that ends `end`.
        let (life, end) = oneshot::channel::<()>();
        let future = AssertUnwindSafe(async move {
            let _life = life;
            run(tasks, shared, bound).await
        });
        let future = future
            .catch_unwind()
            .map(|answers| answers.map_err(|panic| panic_message(&*panic)));
        let stopped = self.stage.shutdown.reached(Phase::Cold);
        let limit = self.def.policy.time_limit;
        if limit.is_none() && binding.is_none() {
            return tokio::select! {
                biased;
                answers = future => Ran::ended(answers),
                () = stopped => Ran::Dropped,
            };
        }
        let late = bound_late(binding, self.stage.binding_limit);
        let mut running = self.stage.tasks.spawn(future);
        tokio::select! {
            biased;
            answers = &mut running => {
                Ran::ended(answers.unwrap_or_else(|error| Err(error.to_string())))
            }
            limit = first(after(limit), late) => {
                running.abort();
                match timeout(STUCK_AFTER, end).await {
                    Ok(_) => Ran::Failed { outcome: Outcome::TimedOut(limit), divisible: true },
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

/// Returns the binding of the arguments of these calls, if it has to be watched.
fn binding(calls: &[Delivery]) -> Option<Binding> {
    Binding::of(calls.iter().map(|call| &*call.task))
}

/// The outcome of one run.
enum Ran {
    /// The function gave one answer for each call.
    Answered(Vec<Answer>),
    /// The run failed for all calls. If `divisible`, only some of the calls may be at fault, so
    /// both halves of the batch are run again.
    Failed { outcome: Outcome, divisible: bool },
    /// Something that the batch needs is away.
    Unavailable { cause: String },
    /// The run took longer than this and did not end when it was dropped.
    Stuck(Duration),
    /// The worker stops cold, and dropped the run.
    Dropped,
}

impl Ran {
    /// Classifies what the task's function returned, or its panic.
    fn ended(returned: Caught<Result<Vec<Answer>, TaskError>>) -> Self {
        let (outcome, divisible) = match returned {
            Ok(Ok(answers)) => return Ran::Answered(answers),
            Ok(Err(TaskError::Unavailable { cause })) => return Ran::Unavailable { cause },
            Ok(Err(TaskError::Failed(exception))) => {
                let divisible = !exception.is_of_whole_batch();
                (TaskError::Failed(exception).into(), divisible)
            }
            // The function asked for this end itself, for all calls.
            Ok(Err(error)) => (error.into(), false),
            Err(panic) => (Outcome::Panicked(panic), true),
        };
        Ran::Failed { outcome, divisible }
    }
}
