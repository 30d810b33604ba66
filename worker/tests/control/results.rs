//! What results say of their tasks, beside Python's: `result_extended` and `task_track_started`.

use std::ops::RangeInclusive;

use celery_protocol::time::Timestamp;
use celery_testkit::{Redis, RedisOptions, wait_for};
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::world::{
    Asking, OURS, PATIENCE, PYTHON, playground, post, post_with, start, start_python_with,
};

fn result(redis: &Redis, id: &str) -> Value {
    let key = format!("celery-task-meta-{id}");
    serde_json::from_str(redis.cli(&["GET", &key]).unwrap().trim()).unwrap_or_default()
}

fn wait_for_state(redis: &Redis, id: &str, state: &str) -> Value {
    let reached = || result(redis, id)["status"] == state;
    wait_for(PATIENCE, &format!("{id} to be {state}"), reached).unwrap();
    result(redis, id)
}

/// Returns the names of the members in their order, and the values that do not depend on the
/// worker.
fn comparable(document: &Value) -> (Vec<String>, Value) {
    let members = document.as_object().unwrap();
    let mut same = members.clone();
    for own in ["worker", "queue", "task_id", "date_done", "traceback"] {
        same.remove(own);
    }
    if document["status"] == "STARTED" {
        same.remove("result");
    }
    (members.keys().cloned().collect(), Value::from(same))
}

/// Returns the seconds that a result lives after they were last set; -1 is without limit.
fn ttl(redis: &Redis, id: &str) -> i64 {
    let key = format!("celery-task-meta-{id}");
    redis.cli(&["TTL", &key]).unwrap().trim().parse().unwrap()
}

#[test]
fn failures_live_for_a_time_of_their_own() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    for (number, (usual, failed)) in [("1h", "3h"), ("1h", "0"), ("0", "3h")].iter().enumerate() {
        let queues = ["ours", "theirs"].map(|queue| format!("{queue}-{number}"));
        let seconds = |time: &str| if time == "0" { 0 } else { hours(time) * 3600 };
        let (usual_seconds, failed_seconds) = (seconds(usual), seconds(failed));
        let variables = [
            ("RESULT_EXPIRES", usual_seconds.to_string()),
            ("RESULT_FAILURE_EXPIRES", failed_seconds.to_string()),
        ];
        let variables = variables
            .each_ref()
            .map(|(name, value)| (*name, &value[..]));
        let Some(mut python) = start_python_with(&redis, &queues[1], &variables) else {
            return;
        };
        let options = ["-Q", &queues[0], "--result-expires", usual];
        let options = [&options[..], &["--result-failure-expires", failed]].concat();
        let mut ours = start(&mut playground(&redis, &options));
        for queue in &queues {
            for (name, args, state, seconds) in [
                ("proj.add", "[1, 2]", "SUCCESS", usual_seconds),
                ("proj.fail", r#"["boom"]"#, "FAILURE", failed_seconds),
                // The state RETRY lives as long as a success.
                ("proj.retry_noexc", "[600]", "RETRY", usual_seconds),
            ] {
                let id = format!("{queue}-{name}");
                post(&redis, queue, &id, name, args);
                wait_for_state(&redis, &id, state);
                let left = ttl(&redis, &id);
                let expected = if seconds == 0 {
                    -1..=-1
                } else {
                    seconds - 120..=seconds
                };
                assert!(expected.contains(&left), "{id}: {left}, not {expected:?}");
            }
        }
        ours.stop();
        python.stop();
    }
}

#[test]
fn the_parts_of_a_chord_live_for_a_time_of_their_own() {
    parts_of_a_chord_live("14400", 14_000..=14_400);
}

#[test]
fn the_parts_of_a_chord_can_live_without_limit() {
    parts_of_a_chord_live("0", -1..=-1);
}

