//! Runs one call from its start to its outcome: keeps its limits, catches its panics, and runs it
//! again while something that it needs is away.
//!
//! Converting large arguments to the parameters of the task (binding) has a time limit, even if the
//! task has none.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use celery_client::backoff::Backoff;
use celery_protocol::message::Task;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::{sleep, timeout};

use super::Stage;
use crate::delivery::{Delivery, Outcome};
use crate::failpoint::failpoint;
use crate::shutdown::Phase;
use crate::task::{Answer, Binding, Call, Context, Policy, Run, TaskDef};
use crate::task_log::{Running, label, log_task};

/// A task is stuck if it still runs this long after it was stopped (our choice: Celery kills a
/// process).
pub(super) const STUCK_AFTER: Duration = Duration::from_secs(10);
/// The first wait between two tries of a task whose database is away: short enough that a restart
/// of the database goes unnoticed.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries of a task whose database is away: long enough not to flood a
/// server that is starting.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The end of a call.
pub(crate) struct End {
    pub(crate) outcome: Outcome,
    /// `true` if the code did not end after it was stopped, and keeps its slot.
    pub(crate) stuck: bool,
}

impl From<Outcome> for End {
    fn from(outcome: Outcome) -> Self {
        End {
            outcome,
            stuck: false,
        }
    }
}

/// The answer of a task's code, or the message of its panic.
pub(crate) type Caught<T> = Result<T, String>;

/// Returns the outcome of a call whose code gave this answer.
pub(crate) fn outcome(answer: Answer, runtime: Duration) -> Outcome {
    match answer {
        Ok(value) => Outcome::Succeeded { value, runtime },
        Err(error) => error.into(),
    }
}

/// The waits while something is away. Their jitter keeps the slots of a worker, and the workers of
/// a fleet, from asking at the same moment.
pub(crate) struct Waits(Backoff);

impl Waits {
    pub(crate) fn new() -> Self {
        Waits(Backoff::between(FIRST_WAIT, LONGEST_WAIT))
    }

    /// Waits. Returns `false` if the worker stops meanwhile, or does not wait.
    pub(crate) async fn wait(&mut self, stage: &Stage) -> bool {
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

/// Runs a call, and runs it again while something that it needs is away.
pub(crate) async fn until_ended(delivery: &Delivery, def: &TaskDef, stage: &Arc<Stage>) -> End {
    let task = &delivery.task;
    let mut waits = Waits::new();
    loop {
        let running = stage.monitor.metrics.running(1);
        let end = attempt(delivery, def, stage).await;
        drop(running);
        let Outcome::Unavailable { cause } = &end.outcome else {
            return end;
        };
        log_task!(debug, delivery, "Task {} waits: {cause}", label(task));
        if !waits.wait(stage).await {
            return end;
        }
        if let Some(obstacle) = stage.settler.obstacle(delivery) {
            return obstacle.into();
        }
    }
}

/// The time limits of a call: those of its message, else those of its task.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Limits {
    soft: Option<Duration>,
    hard: Option<Duration>,
}

impl Limits {
    fn of(task: &Task, policy: &Policy) -> Self {
        // Limits that are not a duration (negative, infinite) limit nothing; nor does 0, as in
        // Celery.
        let seconds = |limit: Option<f64>| {
            limit
                .and_then(|limit| Duration::try_from_secs_f64(limit).ok())
                .filter(|limit| !limit.is_zero())
        };
        Limits {
            soft: seconds(task.time_limit.soft).or(policy.soft_time_limit),
            hard: seconds(task.time_limit.hard).or(policy.time_limit),
        }
    }
}

/// Returns `true` if a call has to be watched while it runs, or while its arguments are bound.
pub(crate) fn is_watched(task: &Task, def: &TaskDef) -> bool {
    let limits = Limits::of(task, &def.policy);
    limits.soft.is_some() || limits.hard.is_some() || Binding::of([task]).is_some()
}

/// A guard that lives as long as a call's code, which can outlast the future that waits for it.
struct Life {
    /// Dropped together with the code.
    _end: oneshot::Sender<()>,
    /// `true` once the code's permit of `Stage::cores` has been given back.
    core: Arc<AtomicBool>,
}

/// The other end of a [`Life`].
struct Watch {
    end: oneshot::Receiver<()>,
    core: Arc<AtomicBool>,
}

fn life() -> (Life, Watch) {
    let (sender, end) = oneshot::channel();
    let core = Arc::new(AtomicBool::new(false));
    let life = Life {
        _end: sender,
        core: Arc::clone(&core),
    };
    (life, Watch { end, core })
}

async fn attempt(delivery: &Delivery, def: &TaskDef, stage: &Arc<Stage>) -> End {
    failpoint!("run");
    let task = &delivery.task;
    let started = Instant::now();
    let ended = |answer: Caught<Answer>| match answer {
        Ok(answer) => outcome(answer, started.elapsed()),
        Err(panic) => Outcome::Panicked(panic),
    };
    let limits = Limits::of(task, &def.policy);
    let binding = Binding::of([&**task]);
    let (cancel, cancelled) = match limits.soft {
        Some(_) => {
            let (sender, receiver) = watch::channel(false);
            (Some(sender), Some(receiver))
        }
        None => (None, None),
    };
    let (task_of_call, shared) = (Arc::clone(task), Arc::clone(&stage.shared));
    let context = Context::new(task_of_call, shared, cancelled, &def.policy);
    let (life, watch) = life();
    let core = match &def.run {
        Run::Blocking(_) => match stage.core().await {
            // The limits of the call count from here: waiting for a core is not running.
            Some(core) => Some(core),
            None => return Outcome::NotStarted.into(),
        },
        _ => None,
    };
    let call = Call {
        context,
        binding: binding.clone(),
    };
    let Some(future) = caught(call, def, Running::of(delivery), core, life) else {
        return Outcome::NotStarted.into();
    };
    if limits.soft.is_none() && limits.hard.is_none() && binding.is_none() {
        return tokio::select! {
            biased;
            answer = future => ended(answer).into(),
            () = stage.shutdown.reached(Phase::Cold) => Outcome::Interrupted.into(),
        };
    }
    // The code runs on the runtime of tasks; this loop watches from the worker's runtime. The
    // limits therefore hold even while the code does not yield.
    let mut running = stage.tasks.spawn(future);
    let mut soft = std::pin::pin!(after(limits.soft));
    let late = bound_late(binding, stage.binding_limit);
    let mut hard = std::pin::pin!(first(after(limits.hard), late));
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut running => {
                return ended(answer.unwrap_or_else(|error| Err(error.to_string()))).into();
            }
            limit = &mut hard => {
                running.abort();
                // Wait for the end of the code, not of the future: a blocking task computes on
                // although no future waits for it.
                let stuck = timeout(STUCK_AFTER, watch.end).await.is_err();
                if stuck && matches!(def.run, Run::Blocking(_)) && !watch.core.swap(true, Ordering::AcqRel) {
                    // Other tasks need the core, too.
                    stage.cores.add_permits(1);
                }
                return End { outcome: Outcome::TimedOut(limit), stuck };
            }
            limit = &mut soft, if !told => {
                told = true;
                if let Some(cancel) = &cancel {
                    cancel.send_replace(true);
                }
                let limit = limit.as_secs_f64();
                log_task!(warn, delivery, "Soft time limit ({limit}s) exceeded for {}", label(task));
            }
            () = stage.shutdown.reached(Phase::Cold) => {
                running.abort();
                return Outcome::Interrupted.into();
            }
        }
    }
}

