//! Servers that are away or refuse while remote control needs them.

use std::io::{Read, Write};
use std::net::TcpStream;

use celery_testkit::{Cut, Process, Proxy, Redis, RedisOptions, wait_for};
use serde_json::json;

use super::world::{Asking, OURS, PATIENCE, playground, post, start};

/// Returns the status line of `/readyz`.
fn readiness(worker: &mut Process) -> String {
    let line = worker
        .wait_for_line(PATIENCE, "/metrics on http://")
        .unwrap();
    let address = line.trim().rsplit('/').next().unwrap().to_owned();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: worker\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn tasks_end_while_the_results_are_away_and_the_worker_is_ready_afterwards() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let mut results = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let options = ["-c", "4", "--metrics-addr", "127.0.0.1:0"];
    let mut command = playground(&redis, &options);
    let mut worker = start(command.env("CELERY_RESULT_BACKEND", results.url()));
    let ids = ["one", "two", "three"];
    for id in ids {
        post(&redis, "celery", id, "proj.sleep", "[600]");
    }
    asking.wait_for(OURS, "active", |active| {
        active.as_array().unwrap().len() == ids.len()
    });
    results.kill9();
    // The other task is unknown here, so that its state is to be stored, too.
    for id in ids {
        let arguments = json!({"task_id": [id, format!("not-{id}")], "terminate": true});
        let answer = asking.ask(OURS, "revoke", arguments);
        assert_eq!(answer["ok"], format!("terminate: {id}"), "{answer}");
    }
    assert!(worker.log().contains("Failed to mark tasks as revoked"));
    assert_eq!(asking.ask(OURS, "ping", json!({})), json!({"ok": "pong"}));
    let kept = redis.cli(&["ZCARD", "rs.revoked"]).unwrap();
    assert_eq!(kept.trim(), "6");

    results.restart().unwrap();
    for id in ids {
        wait_for(PATIENCE, "the result", || {
            let result = results.cli(&["GET", &format!("celery-task-meta-{id}")]);
            result.unwrap().contains("terminated")
        })
        .unwrap();
    }
    // No further request comes that would open the connection of remote control.
    wait_for(PATIENCE, "a worker that is ready", || {
        readiness(&mut worker) == "HTTP/1.1 200 OK"
    })
    .unwrap();
}

#[test]
fn the_first_tasks_wait_until_the_revocations_could_be_read() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let ids: Vec<String> = (0..20).map(|id| format!("revoked-{id}")).collect();
    for id in &ids {
        redis.cli(&["ZADD", "rs.revoked", "1", id]).unwrap();
        post(&redis, "celery", id, "proj.echo", "[1]");
    }
    // The connection breaks in the middle of opening: before the ids or the stamps are read.
    for text in ["\r\nrs.revoked\r\n", "\r\nrs.revoked.stamps\r\n"] {
        let proxy = Proxy::to_port(redis.port()).unwrap();
        for cut in [Cut::Request, Cut::Answer] {
            proxy.cut_at(text, cut);
            let cuts = proxy.cuts();
            let mut command = playground(&redis, &["-c", "4"]);
            let url = format!("redis://127.0.0.1:{}/0", proxy.port());
            let mut worker = start(command.env("CELERY_BROKER_URL", url));
            for id in &ids {
                let discarded = format!("Discarding revoked task: proj.echo[{id}]");
                worker.wait_for_line(PATIENCE, &discarded).unwrap();
            }
            assert_eq!(proxy.cuts(), cuts + 1);
            assert!(!worker.log().contains("succeeded"));
            worker.stop();
            for id in &ids {
                post(&redis, "celery", id, "proj.echo", "[1]");
            }
        }
    }
}

#[test]
fn a_revocation_with_an_unknown_signal_revokes_and_ends_nothing() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(mut asking) = Asking::start(&redis) else {
        return;
    };
    let mut worker = start(&mut playground(&redis, &["-c", "1"]));
    post(&redis, "celery", "running", "proj.sleep", "[600]");
    asking.wait_for(OURS, "active", |active| active[0]["id"] == "running");
    let signals = [json!("NONE"), json!("SIG"), json!(-1), json!([15])];
    for (number, signal) in signals.iter().enumerate() {
        let id = format!("later-{number}");
        let arguments = json!({"task_id": ["running", id], "terminate": true, "signal": signal});
        let answer = asking.ask(OURS, "revoke", arguments);
        let error = answer["error"].as_str().unwrap();
        assert!(error.contains("unknown signal"), "{answer}");
        let key = format!("celery-task-meta-{id}");
        assert!(redis.cli(&["GET", &key]).unwrap().contains("REVOKED"));
        post(&redis, "celery", &id, "proj.echo", "[1]");
    }
    assert_eq!(asking.ask(OURS, "active", json!({}))[0]["id"], "running");
    let arguments = json!({"task_id": "running", "terminate": true, "signal": ""});
    let answer = asking.ask(OURS, "revoke", arguments);
    assert_eq!(answer["ok"], "terminate: running");
    worker
        .wait_for_line(PATIENCE, "[running] terminated (signal 15)")
        .unwrap();
    for number in 0..signals.len() {
        let discarded = format!("Discarding revoked task: proj.echo[later-{number}]");
        worker.wait_for_line(PATIENCE, &discarded).unwrap();
    }
}
