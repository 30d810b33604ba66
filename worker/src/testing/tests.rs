//! Tests of the test worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::json;

use super::{End, TestCall, TestWorker};
use crate::canvas::{Signature, chain, chord, group};
use crate::{
    Answers, Args, Batch, Context, Database, Exception, State, TaskError, TaskResult, task,
};

const SECOND: Duration = Duration::from_secs(1);

fn error(kind: &str, message: &str) -> Exception {
    Exception::new(kind, message)
}

/// Ends as the caller asks.
#[task(max_retries = 2, retry_delay = "7s")]
async fn end(context: Context, how: String, more: Args<i64>) -> TaskResult<usize> {
    Err(match &*how {
        "fail" => TaskError::value_error("no"),
        "permanent" => error("KeyError", "k").permanent().into(),
        "retry" => context.retry().countdown(SECOND).into(),
        "because" => {
            let reason = error("OSError", "busy");
            context.retry().countdown(SECOND).because(reason).into()
        }
        "ignore" => TaskError::Ignore,
        "reject" | "requeue" => TaskError::Reject {
            reason: "why".to_owned(),
            requeue: how == "requeue",
        },
        "away" => TaskError::Unavailable {
            cause: "gone".to_owned(),
        },
        "panic" => std::panic::panic_any("oh"),
        _ => return Ok(more.0.len()),
    })
}

#[tokio::test]
async fn every_end_of_a_task() {
    let worker = TestWorker::new(end::task());
    let rejected = |requeue| End::Rejected {
        reason: "why".to_owned(),
        requeue,
    };
    let retry = |seconds, reason| End::Retry {
        countdown: Duration::from_secs(seconds),
        reason,
    };
    let away = End::Unavailable {
        cause: "gone".to_owned(),
    };
    let panicked = error("RuntimeError", "the task panicked: oh");
    for (how, retries, expected) in [
        ("value", 0, End::Success(json!(3))),
        ("fail", 0, retry(7, Some(error("ValueError", "no")))),
        ("fail", 1, retry(7, Some(error("ValueError", "no")))),
        ("fail", 2, End::Failure(error("ValueError", "no"))),
        ("permanent", 0, End::Failure(error("KeyError", "k"))),
        ("retry", 1, retry(1, None)),
        ("because", 0, retry(1, Some(error("OSError", "busy")))),
        ("because", 2, End::Failure(error("OSError", "busy"))),
        ("ignore", 0, End::Ignored),
        ("reject", 0, rejected(false)),
        ("requeue", 0, rejected(true)),
        ("away", 0, away),
        ("panic", 0, End::Failure(panicked)),
    ] {
        let call = TestCall::new().arg(how).args([1, 2, 3]).retries(retries);
        assert_eq!(
            worker.run(call).await,
            expected,
            "{how}, retries: {retries}"
        );
    }
}

