//! Tests of the executor alone: deliveries go in, outcomes come out, without a broker.

mod gate;
mod order;
mod terminations;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::*;
use crate::broker::{Ledger, Tag};
use crate::delivery::{Order, Outcome, Settler};
use crate::task::{
    Answers, Batch, BatchOptions, Call, Context, Exception, States, TaskDef, TaskError, TaskResult,
    testing,
};
use crate::testing::{delivery, stage};

/// An executor that runs these tasks.
struct Bench {
    deliveries: mpsc::Sender<Delivery>,
    orders: mpsc::UnboundedReceiver<Order>,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<Ended>,
    ledger: Arc<Ledger>,
    sent: u64,
}

impl Bench {
    fn new(concurrency: usize, tasks: Vec<TaskDef>) -> Self {
        Self::with(concurrency, tasks, |_| {})
    }

    fn with(concurrency: usize, tasks: Vec<TaskDef>, change: impl FnOnce(&mut Stage)) -> Self {
        let mut registry = Registry::default();
        for task in tasks {
            registry.insert(task);
        }
        let (settler, orders) = mpsc::unbounded_channel();
        let ledger = Arc::new(Ledger::new(1000, 1 << 20, None));
        let settler = Settler {
            orders: settler,
            ledger: Arc::clone(&ledger),
            caller: crate::testing::caller(),
        };
        let shutdown = Shutdown::new();
        let registry = Arc::new(registry);
        let mut stage = stage(
            States::default(),
            Arc::clone(&registry),
            settler,
            &shutdown,
            concurrency,
        );
        change(&mut stage);
        let (deliveries, delivered) = mpsc::channel(1000);
        let ended = tokio::spawn(async move { run(delivered, &registry, stage).await });
        Bench {
            deliveries,
            orders,
            shutdown,
            ended,
            ledger,
            sent: 0,
        }
    }

    /// Returns a delivery of this task, after `change` has edited its message.
    fn delivery(&mut self, name: &str, args: &str, change: impl FnOnce(&mut Task)) -> Delivery {
        self.sent += 1;
        let mut task = testing::task(name, args);
        task.id = format!("id-{}", self.sent);
        change(&mut task);
        let tag = Tag {
            call: 1,
            index: self.sent,
        };
        delivery(tag, task)
    }

    async fn send(&mut self, name: &str, args: &str, retries: u32) {
        let delivery = self.delivery(name, args, |task| task.retries = retries);
        self.deliveries.send(delivery).await.unwrap();
    }

    /// Sends a task that remote control can find, and returns its id.
    async fn send_held(&mut self, name: &str, args: &str) -> String {
        let delivery = self.delivery(name, args, |_| {});
        let (tag, id) = (delivery.tag, delivery.task.id.clone());
        self.ledger.hold(Instant::now(), [(tag, 1)].into_iter());
        self.ledger.reserve(tag, &delivery.task);
        self.deliveries.send(delivery).await.unwrap();
        id
    }

    /// Returns the next outcome, abbreviated, and the arguments of its task.
    async fn outcome(&mut self) -> (String, String) {
        let order = tokio::time::timeout(Duration::from_secs(30), self.orders.recv());
        match order.await.expect("an outcome in time") {
            Some(Order::Finish(delivery, outcome)) => {
                let outcome = match outcome {
                    Outcome::Succeeded { value, .. } => format!("success {}", value.get()),
                    Outcome::Raised { exception, .. } => format!("raised {}", exception.summary()),
                    other => format!("{other:?}"),
                };
                (delivery.task.args.get().to_owned(), outcome)
            }
            other => panic!("{other:?}"),
        }
    }
}

fn answer(value: impl serde::Serialize) -> TaskResult<Box<RawValue>> {
    TaskDef::answer_value(value)
}

fn failing(name: &'static str) -> TaskDef {
    TaskDef::function(name, |_| async { Err(TaskError::runtime_error("no")) })
}

