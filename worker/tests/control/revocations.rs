//! Revoked and terminated tasks.

use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::broker::{Broker, on_each_broker};
use super::world::{Asking, OURS, PATIENCE, playground, post, post_with, start};

fn result(broker: &impl Broker, id: &str) -> Value {
    let key = format!("celery-task-meta-{id}");
    serde_json::from_str(broker.results().cli(&["GET", &key]).unwrap().trim()).unwrap_or_default()
}

fn wait_until_revoked(broker: &impl Broker, id: &str, reason: &str) {
    let revoked = || {
        let document = result(broker, id);
        document["status"] == "REVOKED" && document["result"]["exc_message"] == json!([reason])
    };
    wait_for(PATIENCE, &format!("{id} to be revoked"), revoked).unwrap();
    assert_eq!(result(broker, id)["result"]["exc_type"], "TaskRevokedError");
}

fn worker(broker: &impl Broker) -> Process {
    start(&mut playground(broker, &["-c", "1"]))
}

on_each_broker! {
    a_revoked_task_does_not_run_and_a_terminated_one_ends
    a_worker_that_starts_gets_revocations_from_the_others
}

fn a_revoked_task_does_not_run_and_a_terminated_one_ends(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut worker = worker(&broker);
    for (name, id) in [("proj.sleep", "first"), ("proj.sleep", "second")] {
        post(&broker, "celery", id, name, "[600]");
        asking.wait_for(OURS, "active", |active| active[0]["id"] == id);
        let waiting = format!("after-{id}");
        post(&broker, "celery", &waiting, "proj.echo", "[1]");
        asking.wait_for(OURS, "reserved", |held| held[0]["id"] == *waiting);
        let answer = asking.ask(OURS, "revoke", json!({"task_id": &waiting}));
        assert_eq!(
            answer["ok"],
            format!("tasks {{'{waiting}'}} flagged as revoked")
        );
        wait_until_revoked(&broker, &waiting, "revoked");
        // A running task is left alone unless it is to be terminated.
        asking.ask(OURS, "revoke", json!({"task_id": id}));
        assert_eq!(asking.ask(OURS, "active", json!({}))[0]["id"], id);
        let arguments = json!({"task_id": [id], "terminate": true, "signal": "SIGKILL"});
        let answer = asking.ask(OURS, "revoke", arguments);
        assert_eq!(answer["ok"], format!("terminate: {id}"));
        worker
            .wait_for_line(PATIENCE, &format!("[{id}] terminated (signal 9)"))
            .unwrap();
        wait_until_revoked(&broker, id, "terminated");
        let discarded = format!("Discarding revoked task: proj.echo[{waiting}]");
        worker.wait_for_line(PATIENCE, &discarded).unwrap();
    }
    assert_eq!(
        asking.ask(OURS, "stats", json!({}))["total"],
        json!({"proj.sleep": 2})
    );
    asking.wait_for(OURS, "active", |active| active == &json!([]));
    let revoked = asking.ask(OURS, "revoked", json!({}));
    assert_eq!(
        revoked,
        json!(["after-first", "first", "after-second", "second"])
    );
}

#[test]
fn revocations_survive_a_restart() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut first = worker(&redis);
    for ids in [json!("one"), json!(["two", "three"])] {
        asking.ask(OURS, "revoke", json!({"task_id": ids}));
    }
    first.stop();
    for id in ["one", "two", "three", "four"] {
        post(&redis, "celery", id, "proj.echo", "[1]");
    }
    let mut second = worker(&redis);
    for id in ["one", "two", "three"] {
        let discarded = format!("Discarding revoked task: proj.echo[{id}]");
        second.wait_for_line(PATIENCE, &discarded).unwrap();
        wait_until_revoked(&redis, id, "revoked");
    }
    second.wait_for_line(PATIENCE, "[four] succeeded").unwrap();
    let lifetime = redis.cli(&["TTL", "rs.revoked"]).unwrap();
    assert!(
        lifetime.trim().parse::<u64>().unwrap() > 86_000,
        "{lifetime}"
    );
}