#[tokio::test]
async fn a_task_whose_resource_is_away_runs_once() {
    #[task]
    async fn ask(runs: State<Arc<AtomicU32>>) -> TaskResult<()> {
        runs.fetch_add(1, Ordering::Relaxed);
        Err(TaskError::Unavailable {
            cause: "gone".to_owned(),
        })
    }
    let runs = Arc::new(AtomicU32::new(0));
    let worker = TestWorker::new(ask::task()).state(Arc::clone(&runs));
    let end = worker.timeout(SECOND).run(TestCall::new()).await;
    assert!(matches!(end, End::Unavailable { .. }), "{end:?}");
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn arguments_are_bound_as_in_the_worker() {
    #[task(name = "test.bind")]
    async fn bind(x: u8, #[default(5)] y: u8, z: Option<String>) -> (u8, u8, Option<String>) {
        (x, y, z)
    }
    let worker = TestWorker::new(bind::task());
    for (call, value) in [
        (TestCall::new().arg(1), json!([1, 5, null])),
        (TestCall::new().args([1, 2]), json!([1, 2, null])),
        (TestCall::new().arg(1).kwarg("z", "a"), json!([1, 5, "a"])),
        (
            TestCall::new().kwarg("y", 3).kwarg("x", 2),
            json!([2, 3, null]),
        ),
    ] {
        assert_eq!(worker.run(call).await, End::Success(value));
    }
    let missing = "bind() missing 1 required positional argument: 'x'";
    let unknown = "bind() got an unexpected keyword argument 'w'";
    for (call, message) in [
        (TestCall::new(), missing),
        (TestCall::new().arg(1).kwarg("w", 1), unknown),
    ] {
        let expected = End::Failure(error("TypeError", message));
        assert_eq!(worker.run(call).await, expected);
    }
    for wrong in [json!(256), json!("1"), json!(null), json!([1])] {
        let end = worker.run(TestCall::new().arg(wrong.clone())).await;
        assert!(
            matches!(&end, End::Failure(error) if error.to_string().starts_with("TypeError(")),
            "{wrong}: {end:?}"
        );
    }
}

#[tokio::test]
async fn a_task_gets_its_states_and_stores_its_own() {
    #[task]
    async fn report(context: Context, step: State<u64>) -> TaskResult<String> {
        for done in [*step.0, 2 * *step.0] {
            context
                .update_state("PROGRESS", json!({ "done": done }))
                .await?;
        }
        Ok(format!("{} on {}", context.id(), context.hostname()))
    }
    let worker = TestWorker::new(report::task()).state(50_u64);
    let end = worker.run(TestCall::new().id("a").redelivered()).await;
    assert_eq!(end, End::Success(json!("a on celery@test")));
    let updates = [50, 100].map(|done| ("PROGRESS".to_owned(), json!({ "done": done })));
    assert_eq!(worker.take_updates(), updates);
    assert!(worker.take_updates().is_empty());

    let end = TestWorker::new(report::task()).run(TestCall::new()).await;
    let message = "this worker has no state of type u64";
    assert_eq!(end, End::Failure(error("RuntimeError", message)));
}

#[tokio::test]
async fn limits_hold() {
    #[task]
    async fn hang() {
        std::future::pending::<()>().await;
    }
    #[task(time_limit = "300ms", soft_time_limit = "20ms")]
    async fn wait(context: Context, listens: bool) -> TaskResult<()> {
        context.cancelled().await;
        if listens {
            return Err(TaskError::soft_time_limit_exceeded());
        }
        std::future::pending().await
    }
    let worker = TestWorker::new(wait::task());
    for (listens, expected) in [
        (true, "SoftTimeLimitExceeded()"),
        (false, "TimeLimitExceeded(0.3)"),
    ] {
        let end = worker.run(TestCall::new().arg(listens)).await;
        assert!(
            matches!(&end, End::Failure(error) if error.to_string() == expected),
            "{end:?}"
        );
    }
    let worker = TestWorker::new(hang::task()).timeout(Duration::from_millis(20));
    assert_eq!(worker.run(TestCall::new()).await, End::Interrupted);
}

#[tokio::test]
async fn a_batch_gets_all_calls_at_once() {
    #[task(batch(size = 100, linger = "1h"))]
    async fn share(calls: Batch<(u32,)>) -> TaskResult<Answers<usize>> {
        if calls.iter().any(|(n,)| *n == 13) {
            return Err(TaskError::value_error("13"));
        }
        let answer = |(n,): &(u32,)| match n {
            0 => Err(TaskError::Unavailable {
                cause: "gone".to_owned(),
            }),
            _ => Ok(calls.len()),
        };
        Ok(calls.iter().map(answer).collect())
    }
    let worker = TestWorker::new(share::task());
    let calls = |numbers: &[u32]| -> Vec<TestCall> {
        let call = |n: &u32| TestCall::new().arg(*n);
        numbers.iter().map(call).collect()
    };
    assert_eq!(
        worker.run_all(calls(&[1, 2, 3])).await,
        [3, 3, 3].map(|n| End::Success(json!(n)))
    );
    assert_eq!(
        worker.run_all(calls(&[1, 13])).await,
        [
            End::Success(json!(1)),
            End::Failure(error("ValueError", "13"))
        ]
    );
    let away = End::Unavailable {
        cause: "gone".to_owned(),
    };
    assert_eq!(
        worker.run_all(calls(&[0, 5])).await,
        [away, End::Success(json!(2))]
    );
    assert!(worker.run_all([]).await.is_empty());
    let unreadable = worker.run(TestCall::new()).await;
    assert!(matches!(unreadable, End::Failure(e) if e.to_string().starts_with("TypeError(")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_uses_a_database() {
    #[task]
    async fn close(database: State<Database>, id: u64) -> TaskResult<u64> {
        let sql = "UPDATE orders SET state = 'closed' WHERE id = :id";
        Ok(database.execute(sql, &[("id", json!(id))]).await?)
    }
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite:{}?mode=rwc",
        folder.path().join("shop.db").display()
    );
    let database = Database::from_url(&url).unwrap();
    for sql in [
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)",
        "INSERT INTO orders VALUES (1, 'open'), (2, 'open')",
    ] {
        database.execute(sql, &[]).await.unwrap();
    }
    let worker = TestWorker::new(close::task()).database(database);
    for (id, rows) in [(1, 1), (2, 1), (3, 0)] {
        let end = worker.run(TestCall::new().arg(id)).await;
        assert_eq!(end, End::Success(json!(rows)));
    }
}

/// Sends calls, and ends as the caller asks.
#[task(max_retries = 1)]
async fn send(context: Context, how: String) -> TaskResult<String> {
    let echo = |n: u32| Signature::new("echo").arg(n);
    let first = context.send(echo(1).option("task_id", "one"))?;
    assert_eq!(first.id(), "one");
    context.send(group([echo(2), echo(3)]))?;
    match &*how {
        "fail" => return Err(TaskError::value_error("no")),
        "requeue" => {
            let reason = String::new();
            let requeue = true;
            return Err(TaskError::Reject { reason, requeue });
        }
        "replace" => return Err(context.replace(chain([echo(4), echo(5)]))),
        "unreplaced" => drop(context.replace(echo(4))),
        "wrong" => {
            context.send(echo(4).option("serializer", "pickle"))?;
        }
        "chord" => {
            context.add_to_chord(echo(4))?;
        }
        "away" => {
            let cause = "gone".to_owned();
            return Err(TaskError::Unavailable { cause });
        }
        _ => {}
    }
    Ok(how)
}

#[tokio::test]
async fn what_a_task_sends_follows_its_end() {
    let worker = TestWorker::new(send::task());
    for (how, sent) in [
        ("value", vec!["[1]", "[2]", "[3]"]),
        ("fail", vec!["[1]", "[2]", "[3]"]),
        ("requeue", vec![]),
        ("away", vec![]),
        ("replace", vec!["[1]", "[2]", "[3]", "[4]"]),
        ("unreplaced", vec!["[1]", "[2]", "[3]"]),
        // What was sent before a mistake is sent.
        ("wrong", vec!["[1]", "[2]", "[3]"]),
        ("chord", vec!["[1]", "[2]", "[3]"]),
    ] {
        let end = worker.run(TestCall::new().arg(how).id("parent")).await;
        let kind = |kind| matches!(&end, End::Failure(error) if error.document().exc_type == kind);
        match how {
            "value" | "unreplaced" => assert_eq!(end, End::Success(json!(how))),
            "replace" => assert_eq!(end, End::Replaced),
            "wrong" | "chord" => assert!(kind("ValueError"), "{how}: {end:?}"),
            _ => {}
        }
        let messages = worker.take_sent();
        let args: Vec<&str> = messages.iter().map(|task| task.args.get()).collect();
        assert_eq!(args, sent, "{how}");
        for message in &messages {
            assert_eq!(message.parent_id.as_deref(), Some("parent"), "{how}");
            assert_eq!(message.root(), "parent", "{how}");
        }
        if let [_, two, three, ..] = messages.as_slice() {
            assert!(two.group.is_some() && two.group == three.group);
            assert_eq!((two.group_index, three.group_index), (Some(0), Some(1)));
        }
        if let [.., replacement] = messages.as_slice()
            && how == "replace"
        {
            assert_eq!(replacement.replaced_task_nesting, 1);
            let rest = replacement.embed.chain.as_ref().unwrap().get();
            assert!(rest.contains(r#""task_id":"parent""#), "{rest}");
        }
    }
}

/// Is replaced by what its caller sent.
#[task]
async fn become_(context: Context, instead: Signature) -> TaskResult<()> {
    Err(context.replace(instead))
}

#[tokio::test]
async fn what_cannot_replace_a_task_is_refused() {
    let worker = TestWorker::new(become_::task());
    let echo = || Signature::new("echo");
    for (instead, ends) in [
        (echo(), None),
        (group([echo(), echo()]), None),
        (chord([echo()], echo()), None),
        (chain([echo(), group([echo(), echo()])]), None),
        (chain(Vec::<Signature>::new()), Some("ImproperlyConfigured")),
        (echo().option("chord", echo()), Some("ImproperlyConfigured")),
        (echo().option("compression", "gz"), Some("ValueError")),
        (echo().option("countdown", "soon"), Some("ValueError")),
    ] {
        let instead = serde_json::to_value(&instead).unwrap();
        let end = worker.run(TestCall::new().arg(instead.clone())).await;
        match (ends, &end) {
            (None, End::Replaced) => assert!(!worker.take_sent().is_empty()),
            (Some(kind), End::Failure(error)) => {
                assert_eq!(error.document().exc_type, kind, "{instead}");
                assert!(worker.take_sent().is_empty());
            }
            _ => panic!("{instead}: {end:?}"),
        }
    }
}

/// Fails with the type that the caller names.
#[task(
    autoretry_for("OSError", "shop.Busy"),
    dont_autoretry_for("shop.Full"),
    max_retries = "unlimited",
    retry_backoff = 2,
    retry_backoff_max = "10s",
    retry_jitter = false,
    throws("KeyError")
)]
async fn fails(kind: String, module: String) -> TaskResult<()> {
    Err(error(&kind, "no").module(module).into())
}

#[task(
    autoretry_for("Exception"),
    dont_autoretry_for("KeyError"),
    retry_delay = "7s"
)]
async fn fails_with_all(kind: String) -> TaskResult<()> {
    Err(error(&kind, "no").into())
}

