//! How a task ends: one test for each row of the table in docs/reference/outcomes.md. Each runs the
//! example worker as a process and reads results, dead letters, log and metrics.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_protocol::message::{Task, TimeLimit};
use celery_protocol::time::Timestamp;
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use crate::world::*;

/// A worker that writes its log at the level INFO and serves its metrics.
struct Scene {
    redis: Redis,
    worker: Process,
    pages: Pages,
}

impl Scene {
    fn start(more: &[&str]) -> Self {
        Self::with(Redis::start(RedisOptions::new()).unwrap(), more)
    }

    /// Starts the worker on a Redis whose queue may already hold messages.
    fn with(redis: Redis, more: &[&str]) -> Self {
        let always = ["-l", "info", "--metrics-addr", "127.0.0.1:0"];
        let mut worker = start(command(&redis, &always).args(more));
        let pages = Pages::of(&mut worker);
        Scene {
            redis,
            worker,
            pages,
        }
    }

    fn post(&self, id: &str, name: &str, args: &str) {
        post(&self.redis, id, name, args, None);
    }

    /// Waits until no message is queued, held or waiting for its time.
    fn settle(&self) {
        let settled = wait_for(PATIENCE, "everything to be settled", || {
            [["LLEN", "celery"], ["HLEN", "unacked"]]
                .iter()
                .all(|command| count(&self.redis, command) == 0)
        });
        if let Err(error) = settled {
            panic!("{error}; the worker said:\n{}", self.worker.log());
        }
    }

    /// Returns the state of a failed task, its exception with its arguments, and the traceback.
    fn stored(&self, id: &str) -> (String, String, String) {
        let document = result(&self.redis, id).unwrap_or_default();
        let exception = &document["result"];
        let shown = match exception["exc_type"].as_str() {
            Some(kind) => {
                let module = exception["exc_module"].as_str().unwrap();
                format!("{module}.{kind}{}", exception["exc_message"])
            }
            None => exception.to_string(),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (
            text(&document["status"]),
            shown,
            text(&document["traceback"]),
        )
    }

    fn assert_stored(&self, id: &str, status: &str, exception: &str, traceback: &str) {
        let stored = self.stored(id);
        let expected = [status, exception, traceback].map(str::to_owned);
        assert_eq!(<[String; 3]>::from(stored), expected, "{id}");
    }

    /// Returns the log lines about a task after it was received, in order, each with its level.
    fn log(&self, id: &str) -> Vec<String> {
        let log = self.worker.log();
        let lines = log.lines().filter(|line| line.contains(&format!("[{id}]")));
        let parts = lines.filter_map(|line| {
            let (level, text) = line.split_once("/MainProcess] ")?;
            Some(format!("{} {text}", level.rsplit(' ').next()?))
        });
        parts.filter(|line| !line.ends_with("received")).collect()
    }

    /// Returns queue, id, task and cause of every dead letter, as `celery-worker dead list` shows
    /// them.
    fn dead(&self) -> Vec<String> {
        let mut list = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        let list = list.args(["dead", "list", "-b", &self.redis.url()]);
        let output = list.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let letters: Vec<String> = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                words.join(" ")
            })
            .collect();
        let stream = self.redis.cli(&["XLEN", "celery.dead"]).unwrap();
        assert_eq!(stream.trim(), letters.len().to_string());
        letters
    }

    /// Returns the counters of tasks that ended or are run again: name, exception if any, and
    /// number.
    fn counted(&self) -> Vec<String> {
        let (_, text) = self.pages.get("/metrics");
        let kinds = ["succeeded", "failed", "retried", "rejected", "revoked"];
        let mut counted: Vec<String> = text
            .lines()
            .filter_map(|line| {
                let (name, rest) = line.strip_prefix("celery_task_")?.split_once("_total{")?;
                let (labels, number) = rest.split_once("} ")?;
                let exception = labels.split("exception=\"").nth(1).unwrap_or_default();
                let shown = [name, exception.trim_end_matches('"'), number];
                let shown: Vec<&str> = shown.into_iter().filter(|word| !word.is_empty()).collect();
                kinds.contains(&name).then(|| shown.join(" "))
            })
            .collect();
        counted.sort_unstable();
        counted
    }
}