#[test]
fn only_states_of_tasks_that_no_worker_has_begun_become_revoked() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let _worker = worker(&redis);
    let states = [
        ("PENDING", true),
        ("RECEIVED", true),
        ("RETRY", true),
        ("REJECTED", true),
        ("STARTED", false),
        ("SUCCESS", false),
        ("FAILURE", false),
        ("PROGRESS", false),
    ];
    for (state, _) in states {
        let key = format!("celery-task-meta-{state}");
        let ordered =
            format!("{{\"status\": \"{state}\", \"result\": null, \"task_id\": \"{state}\"}}");
        redis.cli(&["SET", &key, &ordered]).unwrap();
    }
    let ids = states.map(|(state, _)| state);
    asking.ask(OURS, "revoke", json!({"task_id": ids}));
    for (state, becomes) in states {
        let wanted = if becomes { "REVOKED" } else { state };
        assert_eq!(result(&redis, state)["status"], wanted);
    }
}

fn a_worker_that_starts_gets_revocations_from_the_others(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut ours = worker(&broker);
    asking.ask(OURS, "revoke", json!({"task_id": "known"}));
    let python = super::world::start_python(&broker, "theirs").unwrap();
    ours.wait_for_line(PATIENCE, "sync with python@test")
        .unwrap();
    let revoked = asking.wait_for(super::world::PYTHON, "revoked", |ids| ids != &json!([]));
    assert_eq!(revoked, json!(["known"]), "{}", python.log());
    // Our worker also takes over what the other one knows, which is a list since Celery 5.7 and was
    // an object before.
    for (revoked, id) in [(json!(["list"]), "list"), (json!({"dict": 12.5}), "dict")] {
        let arguments = json!({"from_node": "other@test", "revoked": revoked});
        let answer = asking.ask(OURS, "hello", arguments);
        assert!(
            answer["revoked"].as_array().unwrap().contains(&json!(id)),
            "{answer}"
        );
        post(&broker, "celery", id, "proj.echo", "[1]");
        let discarded = format!("Discarding revoked task: proj.echo[{id}]");
        ours.wait_for_line(PATIENCE, &discarded).unwrap();
    }
    assert_eq!(
        asking.ask(OURS, "hello", json!({"from_node": OURS})),
        Value::Null
    );
}

#[test]
fn a_waiting_task_is_settled_when_it_is_revoked() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut ours = worker(&redis);
    let ids = ["one", "two", "three", "stays"];
    for id in ids {
        post_with(&redis, "celery", id, "proj.echo", "[1]", |task| {
            task.eta = Some(super::world::in_an_hour());
        });
    }
    asking.wait_for(OURS, "scheduled", |held| {
        held.as_array().unwrap().len() == 4
    });
    asking.ask(OURS, "revoke", json!({"task_id": "one"}));
    asking.ask(
        OURS,
        "revoke",
        json!({"task_id": ["two", "three", "unknown"]}),
    );
    let left = asking.wait_for(OURS, "scheduled", |held| {
        held.as_array().unwrap().len() == 1
    });
    assert_eq!(left[0]["request"]["id"], "stays");
    for id in &ids[..3] {
        let discarded = format!("Discarding revoked task: proj.echo[{id}]");
        ours.wait_for_line(PATIENCE, &discarded).unwrap();
        wait_until_revoked(&redis, id, "revoked");
    }
    let held = || redis.cli(&["HLEN", "unacked"]).unwrap().trim().to_owned();
    wait_for(PATIENCE, "one held message", || held() == "1").unwrap();
    // As in Python, a task that was revoked before it came is not received.
    post(&redis, "celery", "unknown", "proj.echo", "[1]");
    ours.wait_for_line(PATIENCE, "Discarding revoked task: proj.echo[unknown]")
        .unwrap();
    assert!(!ours.log().contains("proj.echo[unknown] received"));
    ours.stop();
}