#[tokio::test]
async fn a_value_an_error_a_panic() {
    let panics = TaskDef::function("panics", |_| async { std::panic::panic_any("oh") });
    let computes = TaskDef::blocking("computes", |_| answer(42));
    let mut bench = Bench::new(2, vec![failing("fails"), panics, computes]);
    for (name, outcome) in [
        ("fails", "raised RuntimeError('no')"),
        ("panics", "Panicked(\"oh\")"),
        ("computes", "success 42"),
    ] {
        bench.send(name, "[]", 0).await;
        assert_eq!(bench.outcome().await.1, outcome);
    }
    bench.shutdown.advance(Phase::Warm);
    assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
}

#[tokio::test]
async fn requests_of_a_task_are_reported_unchanged() {
    let asks = |name, error: fn(Call) -> TaskError| {
        TaskDef::function(name, move |call| async move { Err(error(call)) })
    };
    let retries = asks("retries", |call| {
        let retry = call.extract::<Context>().map(|context| context.retry());
        retry.map_or_else(|error| error, Into::into)
    });
    let rejects = asks("rejects", |_| TaskError::Reject {
        reason: "why".into(),
        requeue: true,
    });
    let ignores = asks("ignores", |_| TaskError::Ignore);
    let retries = retries.max_retries(2).retry_delay(Duration::from_secs(7));
    let mut bench = Bench::new(1, vec![retries, rejects, ignores]);
    // The executor does not decide whether another retry is allowed.
    for (name, outcome) in [
        (
            "retries",
            "Retry { countdown: 7s, reason: None, max_retries: Some(2), arguments: None }",
        ),
        ("rejects", "Rejected { reason: \"why\", requeue: true }"),
        ("ignores", "Ignored"),
    ] {
        bench.send(name, "[]", 2).await;
        assert_eq!(bench.outcome().await.1, outcome);
    }
}

#[tokio::test]
async fn what_is_revoked_or_lost_while_the_state_started_is_stored_does_not_run() {
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let mut task = TaskDef::function("tracked", move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { answer("ran") }
    });
    task.policy.track_started = true;
    let mut bench = Bench::new(1, vec![task]);
    for (change, expected) in [
        ("revoked", "Revoked"),
        ("lost", "NotStarted"),
        ("nothing", "success \"ran\""),
    ] {
        let id = bench.send_held("tracked", "[]").await;
        let Some(Order::State { stored, state, .. }) = bench.orders.recv().await else {
            panic!("the state comes first");
        };
        assert_eq!(state, "STARTED");
        match change {
            "revoked" => bench.ledger.revoked.add(vec![id], Instant::now()),
            "lost" => {
                let (call, index) = (1, bench.sent);
                assert_eq!(bench.ledger.lose(&[Tag { call, index }]), 1);
            }
            _ => {}
        }
        stored.send(()).unwrap();
        assert_eq!(bench.outcome().await.1, expected, "{change}");
    }
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_lost_delivery_is_not_started() {
    let mut bench = Bench::new(1, vec![TaskDef::function("t", |_| async { answer(1) })]);
    for lost in [false, true] {
        let delivery = bench.delivery("t", "[]", |_| {});
        let tag = delivery.tag;
        bench.ledger.hold(Instant::now(), [(tag, 1)].into_iter());
        let newly = bench.ledger.lose(&[tag][..usize::from(lost)]);
        assert_eq!(newly, usize::from(lost));
        bench.deliveries.send(delivery).await.unwrap();
        let outcome = if lost { "NotStarted" } else { "success 1" };
        assert_eq!(bench.outcome().await.1, outcome);
    }
}

#[tokio::test]
async fn a_task_whose_resource_is_away_runs_again_until_it_is_back() {
    let tries = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&tries);
    let task = TaskDef::function("t", move |_| {
        let tries = Arc::clone(&tries);
        async move {
            match tries.fetch_add(1, Ordering::Relaxed) {
                0 | 1 => Err(TaskError::Unavailable {
                    cause: "gone".into(),
                }),
                _ => answer("done"),
            }
        }
    });
    let mut bench = Bench::new(1, vec![task]);
    bench.send("t", "[]", 0).await;
    assert_eq!(bench.outcome().await.1, "success \"done\"");
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn a_stop_gives_back_deliveries_that_wait_for_a_database() {
    let task = TaskDef::function("t", |_| async {
        Err(TaskError::Unavailable {
            cause: "gone".into(),
        })
    });
    let mut bench = Bench::new(1, vec![task]);
    bench.send("t", "[1]", 0).await;
    bench.send("t", "[2]", 0).await;
    bench.shutdown.advance(Phase::Warm);
    for _ in 0..2 {
        let outcome = bench.outcome().await.1;
        let away = "Unavailable { cause: \"gone\" }";
        assert!(["NotStarted", away].contains(&&*outcome), "{outcome}");
    }
    assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
}

