//! The built program as a process, with a real Redis, a real MariaDB and real signals.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{MariaDb, Postgres, Process, Redis, RedisOptions, wait_for};
use celery_worker::Database;
use serde_json::Value;
use serde_json::value::RawValue;

const PATIENCE: Duration = Duration::from_mins(1);
const TABLE: &str = "CREATE TABLE tasks (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, \
    name VARCHAR(255) NOT NULL, status VARCHAR(255) NOT NULL DEFAULT 'pending', \
    message VARCHAR(255) NULL, created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)";

fn command(redis: &Redis, database: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command
        .args(["--broker", &redis.url(), "--database", database])
        .args(more);
    command
}

fn worker(redis: &Redis, database: &str, more: &[&str]) -> Process {
    Process::spawn("celery-worker", &mut command(redis, database, more)).unwrap()
}

/// Starts a worker and waits until it is ready.
fn ready(redis: &Redis, database: &str, more: &[&str]) -> Process {
    let mut worker = worker(redis, database, more);
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    worker
}

/// Posts `task_created(id)` for each; the tasks' ids are `t<id>`.
fn post(redis: &Redis, ids: impl IntoIterator<Item = u32>) {
    let messages: Vec<String> = ids
        .into_iter()
        .map(|id| {
            let raw = |json: String| RawValue::from_string(json).unwrap();
            let task = Task::new(
                format!("t{id}"),
                "task_created",
                raw(format!("[{id}]")),
                raw("{}".into()),
            );
            let tag = format!("tag-{id}");
            let message = task
                .encode_redis(&EncodeOptions::new("celery", &tag))
                .unwrap();
            String::from_utf8(message).unwrap()
        })
        .collect();
    for some in messages.chunks(100) {
        let mut command = vec!["LPUSH", "celery"];
        command.extend(some.iter().map(String::as_str));
        redis.cli(&command).unwrap();
    }
}

/// Makes the table of tasks with the rows 1 to `count`.
fn rows(database: &MariaDb, count: u32) {
    database.sql(TABLE).unwrap();
    let values: Vec<String> = (1..=count)
        .map(|id| format!("({id}, 'task {id}')"))
        .collect();
    database
        .sql(&format!(
            "INSERT INTO tasks (id, name) VALUES {}",
            values.join(", ")
        ))
        .unwrap();
}

fn completed(database: &MariaDb) -> u32 {
    let sql = "SELECT COUNT(*) AS n FROM tasks WHERE status = 'completed' \
        AND message = 'Updated by celery worker!' AND updated_at IS NOT NULL";
    let answer = database.sql(sql).unwrap();
    let number = answer.split_whitespace().find_map(|word| word.parse().ok());
    number.unwrap_or_else(|| panic!("{answer}"))
}

fn all_completed(database: &MariaDb, count: u32, worker: &Process) {
    if let Err(error) = wait_for(PATIENCE, "all rows to be completed", || {
        completed(database) == count
    }) {
        panic!(
            "{error}; {} of {count}; the worker said:\n{}",
            completed(database),
            worker.log()
        );
    }
}

fn result(redis: &Redis, id: &str) -> Option<Value> {
    let answer = redis
        .cli(&["GET", &format!("celery-task-meta-{id}")])
        .unwrap();
    serde_json::from_str(answer.trim()).ok()
}

fn is_idle(redis: &Redis) -> bool {
    ["LLEN celery", "HLEN unacked", "ZCARD unacked_index"]
        .iter()
        .all(|command| {
            let words: Vec<&str> = command.split(' ').collect();
            redis
                .cli(&words)
                .unwrap()
                .trim()
                .trim_start_matches("(integer) ")
                == "0"
        })
}