#[test]
fn a_worker_of_ours_gets_revocations_from_python_when_it_starts() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let _python = super::world::start_python(&redis, "theirs").unwrap();
    let python = super::world::PYTHON;
    asking.ask(python, "revoke", json!({"task_id": ["first", "second"]}));
    assert_eq!(redis.cli(&["EXISTS", "rs.revoked"]).unwrap().trim(), "0");
    let mut ours = worker(&redis);
    ours.wait_for_line(PATIENCE, "mingle: sync with 1 nodes")
        .unwrap();
    let revoked = asking.ask(OURS, "revoked", json!({}));
    assert_eq!(revoked.as_array().unwrap().len(), 2, "{revoked}");
    for id in ["first", "second"] {
        post(&redis, "celery", id, "proj.echo", "[1]");
        let discarded = format!("Discarding revoked task: proj.echo[{id}]");
        ours.wait_for_line(PATIENCE, &discarded).unwrap();
    }
    // Nothing of the request stays behind.
    let left = redis.cli(&["KEYS", "*reply.celery.pidbox"]).unwrap();
    let members = |key: &str| redis.cli(&["SMEMBERS", key]).unwrap();
    for key in left.lines().filter(|key| key.starts_with("_kombu")) {
        assert!(!members(key).contains("rust"), "{key}");
    }
    assert!(left.lines().all(|key| key.starts_with("_kombu")), "{left}");
    ours.stop();

    let mut command = playground(&redis, &["--without-mingle"]);
    let mut alone = start(&mut command);
    assert_eq!(asking.ask(OURS, "revoked", json!({})), json!([]));
    assert!(!alone.log().contains("mingle"));
    alone.stop();
}

#[test]
fn stamped_tasks_are_revoked_and_terminated_also_after_a_restart() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let stamped = |id: &str, name: &str, args: &str, tenant: &str| {
        post_with(&redis, "celery", id, name, args, |task| {
            let stamp = RawValue::from_string(json!([tenant]).to_string()).unwrap();
            task.stamps.insert("tenant", stamp);
            task.stamped_headers = Some(vec!["tenant".to_owned()]);
        });
    };
    let mut first = worker(&redis);
    stamped("running", "proj.sleep", "[600]", "acme");
    asking.wait_for(OURS, "active", |active| active[0]["id"] == "running");
    let arguments = json!({"headers": {"tenant": ["acme", "other"]}, "terminate": true});
    let answer = asking.ask(OURS, "revoke_by_stamped_headers", arguments);
    assert_eq!(
        answer["ok"],
        "headers defaultdict(<class 'set'>, {'tenant': {'acme'}}) revoked"
    );
    wait_until_revoked(&redis, "running", "terminated");
    first.stop();
    stamped("later", "proj.echo", "[1]", "acme");
    stamped("free", "proj.echo", "[1]", "third");
    post(&redis, "celery", "plain", "proj.echo", "[1]");
    let mut second = worker(&redis);
    second
        .wait_for_line(PATIENCE, "Discarding revoked task: proj.echo[later]")
        .unwrap();
    for id in ["free", "plain"] {
        second
            .wait_for_line(PATIENCE, &format!("[{id}] succeeded"))
            .unwrap();
    }
}

#[test]
fn a_stamp_that_is_too_long_is_refused_not_passed_over() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let _worker = worker(&redis);
    let long = "x".repeat(1_024);
    for headers in [
        json!({"tenant": long}),
        json!({"tenant": ["short", long]}),
        json!({ &*long: 1 }),
        json!([format!("tenant={long}")]),
    ] {
        let arguments = json!({"headers": headers});
        let answer = asking.ask(OURS, "revoke_by_stamped_headers", arguments);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains("more than 1024 bytes"), "{answer}");
    }
    let kept = redis.cli(&["EXISTS", "rs.revoked.stamps"]).unwrap();
    assert_eq!(kept.trim(), "0");
}
