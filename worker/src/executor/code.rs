//! Runs the code of a task once, under its limits. The ways to run a task differ here, and only
//! here: each is an arm of [`Code::of`].
//!
//! The code runs on the runtime of tasks. If it has a limit, a future on the worker's runtime
//! watches it, so that the limit holds even while the code does not yield.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};
use tokio::time::timeout;

use super::limits::{Limits, after, binding, bound_late};
use super::stage::Stage;
use crate::delivery::Delivery;
use crate::monitor::Observer;
use crate::shutdown::Phase;
use crate::task::{Answer, Binding, Call, Context, Run, TaskDef, TaskError};
use crate::task_log::Running;
use crate::trace::{self, Current};

/// What code returns: an answer to each call in their order, or an error of the whole run.
pub(super) type Returned = Result<Vec<Answer>, TaskError>;

/// What code returned, or the message of its panic.
pub(super) type Caught = Result<Returned, String>;

/// How a run ended.
pub(super) enum Ended {
    /// The code returned or panicked.
    Returned(Caught),
    /// The code was stopped because it ran longer than `limit`.
    TimedOut {
        limit: Duration,
        /// `true` if the code did not end after it was stopped. It then keeps its slot.
        stuck: bool,
    },
    /// Remote control ended the code, which was dropped.
    Terminated {
        /// The number of the signal that a process would have got.
        signal: i32,
        /// `true` if the code did not end after it was stopped. It then keeps its slot.
        stuck: bool,
    },
    /// The worker stops cold, and dropped the code.
    Dropped,
    /// The worker stops, and the code did not begin.
    NotStarted,
}

/// The code of a run, ready to start.
pub(super) struct Code {
    future: BoxFuture<'static, Caught>,
    /// Ends when the code has ended. The code can outlast the future: a blocking task computes on
    /// although no future waits for it.
    end: oneshot::Receiver<()>,
    core: Option<Core>,
    limits: Limits,
    binding: Option<Binding>,
    /// Tells the code that its soft limit has passed.
    cancel: Option<watch::Sender<bool>>,
}

/// The core that the code of a blocking task computes on, until it is given back.
#[derive(Clone)]
struct Core(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Core {
    fn new(permit: OwnedSemaphorePermit) -> Self {
        Core(Arc::new(Mutex::new(Some(permit))))
    }

    fn give_back(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A guard that lives as long as the code of a run.
struct Life {
    core: Option<Core>,
    /// Its drop ends [`Code::end`].
    _end: oneshot::Sender<()>,
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(core) = &self.core {
            core.give_back();
        }
    }
}

impl Code {
    /// Returns the code that runs these calls. Waits for a core if the task computes; returns
    /// `None` if the worker stops meanwhile.
    pub(super) async fn of(def: &TaskDef, calls: &[Delivery], stage: &Stage) -> Option<Self> {
        let mut limits = Limits::of(def, calls);
        let binding = binding(calls);
        let runs = calls.iter().filter_map(|call| call.run.as_deref());
        let current = Current::of(&stage.monitor.traces, runs);
        let (end, ended) = oneshot::channel();
        let mut life = Life {
            core: None,
            _end: end,
        };
        let (mut cancel, mut core) = (None, None);
        let future = match &def.run {
            Run::Function(run) => {
                let [delivery] = calls else { return None };
                let run = Arc::clone(run);
                let call;
                (call, cancel) = one_call(def, delivery, stage, limits, binding.clone());
                let running = Running::new(&delivery.task, &delivery.queue);
                caught(async move {
                    let _life = life;
                    let code = running.run(run(call));
                    trace::run(current, code).await.map(one_answer)
                })
                .boxed()
            }
            Run::Blocking(run) => {
                let [delivery] = calls else { return None };
                // The limits of the call count from here: waiting for a core is not running.
                core = Some(Core::new(stage.core().await?));
                // Remote control may have changed them meanwhile.
                limits = Limits::of(def, calls);
                life.core.clone_from(&core);
                let run = Arc::clone(run);
                let call;
                (call, cancel) = one_call(def, delivery, stage, limits, binding.clone());
                let running = Running::new(&delivery.task, &delivery.queue);
                let compute = move || {
                    // Dropped when the code has ended, before the answer is known.
                    let _life = life;
                    std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let code = || running.run_blocking(|| run(call));
                        trace::run_blocking(current, code).map(one_answer)
                    }))
                    .map_err(|panic| panic_message(&*panic))
                };
                Box::pin(async move {
                    let computing = tokio::task::spawn_blocking(compute);
                    computing
                        .await
                        .unwrap_or_else(|error| Err(error.to_string()))
                })
            }
            Run::Batched(_, run) => {
                let tasks = calls.iter().map(|call| Arc::clone(&call.task)).collect();
                let (run, shared) = (Arc::clone(run), Arc::clone(&stage.shared));
                let binding = binding.clone();
                caught(async move {
                    let _life = life;
                    trace::run(current, run(tasks, shared, binding)).await
                })
                .boxed()
            }
        };
        Some(Code {
            future,
            end: ended,
            core,
            limits,
            binding,
            cancel,
        })
    }

    /// Returns `true` if a run of these calls must be watched, either for its time limit or while
    /// its arguments are bound.
    pub(super) fn is_watched(def: &TaskDef, calls: &[Delivery]) -> bool {
        !Limits::of(def, calls).are_none() || binding(calls).is_some()
    }

    /// Runs the code until it ends, exceeds its hard limit, or the worker stops cold.
    pub(super) async fn run(self, calls: &[Delivery], stage: &Stage) -> Ended {
        // Remote control may have ended a task that waited for a core.
        if let ([call], Some(_)) = (calls, &self.core)
            && let Some(signal) = stage.settler.ledger.signal(call.tag)
        {
            let stuck = false;
            return Ended::Terminated { signal, stuck };
        }
        let Limits { soft, hard } = self.limits;
        if self.limits.are_none() && self.binding.is_none() {
            // The future is dropped when the `select!` ends.
            let signal = tokio::select! {
                biased;
                caught = self.future => return Ended::Returned(caught),
                () = stage.shutdown.reached(Phase::Cold) => return Ended::Dropped,
                signal = terminated(calls, stage) => signal,
            };
            return end_terminated(self.end, self.core, calls, stage, signal).await;
        }
        let mut running = stage.tasks.spawn(self.future);
        let late = bound_late(self.binding, stage.binding_limit);
        let mut hard = std::pin::pin!(async {
            tokio::select! {
                limit = after(hard) => limit,
                limit = late => limit,
            }
        });
        let mut soft = std::pin::pin!(after(soft));
        let mut terminated = std::pin::pin!(terminated(calls, stage));
        let mut told = false;
        loop {
            tokio::select! {
                biased;
                caught = &mut running => {
                    let caught = caught.unwrap_or_else(|error| Err(error.to_string()));
                    return Ended::Returned(caught);
                }
                limit = &mut hard => {
                    running.abort();
                    let stuck = is_stuck(self.end, self.core.as_ref(), stage).await;
                    return Ended::TimedOut { limit, stuck };
                }
                limit = &mut soft, if !told => {
                    told = true;
                    if let Some(cancel) = &self.cancel {
                        cancel.send_replace(true);
                    }
                    for call in calls {
                        stage.observers.soft_limit(call.of(), limit);
                    }
                }
                () = stage.shutdown.reached(Phase::Cold) => {
                    running.abort();
                    return Ended::Dropped;
                }
                signal = &mut terminated => {
                    running.abort();
                    return end_terminated(self.end, self.core, calls, stage, signal).await;
                }
            }
        }
    }
}

