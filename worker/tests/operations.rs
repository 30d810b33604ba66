//! The life of the process as its supervisor, its operator and its monitoring see it: the built programs, real signals.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task, TimeLimit};
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::Value;
use serde_json::value::RawValue;

const PATIENCE: Duration = Duration::from_secs(60);

/// The example worker, which cargo builds beside the tests.
fn playground() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    let program = folder.unwrap().join("examples/playground");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p celery-worker --examples",
        program.display()
    );
    program
}

fn command(redis: &Redis, more: &[&str]) -> Command {
    let mut command = Command::new(playground());
    command.args(["--broker", &redis.url()]).args(more);
    command
}

fn start(command: &mut Command) -> Process {
    let mut worker = Process::spawn("playground", command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker
}

/// Posts a task with a hard time limit of so many seconds, if any.
fn post(redis: &Redis, id: &str, name: &str, args: &str, limit: Option<f64>) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let mut task = Task::new(id, name, raw(args), raw("{}"));
    task.time_limit = TimeLimit {
        hard: limit,
        soft: None,
    };
    let message = task
        .encode_redis(&EncodeOptions::new("celery", id))
        .unwrap();
    let message = String::from_utf8(message).unwrap();
    redis.cli(&["LPUSH", "celery", &message]).unwrap();
}

fn result(redis: &Redis, id: &str) -> Option<Value> {
    let key = format!("celery-task-meta-{id}");
    serde_json::from_str(redis.cli(&["GET", &key]).unwrap().trim()).ok()
}

fn wait_for_status(redis: &Redis, id: &str, status: &str, worker: &Process) {
    let is = || result(redis, id).is_some_and(|document| document["status"] == status);
    if let Err(error) = wait_for(PATIENCE, &format!("{id} to be {status}"), is) {
        panic!("{error}; the worker said:\n{}", worker.log());
    }
}

fn count(redis: &Redis, command: &[&str]) -> u64 {
    let answer = redis.cli(command).unwrap();
    let number = answer.trim().trim_start_matches("(integer) ");
    number.parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// Waits until a task with this id is running: what it was claimed from is empty.
fn wait_until_claimed(redis: &Redis, worker: &mut Process, id: &str) {
    worker
        .wait_for_line(PATIENCE, &format!("[{id}] received"))
        .unwrap();
    wait_for(PATIENCE, "an empty queue", || {
        count(redis, &["LLEN", "celery"]) == 0
    })
    .unwrap();
}

fn quit(worker: &Process) {
    let pid = worker.pid().to_string();
    let status = Command::new("kill").args(["-QUIT", &pid]).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_task_that_never_yields_fails_and_at_a_quarter_of_the_slots_the_process_ends() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-c", "8", "-l", "info"]));
    // One of eight: written off, the others go on.
    post(&redis, "s1", "proj.spin", "[600]", Some(1.0));
    wait_for_status(&redis, "s1", "FAILURE", &worker);
    let failure = result(&redis, "s1").unwrap();
    assert_eq!(failure["result"]["exc_type"], "TimeLimitExceeded");
    post(&redis, "a1", "proj.add", "[1, 2]", None);
    wait_for_status(&redis, "a1", "SUCCESS", &worker);
    // The second, of the kind that computes, is one too many. What runs or waits meanwhile goes back.
    post(&redis, "c1", "proj.compute", "[600]", Some(1.0));
    for id in ["w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8"] {
        post(&redis, id, "proj.sleep", "[600]", None);
    }
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(70), "{}", worker.log());
    let failure = result(&redis, "c1").unwrap();
    assert_eq!(failure["result"]["exc_type"], "TimeLimitExceeded");
    assert_eq!(count(&redis, &["LLEN", "celery"]), 8);
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
}

#[test]
fn tasks_that_block_every_thread_stop_neither_limits_nor_leases_nor_the_end() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-c", "1000", "-l", "info", "--lease", "2"];
    let mut worker = start(&mut command(&redis, &more));
    // More than there are threads, far from a quarter of the slots.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let spins = threads.max(4) + 2;
    for number in 0..spins {
        post(
            &redis,
            &format!("s{number}"),
            "proj.spin",
            "[600]",
            Some(3.0),
        );
    }
    post(&redis, "free", "proj.spin", "[600]", None);
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(70), "{}", worker.log());
    // Its leases were renewed all the time.
    assert!(!worker.log().contains("were lost"), "{}", worker.log());
    assert!(!worker.log().contains("Restored"), "{}", worker.log());
    // Each was told that it failed, or is back in its queue.
    let failed = (0..spins).filter(|number| result(&redis, &format!("s{number}")).is_some());
    let failed = u64::try_from(failed.count()).unwrap();
    assert!(failed >= 4, "{failed}");
    let queued = count(&redis, &["LLEN", "celery"]);
    assert_eq!(failed + queued, u64::try_from(spins).unwrap() + 1);
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
}

#[test]
fn a_cold_stop_leaves_behind_what_does_not_end() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut worker = start(&mut command(&redis, &["-l", "info"]));
    post(&redis, "s1", "proj.spin", "[600]", None);
    wait_until_claimed(&redis, &mut worker, "s1");
    quit(&worker);
    let status = worker.wait(PATIENCE).unwrap();
    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
    assert!(
        redis
            .cli(&["LRANGE", "celery", "0", "-1"])
            .unwrap()
            .contains("redelivered")
    );
}

#[test]
fn a_soft_shutdown_waits_so_long_and_no_longer() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-l", "info", "--soft-shutdown-timeout", "5s"];
    let mut worker = start(command(&redis, &more).env("REMAP_SIGTERM", "SIGQUIT"));
    post(&redis, "short", "proj.sleep", "[1]", None);
    post(&redis, "long", "proj.sleep", "[600]", None);
    wait_until_claimed(&redis, &mut worker, "long");
    worker.terminate();
    worker
        .wait_for_line(
            PATIENCE,
            "Initiating Soft Shutdown, terminating in 5 seconds",
        )
        .unwrap();
    // The short one ends in time; the long one is dropped and goes back.
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(1));
    assert_eq!(result(&redis, "short").unwrap()["status"], "SUCCESS");
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
    let order = ["Warm shutdown", "succeeded", "Cold shutdown"];
    let said = order.map(|words| worker.log().find(words));
    assert!(said.is_sorted() && said[0].is_some(), "{}", worker.log());
}

#[test]
fn a_soft_shutdown_ends_with_its_last_task_or_at_the_next_signal() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let more = ["-l", "info", "--soft-shutdown-timeout", "1h"];
    let mut worker = start(&mut command(&redis, &more));
    post(&redis, "short", "proj.sleep", "[1]", None);
    wait_until_claimed(&redis, &mut worker, "short");
    quit(&worker);
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert_eq!(result(&redis, "short").unwrap()["status"], "SUCCESS");

    let mut worker = start(&mut command(&redis, &more));
    post(&redis, "long", "proj.sleep", "[600]", None);
    wait_until_claimed(&redis, &mut worker, "long");
    // First warm, then soft, then cold.
    worker.interrupt();
    worker.wait_for_line(PATIENCE, "Warm shutdown").unwrap();
    worker.interrupt();
    worker
        .wait_for_line(PATIENCE, "Initiating Soft Shutdown")
        .unwrap();
    worker.interrupt();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(1));
    assert_eq!(count(&redis, &["LLEN", "celery"]), 1);
}