/// Returns the time this many milliseconds from now.
fn in_millis(millis: u64) -> Timestamp {
    let then = SystemTime::now() + Duration::from_millis(millis);
    let then = then.duration_since(UNIX_EPOCH).unwrap().as_micros();
    Timestamp::from_unix_micros(i64::try_from(then).unwrap())
}

const REVOKED: &str = r#"celery.exceptions.TaskRevokedError["expired"]"#;

#[test]
fn a_value_is_a_success() {
    let scene = Scene::start(&[]);
    scene.post("s1", "proj.add", "[1, 2]");
    scene.settle();
    scene.assert_stored("s1", "SUCCESS", "3", "");
    let log = scene.log("s1");
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].starts_with("INFO Task proj.add[s1] succeeded in "));
    assert!(log[0].ends_with("s: 3"), "{log:?}");
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["succeeded 1"]);
}

#[test]
fn an_error_is_a_failure() {
    let scene = Scene::start(&[]);
    scene.post("f1", "proj.fail", "[]");
    // Arguments that do not fit.
    scene.post("f2", "proj.add", "[1]");
    scene.settle();
    scene.assert_stored(
        "f1",
        "FAILURE",
        r#"builtins.ValueError["boom"]"#,
        "ValueError: boom\n",
    );
    assert_eq!(
        scene.log("f1"),
        ["ERROR Task proj.fail[f1] raised unexpected: ValueError('boom')"]
    );
    let (status, exception, _) = scene.stored("f2");
    assert_eq!(status, "FAILURE");
    assert!(exception.starts_with("builtins.TypeError"), "{exception}");
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(
        scene.counted(),
        ["failed TypeError 1", "failed ValueError 1"]
    );
}

#[test]
fn a_panic_is_a_failure() {
    let scene = Scene::start(&[]);
    scene.post("p1", "proj.panic", "[]");
    scene.post("p2", "proj.panic", "[\"it's\"]");
    scene.settle();
    for (id, said, shown) in [
        ("p1", "boom", "'the task panicked: boom'"),
        ("p2", "it's", "\"the task panicked: it's\""),
    ] {
        let exception = format!(r#"builtins.RuntimeError["the task panicked: {said}"]"#);
        let traceback = format!("RuntimeError: the task panicked: {said}\n");
        scene.assert_stored(id, "FAILURE", &exception, &traceback);
        // The first log line names the place of the panic, which only the panic hook knows. The
        // second reports the end of the task.
        let log = scene.log(id);
        assert_eq!(log.len(), 2, "{log:?}");
        let place = format!("ERROR proj.panic[{id}]: panicked at ");
        assert!(log[0].starts_with(&place), "{log:?}");
        assert_eq!(
            log[1],
            format!("ERROR Task proj.panic[{id}] raised unexpected: RuntimeError({shown})")
        );
    }
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["failed RuntimeError 2"]);
}

#[test]
fn a_rejection_without_requeue_is_a_failure_and_a_dead_letter() {
    let scene = Scene::start(&[]);
    scene.post("r1", "proj.reject", "[]");
    scene.post("r2", "proj.reject", "[false]");
    // The dead letter is written although the caller wants no result.
    post_with(&scene.redis, "r3", "proj.reject", "[]", |task| {
        task.ignore_result = Some(true);
    });
    scene.settle();
    for id in ["r1", "r2"] {
        let exception = r#"celery.exceptions.Reject["no",false]"#;
        scene.assert_stored(id, "FAILURE", exception, "");
    }
    assert_eq!(result(&scene.redis, "r3"), None);
    let mut dead = scene.dead();
    dead.sort_unstable();
    for (letter, id) in dead.iter().zip(["r1", "r2", "r3"]) {
        assert_eq!(*letter, format!("celery {id} proj.reject rejected"));
        assert_eq!(
            scene.log(id),
            [format!(
                "WARNING Task proj.reject[{id}] reject requeue=False: no"
            )]
        );
    }
    assert_eq!(dead.len(), 3);
    assert_eq!(scene.counted(), ["rejected 3"]);
    let stream = scene.redis.cli(&["XRANGE", "celery.dead", "-", "+"]);
    let stream = stream.unwrap();
    for id in ["r1", "r2", "r3"] {
        let raw = format!("\"id\":\"{id}\"");
        assert!(stream.contains(&raw), "{raw} is not in {stream}");
    }
}