/// Waits until remote control ends a call that runs alone. The calls of a batch are not ended one by
/// one.
async fn terminated(calls: &[Delivery], stage: &Stage) -> i32 {
    match calls {
        [call] => stage.settler.ledger.terminated(call.tag).await,
        _ => std::future::pending().await,
    }
}

/// Waits until code that was stopped has ended. Returns `true` if it still runs after a while; then
/// its core is free for other tasks.
async fn is_stuck(end: oneshot::Receiver<()>, core: Option<&Core>, stage: &Stage) -> bool {
    let stuck = timeout(stage.stuck_after, end).await.is_err();
    if let Some(core) = core.filter(|_| stuck) {
        core.give_back();
    }
    stuck
}

/// Waits until terminated code has ended, and returns how.
///
/// A blocking task that computes on is not stuck: it has a thread of its own. Its slot becomes
/// free. If the task kept its slot, remote control could take one slot after another, until the
/// worker stops because too few slots are left.
async fn end_terminated(
    end: oneshot::Receiver<()>,
    core: Option<Core>,
    calls: &[Delivery],
    stage: &Stage,
    signal: i32,
) -> Ended {
    let runs_on = is_stuck(end, core.as_ref(), stage).await;
    if runs_on && core.is_some() {
        for call in calls {
            let (name, id) = (&call.task.name, &call.task.id);
            tracing::warn!("Task {name}[{id}] was terminated, but computes on until it returns");
        }
    }
    let stuck = runs_on && core.is_none();
    Ended::Terminated { signal, stuck }
}

/// Returns the call of a task outside a batch, and the sender that tells the task when its soft
/// limit has passed.
fn one_call(
    def: &TaskDef,
    delivery: &Delivery,
    stage: &Stage,
    limits: Limits,
    binding: Option<Binding>,
) -> (Call, Option<watch::Sender<bool>>) {
    let (cancel, cancelled) = limits.soft.map(|_| watch::channel(false)).unzip();
    let (task, shared) = (Arc::clone(&delivery.task), Arc::clone(&stage.shared));
    let sending = delivery.outbox.begin();
    let context = Context::new(task, shared, sending, cancelled, &def.policy);
    (Call { context, binding }, cancel)
}

fn one_answer<T>(value: T) -> Vec<Result<T, TaskError>> {
    vec![Ok(value)]
}

/// Returns this code as a future that does not panic.
fn caught<T>(code: impl Future<Output = T>) -> impl Future<Output = Result<T, String>> {
    let code = AssertUnwindSafe(code).catch_unwind();
    code.map(|returned| returned.map_err(|panic| panic_message(&*panic)))
}

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> String {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    message.unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::sync::Semaphore;

    use super::*;

    #[test]
    fn a_core_is_given_back_once() {
        for stuck in [false, true] {
            let cores = Arc::new(Semaphore::new(1));
            let core = Core::new(Arc::clone(&cores).try_acquire_owned().unwrap());
            let (end, _ended) = oneshot::channel();
            let life = Life {
                core: Some(core.clone()),
                _end: end,
            };
            assert_eq!(cores.available_permits(), 0);
            if stuck {
                core.give_back();
                assert_eq!(cores.available_permits(), 1);
            }
            drop(life);
            assert_eq!(cores.available_permits(), 1);
        }
    }
}