#[test]
fn rows_are_completed_and_a_warm_stop_ends_with_0() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    rows(&database, 300);
    let mut worker = ready(&redis, &database.url(), &["-l", "info"]);
    post(&redis, 1..=300);
    all_completed(&database, 300, &worker);
    wait_for(PATIENCE, "every acknowledgement", || is_idle(&redis)).unwrap();
    let document = result(&redis, "t7").unwrap();
    assert_eq!(document["status"], "SUCCESS");
    assert_eq!(document["result"], true);
    let secret = format!(":{}@", database.password());
    assert!(!worker.log().contains(&secret), "{}", worker.log());

    // A second call for a row succeeds again; a call for a missing row is retried, alone.
    redis.cli(&["DEL", "celery-task-meta-t7"]).unwrap();
    post(&redis, [7, 7, 999]);
    let state = |id| result(&redis, id).map(|document| document["status"].clone());
    wait_for(PATIENCE, "both answers", || {
        state("t7") == Some("SUCCESS".into()) && state("t999") == Some("RETRY".into())
    })
    .unwrap();
    assert_eq!(
        result(&redis, "t999").unwrap()["result"]["exc_type"],
        "LookupError"
    );

    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    // The task that waited for its retry is back in its queue.
    assert!(redis.cli(&["LLEN", "celery"]).unwrap().contains('1'));
}

#[test]
fn a_missing_table_is_waited_for() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    let mut worker = ready(&redis, &database.url(), &[]);
    post(&redis, 1..=20);
    worker.wait_for_line(PATIENCE, "lacks a table").unwrap();
    // The migration comes after the worker.
    rows(&database, 20);
    all_completed(&database, 20, &worker);
    wait_for(PATIENCE, "every acknowledgement", || is_idle(&redis)).unwrap();
    assert_eq!(result(&redis, "t20").unwrap()["status"], "SUCCESS");
    assert_eq!(worker.log().matches("lacks a table").count(), 1);
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_postgresql_are_completed() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let server = Postgres::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let table = "CREATE TABLE tasks (id SERIAL PRIMARY KEY, name VARCHAR(255) NOT NULL, \
        status VARCHAR(255) NOT NULL DEFAULT 'pending', message VARCHAR(255) NULL, \
        created_at TIMESTAMP NULL, updated_at TIMESTAMP NULL)";
    database.execute(table, &[]).await.unwrap();
    let fill = "INSERT INTO tasks (name) SELECT 'task ' || n FROM generate_series(1, 300) AS n";
    assert_eq!(database.execute(fill, &[]).await.unwrap(), 300);
    let mut worker = ready(&redis, &server.url(), &["-l", "info"]);
    post(&redis, 1..=300);
    wait_for(PATIENCE, "every acknowledgement", || is_idle(&redis)).unwrap();
    let done = "UPDATE tasks SET name = name WHERE status = 'completed' AND updated_at IS NOT NULL";
    assert_eq!(
        database.execute(done, &[]).await.unwrap(),
        300,
        "{}",
        worker.log()
    );
    assert_eq!(result(&redis, "t300").unwrap()["result"], true);
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn an_absent_database_is_waited_for() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut database = MariaDb::start().unwrap();
    rows(&database, 200);
    let url = database.url();
    database.stop();
    let mut worker = ready(&redis, &url, &["-l", "info"]);
    post(&redis, 1..=100);
    worker
        .wait_for_line(PATIENCE, "Tasks that need it wait")
        .unwrap();
    database.restart().unwrap();
    all_completed(&database, 100, &worker);
    // A second outage before this line would count as part of the first.
    worker
        .wait_for_line(PATIENCE, "is available again")
        .unwrap();

    let said = worker.log_len();
    database.kill9();
    post(&redis, 101..=200);
    worker
        .wait_for_line_after(PATIENCE, "Tasks that need it wait", said)
        .unwrap();
    database.restart().unwrap();
    all_completed(&database, 200, &worker);
    wait_for(PATIENCE, "every acknowledgement", || is_idle(&redis)).unwrap();
    assert_eq!(redis.cli(&["XLEN", "celery.dead"]).unwrap().trim(), "0");
    assert_eq!(
        worker.log().matches("is unavailable").count(),
        2,
        "{}",
        worker.log()
    );
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn an_idle_worker_notices_that_its_database_is_back() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut database = MariaDb::start().unwrap();
    let url = database.url();
    database.stop();
    let mut worker = ready(&redis, &url, &[]);
    worker.wait_for_line(PATIENCE, "is unavailable").unwrap();
    database.restart().unwrap();
    // No task asks the database.
    worker
        .wait_for_line(PATIENCE, "is available again")
        .unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn killed_20_times_under_load_nothing_is_lost() {
    const TASKS: u32 = 4_000;
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    rows(&database, TASKS);
    let more = ["--lease", "2", "-c", "4", "--prefetch-multiplier", "100"];
    for kill in 0..20 {
        let mut worker = ready(&redis, &database.url(), &more);
        let before = completed(&database);
        let share = TASKS / 20;
        post(&redis, kill * share + 1..=(kill + 1) * share);
        // The kill comes in the middle of the work: when the first messages are held, or when the
        // first tasks are done.
        let _ = wait_for(Duration::from_secs(1), "", || match kill % 2 {
            0 => redis.cli(&["HLEN", "unacked"]).unwrap().trim() != "0",
            _ => completed(&database) > before,
        });
        worker.kill9();
        invariant(&redis, &database, (kill + 1) * share);
    }
    let worker = ready(&redis, &database.url(), &more);
    all_completed(&database, TASKS, &worker);
    wait_for(PATIENCE, "nothing to be held", || is_idle(&redis)).unwrap();
    assert_eq!(redis.cli(&["XLEN", "celery.dead"]).unwrap().trim(), "0");
    for id in 1..=TASKS / 40 {
        let document = result(&redis, &format!("t{}", id * 40)).unwrap();
        assert_eq!(document["result"], true);
    }
}

