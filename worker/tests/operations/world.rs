//! Programs, messages and pages for the tests.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task, TimeLimit};
use celery_testkit::{Process, Redis, wait_for};
use serde_json::Value;
use serde_json::value::RawValue;

pub const PATIENCE: Duration = Duration::from_mins(1);

/// Returns the path of the example worker, which cargo builds beside the tests.
pub fn playground() -> PathBuf {
    let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    let program = folder.unwrap().join("examples/playground");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p celery-worker --examples",
        program.display()
    );
    program
}

pub fn command(redis: &Redis, more: &[&str]) -> Command {
    let mut command = Command::new(playground());
    command.args(["--broker", &redis.url()]).args(more);
    command
}

pub fn start(command: &mut Command) -> Process {
    let mut worker = Process::spawn("playground", command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker
}

/// Posts a task, with a hard time limit of `limit` seconds if given.
pub fn post(redis: &Redis, id: &str, name: &str, args: &str, limit: Option<f64>) {
    post_with(redis, id, name, args, |task| {
        task.time_limit = TimeLimit {
            hard: limit,
            soft: None,
        };
    });
}

/// Posts a task whose message `change` has edited.
pub fn post_with(redis: &Redis, id: &str, name: &str, args: &str, change: impl FnOnce(&mut Task)) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let mut task = Task::new(id, name, raw(args), raw("{}"));
    change(&mut task);
    let message = task
        .encode_redis(&EncodeOptions::new("celery", id))
        .unwrap();
    let message = String::from_utf8(message).unwrap();
    redis.cli(&["LPUSH", "celery", &message]).unwrap();
}

pub fn result(redis: &Redis, id: &str) -> Option<Value> {
    let key = format!("celery-task-meta-{id}");
    serde_json::from_str(redis.cli(&["GET", &key]).unwrap().trim()).ok()
}

pub fn wait_for_status(redis: &Redis, id: &str, status: &str, worker: &Process) {
    let is = || result(redis, id).is_some_and(|document| document["status"] == status);
    if let Err(error) = wait_for(PATIENCE, &format!("{id} to be {status}"), is) {
        panic!("{error}; the worker said:\n{}", worker.log());
    }
}

pub fn count(redis: &Redis, command: &[&str]) -> u64 {
    let answer = redis.cli(command).unwrap();
    let number = answer.trim().trim_start_matches("(integer) ");
    number.parse().unwrap_or_else(|_| panic!("{answer}"))
}

/// Waits until the code of a task with this id runs. The worker's log level has to be debug.
pub fn wait_until_begun(worker: &mut Process, id: &str) {
    let log = worker.wait_for_line(PATIENCE, &format!("[{id}] pid:"));
    log.unwrap();
}

/// Waits until the worker has received the task with this id and the queue is empty.
pub fn wait_until_claimed(redis: &Redis, worker: &mut Process, id: &str) {
    worker
        .wait_for_line(PATIENCE, &format!("[{id}] received"))
        .unwrap();
    wait_for(PATIENCE, "an empty queue", || {
        count(redis, &["LLEN", "celery"]) == 0
    })
    .unwrap();
}

/// The HTTP pages of a worker that was started with `--metrics-addr`.
pub struct Pages(pub String);

impl Pages {
    pub fn of(worker: &mut Process) -> Self {
        let line = worker
            .wait_for_line(PATIENCE, "/metrics on http://")
            .unwrap();
        Pages(line.trim().rsplit('/').next().unwrap().to_owned())
    }

    /// Sends a request as it is, and reads the whole answer.
    pub fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A client that is refused early may fail to write everything.
        let _ = stream.write_all(request.as_bytes());
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    }

    pub fn get(&self, path: &str) -> (u16, String) {
        let answer = self.send(&format!("GET {path} HTTP/1.1\r\nHost: worker\r\n\r\n"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    pub fn wait_for(&self, path: &str, status: u16) -> String {
        let mut last = String::new();
        let what = format!("{path} to be {status}");
        if let Err(error) = wait_for(PATIENCE, &what, || {
            let (got, text) = self.get(path);
            last = text;
            got == status
        }) {
            panic!("{error}: {last}");
        }
        last
    }
}
