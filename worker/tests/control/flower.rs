//! Flower shows and steers a fleet of a worker of this kind and a Python one. `celery events` prints
//! what both send.
//!
//! Without Flower in `.venv/celery-5.7-flower`, its test prints why and passes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use celery_testkit::{Process, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use super::broker::{Broker, on_each_broker};
use super::world::{
    Asking, OURS, PATIENCE, PYTHON, playground, post, python, python_of, start, start_python,
};

/// How long Flower may take for one answer. It waits for workers itself.
const ANSWER: Duration = Duration::from_secs(30);

/// A running Flower.
struct Flower {
    port: u16,
    _process: Process,
}

impl Flower {
    fn start(broker: &impl Broker) -> Option<Self> {
        let mut command = python_of(broker, "celery-5.7-flower")?;
        // The port is free again at once, and no other program of this test takes it.
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        command.args(["-m", "celery", "-A", "proj", "flower"]);
        command.args(["--address=127.0.0.1", &format!("--port={port}")]);
        // Its API answers only to users, unless it is told otherwise.
        command.env("FLOWER_UNAUTHENTICATED_API", "true");
        let flower = Flower {
            port,
            _process: Process::spawn("flower", &mut command).unwrap(),
        };
        wait_for(PATIENCE, "Flower", || {
            flower.try_ask("GET", "/healthcheck").is_some()
        })
        .unwrap();
        Some(flower)
    }

    /// Returns the status and the body of an answer.
    fn try_ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        let head = "Host: flower\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        write!(stream, "{method} {path} HTTP/1.0\r\n{head}").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn get(&self, path: &str) -> String {
        let (status, body) = self.try_ask("GET", path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).unwrap()
    }

    /// Presses a button: what its page sends.
    fn press(&self, path: &str) -> (u16, String) {
        self.try_ask("POST", &format!("/api/{path}")).unwrap()
    }
}

fn flower_shows_and_steers_a_mixed_fleet(broker: impl Broker) {
    let Some(mut asking) = Asking::start(&broker) else {
        return;
    };
    let mut ours = start(&mut playground(&broker, &["-Q", "ours", "-c", "2"]));
    let _python = start_python(&broker, "theirs").unwrap();
    let Some(flower) = Flower::start(&broker) else {
        return;
    };
    let workers = || flower.json("/api/workers?refresh=1");
    let both = |workers: &Value| {
        [OURS, PYTHON]
            .iter()
            .all(|node| workers[node]["stats"].is_object())
    };
    wait_for(PATIENCE, "both workers", || both(&workers())).unwrap();
    // Flower asks for events from time to time. Here they are wanted now.
    for node in [OURS, PYTHON] {
        asking.ask(node, "enable_events", json!({}));
    }
    for (queue, node) in [("ours", OURS), ("theirs", PYTHON)] {
        let of = |kind: &str| format!("{queue}-{kind}");
        post(&broker, queue, &of("add"), "proj.add", "[1, 2]");
        post(&broker, queue, &of("fail"), "proj.fail", "[\"boom\"]");
        for (kind, state) in [("add", "SUCCESS"), ("fail", "FAILURE")] {
            let id = of(kind);
            let task = || flower.json("/api/tasks")[&id].clone();
            wait_for(PATIENCE, &id, || task()["state"] == state).unwrap();
            let task = task();
            assert_eq!(task["worker"], node, "{task}");
            assert_eq!(task["name"], format!("proj.{kind}"), "{task}");
        }
    }
    let shown = workers();
    assert_eq!(
        shown[OURS]["stats"]["total"],
        json!({"proj.add": 1, "proj.fail": 1})
    );
    assert_eq!(shown[OURS]["active_queues"][0]["name"], "ours");
    let metrics = flower.get("/metrics");
    for node in [OURS, PYTHON] {
        let series = format!("type=\"task-succeeded\",worker=\"{node}\"");
        assert!(metrics.contains(&series), "{series}: {metrics}");
        let online = format!("flower_worker_online{{worker=\"{node}\"}} 1.0");
        assert!(metrics.contains(&online), "{online}: {metrics}");
        for page in [format!("/worker/{node}"), "/workers".to_owned()] {
            assert!(flower.get(&page).contains(node), "{page}");
        }
        steer(&flower, node);
    }
    let stats = asking.ask(OURS, "stats", json!({}));
    assert_eq!(stats["pool"]["max-concurrency"], 3);
    let registered = asking.ask(OURS, "registered", json!({}));
    let registered = registered.as_array().unwrap();
    assert!(
        registered.contains(&json!("proj.echo [rate_limit=10/m]")),
        "{registered:?}"
    );

    post(&broker, "ours", "long", "proj.sleep", "[600]");
    asking.wait_for(OURS, "active", |active| active[0]["id"] == "long");
    assert_eq!(flower.press("task/revoke/long?terminate=true").0, 200);
    asking.wait_for(OURS, "active", |active| active == &json!([]));
    let task = || flower.json("/api/tasks")["long"]["state"].clone();
    wait_for(PATIENCE, "the revoked task", || task() == "REVOKED").unwrap();
    assert_eq!(flower.press(&format!("worker/shutdown/{OURS}")).0, 200);
    assert!(ours.wait(PATIENCE).unwrap().success());
}