#[test]
fn a_rejection_with_requeue_puts_the_message_back() {
    let mut scene = Scene::start(&[]);
    scene.post("r1", "proj.reject", "[true]");
    wait_for(PATIENCE, "the message to come again", || {
        scene.log("r1").len() > 3
    })
    .unwrap();
    scene.worker.terminate();
    assert_eq!(scene.worker.wait(PATIENCE).unwrap().code(), Some(0));
    let warning = "WARNING Task proj.reject[r1] reject requeue=True: no";
    assert!(scene.log("r1").iter().all(|line| line == warning));
    assert_eq!(result(&scene.redis, "r1"), None);
    assert_eq!(scene.dead(), [""; 0]);
    let queue = scene.redis.cli(&["LRANGE", "celery", "0", "-1"]).unwrap();
    assert_eq!(queue.lines().count(), 1, "{queue}");
    assert!(queue.contains("\"redelivered\":true"), "{queue}");
}

#[test]
fn the_last_retry_with_a_reason_ends_with_the_reason() {
    let scene = Scene::start(&[]);
    scene.post("r1", "proj.retrying", "[]");
    wait_for_status(&scene.redis, "r1", "FAILURE", &scene.worker);
    // A task that another worker has retried before.
    post_with(&scene.redis, "r2", "proj.retrying", "[]", |task| {
        task.retries = 2;
    });
    wait_for_status(&scene.redis, "r2", "FAILURE", &scene.worker);
    for id in ["r1", "r2"] {
        let exception = r#"builtins.OSError[5,"io failed"]"#;
        scene.assert_stored(id, "FAILURE", exception, "OSError: (5, 'io failed')\n");
    }
    let retry = "INFO Task proj.retrying[r1] retry: Retry in 1s: OSError(5, 'io failed')";
    let end = "ERROR Task proj.retrying[r1] raised unexpected: OSError(5, 'io failed')";
    assert_eq!(scene.log("r1"), [retry, retry, end]);
    assert_eq!(scene.log("r2").len(), 1);
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["failed OSError 2", "retried 2"]);
}

#[test]
fn the_last_retry_without_a_reason_ends_with_max_retries_exceeded() {
    let scene = Scene::start(&[]);
    scene.post("r1", "proj.retry_noexc", "[0.01]");
    wait_for_status(&scene.redis, "r1", "FAILURE", &scene.worker);
    let text = "Can't retry proj.retry_noexc[r1] args:(0.01,) kwargs:{}";
    scene.assert_stored(
        "r1",
        "FAILURE",
        &format!(r#"celery.exceptions.MaxRetriesExceededError["{text}"]"#),
        &format!("celery.exceptions.MaxRetriesExceededError: {text}\n"),
    );
    let retry = "INFO Task proj.retry_noexc[r1] retry: Retry in 0.01s";
    let end = format!(
        "ERROR Task proj.retry_noexc[r1] raised unexpected: MaxRetriesExceededError(\"{text}\")"
    );
    // Celery's default: three retries.
    assert_eq!(scene.log("r1"), [retry, retry, retry, &end]);
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(
        scene.counted(),
        ["failed MaxRetriesExceededError 1", "retried 3"]
    );
}

#[test]
fn a_task_that_asks_for_a_retry_is_stored_as_retry() {
    let scene = Scene::start(&[]);
    scene.post("r1", "proj.retry_noexc", "[]");
    wait_for_status(&scene.redis, "r1", "RETRY", &scene.worker);
    scene.assert_stored("r1", "RETRY", "null", "");
    scene.post("r2", "proj.retrying", "[]");
    wait_for_status(&scene.redis, "r2", "RETRY", &scene.worker);
    let exception = r#"builtins.OSError[5,"io failed"]"#;
    scene.assert_stored("r2", "RETRY", exception, "OSError: (5, 'io failed')\n");
    let log = scene.log("r1");
    assert_eq!(log, ["INFO Task proj.retry_noexc[r1] retry: Retry in 600s"]);
}

#[test]
fn a_task_that_expired_in_its_queue_is_revoked() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let expired = |id: &str, name: &str, args: &str, change: fn(&mut Task)| {
        post_with(&redis, id, name, args, |task| {
            task.expires = Some(Timestamp::from_unix(1, 0));
            change(task);
        });
    };
    expired("e1", "proj.add", "[1, 2]", |_| {});
    // The worker does not wait for its ETA.
    expired("e2", "proj.add", "[1, 2]", |task| {
        task.eta = Some(in_millis(3_600_000));
    });
    expired("e3", "proj.ends", "[\"ok\"]", |_| {});
    let scene = Scene::with(redis, &[]);
    scene.settle();
    for (id, name) in [("e1", "proj.add"), ("e2", "proj.add"), ("e3", "proj.ends")] {
        scene.assert_stored(id, "REVOKED", REVOKED, "");
        assert_eq!(
            scene.log(id),
            [format!("INFO Discarding revoked task: {name}[{id}]")]
        );
    }
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["revoked 1", "revoked 2"]);
}