/// Checks how long the parts of a chord live in both workers, beside results that live for an hour.
fn parts_of_a_chord_live(seconds: &str, expected: RangeInclusive<i64>) {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let variables = [
        ("RESULT_EXPIRES", "3600"),
        ("RESULT_CHORD_EXPIRES", seconds),
    ];
    let Some(_python) = start_python_with(&redis, "theirs", &variables) else {
        return;
    };
    let options = ["-Q", "ours", "--result-expires", "1h"];
    let options = [&options[..], &["--result-chord-expires", seconds]].concat();
    let _ours = start(&mut playground(&redis, &options));
    for queue in ["ours", "theirs"] {
        // Another member is missing, so the chord goes on.
        let part = |part: &str| format!("celery-taskset-meta-{queue}.{part}");
        redis.cli(&["SET", &part("s"), "2"]).unwrap();
        post_with(
            &redis,
            queue,
            &format!("{queue}-part"),
            "proj.add",
            "[1, 2]",
            |task| {
                task.group = Some(queue.to_owned());
                task.group_index = Some(0);
                let body = json!({
                    "task": "proj.echo", "args": [], "kwargs": {}, "subtask_type": null,
                    "immutable": false, "options": { "task_id": format!("{queue}-body") },
                });
                task.embed.chord = Some(to_raw_value(&body).unwrap());
            },
        );
        for part in [part("j"), part("s"), part("d")] {
            let left = || {
                redis
                    .cli(&["TTL", &part])
                    .unwrap()
                    .trim()
                    .parse::<i64>()
                    .unwrap()
            };
            let lives = || expected.contains(&left());
            let counted = wait_for(PATIENCE, &part, lives);
            assert!(counted.is_ok(), "{part}: {}", left());
        }
    }
}

fn hours(time: &str) -> i64 {
    time.trim_end_matches('h').parse().unwrap()
}

#[test]
fn results_describe_their_tasks_as_pythons_do() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let options = ["-Q", "ours", "--track-started", "--result-extended"];
    let mut ours = start(&mut playground(&redis, &options));
    let python = start_python_with(&redis, "theirs", &[("DESCRIBED_RESULTS", "1")]).unwrap();
    let expired = Timestamp::from_unix_micros(1);
    for (id, name, args, state) in [
        ("add", "proj.add", "[1, 2]", "SUCCESS"),
        ("echo", "proj.echo", r#"[{"a": "é"}]"#, "SUCCESS"),
        ("fail", "proj.fail", r#"["boom"]"#, "FAILURE"),
        ("expired", "proj.add", "[1, 2]", "REVOKED"),
        ("running", "proj.sleep", "[600]", "STARTED"),
    ] {
        let mut documents = Vec::new();
        for queue in ["ours", "theirs"] {
            let task = format!("{queue}-{id}");
            post_with(&redis, queue, &task, name, args, |task| {
                task.expires = (id == "expired").then_some(expired);
                task.delivery_info.routing_key = queue.to_owned();
            });
            documents.push(wait_for_state(&redis, &task, state));
        }
        let log = python.log();
        assert_eq!(
            comparable(&documents[0]),
            comparable(&documents[1]),
            "{id}: {log}"
        );
        assert_eq!(
            (&documents[0]["worker"], &documents[0]["queue"]),
            (&json!(OURS), &json!("ours"))
        );
        assert_eq!(documents[1]["worker"], PYTHON);
    }
    let running = result(&redis, "ours-running");
    assert_eq!(
        running["result"],
        json!({"pid": ours.pid(), "hostname": OURS})
    );
    asking.ask(OURS, "terminate", json!({"task_id": "ours-running"}));
    let terminated = wait_for_state(&redis, "ours-running", "REVOKED");
    assert_eq!(terminated["args"], json!([600]));
    let attributes = json!({"taskinfoitems": ["track_started"]});
    let registered = asking.ask(OURS, "registered", attributes);
    let registered = registered.as_array().unwrap();
    assert!(registered.contains(&json!("proj.add [track_started=True]")));
    ours.stop();
}