#[tokio::test]
async fn failures_are_retried_by_their_types() {
    let worker = TestWorker::new(fails::task());
    for (kind, module, retries, wait) in [
        ("OSError", "builtins", 0, Some(2)),
        ("OSError", "builtins", 1, Some(4)),
        ("OSError", "builtins", 1_000, Some(10)),
        ("Busy", "shop", 0, Some(2)),
        ("Busy", "other", 0, None),
        ("Full", "shop", 0, None),
        ("KeyError", "builtins", 0, None),
    ] {
        let call = TestCall::new().arg(kind).arg(module).retries(retries);
        let found = match worker.run(call).await {
            End::Retry { countdown, .. } => Some(countdown.as_secs()),
            End::Failure(_) => None,
            end => panic!("{end:?}"),
        };
        assert_eq!(found, wait, "{kind} {module} {retries}");
    }
    let worker = TestWorker::new(fails_with_all::task());
    for (kind, retries, wait) in [
        ("OSError", 0, Some(7)),
        ("ValueError", 2, Some(7)),
        // Celery's default is three retries.
        ("ValueError", 3, None),
        ("KeyError", 0, None),
    ] {
        let found = match worker.run(TestCall::new().arg(kind).retries(retries)).await {
            End::Retry { countdown, .. } => Some(countdown.as_secs()),
            End::Failure(_) => None,
            end => panic!("{end:?}"),
        };
        assert_eq!(found, wait, "{kind} {retries}");
    }
}