#[test]
fn a_task_that_expires_while_it_waits_for_its_eta_is_revoked_then() {
    let scene = Scene::start(&[]);
    let eta = in_millis(2_000);
    for (id, name, args) in [
        ("e1", "proj.add", "[1, 2]"),
        ("e2", "proj.ends", "[\"ok\"]"),
    ] {
        post_with(&scene.redis, id, name, args, |task| {
            task.eta = Some(eta);
            task.expires = Some(in_millis(1_500));
        });
    }
    for (id, name) in [("e1", "proj.add"), ("e2", "proj.ends")] {
        wait_for_status(&scene.redis, id, "REVOKED", &scene.worker);
        scene.assert_stored(id, "REVOKED", REVOKED, "");
        let document = result(&scene.redis, id).unwrap();
        let done = Timestamp::parse(document["date_done"].as_str().unwrap()).unwrap();
        assert!(done.unix_micros() >= eta.unix_micros(), "{document}");
        assert_eq!(
            scene.log(id),
            [format!("INFO Discarding revoked task: {name}[{id}]")]
        );
    }
    scene.settle();
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["revoked 1", "revoked 1"]);
}

#[test]
fn a_task_that_expires_while_it_waits_for_a_slot_is_revoked() {
    let scene = Scene::start(&["-c", "1"]);
    scene.post("s1", "proj.sleep", "[3]");
    let taken = |line: &str| line.starts_with("celery_worker_tasks_active") && line.ends_with(" 1");
    wait_for(PATIENCE, "the slot to be taken", || {
        scene.pages.get("/metrics").1.lines().any(taken)
    })
    .unwrap();
    for (id, name, args) in [
        ("e1", "proj.add", "[1, 2]"),
        ("e2", "proj.ends", "[\"ok\"]"),
    ] {
        post_with(&scene.redis, id, name, args, |task| {
            task.expires = Some(in_millis(1_500));
        });
    }
    scene.settle();
    for (id, name) in [("e1", "proj.add"), ("e2", "proj.ends")] {
        scene.assert_stored(id, "REVOKED", REVOKED, "");
        assert_eq!(
            scene.log(id),
            [format!("INFO Discarding revoked task: {name}[{id}]")]
        );
    }
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["revoked 1", "revoked 1", "succeeded 1"]);
}

#[test]
fn a_soft_time_limit_is_an_error_that_the_task_raises() {
    let scene = Scene::start(&[]);
    scene.post("t1", "proj.soft", "[600]");
    // The limit in the message overrides the one in the definition.
    post_with(&scene.redis, "t2", "proj.soft", "[600]", |task| {
        task.time_limit = TimeLimit {
            hard: None,
            soft: Some(0.25),
        };
    });
    scene.settle();
    for (id, limit) in [("t1", "1"), ("t2", "0.25")] {
        scene.assert_stored(
            id,
            "FAILURE",
            "billiard.exceptions.SoftTimeLimitExceeded[]",
            "billiard.exceptions.SoftTimeLimitExceeded\n",
        );
        assert_eq!(
            scene.log(id),
            [
                format!("WARNING Soft time limit ({limit}s) exceeded for proj.soft[{id}]"),
                format!("ERROR Task proj.soft[{id}] raised unexpected: SoftTimeLimitExceeded()"),
            ]
        );
    }
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["failed SoftTimeLimitExceeded 2"]);
}

