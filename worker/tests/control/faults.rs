//! Requests that cannot be read, and a broker that goes away.

use celery_testkit::{Process, Redis, RedisOptions};
use serde_json::json;

use super::answers::occupy;
use super::broker::{Broker, on_each_broker};
use super::documented::worker_rights;
use super::world::{Asking, OURS, PATIENCE, playground, post, start};

#[test]
fn what_is_not_a_request_is_passed_over() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut worker = start(&mut playground(&redis, &[]));
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let large = format!("{{\"body\": \"{}\"}}", "x".repeat(2 << 20));
    for request in [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"body\": 1}",
        "{\"body\": \"e30=\"}",
        &large,
    ] {
        let published = redis::cmd("PUBLISH")
            .arg("/0.celery.pidbox")
            .arg(request)
            .query(&mut connection);
        let _: i64 = published.unwrap();
    }
    for arguments in [json!([1]), json!("text"), json!(5)] {
        let answer = asking.ask(OURS, "ping", arguments);
        assert!(
            answer["error"].as_str().unwrap().contains("TypeError"),
            "{answer}"
        );
    }
    for (method, arguments) in [
        ("query_task", json!({"ids": {"a": [1]}})),
        ("query_task", json!({"ids": [1, null, {}]})),
        ("registered", json!({"taskinfoitems": 5, "builtins": []})),
        ("shutdown_", json!({"msg": 3})),
    ] {
        asking.ask(OURS, method, arguments);
    }
    assert_eq!(asking.ask(OURS, "ping", json!({})), json!({"ok": "pong"}));
    assert!(worker.log().contains("Cannot decode a control request"));
    assert!(
        worker
            .log()
            .contains("A control request of 2097164 bytes was dropped")
    );
    assert!(worker.exit_status().is_none());
}

on_each_broker! {
    requests_are_heard_again_after_the_broker_was_away
    a_worker_without_control_does_not_listen
}

fn requests_are_heard_again_after_the_broker_was_away(broker: impl Broker) {
    let mut broker = broker.alone();
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut worker = start(&mut playground(&broker, &[]));
    assert_eq!(asking.ask(OURS, "ping", json!({})), json!({"ok": "pong"}));
    for _ in 0..2 {
        let offset = worker.log_len();
        broker.begin_again();
        worker
            .wait_for_line_after(PATIENCE, "Remote control listens", offset)
            .unwrap();
        let mut asking = Asking::start(&broker).unwrap();
        assert_eq!(asking.ask(OURS, "ping", json!({})), json!({"ok": "pong"}));
    }
}

/// Starts a worker whose Redis user has these rights. `line` is the line that it is to write.
pub fn start_as(redis: &Redis, rights: &[&str], line: &str) -> Process {
    let user = ["ACL", "SETUSER", "limited", "on", ">secret"];
    redis.cli(&[&user[..], rights].concat()).unwrap();
    let mut command = playground(redis, &["-c", "1"]);
    let url = redis.url().replace("redis://", "redis://limited:secret@");
    command.env("CELERY_BROKER_URL", &url);
    let mut worker = Process::spawn("playground", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker.wait_for_line(PATIENCE, line).unwrap();
    worker
}

#[test]
fn the_documented_rights_are_enough() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut worker = start_as(&redis, &worker_rights(), "Remote control listens");
    occupy(&redis, &mut asking, OURS, "celery");
    let ids = json!({"task_id": ["celery-active", "celery-reserved"], "terminate": true});
    asking.ask(OURS, "revoke", ids);
    asking.send(&json!({"method": "shutdown", "limit": 0}));
    worker
        .wait_for_line(PATIENCE, "Got shutdown from remote")
        .unwrap();
    worker.quit();
    worker.wait(PATIENCE).unwrap();
    let refused = redis.cli(&["ACL", "LOG"]).unwrap();
    assert!(!refused.contains("name=rust@test/control"), "{refused}");
}

#[test]
fn a_worker_that_may_not_subscribe_serves_its_tasks() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let mut rights = worker_rights();
    rights.push("resetchannels");
    let mut worker = start_as(
        &redis,
        &rights,
        "Remote control is off: the broker does not let",
    );
    post(&redis, "celery", "id", "proj.add", "[1, 2]");
    worker.wait_for_line(PATIENCE, "[id] succeeded").unwrap();
}

fn a_worker_without_control_does_not_listen(broker: impl Broker) {
    let mut command = playground(&broker, &["--without-control"]);
    let mut worker = Process::spawn("playground", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    post(&broker, "celery", "id", "proj.add", "[1, 2]");
    worker.wait_for_line(PATIENCE, "[id] succeeded").unwrap();
    assert_eq!(broker.hearers(), 0);
    assert!(!worker.log().contains("Remote control"));
}