/// Asserts that every id that was sent is done, queued, held or a dead letter. The worker must be
/// dead.
fn invariant(redis: &Redis, database: &MariaDb, sent: u32) {
    let mut seen: HashMap<u32, &str> = HashMap::new();
    let done = database
        .sql("SELECT id FROM tasks WHERE status = 'completed'")
        .unwrap();
    seen.extend(
        done.split_whitespace()
            .filter_map(|id| Some((id.parse().ok()?, "done"))),
    );
    for (place, command) in [
        ("queued", vec!["LRANGE", "celery", "0", "-1"]),
        ("held", vec!["HVALS", "unacked"]),
        ("dead", vec!["XRANGE", "celery.dead", "-", "+"]),
    ] {
        let text = redis.cli(&command).unwrap();
        let tags = text.split("tag-").skip(1);
        seen.extend(tags.filter_map(|rest| {
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            Some((digits.parse().ok()?, place))
        }));
    }
    let lost: Vec<u32> = (1..=sent).filter(|id| !seen.contains_key(id)).collect();
    assert!(lost.is_empty(), "{} lost: {lost:?}", lost.len());
}

#[test]
fn mistakes_in_settings_end_the_start_and_are_named() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    let secret = format!(":{}@", database.password());
    let wrong = database.url().replace(&secret, ":not-the-password@");
    for (url, code, part) in [
        (wrong.as_str(), 78, "DATABASE_URL"),
        ("oracle://u:not-the-password@h/d", 78, "--database"),
    ] {
        let output = command(&redis, url, &[]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("not-the-password"), "{text}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    std::fs::write(
        &file,
        "[tasks.t]\nsql = 'UPDATE t SET n = ? WHERE id = :id'",
    )
    .unwrap();
    let config = ["--config", file.to_str().unwrap()];
    let output = command(&redis, &database.url(), &config).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("parameters are written :name"), "{text}");
    let usage = command(&redis, "sqlite::memory:", &["--colour"])
        .output()
        .unwrap();
    assert_eq!(usage.status.code(), Some(64));
}

