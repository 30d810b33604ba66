//! Unique tasks: of the calls with the same arguments, one waits or runs in all workers.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_protocol::time::Timestamp;
use celery_testkit::{Process, wait_for};
use serde_json::json;

use crate::bench::Bench;
use crate::documented::worker_rights;
use crate::door::Door;
use crate::world::*;

fn unique(until: &str) -> Bench {
    // The key is the second argument of `proj.occupy`.
    Bench::new(&format!(
        "[annotations.'proj.occupy']\nunique = '{until}'\nunique_by = 1\n"
    ))
}

fn call(bench: &Bench, door: &Door, id: &str, key: &str) {
    post(&bench.redis, id, "proj.occupy", &door.args(key), None);
}

fn status(bench: &Bench, id: &str) -> String {
    let document = result(&bench.redis, id).unwrap_or_default();
    document["status"].as_str().unwrap_or_default().to_owned()
}

fn assert_duplicate(bench: &Bench, worker: &Process, id: &str, of: &str) {
    wait_for_status(&bench.redis, id, "REVOKED", worker);
    let document = result(&bench.redis, id).unwrap();
    let expected = json!({
        "exc_type": "TaskRevokedError", "exc_module": "celery.exceptions",
        "exc_message": [format!("duplicate of {of}")],
    });
    assert_eq!(document["result"], expected, "{document}");
}

fn locks(bench: &Bench) -> String {
    bench.redis.cli(&["--raw", "KEYS", "rs.unique.*"]).unwrap()
}

