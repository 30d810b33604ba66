//! Effects that happen once: `celery_inbox` on real databases, and under the built worker.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Cut, MariaDb, Postgres, Process, Proxy, Redis, RedisOptions, wait_for};
use celery_worker::{Database, Exception, Kind, TaskError};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Barrier;

const PATIENCE: Duration = Duration::from_mins(1);
const COUNTERS: &str = "CREATE TABLE counters (id INT PRIMARY KEY, n INT NOT NULL)";
const START: &str = "INSERT INTO counters (id, n) VALUES (1, 0), (2, 0), (3, 0)";
const COUNT: &str = "UPDATE counters SET n = n + 1 WHERE id = :id";
/// The statement that `celery-worker check` prints.
const MARIADB_INBOX: &str = "CREATE TABLE celery_inbox (task_id VARBINARY(255) NOT NULL PRIMARY KEY, \
    result LONGTEXT CHARACTER SET utf8mb4 NULL, \
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
    INDEX celery_inbox_created_at (created_at)) ENGINE = InnoDB";

async fn counters(database: &Database) -> Vec<i128> {
    let read = database.transaction(|open| {
        Box::pin(async { open.keys("SELECT n FROM counters ORDER BY id", &[]).await })
    });
    read.await.unwrap()
}

/// Adds one to a counter, once for this id, and returns a text.
async fn count(database: &Database, id: &str, counter: i64) -> Result<String, TaskError> {
    let answer = format!("counted by {id} – ü");
    database
        .once(id, move |open| {
            let answer = answer.clone();
            Box::pin(async move {
                open.execute(COUNT, &[("id", json!(counter))]).await?;
                Ok(answer)
            })
        })
        .await
}

