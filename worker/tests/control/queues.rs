//! Queues that come and go while the worker runs.

use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use super::broker::{Broker, on_each_broker};
use super::documented::worker_rights;
use super::faults::start_as;
use super::world::{Asking, OURS, PATIENCE, playground, post, start};

fn queues(asking: &mut Asking) -> Vec<String> {
    let queues = asking.ask(OURS, "active_queues", json!({}));
    let names = queues.as_array().unwrap().iter();
    names
        .map(|queue| queue["name"].as_str().unwrap().to_owned())
        .collect()
}

fn succeeded(worker: &mut Process, id: &str) {
    let line = format!("[{id}] succeeded");
    worker.wait_for_line(PATIENCE, &line).unwrap();
}

fn change(asking: &mut Asking, method: &str, queue: &str) -> Value {
    asking.ask(OURS, method, json!({"queue": queue}))
}

on_each_broker! {
    a_queue_is_consumed_from_the_moment_it_is_added
    what_is_held_of_a_cancelled_queue_still_runs
}

fn a_queue_is_consumed_from_the_moment_it_is_added(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    post(&broker, "late", "before", "proj.echo", "[1]");
    let mut worker = start(&mut playground(&broker, &["-Q", "first"]));
    let answer = change(&mut asking, "add_consumer", "late");
    assert_eq!(answer, json!({"ok": "add consumer late"}));
    succeeded(&mut worker, "before");
    // Twice is once.
    change(&mut asking, "add_consumer", "late");
    assert_eq!(queues(&mut asking), ["first", "late"]);
    post(&broker, "late", "after", "proj.echo", "[1]");
    succeeded(&mut worker, "after");
    post(&broker, "first", "other", "proj.echo", "[1]");
    succeeded(&mut worker, "other");
    // Without any queue the worker lives on, and can get one.
    for queue in ["first", "late", "unknown"] {
        let answer = change(&mut asking, "cancel_consumer", queue);
        let text = format!("no longer consuming from {queue}");
        assert_eq!(answer, json!({"ok": text}));
    }
    assert!(queues(&mut asking).is_empty());
    post(&broker, "third", "last", "proj.echo", "[1]");
    change(&mut asking, "add_consumer", "third");
    succeeded(&mut worker, "last");
    worker.stop();
}

fn what_is_held_of_a_cancelled_queue_still_runs(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut worker = start(&mut playground(&broker, &["-c", "1", "-Q", "gone,stays"]));
    post(&broker, "gone", "running", "proj.sleep", "[600]");
    asking.wait_for(OURS, "active", |active| active[0]["id"] == "running");
    post(&broker, "gone", "held", "proj.echo", "[1]");
    asking.wait_for(OURS, "reserved", |held| held[0]["id"] == "held");
    change(&mut asking, "cancel_consumer", "gone");
    assert_eq!(queues(&mut asking), ["stays"]);
    post(&broker, "gone", "left", "proj.echo", "[1]");
    asking.ask(OURS, "terminate", json!({"task_id": "running"}));
    succeeded(&mut worker, "held");
    post(&broker, "stays", "here", "proj.echo", "[1]");
    succeeded(&mut worker, "here");
    assert_eq!(broker.depth("gone").0, 1);
    change(&mut asking, "add_consumer", "gone");
    succeeded(&mut worker, "left");
    let is_empty = || broker.depth("gone") == (0, 0);
    wait_for(PATIENCE, "an empty queue", is_empty).unwrap();
    worker.stop();
}

#[test]
fn a_queue_that_cannot_be_consumed_is_refused_and_changes_nothing() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    // A queue that the user may read, and not change.
    let rights = [&worker_rights()[..], &["%R~readable*"]].concat();
    let mut worker = start_as(&redis, &rights, "Remote control listens");
    for (arguments, part) in [
        (json!({"queue": "mails"}), "PermissionError"),
        (json!({"queue": "readable"}), "PermissionError"),
        (json!({"queue": ""}), "ValueError"),
        (json!({"queue": "a\nb"}), "ValueError"),
        (json!({"queue": "unacked"}), "ValueError"),
        (json!({"queue": "unacked_index"}), "ValueError"),
        (json!({"queue": "celery.dead"}), "ValueError"),
        (json!({"queue": 5}), "TypeError"),
        (json!({"queue": null}), "TypeError"),
        (
            json!({"queue": "celery2", "exchange": "topics"}),
            "NotImplementedError",
        ),
        (
            json!({"queue": "celery2", "routing_key": "a.b"}),
            "NotImplementedError",
        ),
    ] {
        let answer = asking.ask(OURS, "add_consumer", arguments);
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with(part), "{answer}");
    }
    assert_eq!(queues(&mut asking), ["celery"]);
    let arguments = json!({"queue": "celery2", "exchange": "celery2", "routing_key": "celery2",
        "exchange_type": "direct"});
    asking.ask(OURS, "add_consumer", arguments);
    for queue in ["celery", "celery2"] {
        post(&redis, queue, queue, "proj.echo", "[1]");
        succeeded(&mut worker, queue);
    }
    worker.stop();
}
