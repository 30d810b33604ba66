//! Runs tasks in unit tests, without a broker.
//!
//! A [`TestWorker`] has one task and the values that it asks for. It runs calls as the worker does:
//! arguments are bound by the same rules, limits hold, panics are caught, and failures are retried
//! as far as the task allows. A retry does not run; [`End`] says when it would.
//!
//! ```
//! use std::time::Duration;
//!
//! use celery_worker::testing::{End, TestCall, TestWorker};
//! use celery_worker::{Exception, TaskResult, task};
//!
//! #[task(max_retries = 2, retry_delay = "10s")]
//! async fn divide(x: f64, y: f64) -> TaskResult<f64> {
//!     if y == 0.0 {
//!         return Err(Exception::new("ZeroDivisionError", "division by zero").into());
//!     }
//!     Ok(x / y)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let worker = TestWorker::new(divide::task());
//!
//! let end = worker.run(TestCall::new().arg(7).kwarg("y", 2)).await;
//! assert_eq!(end, End::Success(3.5.into()));
//!
//! let error = Exception::new("ZeroDivisionError", "division by zero");
//! let by_zero = TestCall::new().args([7, 0]);
//! let end = worker.run(by_zero.clone()).await;
//! let countdown = Duration::from_secs(10);
//! assert_eq!(end, End::Retry { countdown, reason: Some(error.clone()) });
//!
//! // The second retry is the last.
//! let end = worker.run(by_zero.retries(2)).await;
//! assert_eq!(end, End::Failure(error));
//! # }
//! ```

mod call;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod whole;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub use self::call::{End, TestCall};
use crate::Database;
use crate::broker::{HeldLimit, Ledger, Step, Tag};
use crate::clock::now;
use crate::consumer::{MOST, Routes, Rules};
use crate::delivery::{Delivery, Order, Outbox, Settler};
use crate::executor::{self, Slots, Stage};
use crate::monitor::Monitor;
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Registry, Shared, States, TaskDef};

/// The node's name that tasks see.
const HOSTNAME: &str = "celery@test";

/// How long a run may take by default: longer than any unit test should.
const TIMEOUT: Duration = Duration::from_mins(1);

/// A worker with one task and without a broker.
pub struct TestWorker {
    name: Arc<str>,
    registry: Arc<Registry>,
    states: States,
    timeout: Duration,
    updates: Mutex<Vec<(String, Value)>>,
    sent: Mutex<Vec<Task>>,
}

impl TestWorker {
    /// Returns a worker for this task.
    pub fn new(task: TaskDef) -> Self {
        let name = Arc::clone(&task.name);
        let mut registry = Registry::default();
        registry.insert(task);
        TestWorker {
            name,
            registry: Arc::new(registry),
            states: States::default(),
            timeout: TIMEOUT,
            updates: Mutex::default(),
            sent: Mutex::default(),
        }
    }

    /// Adds a value that the task gets as `State<T>`. If a value that the task asks for is missing,
    /// its calls end in a `RuntimeError`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Adds the database that the task gets as `State<Database>`.
    #[must_use]
    pub fn database(self, database: Database) -> Self {
        self.state(database)
    }

    /// Sets how long a run may take before it ends in [`End::Interrupted`]. Default: 1 minute.
    ///
    /// A limit of the task itself ends it as in the worker.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Runs a call. Call this on a tokio runtime whose time is enabled, as `#[tokio::test]` has it.
    pub async fn run(&self, call: TestCall) -> End {
        let mut ends = self.run_all([call]).await;
        ends.pop().unwrap_or(End::Interrupted)
    }

    /// Runs calls, and returns their ends in the calls' order. A task with `batch(…)` gets them in
    /// batches of its size, without waiting for more.
    pub async fn run_all(&self, calls: impl IntoIterator<Item = TestCall>) -> Vec<End> {
        let (orders, mut ordered) = mpsc::unbounded_channel();
        let calls: Vec<Delivery> = (1..)
            .zip(calls)
            .map(|(call, message)| {
                let mut delivery = delivery(Tag { call, index: 1 }, message.into_task(&self.name));
                delivery.orders = Some(orders.clone());
                delivery
            })
            .collect();
        let count = calls.len();
        let tags: Vec<Tag> = calls.iter().map(|call| call.tag).collect();
        let (deliveries, delivered) = mpsc::channel(count.max(1));
        for call in calls {
            // There is room for all, and the receiver is alive.
            let _ = deliveries.try_send(call);
        }
        // When the sender is gone, no further call can come, so a batch does not wait until it is
        // full.
        drop(deliveries);

        let shutdown = Shutdown::new();
        let concurrency = count.max(1);
        let settler = Settler {
            orders,
            // No call here has a lease to lose.
            ledger: Arc::new(Ledger::with(
                HeldLimit::between(concurrency, concurrency),
                usize::MAX,
                None,
            )),
            caller: Arc::new(self.rules()),
        };
        let registry = Arc::clone(&self.registry);
        let mut stage = stage(
            self.states.clone(),
            registry,
            settler,
            &shutdown,
            concurrency,
        );
        stage.waits = false;
        let rules = self.rules();
        let mut ends = HashMap::new();
        {
            let mut handle = |order| self.carry_out(order, &rules, &mut ends);
            let mut running = std::pin::pin!(executor::run(delivered, &self.registry, stage));
            let mut late = std::pin::pin!(tokio::time::sleep(self.timeout));
            loop {
                tokio::select! {
                    biased;
                    Some(order) = ordered.recv() => handle(order),
                    _ = &mut running => break,
                    () = &mut late, if shutdown.is_running() => shutdown.advance(Phase::Cold),
                }
            }
            while let Ok(order) = ordered.try_recv() {
                handle(order);
            }
        }
        tags.iter()
            .map(|tag| ends.remove(tag).unwrap_or(End::Interrupted))
            .collect()
    }