async fn same_everywhere(database: &Database) {
    // The second call succeeds with the answer of the first, whatever its code would do.
    for _ in 0..2 {
        let answer = count(database, "a", 1).await.unwrap();
        assert_eq!(answer, "counted by a – ü");
        assert_eq!(counters(database).await, [1, 0, 0]);
    }
    count(database, "A", 1).await.unwrap();
    count(database, "a ", 1).await.unwrap();
    assert_eq!(counters(database).await, [3, 0, 0]);
    let again: Result<u64, TaskError> = database.once("a", |_| Box::pin(async { Ok(1) })).await;
    assert!(format!("{again:?}").contains("cannot be read"), "{again:?}");
    assert!(count(database, &"x".repeat(256), 1).await.is_err());

    // A batch with a known call, a call that comes twice, and a call that fails.
    let ids = ["a", "b", "c", "b", "fails"].map(str::to_owned).to_vec();
    let runs = Arc::new(AtomicUsize::new(0));
    for run in 1..=2 {
        let seen = Arc::clone(&runs);
        let answers = database.once_each(ids.clone(), move |open, fresh| {
            seen.fetch_add(fresh.len(), Ordering::Relaxed);
            Box::pin(async move {
                let mut answers = Vec::new();
                for position in fresh {
                    answers.push(if position == 4 {
                        Err(Exception::new("LookupError", "no").into())
                    } else {
                        open.execute(COUNT, &[("id", json!(2))]).await?;
                        Ok(format!("{position}"))
                    });
                }
                Ok(answers)
            })
        });
        let answers = answers.await.unwrap();
        let texts: Vec<&str> = answers.iter().flatten().map(String::as_str).collect();
        assert_eq!(texts, ["counted by a – ü", "1", "2", "1"]);
        assert!(answers[4].is_err());
        assert_eq!(counters(database).await, [3, 2, 0], "run {run}");
    }
    // The first run has b, c and the failing call; the second only the failing one.
    assert_eq!(runs.load(Ordering::Relaxed), 4);

    // A call that fails as a whole leaves nothing behind.
    let failed: Result<u64, TaskError> = database
        .once("d", |open| {
            Box::pin(async {
                open.execute(COUNT, &[("id", json!(3))]).await?;
                open.execute("INSERT INTO nowhere VALUES (1)", &[]).await
            })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(counters(database).await, [3, 2, 0]);
    count(database, "d", 3).await.unwrap();
    assert_eq!(counters(database).await, [3, 2, 1]);

    // A batch of 2,500 calls: their number may exceed the placeholders that one statement can have.
    let ids: Vec<String> = (0..2_500).map(|n| format!("many-{n}")).collect();
    for _ in 0..2 {
        let answers = database.once_each(ids.clone(), |open, fresh| {
            Box::pin(async move {
                let sql = "UPDATE counters SET n = n + :fresh WHERE id = 3";
                open.execute(sql, &[("fresh", json!(fresh.len()))]).await?;
                Ok(fresh.iter().map(|_| Ok(())).collect())
            })
        });
        let answers: Vec<Result<(), TaskError>> = answers.await.unwrap();
        assert_eq!(answers.iter().flatten().count(), 2_500);
    }
    assert_eq!(counters(database).await, [3, 2, 2_501]);
}

/// Makes two tasks do the same work at the same time: the second one's is undone.
async fn race(database: &Database) {
    let before = counters(database).await[0];
    let meeting = Arc::new(Barrier::new(2));
    let both = [1, 2].map(|_| {
        let (database, meeting) = (database.clone(), Arc::clone(&meeting));
        tokio::spawn(async move {
            let first = Arc::new(AtomicBool::new(true));
            let raced = database.once("race", move |open| {
                let (meeting, first) = (Arc::clone(&meeting), Arc::clone(&first));
                Box::pin(async move {
                    if first.swap(false, Ordering::Relaxed) {
                        meeting.wait().await;
                    }
                    open.execute(COUNT, &[("id", json!(1))]).await
                })
            });
            raced.await
        })
    });
    for one in both {
        assert_eq!(one.await.unwrap().unwrap(), 1);
    }
    assert_eq!(counters(database).await[0], before + 1);
}

#[tokio::test]
async fn mariadb() {
    let server = MariaDb::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    server.sql(&format!("{COUNTERS}; {START}")).unwrap();
    let missing = count(&database, "a", 1).await.unwrap_err();
    assert!(
        format!("{missing:?}").contains("celery_inbox"),
        "{missing:?}"
    );
    server.sql(MARIADB_INBOX).unwrap();
    same_everywhere(&database).await;
    race(&database).await;
}

/// Asserts that the second of two tasks for one call waits for the first, and does not fail.
#[tokio::test]
async fn a_twin_that_takes_long_is_waited_for() {
    let server = MariaDb::start_with(&["--innodb-lock-wait-timeout=1"]).unwrap();
    server
        .sql(&format!("{COUNTERS}; {START}; {MARIADB_INBOX}"))
        .unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let (held, mut holding) = tokio::sync::mpsc::unbounded_channel();
    let twin = tokio::spawn({
        let database = database.clone();
        async move {
            let working = database.transaction(move |open| {
                let held = held.clone();
                Box::pin(async move {
                    open.execute("INSERT INTO celery_inbox (task_id) VALUES ('a')", &[])
                        .await?;
                    let (go, going) = tokio::sync::oneshot::channel::<()>();
                    held.send(go).unwrap();
                    let _ = going.await;
                    Ok(())
                })
            });
            working.await
        }
    });
    let go = holding.recv().await.unwrap();
    let waiting = count(&database, "a", 1).await.unwrap_err();
    assert!(
        matches!(waiting, TaskError::Unavailable { .. }),
        "{waiting:?}"
    );
    go.send(()).unwrap();
    twin.await.unwrap().unwrap();
    assert_eq!(counters(&database).await, [0, 0, 0]);
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("test.db").display()
    );
    let database = Database::from_url(&url).unwrap();
    for sql in [
        COUNTERS,
        START,
        "CREATE TABLE celery_inbox (task_id TEXT NOT NULL PRIMARY KEY, result TEXT, \
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)",
        "CREATE INDEX celery_inbox_created_at ON celery_inbox (created_at)",
    ] {
        database.execute(sql, &[]).await.unwrap();
    }
    same_everywhere(&database).await;
}

#[tokio::test]
async fn postgres() {
    let server = Postgres::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    for sql in [
        COUNTERS,
        START,
        "CREATE TABLE celery_inbox (task_id text PRIMARY KEY, result text, \
            created_at timestamptz NOT NULL DEFAULT now())",
        "CREATE INDEX celery_inbox_created_at ON celery_inbox (created_at)",
    ] {
        database.execute(sql, &[]).await.unwrap();
    }
    same_everywhere(&database).await;
    race(&database).await;
}

#[tokio::test]
async fn a_commit_without_an_answer_has_no_second_effect() {
    let server = MariaDb::start().unwrap();
    server
        .sql(&format!("{COUNTERS}; {START}; {MARIADB_INBOX}"))
        .unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let url = server.url().replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", proxy.port()),
    );
    let database = Database::from_url(&url).unwrap();
    for (number, cut) in [Cut::Request, Cut::Answer].into_iter().enumerate() {
        let id = format!("{cut:?}");
        proxy.cut_at("COMMIT", cut);
        let lost = count(&database, &id, 1).await.unwrap_err();
        assert!(matches!(lost, TaskError::Unavailable { .. }), "{lost:?}");
        let answer = count(&database, &id, 1).await.unwrap();
        assert!(answer.contains(&id), "{answer}");
        let done = i128::try_from(number).unwrap() + 1;
        assert_eq!(counters(&database).await[0], done, "{cut:?}");
        // Without the inbox the effect happens twice if the first was committed.
        proxy.cut_at("COMMIT", cut);
        let plain = [("id", json!(2))];
        let lost = database.execute(COUNT, &plain).await.unwrap_err();
        assert_eq!(lost.kind(), Kind::Unavailable);
        database.execute(COUNT, &plain).await.unwrap();
    }
    assert_eq!(proxy.cuts(), 4);
    assert_eq!(counters(&database).await[1], 1 + 2);
}

