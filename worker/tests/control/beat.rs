//! Schedules beside Python: a message has the fields of a message of Python's beat, and Python's
//! worker runs it.

use std::process::Command;

use base64::Engine;
use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Map, Value, json};

use super::broker::Broker;
use super::world::*;

/// Sends one entry with Python's beat.
const PYTHONS_BEAT: &str = "
from datetime import datetime, timedelta
from celery import beat
from proj import app
app.set_default()
scheduler = beat.Scheduler(app=app, lazy=True)
scheduler.add(
    name='one', task=TASK, args=(1, 'ä'), kwargs={'x': None}, schedule=timedelta(seconds=1),
    last_run_at=datetime(2020, 1, 1), options={'queue': 'python', 'priority': 3, 'expires': 60},
)
assert scheduler.tick() == 0
";

/// Returns the members of an object, each with the type of its value, and the value of those that
/// must be equal.
fn shape(value: &Value, differs: &[&str]) -> Map<String, Value> {
    let members = value.as_object().unwrap().iter();
    let shown = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(_) if differs.contains(&name.as_str()) => json!("text"),
            value => value.clone(),
        };
        (name.clone(), value)
    };
    members.map(shown).collect()
}

/// Takes the only message of a queue with priority 3.
fn message(redis: &Redis, queue: &str) -> Value {
    let list = format!("{queue}\u{6}\u{16}3");
    let mut text = String::new();
    wait_for(PATIENCE, "a message", || {
        let answer = redis.cli(&["LINDEX", &list, "-1"]).unwrap();
        answer.trim().clone_into(&mut text);
        !text.is_empty()
    })
    .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Returns the body of a message.
fn body(message: &Value) -> Value {
    let text = message["body"].as_str().unwrap();
    let body = base64::engine::general_purpose::STANDARD.decode(text);
    serde_json::from_slice(&body.unwrap()).unwrap()
}

fn start_beat(redis: &Redis, entry: &Value) -> Process {
    redis
        .cli(&["HSET", "rs.beat", "one", &entry.to_string()])
        .unwrap();
    redis.cli(&["ZADD", "rs.beat.due", "0", "one"]).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args([
        "beat",
        "-b",
        &redis.url(),
        "-l",
        "info",
        "--send-sent-event",
    ]);
    Process::spawn("beat", &mut command).unwrap()
}

#[test]
fn a_message_has_the_fields_of_pythons_beat() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    // Of a task that it has itself, Python's beat also sends the option ignore_result.
    for task in ["proj.elsewhere", "other.add"] {
        let Some(mut python) = python(&redis) else {
            return;
        };
        let program = PYTHONS_BEAT.replace("TASK", &format!("{task:?}"));
        let output = python.args(["-c", &program]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let theirs = message(&redis, "python");
        let entry = json!({
            "v": 1, "task": task, "schedule": 1, "args": [1, "ä"], "kwargs": { "x": null },
            "options": { "queue": "rust", "priority": 3, "expires": 60 },
        });
        let beat = start_beat(&redis, &entry);
        let ours = message(&redis, "rust");
        drop(beat);
        redis.cli(&["FLUSHALL"]).unwrap();
        let ids = ["id", "root_id", "expires", "origin", "lang"];
        assert_eq!(
            shape(&ours["headers"], &ids),
            shape(&theirs["headers"], &ids),
            "{task}"
        );
        assert_eq!(body(&ours), body(&theirs));
        let differs = [
            "correlation_id",
            "reply_to",
            "delivery_tag",
            "delivery_info",
            "expiration",
        ];
        let (mut ours, mut theirs) = (ours, theirs);
        for message in [&mut ours, &mut theirs] {
            message["properties"]["delivery_info"] = json!("text");
        }
        let properties = |message: &Value| shape(&message["properties"], &differs);
        assert_eq!(properties(&ours), properties(&theirs), "{task}");
    }
}

#[test]
fn pythons_worker_runs_what_beat_sends() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let Some(mut worker) = start_python(&redis, "celery") else {
        return;
    };
    let (sender, heard) = std::sync::mpsc::channel();
    redis.listen(sender);
    let entry = json!({ "v": 1, "task": "proj.add", "schedule": 0.5, "args": [1, 2] });
    let _beat = start_beat(&redis, &entry);
    for _ in 0..2 {
        let seen = worker.log_len();
        worker
            .wait_for_line_after(PATIENCE, "succeeded in", seen)
            .unwrap();
    }
    // It has reported what it sent, as the option says.
    let sent = heard.iter().find(|(key, _)| key.ends_with("task.sent"));
    let event = body(&sent.unwrap().1);
    assert_eq!(
        (&event["name"], &event["queue"]),
        (&json!("proj.add"), &json!("celery"))
    );
}
