//! Runs calls of one task until each has its outcome: a single call, or the calls of a batch.
//!
//! Calls that run together are a *part*. A part runs again while a server that it needs is away. If
//! the worker stops meanwhile, its calls go back as if they had not begun. A part of a batch that
//! fails as a whole, or exceeds its limit, is halved, and the halves run one after the other. All
//! parts share one slot, which is free when each call has its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::backoff::Backoff;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::code::{Caught, Code, Ended};
use super::slots::Slot;
use super::stage::Stage;
use crate::delivery::{Delivery, Outcome};
use crate::failpoint::failpoint;
use crate::monitor::{Observer, Observers};
use crate::shutdown::Phase;
use crate::task::{Answer, Run, TaskDef, TaskError};

/// The first wait between two tries of a task whose database is away. It is so short that a restart
/// of the database hardly delays the task.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries of a task whose database is away: long enough not to flood a
/// server that is starting.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Runs the calls of one task.
#[derive(Clone)]
pub(super) struct Engine {
    pub(super) def: Arc<TaskDef>,
    pub(super) stage: Arc<Stage>,
}

impl Engine {
    /// Returns the runtime for the future that runs these calls. If it enforces limits, that is the
    /// worker's own, where a task that does not yield cannot delay it.
    pub(super) fn place(&self, calls: &[Delivery]) -> Handle {
        if Code::is_watched(&self.def, calls) {
            Handle::current()
        } else {
            self.stage.tasks.clone()
        }
    }

    /// Returns `true` if this call may end at its first poll: it does not compute on a thread of its
    /// own, and is not watched.
    pub(super) fn may_be_short(&self, call: &Delivery) -> bool {
        matches!(self.def.run, Run::Function(_))
            && !Code::is_watched(&self.def, std::slice::from_ref(call))
    }

    /// Runs calls that have begun until each of them has its outcome.
    pub(super) async fn run_until_done(&self, calls: Vec<Delivery>, slot: Slot) {
        // The parts that are still to run, the next one last.
        let mut parts = Vec::new();
        let mut waits = Waits::new();
        let mut next = Some(calls).filter(|calls| !calls.is_empty());
        while let Some(mut part) = next {
            let started = Instant::now();
            let mut away = None;
            match self.run_once(&part).await {
                Ran::Answered(answers) => {
                    away = self.finish_each(part, answers, started.elapsed());
                }
                Ran::Unavailable { cause } => {
                    self.report_wait(&part, &cause);
                    away = Some((part, cause));
                }
                Ran::Failed { divisible, .. } if divisible && part.len() > 1 => {
                    let rest = part.split_off(part.len() / 2);
                    parts.extend([rest, part]);
                }
                Ran::Failed { outcome, .. } => self.finish_all(part, outcome),
                Ran::Stopped(outcome) => {
                    part.extend(parts.into_iter().rev().flatten());
                    return self.finish_all(part, outcome);
                }
                Ran::Stuck(outcome) => {
                    // The outcome is reported before the slot is written off, because that may stop
                    // the worker.
                    self.finish_all(part, outcome);
                    self.stage.write_off(slot, &self.def.run);
                    return self.give_back(parts);
                }
            }
            if let Some((part, cause)) = away {
                if !waits.wait(&self.stage).await {
                    self.finish_all(part, Outcome::Unavailable { cause });
                    return self.give_back(parts);
                }
                parts.push(part);
            }
            next = self.next_part(&mut parts);
        }
    }

    /// Runs the task's code once.
    async fn run_once(&self, part: &[Delivery]) -> Ran {
        let observers = &self.stage.observers;
        if let Run::Batched(..) = self.def.run {
            observers.batch(&self.def.name, part.len());
        }
        let _running = RunningCalls::new(observers, part.len());
        failpoint!("run");
        match Code::of(&self.def, part, &self.stage).await {
            Some(code) => code.run(part, &self.stage).await.into(),
            None => Ended::NotStarted.into(),
        }
    }