#[test]
fn dead_letters_can_be_seen_put_back_and_deleted() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    let dead = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        let output = command
            .args(["dead"])
            .args(words)
            .args(["-b", &redis.url()])
            .output();
        let output = output.unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let mut worker = ready(&redis, &database.url(), &[]);
    redis
        .cli(&["LPUSH", "celery", "{\"no\":1}", "neither"])
        .unwrap();
    let letters = || redis.cli(&["XLEN", "celery.dead"]).unwrap();
    wait_for(PATIENCE, "two dead letters", || letters().contains('2')).unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));

    let (code, list) = dead(&["list"]);
    assert_eq!((code, list.lines().count()), (Some(0), 2), "{list}");
    let place = list.split_whitespace().next().unwrap();
    assert!(dead(&["show", place]).1.contains("raw: "), "{list}");
    // The text in a dead letter can neither control a terminal nor look like a line of the output.
    let hostile = "x\u{1b}[2J\u{7}\r\nqueue: y\u{202e}\u{200d}\u{feff}\u{e0041}\u{2028}";
    let fields = ["queue", "id", "task", "cause"].map(|name| [name, hostile]);
    redis
        .cli(
            &[
                &["XADD", "celery.dead", "99999999999998-1"][..],
                &fields.concat(),
            ]
            .concat(),
        )
        .unwrap();
    let shown = r"x\u{1b}[2J\u{7}\r\nqueue: y\u{202e}\u{200d}\u{feff}\u{e0041}\u{2028}";
    let (_, text) = dead(&["show", "99999999999998-1"]);
    let lines: Vec<&str> = text.lines().collect();
    let expected = ["queue", "id", "task", "cause"].map(|name| format!("{name}: {shown}"));
    assert_eq!(lines[1..], expected);
    let (_, text) = dead(&["list"]);
    assert_eq!(text.matches(shown).count(), 4, "{text}");
    assert_eq!(dead(&["purge", "99999999999998-1"]).0, Some(0));
    assert_eq!(dead(&["show", "1-1"]).0, Some(1));
    assert_eq!(dead(&["replay", place]), (Some(0), "1 put back\n".into()));
    assert_eq!(dead(&["replay", place]), (Some(1), "0 put back\n".into()));
    assert!(redis.cli(&["LLEN", "celery"]).unwrap().contains('1'));
    // A dead letter without a queue to put it back into.
    let lost = ["queue", "", "cause", "unacked-entry", "raw", "{}"];
    redis
        .cli(&[&["XADD", "celery.dead", "99999999999999-1"][..], &lost].concat())
        .unwrap();
    assert_eq!(dead(&["replay", "99999999999999-1"]).0, Some(1));
    assert_eq!(redis.cli(&["EXISTS", ""]).unwrap().trim(), "0");
    dead(&["purge", "99999999999999-1"]);
    assert_eq!(dead(&["purge"]).0, Some(64));
    assert_eq!(dead(&["purge", "--all"]), (Some(0), "1 deleted\n".into()));
    assert_eq!(letters().trim(), "0");
}

#[test]
fn a_letter_goes_back_to_the_list_of_its_step() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    for (place, options, priority, list) in [
        (
            "1-1",
            &["--priority-steps", "0,5"][..],
            7,
            "mail\u{6}\u{16}5",
        ),
        (
            "2-1",
            &["--priority-steps", "0,9", "--priority-sep", ":"],
            9,
            "mail:9",
        ),
        ("3-1", &["--priority-sep", "::"], 4, "mail::3"),
        ("4-1", &["--priority-steps", "0"], 9, "mail"),
    ] {
        let task = Task::new(
            "id",
            "proj.unknown",
            RawValue::from_string("[]".into()).unwrap(),
            RawValue::from_string("{}".into()).unwrap(),
        );
        let message = task
            .encode_redis(&EncodeOptions::new("mail", "tag"))
            .unwrap();
        let message = String::from_utf8(message).unwrap();
        let message = message.replace(r#""priority":0"#, &format!(r#""priority":{priority}"#));
        let letter = ["queue", "mail", "cause", "not-registered", "raw", &message];
        redis
            .cli(&[&["XADD", "celery.dead", place][..], &letter].concat())
            .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_celery-worker"))
            .args(["--broker", &redis.url()])
            .args(options)
            .args(["dead", "replay", place])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(redis.cli(&["LLEN", list]).unwrap().trim(), "1", "{list:?}");
    }
}

#[test]
fn a_prefix_precedes_every_key_and_an_empty_variable_is_ignored() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut command = command(&redis, "sqlite::memory:", &["--key-prefix", "shop:"]);
    for empty in [
        "CELERY_WORKER_CONCURRENCY",
        "CELERY_WORKER_LEASE",
        "CELERY_RESULT_BACKEND",
    ] {
        command.env(empty, "");
    }
    let mut worker = Process::spawn("celery-worker", &mut command).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    redis.cli(&["LPUSH", "shop:celery", "neither"]).unwrap();
    wait_for(PATIENCE, "a dead letter", || {
        redis
            .cli(&["XLEN", "shop:celery.dead"])
            .unwrap()
            .contains('1')
    })
    .unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    let mut dead = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let list = dead
        .args(["dead", "list", "--broker", &redis.url()])
        .env("CELERY_WORKER_KEY_PREFIX", "shop:")
        .output()
        .unwrap();
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.contains("not-an-object"), "{list}");
    // Remote control leaves kombu's list of deadlines behind, which kombu's own clients keep, too.
    let keys = redis.cli(&["KEYS", "*"]).unwrap();
    assert!(
        keys.lines().any(|key| key == "shop:celery.dead")
            && keys.lines().all(|key| key.starts_with("shop:")),
        "{keys}"
    );
}

