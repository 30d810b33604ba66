//! The two workers, and their answers to a message.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use celery_testkit::{Process, Redis, wait_for};

use super::case::Case;
use super::root;

const PATIENCE: Duration = Duration::from_mins(2);

/// Returns the Python that has Celery 5.7, if it is installed.
pub fn python() -> Option<PathBuf> {
    let program = root().join(".venv/celery-5.7/bin/python");
    program.exists().then_some(program)
}

/// Returns an ordinary message: when it has run, the worker has read the messages pushed before it.
fn sentinel(id: &str, queue: &str) -> String {
    Case::parse("2 headers.origin \"sentinel\"").message(id, queue)
}

fn connect(redis: &Redis) -> redis::Connection {
    let client = redis::Client::open(redis.url()).unwrap();
    client.get_connection().unwrap()
}

fn ask<T: redis::FromRedisValue>(connection: &mut redis::Connection, command: &[&str]) -> T {
    let (name, arguments) = command.split_first().unwrap();
    redis::cmd(name).arg(arguments).query(connection).unwrap()
}

/// Returns the state of the stored result of a case, whose message may have another id, and deletes
/// all results. Those of earlier messages do not count.
fn stored(connection: &mut redis::Connection, id: &str) -> Option<String> {
    const PREFIX: &str = "celery-task-meta-";
    let keys: Vec<String> = ask(connection, &["KEYS", &format!("{PREFIX}*")]);
    let mut state = None;
    for key in keys {
        let text: String = ask(connection, &["GETDEL", &key]);
        let name = key.trim_start_matches(PREFIX);
        let is_earlier = name != id && (name.starts_with("case-") || name.starts_with("last-"));
        if !is_earlier {
            let document: serde_json::Value = serde_json::from_str(&text).unwrap();
            state = document["status"].as_str().map(str::to_lowercase);
        }
    }
    state
}

/// Returns `true` if a log says that a task has succeeded; its result may not be stored.
fn has_succeeded(log: &str, id: &str) -> bool {
    log.contains(&format!("[{id}] succeeded in"))
}

fn word(state: &str) -> String {
    match state {
        "success" => "ran".to_owned(),
        "failure" => "failed".to_owned(),
        other => other.to_owned(),
    }
}

/// Workers of Celery 5.7. One is always ready to take the place of one that ended.
pub struct Python {
    program: PathBuf,
    url: String,
    started: usize,
    serving: (Process, String),
    spare: (Process, String),
    connection: redis::Connection,
    sent: usize,
}

impl Python {
    pub fn start(redis: &Redis, program: PathBuf) -> Python {
        let url = redis.url_of_db(1);
        let client = redis::Client::open(url.as_str()).unwrap();
        let mut serving = worker(&program, &url, 0);
        let spare = worker(&program, &url, 1);
        serving.0.wait_for_line(PATIENCE, " ready.").unwrap();
        Python {
            program,
            url,
            started: 2,
            serving,
            spare,
            connection: client.get_connection().unwrap(),
            sent: 0,
        }
    }

    /// Returns its answer to a message.
    pub fn answer(&mut self, _: &Redis, case: &Case) -> String {
        self.sent += 1;
        let (process, queue) = &mut self.serving;
        let (id, last) = (format!("case-{}", self.sent), format!("last-{}", self.sent));
        let offset = process.log_len();
        let messages = [case.message(&id, queue), sentinel(&last, queue)];
        for message in &messages {
            let _: i64 = ask(&mut self.connection, &["LPUSH", queue, message]);
        }
        let key = format!("celery-task-meta-{last}");
        let mut end = None;
        wait_for(PATIENCE, &format!("an answer to {case}"), || {
            end = end_of(process, offset);
            end.is_some() || ask::<bool>(&mut self.connection, &["EXISTS", &key])
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", process.log()));
        let state = stored(&mut self.connection, &id);
        if let Some(end) = end {
            self.replace();
            return end.to_owned();
        }
        if let Some(state) = state {
            return word(&state);
        }
        let log = process.log();
        if has_succeeded(&log[offset..], &id) {
            "ran".to_owned()
        } else {
            "refused".to_owned()
        }
    }

    /// Replaces the serving worker by the next one, which serves a queue of its own.
    fn replace(&mut self) {
        // A worker that loops puts the message back again and again.
        self.serving.0.kill9();
        let _: () = ask(&mut self.connection, &["FLUSHDB"]);
        let next = worker(&self.program, &self.url, self.started);
        self.started += 1;
        self.serving = std::mem::replace(&mut self.spare, next);
        self.serving.0.wait_for_line(PATIENCE, " ready.").unwrap();
    }
}

/// Returns how a message has stopped a worker, if it has.
fn end_of(process: &mut Process, offset: usize) -> Option<&'static str> {
    if process.exit_status().is_some() {
        return Some("the worker ends");
    }
    let log = process.log();
    let lost = log[offset..].contains("Connection to broker lost");
    lost.then_some("the worker loops")
}

fn worker(program: &Path, url: &str, number: usize) -> (Process, String) {
    let queue = format!("play{number}");
    let mut command = Command::new(program);
    command
        .args([
            "-m", "celery", "-A", "proj", "worker", "-l", "info", "-P", "solo",
        ])
        .args(["-n", &format!("w{number}@%h"), "-Q", &queue])
        .args([
            "--without-mingle",
            "--without-gossip",
            "--without-heartbeat",
        ])
        .env("PYTHONPATH", root().join("php-tests/interop/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env("REDIS_URL", url);
    (
        Process::spawn("python worker", &mut command).unwrap(),
        queue,
    )
}

/// The example worker.
pub struct Ours {
    process: Process,
    connection: redis::Connection,
    sent: usize,
}

impl Ours {
    pub fn start(redis: &Redis) -> Ours {
        let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
        let mut command = Command::new(folder.unwrap().join("examples/playground"));
        command.args([
            "--broker",
            &redis.url(),
            "--queues",
            "play",
            "--loglevel",
            "info",
        ]);
        let mut process = Process::spawn("playground", &mut command).unwrap();
        process.wait_for_line(PATIENCE, "ready.").unwrap();
        Ours {
            process,
            connection: connect(redis),
            sent: 0,
        }
    }

    /// Returns its answer to a message.
    pub fn answer(&mut self, _: &Redis, case: &Case) -> String {
        self.sent += 1;
        let id = format!("case-{}", self.sent);
        let offset = self.process.log_len();
        let message = case.message(&id, "play");
        let _: i64 = ask(&mut self.connection, &["LPUSH", "play", &message]);
        let mut answer = None;
        wait_for(PATIENCE, &format!("an answer to {case}"), || {
            // A success is logged first. Then one script writes the result or the dead letter and
            // acknowledges the message. The test reads these in the opposite order.
            let log = self.process.log();
            let has_ended = has_succeeded(&log[offset..], &id)
                && ask::<i64>(&mut self.connection, &["HLEN", "unacked"]) == 0;
            let state = stored(&mut self.connection, &id);
            let dead: i64 = ask(&mut self.connection, &["XLEN", "celery.dead"]);
            answer = match (dead, state) {
                (0, Some(state)) => Some(word(&state)),
                (0, None) => has_ended.then(|| "ran".to_owned()),
                _ => Some("dead letter".to_owned()),
            };
            answer.is_some()
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.process.log()));
        let _: i64 = ask(&mut self.connection, &["DEL", "celery.dead"]);
        assert!(self.process.exit_status().is_none(), "{case}");
        answer.unwrap_or_default()
    }
}
