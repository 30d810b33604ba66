//! Runs the programs in worker/examples and compares what they do with their head comments.
//!
//! A head comment has a block of lines: `> NAME ARGUMENTS [id=ID]` is a call, and the lines after
//! it are the states that it goes through. Calls that follow each other directly are posted
//! together. `< TEXT` is a line that the program prints at its end. A block of SQL makes the
//! tables.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Process, Redis, RedisOptions};
use celery_worker::Database;
use serde_json::Value;
use serde_json::value::RawValue;

const PATIENCE: Duration = Duration::from_mins(1);

/// Celery's final states.
const FINAL: [&str; 3] = ["SUCCESS", "FAILURE", "REVOKED"];

/// One call in a head comment.
struct Call<'t> {
    name: &'t str,
    args: &'t str,
    id: String,
}

impl<'t> Call<'t> {
    fn parse(line: &'t str, number: usize) -> Self {
        let (name, rest) = line.split_once(' ').unwrap();
        let (args, id) = match rest.split_once(" id=") {
            Some((args, id)) => (args, id.to_owned()),
            None => (rest, format!("call-{number}")),
        };
        Call { name, args, id }
    }

    fn channel(&self) -> String {
        format!("celery-task-meta-{}", self.id)
    }

    fn post(&self, redis: &Redis) {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let task = Task::new(&self.id, self.name, raw(self.args), raw("{}"));
        let options = EncodeOptions::new("celery", &self.id);
        let message = String::from_utf8(task.encode_redis(&options).unwrap()).unwrap();
        redis.cli(&["LPUSH", "celery", &message]).unwrap();
    }
}

/// Posts calls and returns the states that each goes through, as lines.
fn run(redis: &Redis, calls: &[Call<'_>]) -> Result<Vec<String>, String> {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut states = connection.as_pubsub();
    for call in calls {
        // A result of an earlier call with this id would be final already.
        redis.cli(&["DEL", &call.channel()]).unwrap();
        states.subscribe(call.channel()).unwrap();
    }
    for call in calls {
        call.post(redis);
    }
    let (deadline, mut ended) = (Instant::now() + PATIENCE, 0);
    let mut lines: HashMap<String, Vec<String>> = HashMap::new();
    while ended < calls.len() {
        let rest = deadline.saturating_duration_since(Instant::now());
        let rest = rest.max(Duration::from_millis(1));
        states.set_read_timeout(Some(rest)).unwrap();
        let message = states.get_message();
        let message = message.map_err(|error| format!("{error} after {lines:?}"))?;
        let document: String = message.get_payload().unwrap();
        let document: Value = serde_json::from_str(&document).unwrap();
        ended += usize::from(FINAL.contains(&document["status"].as_str().unwrap()));
        let of_call = lines.entry(message.get_channel_name().to_owned());
        of_call.or_default().push(shown(&document));
    }
    let of_calls = calls
        .iter()
        .filter_map(|call| lines.remove(&call.channel()));
    Ok(of_calls.flatten().collect())
}

/// Returns a state as a line: its name, and its value or its error.
fn shown(document: &Value) -> String {
    let (status, result) = (document["status"].as_str().unwrap(), &document["result"]);
    match result["exc_type"].as_str() {
        Some(kind) => {
            let message = result["exc_message"][0].as_str().unwrap();
            format!("{status} {kind}: {message}")
        }
        None => format!("{status} {result}"),
    }
}

/// Returns the fenced block of this kind in a head comment.
fn block(source: &str, kind: &str) -> Vec<String> {
    let comment = |line: &str| {
        let text = line.strip_prefix("//!").or_else(|| line.strip_prefix('#'));
        text.map(|text| text.strip_prefix(' ').unwrap_or(text).to_owned())
    };
    let head = source.lines().map_while(comment);
    let body = head
        .skip_while(|line| *line != format!("```{kind}"))
        .skip(1);
    body.take_while(|line| line != "```").collect()
}

async fn make_tables(url: &str, statements: &[String]) {
    let database = Database::from_url(url).unwrap();
    for sql in statements.join(" ").split_terminator(';') {
        database.execute(sql, &[]).await.unwrap();
    }
}

/// Runs a program and compares what happens with the head comment in `source`.
fn check(source: &str, program: &str, with: impl FnOnce(&mut Command, &Redis, &str)) {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("shop.db").display()
    );
    let tables = block(source, "sql");
    if !tables.is_empty() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(make_tables(&url, &tables));
    }
    let programs = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    let mut command = Command::new(programs.unwrap().join(program));
    with(&mut command, &redis, &url);
    let mut worker = Process::spawn(program, &mut command).unwrap();

    let expected = block(source, "text");
    assert!(
        expected.iter().any(|line| line.starts_with("> ")),
        "{program}"
    );
    let (mut seen, mut calls) = (Vec::new(), Vec::new());
    for (number, line) in expected.iter().enumerate() {
        let Some(call) = line.strip_prefix("> ") else {
            continue;
        };
        seen.push(line.clone());
        calls.push(Call::parse(call, number));
        if expected
            .get(number + 1)
            .is_some_and(|next| next.starts_with("> "))
        {
            continue;
        }
        let states = run(&redis, &std::mem::take(&mut calls));
        seen.extend(states.unwrap_or_else(|error| panic!("{error}:\n{}", worker.log())));
    }
    let printed = expected
        .iter()
        .filter(|line| line.starts_with("< "))
        .count();
    if printed == 0 {
        worker.terminate();
    }
    assert_eq!(
        worker.wait(PATIENCE).unwrap().code(),
        Some(0),
        "{}",
        worker.log()
    );
    let log = worker.log();
    let last: Vec<&str> = log.lines().collect();
    let last = &last[last.len().saturating_sub(printed)..];
    seen.extend(last.iter().map(|line| format!("< {line}")));
    assert_eq!(seen, expected, "{program}:\n{log}");
}

/// Adds the options that the programs with the command line of `celery-worker` take.
fn options(command: &mut Command, redis: &Redis, _database: &str) {
    command.args(["--broker", &redis.url(), "--loglevel", "INFO"]);
}

fn database_options(command: &mut Command, redis: &Redis, database: &str) {
    options(command, redis, database);
    command.args(["--database", database]);
}

#[test]
fn state() {
    check(
        include_str!("../examples/state.rs"),
        "examples/state",
        options,
    );
}

#[test]
fn retry() {
    check(
        include_str!("../examples/retry.rs"),
        "examples/retry",
        options,
    );
}

#[test]
fn batch() {
    check(
        include_str!("../examples/batch.rs"),
        "examples/batch",
        options,
    );
}

#[test]
fn once() {
    let source = include_str!("../examples/once.rs");
    check(source, "examples/once", database_options);
}

#[test]
fn progress() {
    check(
        include_str!("../examples/progress.rs"),
        "examples/progress",
        options,
    );
}

#[test]
fn workflow() {
    check(
        include_str!("../examples/workflow.rs"),
        "examples/workflow",
        options,
    );
}

#[test]
fn shutdown() {
    let source = include_str!("../examples/shutdown.rs");
    check(source, "examples/shutdown", |command, redis, _| {
        command.arg(redis.url());
    });
}

#[test]
fn sql_tasks() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sql_tasks.toml");
    let source = include_str!("../examples/sql_tasks.toml");
    check(source, "celery-worker", |command, redis, database| {
        command.arg("--config").arg(file);
        database_options(command, redis, database);
    });
}