/// Waits for `limit` and returns it. Without a limit it never ends.
pub(super) async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Returns `limit` when the arguments have not been bound within it. Without a binding to watch it
/// never ends.
pub(super) async fn bound_late(binding: Option<Binding>, limit: Duration) -> Duration {
    match binding {
        Some(binding) => {
            binding.overdue(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Returns the output of the future that ends first.
pub(super) async fn first<T>(one: impl Future<Output = T>, other: impl Future<Output = T>) -> T {
    tokio::select! {
        one = one => one,
        other = other => other,
    }
}

/// Returns the call as a future that does not panic. Returns `None` for a task that only runs in
/// batches.
fn caught(
    call: Call,
    def: &TaskDef,
    running: Running,
    core: Option<OwnedSemaphorePermit>,
    life: Life,
) -> Option<BoxFuture<'static, Caught<Answer>>> {
    match &def.run {
        Run::Function(run) => {
            let run = Arc::clone(run);
            let future = AssertUnwindSafe(async move {
                let _life = life;
                running.run(run(call)).await
            })
            .catch_unwind();
            Some(Box::pin(async {
                future.await.map_err(|panic| panic_message(&*panic))
            }))
        }
        Run::Blocking(run) => {
            let run = Arc::clone(run);
            Some(Box::pin(async move {
                let computing = tokio::task::spawn_blocking(move || {
                    // Move all of `life` into the closure, which otherwise takes only the fields
                    // that it names.
                    let life = life;
                    let answer = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        running.run_blocking(|| run(call))
                    }))
                    .map_err(|panic| panic_message(&*panic));
                    if let Some(core) = core
                        && life.core.swap(true, Ordering::AcqRel)
                    {
                        core.forget();
                    }
                    answer
                });
                computing
                    .await
                    .unwrap_or_else(|error| Err(error.to_string()))
            }))
        }
        Run::Batched(..) => None,
    }
}

/// Returns the message of a panic.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing;

    #[test]
    fn the_limits_of_the_message_precede_those_of_the_task() {
        let policy = Policy {
            time_limit: Some(Duration::from_mins(1)),
            ..Policy::default()
        };
        let mut task = testing::task("t", "[]");
        assert_eq!(
            Limits::of(&task, &policy).hard,
            Some(Duration::from_mins(1))
        );
        task.time_limit.hard = Some(1.5);
        task.time_limit.soft = Some(f64::NAN);
        let limits = Limits::of(&task, &policy);
        assert_eq!(limits.hard, Some(Duration::from_millis(1500)));
        assert_eq!(limits.soft, None);
    }
}