#[tokio::test]
async fn a_cold_stop_drops_what_runs() {
    let (begun, mut begin) = mpsc::unbounded_channel();
    let task = TaskDef::function("t", move |_| {
        let begun = begun.clone();
        async move {
            let _ = begun.send(());
            std::future::pending().await
        }
    });
    let mut bench = Bench::new(1, vec![task]);
    bench.send("t", "[]", 0).await;
    begin.recv().await.unwrap();
    bench.shutdown.advance(Phase::Cold);
    assert_eq!(bench.outcome().await.1, "Interrupted");
    assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
}

#[tokio::test]
async fn a_call_that_expires_while_it_waits_for_a_slot_is_not_run() {
    let (begun, mut begin) = mpsc::unbounded_channel();
    let go = Arc::new(tokio::sync::Notify::new());
    let going = Arc::clone(&go);
    let task = TaskDef::function("t", move |_| {
        let (begun, going) = (begun.clone(), Arc::clone(&going));
        async move {
            let _ = begun.send(());
            going.notified().await;
            answer(())
        }
    });
    let options = BatchOptions {
        size: 8,
        linger: Duration::from_millis(1),
    };
    let batch = TaskDef::batched("b", "b", options, |calls: Batch<(u32,)>| async move {
        Ok(calls.iter().map(|_| Ok(())).collect::<Answers<()>>())
    });
    let mut bench = Bench::new(1, vec![task, batch]);
    bench.send("t", "[1]", 0).await;
    begin.recv().await.unwrap();
    // Both wait for the slot, and expire before they get it.
    for name in ["t", "b"] {
        let late = bench.delivery(name, "[2]", |task| {
            task.expires = Some(celery_protocol::time::Timestamp::from_unix(1, 0));
        });
        bench.deliveries.send(late).await.unwrap();
    }
    go.notify_one();
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        outcomes.push(bench.outcome().await.1);
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["Expired", "Expired", "success null"]);
}

