//! Tests of a whole worker, consumer and executor, on the broker in memory: what tasks send.

mod builtin;
mod headers;
mod policies;
mod retries;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::stage;
use crate::canvas::{Sent, Signature, chain, chord, group};
use crate::consumer::{Consumer, ConsumerOptions, memory};
use crate::executor;
use crate::shutdown::{Phase, Shutdown};
use crate::task::{Args, Context, Kwargs, Registry, State, States, TaskDef, TaskError, TaskResult};
use crate::{Batch, task};

/// The longest wait for anything. It is generous: the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(30);

struct Whole {
    server: memory::Server,
    shutdown: Shutdown,
    consumer: Consumer,
    running: tokio::task::JoinHandle<executor::Ended>,
}

impl Whole {
    fn start(tasks: impl IntoIterator<Item = TaskDef>) -> Self {
        let mut states = States::default();
        states.insert(Runs::default());
        Self::with(states, tasks)
    }

    fn with(states: States, tasks: impl IntoIterator<Item = TaskDef>) -> Self {
        let mut registry = Registry::default();
        for task in crate::tasks::builtin().into_iter().chain(tasks) {
            registry.insert(task);
        }
        let registry = Arc::new(registry);
        let (server, shutdown) = (memory::Server::default(), Shutdown::new());
        let options = ConsumerOptions::new(server.clone(), "celery@test");
        let names = Arc::clone(&registry) as _;
        let (consumer, deliveries, settler) = Consumer::start(options, names, &shutdown);
        let stage = stage(states, Arc::clone(&registry), settler, &shutdown, 4);
        let running =
            tokio::spawn(async move { executor::run(deliveries, &registry, stage).await });
        Whole {
            server,
            shutdown,
            consumer,
            running,
        }
    }

    fn post(&self, task: &Task) {
        let tag = format!("tag-{}", task.id);
        let message = task.encode_redis(&EncodeOptions::new("celery", &tag));
        self.server.push("celery", message.unwrap());
    }

    /// Calls a task, and returns its final document.
    async fn call(&self, task: &Task) -> Value {
        self.post(task);
        self.end_of(&task.id).await
    }

    /// Returns the final document of a task.
    async fn end_of(&self, id: &str) -> Value {
        let ended = self.server.seen(|server| {
            let stored = server.result(id)?;
            let document: Value = serde_json::from_slice(&stored).unwrap();
            let status = document["status"].as_str().unwrap();
            matches!(status, "SUCCESS" | "FAILURE" | "REVOKED").then_some(document)
        });
        let ended = tokio::time::timeout(DEADLINE, ended).await;
        ended.unwrap_or_else(|_| panic!("{id} does not end"))
    }

    /// Waits until no message waits or is held, and stops. Returns the causes of dead letters.
    async fn stop(self) -> Vec<String> {
        let clean = self.server.seen(|server| {
            let depth = server.depth("celery");
            (depth.ready + depth.unacknowledged == 0).then_some(())
        });
        tokio::time::timeout(DEADLINE, clean).await.unwrap();
        self.shutdown.advance(Phase::Warm);
        self.running.await.unwrap();
        self.consumer.close(DEADLINE).await;
        let dead = self.server.dead().into_iter();
        dead.map(|letter| letter.cause).collect()
    }
}

/// The number of runs of a task.
#[derive(Default)]
struct Runs(AtomicU32);

fn call(name: &str, args: &Value) -> Task {
    let raw = |value: &Value| to_raw_value(value).unwrap();
    Task::new(format!("id-{name}"), name, raw(args), raw(&json!({})))
}

fn add_of(args: Value) -> Signature {
    let args = args.as_array().unwrap().clone();
    args.into_iter().fold(Signature::new("add"), Signature::arg)
}

#[task]
async fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[task]
fn blocking_add(x: i64, y: i64) -> i64 {
    x + y
}

#[task(batch(size = 2))]
async fn batched_add(calls: Batch<(i64, i64)>) -> TaskResult<crate::Answers<i64>> {
    Ok(calls.iter().map(|(x, y)| Ok(x + y)).collect())
}

#[task]
async fn echo(args: Args, _kwargs: Kwargs) -> Vec<Value> {
    args.0
}

