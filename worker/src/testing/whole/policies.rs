//! Tests of the options that say what happens to the message of a task.

use tokio::sync::Semaphore;

use super::{Runs, Whole, call, json};
use crate::task;
use crate::task::{Context, State, States, TaskDef, TaskError, TaskResult};
use std::sync::atomic::Ordering;

/// Where a test and its task wait for each other.
struct Gates {
    begun: Semaphore,
    ends: Semaphore,
}

/// Counts its runs, and waits until it may end.
async fn wait(runs: &Runs, gates: &Gates) {
    runs.0.fetch_add(1, Ordering::SeqCst);
    gates.begun.add_permits(1);
    gates.ends.acquire().await.unwrap().forget();
}

#[task(acks_late = false)]
async fn early(runs: State<Runs>, gates: State<Gates>) {
    wait(&runs, &gates).await;
}

#[task(reject_on_worker_lost = false)]
async fn lost(runs: State<Runs>, gates: State<Gates>) {
    wait(&runs, &gates).await;
}

#[task]
async fn late(runs: State<Runs>, gates: State<Gates>) {
    wait(&runs, &gates).await;
}

#[tokio::test]
async fn a_task_that_may_begin_once_fails_after_its_worker_was_lost() {
    for (task, runs, status) in [
        (early::task(), 1, "FAILURE"),
        (lost::task(), 1, "FAILURE"),
        (late::task(), 2, "SUCCESS"),
    ] {
        let gates = Gates {
            begun: Semaphore::new(0),
            ends: Semaphore::new(0),
        };
        let mut states = States::default();
        states.insert(Runs::default());
        states.insert(gates);
        let gates = states.get::<Gates>().unwrap();
        let message = call(&task.name, &json!([]));
        let worker = Whole::with(states.clone(), [task]);
        worker.post(&message);
        gates.begun.acquire().await.unwrap().forget();
        // Each message goes back, as if its worker had ended.
        worker.server.cut();
        gates.ends.add_permits(2);
        let ended = worker.end_of(&message.id).await;
        assert_eq!(ended["status"], status, "{ended}");
        if status == "FAILURE" {
            assert_eq!(ended["result"]["exc_type"], "WorkerLostError");
        }
        let counted = states.get::<Runs>().unwrap();
        assert_eq!(counted.0.0.load(Ordering::SeqCst), runs, "{}", message.name);
        assert_eq!(worker.stop().await, [""; 0]);
    }
}

#[tokio::test]
async fn a_task_that_may_begin_once_runs_where_nothing_is_lost() {
    let states = || {
        let mut states = States::default();
        states.insert(Runs::default());
        states.insert(Gates {
            begun: Semaphore::new(0),
            ends: Semaphore::new(3),
        });
        states
    };
    for task in [early::task(), lost::task(), late::task()] {
        let message = call(&task.name, &json!([]));
        let worker = Whole::with(states(), [task]);
        assert_eq!(worker.call(&message).await["status"], "SUCCESS");
        assert_eq!(worker.stop().await, [""; 0]);
    }
}

#[task(acks_on_failure = false)]
async fn kept(how: String) -> TaskResult<()> {
    match &*how {
        "fail" => Err(TaskError::value_error("deliberate")),
        "panic" => std::panic::panic_any("deliberate"),
        _ => Ok(()),
    }
}

#[task(acks_on_failure_or_timeout = true)]
async fn dropped(_how: String) -> TaskResult<()> {
    Err(TaskError::value_error("deliberate"))
}

#[tokio::test]
async fn the_message_of_a_failed_task_may_be_kept() {
    for (task, how, status, causes) in [
        (
            kept::task as fn() -> TaskDef,
            "fail",
            "FAILURE",
            vec!["failed"],
        ),
        (kept::task, "panic", "FAILURE", vec!["failed"]),
        (kept::task, "succeed", "SUCCESS", vec![]),
        (dropped::task, "fail", "FAILURE", vec![]),
    ] {
        let message = call(&task().name, &json!([how]));
        let worker = Whole::start([task()]);
        assert_eq!(worker.call(&message).await["status"], status, "{how}");
        assert_eq!(worker.stop().await, causes, "{how}");
    }
}

/// Exceeds its limit in its first run.
#[task(acks_on_timeout = false, time_limit = "50ms")]
async fn slow(runs: State<Runs>) -> TaskResult<()> {
    if runs.0.0.fetch_add(1, Ordering::SeqCst) == 0 {
        std::future::pending::<()>().await;
    }
    Ok(())
}

#[tokio::test]
async fn a_task_over_its_limit_may_run_again() {
    let worker = Whole::start([slow::task()]);
    let message = call("slow", &json!([]));
    worker.post(&message);
    // The failure of the first run is stored before the second one.
    let succeeded = worker.server.seen(|server| {
        let stored = server.result(&message.id)?;
        let stored: serde_json::Value = serde_json::from_slice(&stored).unwrap();
        (stored["status"] == "SUCCESS").then_some(())
    });
    tokio::time::timeout(super::DEADLINE, succeeded)
        .await
        .unwrap();
    assert_eq!(worker.stop().await, [""; 0]);
}

/// Fails, as if a server was away, or asks for a retry.
#[task(max_retries = 1, retry_delay = "1h")]
async fn failing(runs: State<Runs>, context: Context, asks: bool) -> TaskResult<()> {
    runs.0.0.fetch_add(1, Ordering::SeqCst);
    if asks {
        return Err(context.retry().into());
    }
    Err(TaskError::value_error("deliberate"))
}

#[task(autoretry_for("OSError"))]
async fn picky(runs: State<Runs>) -> TaskResult<()> {
    runs.0.0.fetch_add(1, Ordering::SeqCst);
    Err(TaskError::value_error("deliberate"))
}

#[tokio::test]
async fn the_message_says_how_often_and_when_its_task_is_tried() {
    for (task, args, tries, backoff, runs) in [
        (
            failing::task as fn() -> TaskDef,
            json!([false]),
            json!(3),
            json!([0]),
            3,
        ),
        (failing::task, json!([true]), json!(3), json!([0, 0]), 3),
        (failing::task, json!([false]), json!(1), json!(null), 1),
        (failing::task, json!([false]), json!(null), json!(0), 2),
        (failing::task, json!([true]), json!("no"), json!(0), 2),
        // The definition says which failures are retried at all.
        (picky::task, json!([]), json!(3), json!(0), 1),
    ] {
        let mut states = States::default();
        states.insert(Runs::default());
        let counted = states.get::<Runs>().unwrap();
        let worker = Whole::with(states, [task()]);
        let mut message = call(&task().name, &args);
        message.headers.set("tries", &tries).unwrap();
        message.headers.set("backoff", &backoff).unwrap();
        let ended = worker.call(&message).await;
        assert_eq!(ended["status"], "FAILURE", "{ended}");
        let said = format!("{} {args} {tries} {backoff}", message.name);
        assert_eq!(counted.0.0.load(Ordering::SeqCst), runs, "{said}");
        assert_eq!(worker.stop().await, [""; 0]);
    }
}