    /// Returns the next part to run. Settles the calls that must not run any more:
    /// [`Stage::begin`] has checked them, but they have waited since.
    fn next_part(&self, parts: &mut Vec<Vec<Delivery>>) -> Option<Vec<Delivery>> {
        while let Some(part) = parts.pop() {
            let part = self.stage.still_to_run(part);
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }

    /// Reports the answers of a part's calls. Returns the calls that need a server that is away,
    /// and the cause.
    fn finish_each(
        &self,
        part: Vec<Delivery>,
        answers: Vec<Answer>,
        runtime: Duration,
    ) -> Option<(Vec<Delivery>, String)> {
        let (mut away, mut cause_away) = (Vec::new(), String::new());
        for (call, answer) in part.into_iter().zip(answers) {
            match answer {
                Ok(value) => self
                    .stage
                    .finish(call, Outcome::Succeeded { value, runtime }),
                Err(TaskError::Unavailable { cause }) => {
                    cause_away = cause;
                    away.push(call);
                }
                Err(error) => self.stage.finish(call, error.into()),
            }
        }
        (!away.is_empty()).then_some((away, cause_away))
    }

    fn finish_all(&self, calls: Vec<Delivery>, outcome: Outcome) {
        let outcomes = std::iter::repeat_n(outcome, calls.len());
        for (call, outcome) in calls.into_iter().zip(outcomes) {
            self.stage.finish(call, outcome);
        }
    }

    fn give_back(&self, parts: Vec<Vec<Delivery>>) {
        for call in parts.into_iter().rev().flatten() {
            self.stage.give_back(call);
        }
    }

    fn report_wait(&self, part: &[Delivery], cause: &str) {
        let observers = &self.stage.observers;
        if let Run::Batched(..) = self.def.run {
            return observers.batch_waits(&self.def.name, part.len(), cause);
        }
        for call in part {
            observers.waits(call.of(), cause);
        }
    }
}

/// Reports calls as running until it is dropped.
struct RunningCalls<'o> {
    observers: &'o Observers,
    count: i64,
}

impl<'o> RunningCalls<'o> {
    fn new(observers: &'o Observers, calls: usize) -> Self {
        let count = i64::try_from(calls).unwrap_or(i64::MAX);
        observers.running(count);
        RunningCalls { observers, count }
    }
}

impl Drop for RunningCalls<'_> {
    fn drop(&mut self) {
        self.observers.running(-self.count);
    }
}

/// The waits while a server is away. Their jitter keeps the slots of a worker, and the workers of a
/// fleet, from trying at the same moment.
struct Waits(Backoff);

impl Waits {
    fn new() -> Self {
        Waits(Backoff::between(FIRST_WAIT, LONGEST_WAIT))
    }

    /// Waits. Returns `false` if the worker stops meanwhile, or does not wait.
    async fn wait(&mut self, stage: &Stage) -> bool {
        if !stage.waits {
            return false;
        }
        tokio::select! {
            biased;
            () = stage.shutdown.reached(Phase::Warm) => false,
            () = sleep(self.0.pause()) => true,
        }
    }
}

/// What one run means for its calls.
enum Ran {
    /// The code gave one answer for each call.
    Answered(Vec<Answer>),
    /// The run failed for all calls. If `divisible`, only some of the calls may be at fault, so
    /// both halves of a batch are run again.
    Failed { outcome: Outcome, divisible: bool },
    /// A server that all calls need is away.
    Unavailable { cause: String },
    /// The run was stopped but did not end; this is the outcome of all calls.
    Stuck(Outcome),
    /// The worker stops; this is the outcome of all calls.
    Stopped(Outcome),
}

impl From<Ended> for Ran {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Returned(caught) => caught.into(),
            Ended::TimedOut { limit, stuck: true } => Ran::Stuck(Outcome::TimedOut(limit)),
            Ended::TimedOut { limit, .. } => Ran::Failed {
                outcome: Outcome::TimedOut(limit),
                divisible: true,
            },
            Ended::Dropped => Ran::Stopped(Outcome::Interrupted),
            Ended::Terminated { signal, stuck } => {
                let outcome = Outcome::Terminated { signal };
                if stuck {
                    Ran::Stuck(outcome)
                } else {
                    // Remote control ended only this call: the other parts still run.
                    let divisible = false;
                    Ran::Failed { outcome, divisible }
                }
            }
            Ended::NotStarted => Ran::Stopped(Outcome::NotStarted),
        }
    }
}

impl From<Caught> for Ran {
    fn from(caught: Caught) -> Self {
        let (outcome, divisible) = match caught {
            Ok(Ok(answers)) => return Ran::Answered(answers),
            Ok(Err(TaskError::Unavailable { cause })) => return Ran::Unavailable { cause },
            Ok(Err(TaskError::Failed(exception))) => {
                let divisible = !exception.is_of_whole_batch();
                (TaskError::Failed(exception).into(), divisible)
            }
            // The code itself asked for this end, for all calls.
            Ok(Err(error)) => (error.into(), false),
            Err(panic) => (Outcome::Panicked(panic), true),
        };
        Ran::Failed { outcome, divisible }
    }
}