#[tokio::test]
async fn a_hard_limit_stops_a_task() {
    let task = TaskDef::function("t", |_| std::future::pending());
    let mut bench = Bench::new(1, vec![task.time_limit(Duration::from_millis(10))]);
    bench.send("t", "[]", 0).await;
    assert_eq!(bench.outcome().await.1, "TimedOut(10ms)");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Returns a blocking task that keeps a core until it is released, once for each of its calls.
fn computing() -> (TaskDef, Spin) {
    let (begins, begun) = mpsc::unbounded_channel();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let task = TaskDef::blocking("t", move |_| {
        let _ = begins.send(());
        let _ = released.lock().map(|released| released.recv());
        answer(42)
    });
    (task, Spin { begun, release })
}

/// Sends a call for each core and one more, and waits until every core has one.
async fn occupy_the_cores(bench: &mut Bench, spin: &mut Spin) {
    for _ in 0..=cores() {
        bench.send("t", "[]", 0).await;
    }
    for _ in 0..cores() {
        spin.begun.recv().await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_waits_for_a_core_has_not_started() {
    let (cores, (task, mut spin)) = (cores(), computing());
    let mut bench = Bench::new(cores + 1, vec![task]);
    occupy_the_cores(&mut bench, &mut spin).await;
    bench.shutdown.advance(Phase::Warm);
    assert_eq!(bench.outcome().await.1, "NotStarted");
    for _ in 0..cores {
        spin.release.send(()).unwrap();
        assert_eq!(bench.outcome().await.1, "success 42");
    }
    assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
}

#[tokio::test]
async fn the_time_limits_are_those_of_the_moment_at_which_a_core_is_free() {
    let (task, mut spin) = computing();
    let mut registry = None;
    let mut bench = Bench::with(cores() + 1, vec![task], |stage| {
        stage.stuck_after = Duration::from_millis(10);
        registry = Some(Arc::clone(&stage.shared.registry));
    });
    occupy_the_cores(&mut bench, &mut spin).await;
    // The last call has a slot and waits for a core.
    let limits = crate::task::TimeLimits {
        soft: None,
        hard: Some(Duration::from_millis(10)),
    };
    let registry = registry.unwrap();
    registry.get("t").unwrap().live.set_time_limits(limits);
    spin.release.send(()).unwrap();
    assert_eq!(bench.outcome().await.1, "success 42");
    assert_eq!(bench.outcome().await.1, "TimedOut(10ms)");
    drop(spin.release);
}

/// Returns a task that refuses every batch that holds a 13, and counts its runs.
fn superstitious(runs: Arc<AtomicUsize>) -> TaskDef {
    let options = BatchOptions {
        size: 8,
        linger: Duration::from_mins(1),
    };
    TaskDef::batched("b", "b", options, move |calls: Batch<(u32,)>| {
        runs.fetch_add(1, Ordering::Relaxed);
        async move {
            if calls.iter().any(|call| call.0 == 13) {
                return Err(Exception::new("IntegrityError", "13").into());
            }
            Ok(calls
                .iter()
                .map(|call| Ok(call.0))
                .collect::<Answers<u32>>())
        }
    })
}

#[tokio::test]
async fn one_bad_call_of_a_batch_fails_alone() {
    let runs = Arc::new(AtomicUsize::new(0));
    let mut bench = Bench::new(1, vec![superstitious(Arc::clone(&runs))]);
    for args in ["[1]", "[2]", "[3]", "[13]", "[5]", "[\"x\"]", "[7]", "[8]"] {
        bench.send("b", args, 0).await;
    }
    for _ in 0..8 {
        let (args, outcome) = bench.outcome().await;
        match args.as_str() {
            "[13]" => assert_eq!(outcome, "raised IntegrityError('13')"),
            "[\"x\"]" => assert!(outcome.starts_with("raised TypeError"), "{outcome}"),
            args => assert_eq!(
                format!("[{}]", outcome.trim_start_matches("success ")),
                args
            ),
        }
    }
    // 8 calls, then 4 + 4, then 2 + 2, then 1 + 1.
    assert_eq!(runs.load(Ordering::Relaxed), 7);
}

#[tokio::test]
async fn a_fault_of_the_whole_batch_is_not_bisected() {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&runs);
    let options = BatchOptions {
        size: 4,
        linger: Duration::from_mins(1),
    };
    let task = TaskDef::batched("b", "b", options, move |_: Batch<(u32,)>| {
        runs.fetch_add(1, Ordering::Relaxed);
        async {
            let error = Exception::new("ProgrammingError", "no such table").of_whole_batch();
            Err::<Answers<u32>, TaskError>(error.into())
        }
    });
    let mut bench = Bench::new(1, vec![task]);
    for args in ["[1]", "[2]", "[3]", "[4]"] {
        bench.send("b", args, 0).await;
    }
    for _ in 0..4 {
        assert_eq!(
            bench.outcome().await.1,
            "raised ProgrammingError('no such table')"
        );
    }
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// Returns a task whose batches never end while they hold a 13.
fn endless(
    wait: impl Fn() -> futures_util::future::BoxFuture<'static, ()> + Send + Sync + 'static,
) -> TaskDef {
    let options = BatchOptions {
        size: 4,
        linger: Duration::from_mins(1),
    };
    TaskDef::batched("b", "b", options, move |calls: Batch<(u32,)>| {
        let waiting = calls.iter().any(|call| call.0 == 13).then(&wait);
        async move {
            if let Some(waiting) = waiting {
                waiting.await;
            }
            Ok(calls
                .iter()
                .map(|call| Ok(call.0))
                .collect::<Answers<u32>>())
        }
    })
}

#[tokio::test]
async fn a_batch_that_takes_too_long_is_halved() {
    let task = endless(|| Box::pin(std::future::pending()));
    let task = task.max_retries(3).time_limit(Duration::from_millis(50));
    let mut bench = Bench::new(1, vec![task]);
    for args in ["[1]", "[13]", "[3]", "[4]"] {
        bench.send("b", args, 0).await;
    }
    for _ in 0..4 {
        let (args, outcome) = bench.outcome().await;
        match args.as_str() {
            "[13]" => assert_eq!(outcome, "TimedOut(50ms)"),
            _ => assert!(outcome.starts_with("success"), "{outcome}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_never_yields_is_stuck() {
    // Dropped with the test, so that the task can end.
    let (_release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let task = endless(move || {
        let released = Arc::clone(&released);
        Box::pin(async move {
            let _ = released.lock().unwrap().recv();
        })
    });
    let mut bench = Bench::new(4, vec![task.time_limit(Duration::from_millis(50))]);
    for args in ["[1]", "[13]", "[3]", "[4]"] {
        bench.send("b", args, 0).await;
    }
    for _ in 0..4 {
        let outcome = bench.outcome().await.1;
        assert_eq!(outcome, "TimedOut(50ms)");
    }
    assert_eq!(bench.ended.await.unwrap(), Ended::Stuck { tasks: 1 });
}

/// The side of the test that directs a task that keeps its thread.
struct Spin {
    /// Gets a message when the task begins.
    begun: mpsc::UnboundedReceiver<()>,
    /// A message ends one call of the task, and its drop ends all.
    release: std::sync::mpsc::Sender<()>,
}

/// Returns a task that keeps its thread until it is released.
fn spinning() -> (TaskDef, Spin) {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let (begins, begun) = mpsc::unbounded_channel();
    let task = TaskDef::function("spins", move |_| {
        let (released, begins) = (Arc::clone(&released), begins.clone());
        async move {
            let _ = begins.send(());
            let _ = released.lock().unwrap().recv();
            answer("released")
        }
    });
    (task, Spin { begun, release })
}

/// A runtime for tasks, apart from that of the executor. It does not wait for its tasks to end.
struct Apart(Option<tokio::runtime::Runtime>);

impl Apart {
    fn start(threads: usize) -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).enable_all().build();
        Apart(Some(runtime.unwrap()))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        self.0.as_ref().unwrap().handle().clone()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        self.0.take().unwrap().shutdown_background();
    }
}

/// Returns tasks of three kinds: one keeps its thread, one ends at once, one waits a little.
fn mixed() -> (Vec<TaskDef>, Spin) {
    let (spins, spin) = spinning();
    let short = TaskDef::function("short", |_| async { answer("short") });
    let waits = TaskDef::function("waits", |_| async {
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        answer("waited")
    });
    (vec![spins, short, waits], spin)
}

#[tokio::test]
async fn a_task_that_never_yields_delays_no_other() {
    let apart = Apart::start(1);
    let (tasks, spin) = mixed();
    let mut bench = Bench::with(200, tasks, |stage| stage.tasks = apart.handle());
    // The last ones come when the first task has kept its thread for long.
    for times in [0, 40, 3] {
        if times == 0 {
            bench.send("waits", "[]", 0).await;
            bench.send("spins", "[]", 0).await;
        }
        for _ in 0..times {
            bench.send("short", "[]", 0).await;
            bench.send("waits", "[]", 0).await;
        }
        let expected = if times == 0 { 1 } else { 2 * times };
        for _ in 0..expected {
            let outcome = bench.outcome().await.1;
            assert_ne!(outcome, "success \"released\"");
        }
    }
    drop(spin.release);
    assert_eq!(bench.outcome().await.1, "success \"released\"");
    // The lane is free again.
    bench.send("short", "[]", 0).await;
    assert_eq!(bench.outcome().await.1, "success \"short\"");
    bench.shutdown.advance(Phase::Warm);
    assert_eq!(bench.ended.await.unwrap(), Ended::Asked);
}

#[tokio::test]
async fn a_stop_gives_back_what_waits_behind_a_task_that_never_yields() {
    for phase in [Phase::Warm, Phase::Cold] {
        let apart = Apart::start(1);
        let (tasks, mut spin) = mixed();
        let mut bench = Bench::with(1, tasks, |stage| stage.tasks = apart.handle());
        bench.send("spins", "[]", 0).await;
        for _ in 0..20 {
            bench.send("short", "[]", 0).await;
            bench.send("waits", "[]", 0).await;
        }
        // The task that keeps its thread has the only slot.
        spin.begun.recv().await.unwrap();
        bench.shutdown.advance(phase);
        for _ in 0..40 {
            assert_eq!(bench.outcome().await.1, "NotStarted", "{phase:?}");
        }
        if phase == Phase::Warm {
            drop(spin.release);
            assert_eq!(bench.outcome().await.1, "success \"released\"");
        }
        assert_eq!(bench.ended.await.unwrap(), Ended::Asked, "{phase:?}");
    }
}

#[tokio::test]
async fn calls_that_wait_behind_a_long_one_of_their_name_leave_the_lane() {
    let apart = Apart::start(2);
    let threads = Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = Arc::clone(&threads);
    let computes = TaskDef::function("computes", move |_| {
        let seen = Arc::clone(&seen);
        async move {
            seen.lock().unwrap().push(std::thread::current().id());
            std::thread::sleep(Duration::from_millis(5));
            answer("computed")
        }
    });
    let mut bench = Bench::with(50, vec![computes], |stage| stage.tasks = apart.handle());
    for _ in 0..20 {
        bench.send("computes", "[]", 0).await;
    }
    for _ in 0..20 {
        assert_eq!(bench.outcome().await.1, "success \"computed\"");
    }
    let threads = threads.lock().unwrap();
    let (lane, others) = threads.split_first().unwrap();
    assert!(!others.contains(lane), "{threads:?}");
}

#[tokio::test]
async fn a_task_in_the_lane_is_on_the_runtime_of_tasks() {
    let apart = Apart::start(1);
    let expected = apart.handle().id();
    let here = TaskDef::function("here", move |_| async move {
        let id = tokio::runtime::Handle::current().id();
        // Panics outside a task of tokio.
        let _ = tokio::task::id();
        let spawned = tokio::spawn(async { tokio::runtime::Handle::current().id() });
        let child = spawned.await.unwrap();
        answer([id == expected, child == expected])
    });
    let mut bench = Bench::with(2, vec![here], |stage| stage.tasks = apart.handle());
    for _ in 0..3 {
        bench.send("here", "[]", 0).await;
        assert_eq!(bench.outcome().await.1, "success [true,true]");
    }
}

/// Returns arguments large enough to be watched while they are bound, followed by `more`.
fn large(more: &str) -> String {
    format!("[\"{}\", {more}]", "x".repeat(2 << 20))
}

/// A value that cannot be read before the test ends.
struct Endless;

/// Reading [`Endless`] waits for this lock.
static GATE: std::sync::RwLock<()> = std::sync::RwLock::new(());

impl<'de> serde::Deserialize<'de> for Endless {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer)?;
        let _gate = GATE.read();
        Ok(Endless)
    }
}

const TAKES_TWO: crate::task::Signature = crate::task::Signature {
    function: "t",
    params: &[
        crate::task::Param {
            name: "text",
            required: true,
        },
        crate::task::Param {
            name: "number",
            required: true,
        },
    ],
    rest: false,
    keywords: false,
};

/// Limits binding to a moment.
fn hasty(stage: &mut Stage) {
    stage.binding_limit = Duration::from_millis(50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_task_whose_arguments_are_not_bound_in_time_is_stuck() {
    let _closed = GATE.write();
    let waits = |call: Call| async move {
        let mut bound = call.bind(&TAKES_TWO)?;
        let (_, _): (String, Endless) = (bound.required(0)?, bound.required(1)?);
        answer(())
    };
    let options = BatchOptions {
        size: 1,
        linger: Duration::ZERO,
    };
    let batch = TaskDef::batched(
        "b",
        "b",
        options,
        |calls: Batch<(String, Endless)>| async move {
            Ok(calls.iter().map(|_| Ok(())).collect::<Answers<()>>())
        },
    );
    let tasks = vec![TaskDef::function("t", waits), batch];
    let mut bench = Bench::with(8, tasks, hasty);
    for name in ["t", "b"] {
        bench.send(name, &large("1"), 0).await;
        assert_eq!(bench.outcome().await.1, "TimedOut(50ms)");
    }
    // Two of the eight slots are a quarter.
    assert_eq!(bench.ended.await.unwrap(), Ended::Stuck { tasks: 2 });
}