#[task]
async fn fail(_args: Args) -> TaskResult<()> {
    Err(TaskError::value_error("deliberate"))
}

#[task]
async fn again(context: Context, _args: Args) -> TaskResult<()> {
    Err(context.retry().into())
}

/// Sends, and ends as it is told.
#[task]
async fn sender(context: Context, how: String) -> TaskResult<Sent> {
    let add = |id: &str| add_of(json!([1, 2])).option("task_id", id);
    let sent = context.send(chain([add("a"), Signature::new("add").arg(3)]))?;
    context.send(chord([add("b"), add("c")], echo_of("body")))?;
    match &*how {
        "fail" => Err(TaskError::value_error("deliberate")),
        "ignore" => Err(TaskError::Ignore),
        _ => Ok(sent),
    }
}

fn echo_of(id: &str) -> Signature {
    Signature::new("echo").option("task_id", id)
}

#[tokio::test]
async fn what_a_task_sends_runs_however_it_ends() {
    for how in ["succeed", "fail", "ignore"] {
        let worker = Whole::start([sender::task(), add::task(), echo::task()]);
        let task = call("sender", &json!([how]));
        worker.post(&task);
        assert_eq!(worker.end_of("body").await["result"], json!([[3, 3]]));
        assert_eq!(worker.end_of("a").await["parent_id"], task.id);
        if how == "ignore" {
            assert!(worker.server.result(&task.id).is_none());
        } else {
            let document = worker.end_of(&task.id).await;
            // As in Celery, the children are the first task of a chain and the header of a chord.
            let children = document["children"].as_array().unwrap();
            assert_eq!((children.len(), &children[0][0][0]), (2, &json!("a")));
            assert_eq!(children[1][1][1][0][0], "c", "{children:?}");
        }
        if how == "succeed" {
            let sent = &worker.end_of(&task.id).await["result"];
            let last = sent[0][0].as_str().unwrap();
            assert_eq!(sent[0][1][0][0], "a", "{sent}");
            assert_eq!(worker.end_of(last).await["result"], 6);
        }
        assert_eq!(worker.stop().await, [""; 0]);
    }
}

/// Sends once in each run, and is put back or runs again after its first run.
#[task(max_retries = 1, retry_delay = "0s")]
async fn twice(context: Context, runs: State<Runs>, how: String) -> TaskResult<()> {
    context.send(Signature::new("count"))?;
    if runs.0.0.fetch_add(1, Ordering::SeqCst) == 0 {
        return Err(match &*how {
            "retry" => TaskError::value_error("deliberate"),
            "away" => TaskError::Unavailable {
                cause: "gone".to_owned(),
            },
            _ => TaskError::Reject {
                reason: how,
                requeue: true,
            },
        });
    }
    Ok(())
}

#[task]
async fn count(counted: State<AtomicU32>) {
    counted.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test]
async fn a_run_that_does_not_count_sends_nothing() {
    // A retry is an end of the run, so both runs send.
    for (how, expected) in [("retry", 2), ("away", 1), ("requeue", 1)] {
        let mut states = States::default();
        states.insert(Runs::default());
        states.insert(AtomicU32::new(0));
        let worker = Whole::with(states.clone(), [twice::task(), count::task()]);
        let ended = worker.call(&call("twice", &json!([how]))).await;
        assert_eq!(ended["status"], "SUCCESS", "{how}");
        assert_eq!(worker.stop().await, [""; 0]);
        let counted = states.get::<AtomicU32>().unwrap();
        assert_eq!(counted.load(Ordering::SeqCst), expected, "{how}");
    }
}

/// Is replaced by what it is told.
#[task]
async fn replaced(context: Context, by: String, args: Args) -> TaskResult<()> {
    let add = |x: i64, y: i64| add_of(json!([x, y]));
    let more = |y: i64| Signature::new("add").arg(y);
    drop(args);
    Err(context.replace(match &*by {
        "task" => add(1, 2),
        "chain" => chain([add(1, 2), more(3)]),
        "group" => group([add(1, 2), add(3, 4)]),
        "chord" => chord([add(1, 2), add(3, 4)], Signature::new("echo")),
        "chain with a group" => chain([add(1, 2), group([more(1), more(2)])]),
        "itself" => chain([Signature::new("replaced").arg("task"), more(10)]),
        _ => Signature::new("fail").immutable(),
    }))
}