#[test]
fn statements_in_the_file_are_tasks() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    rows(&database, 3);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    let config = format!(
        "database = '{}'\nbroker = '{}'\n\
        [tasks.rename]\nsql = 'UPDATE tasks SET name = :name WHERE id = :id'\nmust_match = true\n\
        [tasks.close]\nsql = 'UPDATE tasks SET status = \"closed\" WHERE id IN (:id)'\n\
        batch = {{ size = 10, linger = '5ms' }}\n",
        database.url(),
        redis.url()
    );
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    let mut worker = Process::spawn("celery-worker", command.arg("--config").arg(&file)).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    let injection = r#"["x', status = 'hacked", 1]"#;
    for (id, name, args) in [
        ("r1", "rename", injection),
        ("r2", "rename", r#"["y", 77]"#),
        ("c2", "close", "[2]"),
        ("c3", "close", "[3]"),
        ("c4", "close", "[3, 4]"),
    ] {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        let task = Task::new(id, name, raw(args), raw("{}"));
        let message = task
            .encode_redis(&EncodeOptions::new("celery", id))
            .unwrap();
        redis
            .cli(&["LPUSH", "celery", &String::from_utf8(message).unwrap()])
            .unwrap();
    }
    let ids = ["r1", "r2", "c2", "c3", "c4"];
    wait_for(PATIENCE, "all results", || {
        ids.iter().all(|id| result(&redis, id).is_some())
    })
    .unwrap();
    let [r1, r2, c2, _, c4] = ids.map(|id| result(&redis, id).unwrap());
    assert_eq!(
        (&r1["status"], &r1["result"]),
        (&"SUCCESS".into(), &1.into())
    );
    assert_eq!(r2["result"]["exc_type"], "LookupError");
    assert_eq!(c2["status"], "SUCCESS");
    assert_eq!(c4["result"]["exc_type"], "TypeError");
    let names = database
        .sql("SELECT name, status FROM tasks ORDER BY id")
        .unwrap();
    assert!(names.contains("x', status = 'hacked\tpending"), "{names}");
    assert_eq!(names.matches("closed").count(), 2, "{names}");
}

#[test]
fn the_check_finds_settings_that_could_lose_tasks() {
    let safe = Redis::start(RedisOptions::new().aof()).unwrap();
    let unsafe_ = RedisOptions::new().set("maxmemory-policy", "allkeys-lru");
    let unsafe_ = Redis::start(unsafe_).unwrap();
    let run = |url: &str, results: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command.env("CELERY_RESULT_BACKEND", results);
        let output = command.args(["check", "-b", url]).args(more);
        let output = output.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    };
    let check_with = |url: &str, results: &str| run(url, results, &[]);
    let check = |url: &str| check_with(url, "");
    let (code, text) = run(&safe.url(), "", &["--strict"]);
    assert_eq!(code, Some(0), "{text}");
    // Warnings are an error only if `--strict` asks for it; every option of the worker may follow
    // the subcommand.
    let (code, text) = check(&unsafe_.url());
    assert_eq!(code, Some(0), "{text}");
    for warning in ["allkeys-lru", "appendonly"] {
        assert!(text.contains(warning), "{text}");
    }
    let more = [
        "--strict", "-c", "2", "-Q", "a,b", "--lease", "10s", "-l", "info",
    ];
    let (code, text) = run(&unsafe_.url(), "", &more);
    assert_eq!(code, Some(1), "{text}");
    let (code, text) = run(&safe.url(), "", &["--database", "sqlite::memory:"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("OK       database"), "{text}");
    // The server is away.
    let (code, text) = check("redis://127.0.0.1:1/0");
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("ERROR    broker redis://127.0.0.1:1/0"),
        "{text}"
    );
    // A result backend may evict keys, but must be reachable.
    let (code, text) = check_with(&safe.url(), &unsafe_.url());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("OK       result backend"), "{text}");
    let locked = Redis::start(RedisOptions::new().password("open sesame")).unwrap();
    let wrong = format!("redis://:guess@127.0.0.1:{}/0", locked.port());
    for (broker, results, server) in [
        (wrong.clone(), "", "broker"),
        (safe.url(), wrong.as_str(), "result backend"),
    ] {
        let (code, text) = check_with(&broker, results);
        assert_eq!(code, Some(78), "{text}");
        let line = format!("ERROR    {server} redis://:********@127.0.0.1");
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("authentication failed"), "{text}");
        assert!(!text.contains("guess"), "{text}");
    }
}