#[test]
fn a_hard_time_limit_is_a_failure() {
    let scene = Scene::start(&[]);
    for (id, limit) in [("t1", 0.5), ("t2", 1.0)] {
        post(&scene.redis, id, "proj.sleep", "[600]", Some(limit));
    }
    scene.settle();
    for (id, limit) in [("t1", "0.5"), ("t2", "1")] {
        let exception = format!("billiard.exceptions.TimeLimitExceeded[{limit}]");
        scene.assert_stored(id, "FAILURE", &exception, "");
        assert_eq!(
            scene.log(id),
            [format!(
                "ERROR Hard time limit ({limit}s) exceeded for proj.sleep[{id}]"
            )]
        );
    }
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), ["failed TimeLimitExceeded 2"]);
}

#[test]
fn an_ignored_task_leaves_no_result() {
    let scene = Scene::start(&[]);
    scene.post("i1", "proj.ignore", "[]");
    scene.settle();
    // The state that it stored itself stays.
    let document = result(&scene.redis, "i1").unwrap();
    assert_eq!(document["status"], "MYSTATE");
    assert_eq!(document["result"], json!({ "a": 1 }));
    assert_eq!(scene.log("i1"), ["INFO Task proj.ignore[i1] ignored"]);
    assert_eq!(scene.dead(), [""; 0]);
    assert_eq!(scene.counted(), [""; 0]);
}

#[test]
fn each_call_of_a_batch_has_its_own_end() {
    let scene = Scene::start(&["-c", "1"]);
    let ends = ["ok", "fail", "reject", "ignore", "panic", "hang"];
    for end in ends {
        scene.post(end, "proj.ends", &format!("[{end:?}]"));
    }
    // A failure is retried once; a panic and a limit are not.
    wait_for_status(&scene.redis, "fail", "FAILURE", &scene.worker);
    scene.settle();
    scene.assert_stored("ok", "SUCCESS", "\"ok\"", "");
    scene.assert_stored(
        "fail",
        "FAILURE",
        r#"builtins.ValueError["boom"]"#,
        "ValueError: boom\n",
    );
    scene.assert_stored(
        "reject",
        "FAILURE",
        r#"celery.exceptions.Reject["no",false]"#,
        "",
    );
    scene.assert_stored(
        "panic",
        "FAILURE",
        r#"builtins.RuntimeError["the task panicked: boom"]"#,
        "RuntimeError: the task panicked: boom\n",
    );
    scene.assert_stored(
        "hang",
        "FAILURE",
        "billiard.exceptions.TimeLimitExceeded[1]",
        "",
    );
    assert_eq!(result(&scene.redis, "ignore"), None);
    for (id, log) in [
        (
            "fail",
            &[
                "INFO Task proj.ends[fail] retry: Retry in 1s: ValueError('boom')",
                "ERROR Task proj.ends[fail] raised unexpected: ValueError('boom')",
            ][..],
        ),
        (
            "reject",
            &["WARNING Task proj.ends[reject] reject requeue=False: no"],
        ),
        ("ignore", &["INFO Task proj.ends[ignore] ignored"]),
        (
            "panic",
            &[
                "ERROR Task proj.ends[panic] raised unexpected: RuntimeError('the task panicked: boom')",
            ],
        ),
        (
            "hang",
            &["ERROR Hard time limit (1s) exceeded for proj.ends[hang]"],
        ),
    ] {
        assert_eq!(scene.log(id), log, "{id}");
    }
    assert_eq!(scene.dead(), ["celery reject proj.ends rejected"]);
    assert_eq!(
        scene.counted(),
        [
            "failed RuntimeError 1",
            "failed TimeLimitExceeded 1",
            "failed ValueError 1",
            "rejected 1",
            "retried 1",
            "succeeded 1",
        ]
    );
}