fn post(redis: &Redis, id: &str, name: &str, args: &str) {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new(id, name, raw(args), raw("{}"));
    let tag = uuid::Uuid::new_v4().to_string();
    let message = task
        .encode_redis(&EncodeOptions::new("celery", &tag))
        .unwrap();
    let message = String::from_utf8(message).unwrap();
    redis.cli(&["LPUSH", "celery", &message]).unwrap();
}

fn result(redis: &Redis, id: &str) -> Option<Value> {
    let key = format!("celery-task-meta-{id}");
    serde_json::from_str(redis.cli(&["GET", &key]).unwrap().trim()).ok()
}

fn wait_until_idle(redis: &Redis, worker: &Process) {
    let zero = |command: [&str; 2]| {
        let answer = redis.cli(&command).unwrap();
        answer.trim().trim_start_matches("(integer) ") == "0"
    };
    let idle = || zero(["LLEN", "celery"]) && zero(["HLEN", "unacked"]);
    if let Err(error) = wait_for(PATIENCE, "everything to be done", idle) {
        panic!("{error}; the worker said:\n{}", worker.log());
    }
}

#[test]
fn the_worker_applies_each_call_once() {
    const TASKS: &str = "[tasks.count]\nsql = 'UPDATE counters SET n = n + 1 WHERE id = :id'\n\
        once = true\nmust_match = true\nmax_retries = 0\n\
        [tasks.count_many]\nsql = 'UPDATE counters SET n = n + 1 WHERE id IN (:id)'\n\
        batch = { size = 10, linger = '50ms' }\n\
        [tasks.count_twice]\nsql = 'UPDATE counters SET n = n + 1 WHERE id = :id'\nonce = false\n";
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let server = MariaDb::start().unwrap();
    server
        .sql(&format!(
            "{COUNTERS}; {START}; CREATE TABLE tasks (id INT PRIMARY KEY, status VARCHAR(9), \
                message VARCHAR(99), updated_at TIMESTAMP(6) NULL, n INT NOT NULL DEFAULT 0); \
            CREATE TRIGGER counting BEFORE UPDATE ON tasks FOR EACH ROW SET NEW.n = OLD.n + 1; \
            INSERT INTO tasks (id) VALUES (1), (2)"
        ))
        .unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let url = server.url().replace(
        &format!(":{}/", server.port()),
        &format!(":{}/", proxy.port()),
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("worker.toml");
    std::fs::write(&file, TASKS).unwrap();
    let command = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command
            .args(["-b", &redis.url(), "--database", &url])
            .args(["-l", "info", "--exactly-once", "--metrics-addr", "0"])
            .arg("--config")
            .arg(&file)
            .args(more);
        command
    };

    // Without the table the worker does not start, and says how to make it.
    let output = command(&[]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{text}");
    assert!(text.contains("exactly_once"), "{text}");
    let output = command(&["check"]).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let made = text.lines().find(|line| line.starts_with("CREATE TABLE"));
    server.sql(made.unwrap()).unwrap();

    let mut worker = Process::spawn("celery-worker", &mut command(&[])).unwrap();
    worker.wait_for_line(PATIENCE, "ready.").unwrap();
    let counters = || {
        let rows = server.sql("SELECT n FROM counters ORDER BY id").unwrap();
        rows.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    // The answer to the COMMIT is lost, and then the message comes a second time.
    proxy.cut_at("COMMIT", Cut::Answer);
    post(&redis, "c1", "count", "[1]");
    wait_until_idle(&redis, &worker);
    assert_eq!(proxy.cuts(), 1);
    redis.cli(&["DEL", "celery-task-meta-c1"]).unwrap();
    post(&redis, "c1", "count", "[1]");
    // A failed call does not count as applied.
    post(&redis, "c2", "count", "[99]");
    wait_until_idle(&redis, &worker);
    assert_eq!(counters(), ["1", "0", "0"]);
    assert_eq!(result(&redis, "c1").unwrap()["result"], 1);
    assert_eq!(result(&redis, "c2").unwrap()["status"], "FAILURE");

    // A call comes twice in one batch, and again in another.
    for id in ["m1", "m1", "m2"] {
        post(
            &redis,
            id,
            "count_many",
            if id == "m1" { "[2]" } else { "[3]" },
        );
    }
    wait_until_idle(&redis, &worker);
    proxy.cut_at("COMMIT", Cut::Answer);
    post(&redis, "m1", "count_many", "[2]");
    post(&redis, "m3", "count_many", "[3]");
    wait_until_idle(&redis, &worker);
    assert_eq!(counters(), ["1", "1", "2"]);
    assert_eq!(result(&redis, "m3").unwrap()["status"], "SUCCESS");

    // The worker's setting makes `task_created` apply each call once. A call for a missing row is
    // not remembered.
    for id in ["t1", "t1", "t2", "t9"] {
        post(&redis, id, "task_created", &format!("[{}]", &id[1..]));
    }
    let settled = || {
        let is = |id, status: &str| result(&redis, id).is_some_and(|doc| doc["status"] == status);
        is("t1", "SUCCESS") && is("t2", "SUCCESS") && is("t9", "RETRY")
    };
    wait_for(PATIENCE, "task_created", settled).unwrap();
    post(&redis, "t1", "task_created", "[1]");
    post(&redis, "end", "count_twice", "[1]");
    wait_for(PATIENCE, "the last result", || {
        result(&redis, "end").is_some()
    })
    .unwrap();
    assert_eq!(
        server.sql("SELECT n FROM tasks ORDER BY id").unwrap(),
        "1\n1"
    );
    let known = "SELECT COUNT(*) FROM celery_inbox WHERE task_id = 't9'";
    assert_eq!(server.sql(known).unwrap(), "0");

    // A task without `once` runs twice.
    post(&redis, "end", "count_twice", "[1]");
    wait_for(PATIENCE, "the second run", || counters()[0] == "3").unwrap();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}