/// Presses the buttons of a worker's page.
fn steer(flower: &Flower, node: &str) {
    for (path, status, text) in [
        (format!("worker/pool/grow/{node}?n=2"), 200, "Growing"),
        (
            format!("worker/queue/add-consumer/{node}?queue=more"),
            200,
            "add consumer more",
        ),
        (
            format!("worker/queue/cancel-consumer/{node}?queue=more"),
            200,
            "no longer consuming from more",
        ),
        (
            format!("task/rate-limit/proj.echo?workername={node}&ratelimit=10/m"),
            200,
            "new rate limit set successfully",
        ),
        (
            format!("task/timeout/proj.echo?workername={node}&hard=10&soft=5"),
            200,
            "time limits set successfully",
        ),
        (format!("worker/pool/shrink/{node}?n=1"), 200, "Shrinking"),
        (
            format!("worker/pool/autoscale/{node}?min=1&max=2"),
            403,
            "Autoscale not enabled",
        ),
        (
            format!("worker/pool/restart/{node}"),
            403,
            "Pool restarts not enabled",
        ),
    ] {
        let (answered, body) = flower.press(&path);
        assert!(
            answered == status && body.contains(text),
            "{path}: {answered} {body}"
        );
    }
}

/// The commands of Celery's own program, as a person types them.
#[test]
fn celery_status_and_control_show_and_steer_a_mixed_fleet() {
    let redis = Redis::start(RedisOptions::default()).unwrap();
    let Some(_python) = start_python(&redis, "theirs") else {
        return;
    };
    let _ours = start(&mut playground(&redis, &["-Q", "ours", "-c", "1"]));
    let celery = |args: &[&str]| {
        let mut command = python(&redis).unwrap();
        command.args(["-m", "celery", "-A", "proj"]).args(args);
        // With the names it returns once both have answered.
        command.args(["--json", "-t", "30", "-d", &format!("{OURS},{PYTHON}")]);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{args:?}: {output:?}");
        text
    };
    let status = celery(&["status"]);
    let (answers, counted) = status.split_once('\n').unwrap();
    let answers: Value = serde_json::from_str(answers).unwrap();
    let pong = json!({ "ok": "pong" });
    assert_eq!(answers, json!({ OURS: pong, PYTHON: pong }));
    assert!(counted.contains("2 nodes online"), "{status}");
    let limited = celery(&["control", "rate_limit", "proj.add", "7/s"]);
    let limited: Vec<Value> = serde_json::from_str(&limited).unwrap();
    let ok = json!({ "ok": "new rate limit set successfully" });
    for node in [OURS, PYTHON] {
        assert!(limited.contains(&json!({ node: ok })), "{limited:?}");
    }
}

on_each_broker! {
    flower_shows_and_steers_a_mixed_fleet
    celery_events_prints_our_events
}

fn celery_events_prints_our_events(broker: impl Broker) {
    let Some(mut command) = python(&broker) else {
        return;
    };
    let before = broker.listeners();
    command.args(["-u", "-m", "celery", "-A", "proj", "events", "--dump"]);
    let mut dump = Process::spawn("events", &mut command).unwrap();
    wait_for(PATIENCE, "the monitor", || broker.listeners() != before).unwrap();
    let mut ours = start(&mut playground(&broker, &["-E"]));
    post(&broker, "celery", "dumped", "proj.add", "[1, 2]");
    for line in ["rust@test", "task succeeded"] {
        dump.wait_for_line(PATIENCE, line).unwrap();
    }
    let log = dump.log();
    for part in [
        "started: ",
        "task received: proj.add(dumped) args=(1, 2) kwargs={}",
        "result=3, runtime=",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    ours.stop();
}