#[test]
fn a_refused_login_ends_the_start() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let locked = Redis::start(RedisOptions::new().password("open sesame")).unwrap();
    let wrong = format!("redis://:guess@127.0.0.1:{}/0", locked.port());
    for (option, name) in [
        ("--broker", "CELERY_BROKER_URL"),
        ("--result-backend", "CELERY_RESULT_BACKEND"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command.env("CELERY_BROKER_URL", redis.url());
        command.args(["--database", "sqlite::memory:", option, &wrong]);
        let mut worker = Process::spawn("celery-worker", &mut command).unwrap();
        let status = worker.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(78), "{}", worker.log());
        let text = worker.log();
        assert!(text.contains(name) && !text.contains("guess"), "{text}");
    }
}

#[test]
fn a_missing_password_is_a_refused_login() {
    let locked = Redis::start(RedisOptions::new().password("open sesame")).unwrap();
    let at = |user: &str| format!("redis://{user}127.0.0.1:{}/0", locked.port());
    for url in [at(""), at("app@"), at("default:@")] {
        for more in [&["check"][..], &[]] {
            let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
            command.args(["--database", "sqlite::memory:", "-b", &url]);
            let mut worker = Process::spawn("celery-worker", command.args(more)).unwrap();
            let status = worker.wait(PATIENCE).unwrap();
            assert_eq!(status.code(), Some(78), "{url} {more:?}: {}", worker.log());
            assert!(worker.log().contains("NOAUTH"), "{url}: {}", worker.log());
        }
    }
}

#[test]
fn a_broker_that_comes_late_is_checked_then() {
    let mut redis = Redis::start(RedisOptions::new()).unwrap();
    redis.kill9();
    let mut worker = worker(&redis, "sqlite::memory:", &[]);
    worker.wait_for_line(PATIENCE, "Cannot connect").unwrap();
    redis.restart().unwrap();
    worker.wait_for_line(PATIENCE, "appendonly is off").unwrap();
}

#[test]
fn a_server_that_can_never_work_ends_the_start() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let cluster = Redis::start(RedisOptions::new().set("cluster-enabled", "yes")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let settings = folder.path().join("sentinel.conf");
    let port = celery_testkit::free_port().unwrap();
    std::fs::write(&settings, format!("port {port}\nbind 127.0.0.1\n")).unwrap();
    let mut sentinel = Command::new("redis-server");
    sentinel
        .arg(&settings)
        .arg("--sentinel")
        .current_dir(folder.path());
    let mut sentinel = Process::spawn("redis-sentinel", &mut sentinel).unwrap();
    sentinel.wait_for_line(PATIENCE, "Sentinel ID is").unwrap();
    let servers = [
        (cluster.url(), "Redis Cluster, which is used by"),
        // A cluster has database 0 only.
        (cluster.url_of_db(1), "Redis Cluster, which is used by"),
        (
            format!("redis://127.0.0.1:{port}/0"),
            "Redis Sentinel, which holds no queues",
        ),
        // A Sentinel does not know the command that selects a database.
        (
            format!("redis://127.0.0.1:{port}/3"),
            "Redis Sentinel, which holds no queues",
        ),
        (redis.url_of_db(99), "DB index is out of range"),
    ];
    let ways = [
        ("--broker", &[][..]),
        ("--broker", &["check"]),
        ("--result-backend", &[]),
        ("--result-backend", &["check"]),
    ];
    for ((url, words), (option, more)) in servers
        .iter()
        .flat_map(|server| ways.map(|way| (server, way)))
    {
        let output = Command::new(env!("CARGO_BIN_EXE_celery-worker"))
            .env("CELERY_BROKER_URL", redis.url())
            .args(["--database", "sqlite::memory:", option, url])
            .args(more)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains(words), "{text}");
    }
}