    /// Returns the states that the task has stored by
    /// [`Context::update_state`](crate::Context::update_state) since the last call of this
    /// function, in their order.
    pub fn take_updates(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.updates.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the messages of the calls that the task has sent, or put in its place, since the last
    /// call of this function, in their order. A worker publishes them when the task has ended. A
    /// message that a worker would move to the dead letters is missing.
    pub fn take_sent(&self) -> Vec<Task> {
        std::mem::take(&mut *self.sent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn rules(&self) -> Rules {
        rules(Arc::clone(&self.registry))
    }

    fn keep_sent(&self, steps: Vec<Step>) {
        let messages = steps.into_iter().filter_map(|step| match step {
            Step::Publish(outgoing) => Task::decode_redis(&outgoing.message).ok(),
            _ => None,
        });
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        sent.extend(messages);
    }

    /// Does what a consumer would do, except for the broker.
    fn carry_out(&self, order: Order, rules: &Rules, ends: &mut HashMap<Tag, End>) {
        match order {
            Order::Finish(delivery, outcome) => {
                let tag = delivery.tag;
                let end = End::of(outcome, |outcome| rules.judge(&delivery, outcome, now()));
                if end.publishes() {
                    let sent = delivery.outbox.close(end == End::Replaced);
                    self.keep_sent(sent.steps);
                }
                ends.insert(tag, end);
            }
            Order::State {
                state,
                meta,
                stored,
                ..
            } => {
                let meta = serde_json::from_str(meta.get()).unwrap_or_default();
                let mut updates = self.updates.lock().unwrap_or_else(PoisonError::into_inner);
                updates.push((state, meta));
                let _ = stored.send(());
            }
            Order::Begin(delivery, begun) => {
                // An error means that the run has been given up.
                let _ = begun.send(delivery);
            }
            Order::Read(ids, answer) => {
                let _ = answer.send(vec![None; ids.len()]);
            }
            Order::Unlock(_, _, freed) => {
                let _ = freed.send(());
            }
            Order::Settle(_) => {}
        }
    }
}

/// Returns the rules of a worker with these tasks.
fn rules(registry: Arc<Registry>) -> Rules {
    Rules {
        results: true,
        replies: false,
        extended: false,
        form: celery_protocol::result::StoredForm::default(),
        inherit_priority: false,
        deduplicates: false,
        default_priority: None,
        default_queue: "celery".into(),
        routes: Routes::default(),
        origin: HOSTNAME.to_owned(),
        reply_to: String::new(),
        most: MOST,
        names: registry as _,
        encode: Task::encode_redis,
        decode_sent: None,
        errbacks_on_headers: false,
        traces: crate::trace::Traces::default(),
    }
}

/// Returns what plans the calls of tasks, for a settler without a worker.
#[cfg(test)]
pub(crate) fn caller() -> Arc<dyn crate::delivery::Caller> {
    Arc::new(rules(Arc::default()))
}

/// Returns the delivery of a message that no broker has sent.
pub(crate) fn delivery(tag: Tag, task: Task) -> Delivery {
    Delivery {
        tag,
        queue: "celery".into(),
        task: Arc::new(task),
        received: Instant::now(),
        size: 0,
        outbox: Outbox::default(),
        run: None,
        unique: None,
        is_noted: false,
        orders: None,
    }
}

/// Returns the stage on which tasks run, with these states and the runtime of the caller.
pub(crate) fn stage(
    states: States,
    registry: Arc<Registry>,
    settler: Settler,
    shutdown: &Shutdown,
    concurrency: usize,
) -> Stage {
    let shared = Arc::new(Shared {
        states,
        settler,
        registry,
        hostname: HOSTNAME.into(),
        exactly_once: false,
    });
    let (tasks, monitor) = (Handle::current(), Monitor::default());
    let slots = Slots::new(concurrency);
    Stage::new(shared, shutdown.clone(), slots, tasks, monitor)
}

impl std::fmt::Debug for TestWorker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TestWorker({})", self.name)
    }
}