/// Returns what `check` prints.
fn check(bench: &Bench) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["check", "-b", &bench.redis.url()]);
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn stop(mut worker: Process) {
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

/// The user of this worker has only the documented rights.
#[test]
fn calls_with_the_arguments_of_one_that_runs_are_revoked() {
    let bench = unique("until_done");
    let user = [
        &["ACL", "SETUSER", "worker", "on", ">secret"],
        &*worker_rights(),
    ]
    .concat();
    bench.redis.cli(&user).unwrap();
    let url = bench.redis.url().replace("://", "://worker:secret@");
    let mut worker = bench.worker(&["-c", "4", "--broker", &url]);
    let door = Door::open();
    call(&bench, &door, "first", "north");
    door.wait_for(1);
    call(&bench, &door, "second", "north");
    assert_duplicate(&bench, &worker, "second", "first");
    call(&bench, &door, "other", "south");
    door.wait_for(2);
    let log = worker.log();
    assert!(
        log.contains("Discarding duplicate task: proj.occupy[second], of first"),
        "{log}"
    );
    let pages = Pages::of(&mut worker);
    let metrics = pages.get("/metrics").1;
    let counted = |kind: &str| {
        let start = format!("celery_task_{kind}_total{{");
        let line = metrics.lines().find(|line| line.starts_with(&start));
        line.is_some_and(|line| line.ends_with(" 1"))
    };
    assert!(counted("duplicate") && counted("revoked"), "{metrics}");
    door.release();
    wait_for_status(&bench.redis, "first", "SUCCESS", &worker);
    call(&bench, &door, "third", "north");
    door.wait_for(2);
    door.release();
    door.release();
    wait_for_status(&bench.redis, "third", "SUCCESS", &worker);
    wait_for_status(&bench.redis, "other", "SUCCESS", &worker);
    // Each lock went with the acknowledgement.
    assert_eq!(locks(&bench).trim(), "");
    stop(worker);
}

#[test]
fn a_call_that_is_unique_until_it_starts_lets_one_more_wait() {
    let bench = unique("until_started");
    let worker = bench.worker(&["-c", "1"]);
    let door = Door::open();
    call(&bench, &door, "runs", "");
    door.wait_for(1);
    call(&bench, &door, "waits", "");
    call(&bench, &door, "third", "");
    assert_duplicate(&bench, &worker, "third", "waits");
    door.release();
    wait_for_status(&bench.redis, "runs", "SUCCESS", &worker);
    door.wait_for(1);
    assert_eq!(locks(&bench).trim(), "");
    door.release();
    wait_for_status(&bench.redis, "waits", "SUCCESS", &worker);
    stop(worker);
}

#[test]
fn a_call_is_unique_for_a_time_after_it_has_ended() {
    let bench = unique("1h");
    let worker = bench.worker(&[]);
    let door = Door::open();
    call(&bench, &door, "first", "");
    door.wait_for(1);
    door.release();
    wait_for_status(&bench.redis, "first", "SUCCESS", &worker);
    call(&bench, &door, "second", "");
    assert_duplicate(&bench, &worker, "second", "first");
    let key = locks(&bench).trim().to_owned();
    let left = count(&bench.redis, &["TTL", &key]);
    assert!((60..=3_600).contains(&left), "{left}");
    let said = check(&bench);
    let words = "locks of unique tasks: 1, 1 without a held message. Each keeps";
    let named = format!("delete its key: {key} of task first, for ");
    assert!(said.contains(words) && said.contains(&named), "{said}");
    // Without the lock, the next call runs.
    bench.redis.cli(&["DEL", &key]).unwrap();
    assert!(!check(&bench).contains("locks of unique tasks"));
    call(&bench, &door, "third", "");
    door.wait_for(1);
    // A running call owns its lock.
    let said = check(&bench);
    assert!(said.contains("locks of unique tasks: 1\n"), "{said}");
    door.release();
    wait_for_status(&bench.redis, "third", "SUCCESS", &worker);
    stop(worker);
}

#[test]
fn a_call_that_waits_for_its_eta_or_its_retry_has_its_lock() {
    let toml = "
        [annotations.'proj.add']
        unique = 'until_done'
        [annotations.'proj.retry_noexc']
        unique = 'until_done'
    ";
    let bench = Bench::new(toml);
    let worker = bench.worker(&[]);
    let then = SystemTime::now() + Duration::from_hours(1);
    let then = then.duration_since(UNIX_EPOCH).unwrap().as_micros();
    post_with(&bench.redis, "first", "proj.add", "[1, 2]", |task| {
        task.eta = Some(Timestamp::from_unix_micros(i64::try_from(then).unwrap()));
    });
    wait_for(PATIENCE, "the lock", || !locks(&bench).trim().is_empty()).unwrap();
    post(&bench.redis, "second", "proj.add", "[1, 2]", None);
    assert_duplicate(&bench, &worker, "second", "first");
    post(&bench.redis, "other", "proj.add", "[2, 1]", None);
    wait_for_status(&bench.redis, "other", "SUCCESS", &worker);
    // It asks for a retry after an hour.
    let retry = "proj.retry_noexc";
    post(&bench.redis, "retried", retry, "[3600]", None);
    wait_for_status(&bench.redis, "retried", "RETRY", &worker);
    post(&bench.redis, "again", retry, "[3600]", None);
    assert_duplicate(&bench, &worker, "again", "retried");
    stop(worker);
}

/// The first call goes on in another worker after its own was killed, and a second one is revoked.
#[test]
fn one_of_the_calls_runs_after_a_worker_was_killed() {
    let bench = unique("until_done");
    let mut first = bench.worker(&[]);
    let door = Door::open();
    call(&bench, &door, "first", "");
    door.wait_for(1);
    let second = bench.worker(&[]);
    first.kill9();
    call(&bench, &door, "second", "");
    let ids = ["first", "second"];
    let of = |wanted: &str| ids.iter().filter(|id| status(&bench, id) == wanted).count();
    wait_for(PATIENCE, "a duplicate", || of("REVOKED") == 1).unwrap();
    door.wait_for(1);
    door.release();
    wait_for(PATIENCE, "a success", || of("SUCCESS") == 1).unwrap();
    assert_eq!(of("REVOKED"), 1);
    assert_eq!(count(&bench.redis, &["HLEN", "unacked"]), 0);
    assert_eq!(door.seen().most[""], 1);
    stop(second);
}

/// A client that sends a call twice under one id gets one result.
#[test]
fn a_call_that_was_sent_twice_runs_once() {
    let bench = unique("until_done");
    let worker = bench.worker(&["-c", "4"]);
    let door = Door::open();
    call(&bench, &door, "one", "");
    door.wait_for(1);
    call(&bench, &door, "one", "");
    wait_for(PATIENCE, "the second message", || {
        worker.log().contains("[one] ignored")
    })
    .unwrap();
    assert_ne!(status(&bench, "one"), "REVOKED");
    door.release();
    wait_for_status(&bench.redis, "one", "SUCCESS", &worker);
    stop(worker);
}