#[tokio::test]
async fn a_replacement_takes_the_place_of_its_task() {
    for (by, value) in [
        ("task", json!(3)),
        ("chain", json!(6)),
        ("group", json!([3, 7])),
        ("chord", json!([[3, 7]])),
        ("chain with a group", json!([4, 5])),
        ("itself", json!(13)),
    ] {
        // Alone, before another step of a chain, and in the header of a chord.
        let tasks = [replaced::task(), add::task(), echo::task(), fail::task()];
        let worker = Whole::start(tasks);
        let mut task = call("replaced", &json!([by]));
        task.embed.callbacks = Some(to_raw_value(&[echo_of("callback")]).unwrap());
        let ended = worker.call(&task).await;
        assert_eq!(
            (&ended["status"], &ended["result"]),
            (&json!("SUCCESS"), &value),
            "{by}"
        );
        assert_eq!(
            worker.end_of("callback").await["result"],
            json!([value]),
            "{by}"
        );

        let mut task = call("replaced", &json!([by]));
        task.id = "first".to_owned();
        task.embed.chain = Some(to_raw_value(&[echo_of("then")]).unwrap());
        worker.post(&task);
        assert_eq!(
            worker.end_of("then").await["result"],
            json!([value]),
            "{by}"
        );
        assert_eq!(worker.end_of("first").await["result"], value, "{by}");

        let header = [Signature::new("replaced").arg(by), add_of(json!([5, 5]))];
        let sends = json!({ "header": header, "body": echo_of("body") });
        let mut task = call("celery.chord", &json!([]));
        task.kwargs = to_raw_value(&sends).unwrap();
        worker.post(&task);
        assert_eq!(
            worker.end_of("body").await["result"],
            json!([[value, 10]]),
            "{by}"
        );
        assert_eq!(worker.stop().await, [""; 0], "{by}");
    }
}

#[tokio::test]
async fn a_replacement_that_fails_fails_its_task() {
    let worker = Whole::start([replaced::task(), echo::task(), fail::task()]);
    let mut task = call("replaced", &json!(["fail"]));
    task.embed.errbacks = Some(to_raw_value(&[echo_of("errback")]).unwrap());
    task.embed.chain = Some(to_raw_value(&[echo_of("then")]).unwrap());
    let ended = worker.call(&task).await;
    assert_eq!(ended["result"]["exc_type"], "ValueError");
    assert_eq!(worker.end_of("errback").await["result"], json!([task.id]));
    assert_eq!(
        worker.end_of("then").await["result"]["exc_type"],
        "ValueError"
    );
    assert_eq!(worker.stop().await, [""; 0]);
}

/// Adds members to its chord, and ends as it is told.
#[task(max_retries = 1, retry_delay = "0s")]
async fn grow(context: Context, how: String) -> TaskResult<i64> {
    if how == "retry" && context.retries() == 1 {
        return Ok(0);
    }
    context.add_to_chord(add_of(json!([1, 1])))?;
    context.add_to_chord(chord([add_of(json!([2, 2]))], Signature::new("echo")))?;
    match &*how {
        "retry" => Err(TaskError::value_error("deliberate")),
        "replace" => Err(context.replace(add_of(json!([0, 0])))),
        _ => Ok(0),
    }
}

#[tokio::test]
async fn members_that_a_member_adds_are_waited_for() {
    for how in ["succeed", "retry", "replace"] {
        let worker = Whole::start([grow::task(), add::task(), echo::task()]);
        let header = [Signature::new("grow").arg(how), add_of(json!([3, 3]))];
        let sends = json!({ "header": header, "body": echo_of("body") });
        let mut task = call("celery.chord", &json!([]));
        task.kwargs = to_raw_value(&sends).unwrap();
        worker.post(&task);
        let mut results = worker.end_of("body").await["result"][0].clone();
        let results = results.as_array_mut().unwrap();
        results.sort_by_key(ToString::to_string);
        assert_eq!(json!(results), json!([0, 2, 6, [[4]]]), "{how}");
        assert_eq!(worker.stop().await, [""; 0]);
    }
}
