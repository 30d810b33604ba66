//! The statements of SQL tasks: a statement that can never work ends the start, and one that a
//! migration may mend causes a warning.

use std::path::PathBuf;
use std::process::{Command, Output};

use celery_testkit::{MariaDb, Postgres, Process, Redis, RedisOptions};
use tempfile::TempDir;

use crate::world::*;

/// The shipped program, with a file of settings.
struct Settings {
    folder: TempDir,
    broker: String,
    database: String,
}

impl Settings {
    /// Writes tasks named `t0`, `t1`, … with these statements.
    fn new(redis: &Redis, database: &str, statements: &[&str]) -> Self {
        let tasks = statements.iter().enumerate();
        let tasks = tasks.map(|(at, sql)| format!("[tasks.t{at}]\nsql = '''{sql}'''\n"));
        Self::with(redis, database, &tasks.collect::<String>())
    }

    fn with(redis: &Redis, database: &str, tasks: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("worker.toml"), tasks).unwrap();
        Settings {
            folder,
            broker: redis.url(),
            database: database.to_owned(),
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("worker.toml")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command.args(["-b", &self.broker, "--database", &self.database]);
        command.arg("--config").arg(self.file());
        command
    }

    fn check(&self) -> (Option<i32>, String) {
        said(self.command().arg("check").output().unwrap())
    }

    /// Starts the worker, which must end by itself.
    fn start_fails(&self) -> (Option<i32>, String) {
        let mut worker = Process::spawn("celery-worker", &mut self.command()).unwrap();
        let code = worker.wait(PATIENCE).unwrap().code();
        (code, worker.log())
    }

    fn start(&self) -> Process {
        start(&mut self.command())
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Asserts that check and start both end with 78 and say this.
fn a_mistake(redis: &Redis, database: &str, statement: &str, parts: &[&str]) {
    let settings = Settings::new(redis, database, &[statement]);
    for (code, text) in [settings.check(), settings.start_fails()] {
        assert_eq!(code, Some(78), "{statement}: {text}");
        assert!(!text.contains("ready."), "{statement}: {text}");
        for part in parts.iter().chain(&["t0"]) {
            assert!(text.contains(part), "{statement}: {part} is not in {text}");
        }
    }
}

/// Asserts that the check fails, and that the worker starts with a warning that names the task.
fn a_warning(redis: &Redis, database: &str, statement: &str, part: &str) {
    let settings = Settings::new(redis, database, &[statement]);
    let (code, text) = settings.check();
    assert_eq!(code, Some(1), "{statement}: {text}");
    assert!(
        text.contains("the task t0 will fail"),
        "{statement}: {text}"
    );
    assert!(text.contains(part), "{statement}: {text}");
    let mut worker = settings.start();
    let line = worker.wait_for_line(PATIENCE, "the task t0 will fail");
    assert!(line.unwrap().contains(part), "{statement}");
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

/// Asserts that the check finds nothing wrong, and that the worker starts without a warning.
fn fit(redis: &Redis, database: &str, statements: &[&str]) {
    let settings = Settings::new(redis, database, statements);
    let (code, text) = settings.check();
    assert_eq!(code, Some(0), "{text}");
    let prepared = format!("statements of SQL tasks: {} prepared", statements.len());
    assert!(text.contains(&prepared), "{text}");
    let mut worker = settings.start();
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    assert!(!worker.log().contains("the task t"), "{}", worker.log());
}

#[test]
fn mistakes_that_are_found_without_a_database() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    // Nothing listens there.
    let away = "mysql://u:p@127.0.0.1:1/d";
    for (statement, parts) in [
        (
            "UPDATE t SET n = n + 1 WHERE id = :id; UPDATE t SET s = 'two' WHERE id = :id",
            &[
                "one statement",
                "line 1, column 40",
                "UPDATE t SET s = 'two'",
            ][..],
        ),
        ("DELETE FROM a;\nDELETE FROM b;", &["line 2, column 1"]),
        (
            "SELECT s FROM t WHERE id = :id",
            &["SELECT only returns rows"],
        ),
        ("SHOW TABLES", &["SHOW only returns rows"]),
        ("-- nothing", &["empty"]),
        ("COMMIT", &["COMMIT controls a transaction"]),
        ("SET sql_mode = ''", &["SET works on a session"]),
        ("LOCK TABLES t WRITE", &["LOCK TABLES works on a session"]),
        (
            "ANALYZE TABLE t",
            &["ANALYZE reports errors only in the rows"],
        ),
        (
            "BEGIN NOT ATOMIC DELETE FROM a; DELETE FROM b; END",
            &["BEGIN NOT ATOMIC … END is a compound statement", "CALL"],
        ),
    ] {
        a_mistake(&redis, away, statement, parts);
    }
}

#[test]
fn statements_on_mariadb() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    database
        .sql(
            "CREATE TABLE t (id INT PRIMARY KEY, n INT); CREATE TABLE secret (id INT, n INT); \
             CREATE PROCEDURE p(i INT) UPDATE t SET n = i; \
             CREATE FUNCTION f(i INT) RETURNS INT DETERMINISTIC RETURN i; \
             CREATE USER little@'127.0.0.1' IDENTIFIED BY 'little'; \
             GRANT SELECT (id), UPDATE (id) ON t TO little@'127.0.0.1'",
        )
        .unwrap();
    let url = database.url();
    for (statement, part) in [
        ("UPDTE t SET n = :n", "near 'UPDTE"),
        ("UPDATE t SET n = :n WHERE", "1064"),
        ("UPDATE t SET n = SUM(:n)", "1111"),
        (
            "DELETE FROM t WHERE id IN (SELECT id FROM secret LIMIT 1)",
            "1235",
        ),
    ] {
        a_mistake(&redis, &url, statement, &[part]);
    }
    for (statement, part) in [
        ("UPDATE missing SET n = :n", "1146"),
        ("UPDATE t SET missing = :n", "1054"),
        ("CALL missing(:n)", "1305"),
        ("DO missing(:n)", "1305"),
        ("INSERT INTO t VALUES (:a, :b, :c)", "1136"),
    ] {
        a_warning(&redis, &url, statement, part);
    }
    let little = url.replace("celery:celery@", "little:little@");
    for (statement, part) in [
        ("UPDATE secret SET n = :n", "1142"),
        ("UPDATE t SET n = :n", "1143"),
        ("CALL p(:n)", "1305"),
        ("DO f(:n)", "1370"),
    ] {
        a_warning(&redis, &little, statement, part);
    }
    fit(
        &redis,
        &url,
        &[
            "UPDATE t SET n = :n WHERE id IN (:ids);",
            "CALL p(:n)",
            "DO f(:n)",
            "INSERT INTO t (id) VALUES (:id) RETURNING id",
            "CREATE TABLE IF NOT EXISTS u AS SELECT 1",
            // Error 1295: MariaDB cannot prepare this statement.
            "EXECUTE IMMEDIATE 'DELETE FROM t'",
        ],
    );
}

#[test]
fn quotes_mean_what_the_sql_mode_says() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let literal = [
        r"UPDATE t SET s = 'a\' WHERE n = :n",
        r"UPDATE t SET s = 'C:\' WHERE s = 'D:\' AND n = :n",
        r"DELETE FROM t WHERE s IN ('\', :s)",
    ];
    let escaped = [
        r"UPDATE t SET s = 'it\'s' WHERE n = :n",
        r"DELETE FROM t WHERE s = '\'' OR n = :n",
        r"UPDATE t SET s = 'x\'; DELETE FROM t -- ' WHERE n = :n",
    ];
    for (mode, fitting, wrong) in [
        ("NO_BACKSLASH_ESCAPES", literal, escaped),
        ("STRICT_ALL_TABLES", escaped, literal),
    ] {
        let server = MariaDb::start_with(&[&format!("--sql-mode={mode}")]).unwrap();
        server.sql("CREATE TABLE t (n INT, s TEXT)").unwrap();
        fit(&redis, &server.url(), &fitting);
        for statement in wrong {
            a_mistake(
                &redis,
                &server.url(),
                statement,
                &["settings of the database"],
            );
        }
    }
}

#[test]
fn statements_on_postgresql() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = Postgres::start().unwrap();
    database
        .sql(
            "CREATE TABLE t (id int PRIMARY KEY, n int); CREATE TABLE secret (id int, n int); \
             CREATE FUNCTION f(i int) RETURNS int LANGUAGE sql AS 'SELECT i'; \
             CREATE ROLE little LOGIN PASSWORD 'little'; \
             GRANT SELECT, UPDATE (n) ON t TO little",
        )
        .unwrap();
    let url = database.url();
    for (statement, part) in [
        ("UPDTE t SET n = :n", "at or near \"UPDTE\""),
        ("UPDATE t SET n = :n WHERE", "42601"),
        ("INSERT INTO t (id) VALUES (:id", "42601"),
    ] {
        a_mistake(&redis, &url, statement, &[part]);
    }
    for (statement, part) in [
        ("UPDATE missing SET n = :n", "42P01"),
        ("UPDATE t SET missing = :n", "42703"),
        ("CALL missing(:n)", "42883"),
        ("SELECT missing(:n)", "42883"),
        ("UPDATE t SET n = (:n)::missing", "42704"),
    ] {
        a_warning(&redis, &url, statement, part);
    }
    let little = url.replace("celery:celery@", "little:little@");
    for statement in [
        "UPDATE secret SET n = :n",
        "UPDATE t SET id = :n",
        "DELETE FROM t WHERE id = :id",
        "INSERT INTO t SELECT * FROM secret WHERE id = :id",
    ] {
        a_warning(&redis, &little, statement, "42501");
    }
    fit(
        &redis,
        &url,
        &[
            "UPDATE t SET n = CAST(:n AS int) WHERE id IN (:ids);",
            "SELECT f(:n)",
            "SELECT pg_notify('x', :text)",
            "WITH gone AS (DELETE FROM t WHERE id = :id RETURNING *) SELECT * FROM gone",
            "INSERT INTO t (id) VALUES (:id) RETURNING id",
            "DO $$ BEGIN DELETE FROM t; DELETE FROM t; END $$",
            "INSERT INTO t SELECT 1, 2 WHERE :a IS NULL",
        ],
    );
    fit(&redis, &little, &["UPDATE t SET n = :n WHERE id = :id"]);
}

#[test]
fn statements_on_sqlite() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let url = format!("sqlite://{}?mode=rwc", file.display());
    for (statement, part) in [
        ("UPDTE t SET n = :n", "near \"UPDTE\": syntax error"),
        ("UPDATE t SET n = ", "incomplete input"),
        ("UPDATE t SET n = 1 ^ 2", "unrecognized token"),
    ] {
        a_mistake(&redis, &url, statement, &[part]);
    }
    for (statement, part) in [
        ("UPDATE missing SET n = :n", "no such table: missing"),
        ("DELETE FROM sqlite_sequence WHERE missing = :n", "no such"),
        ("CREATE TABLE u AS SELECT missing(:n)", "no such function"),
    ] {
        a_warning(&redis, &url, statement, part);
    }
    fit(
        &redis,
        &url,
        &["CREATE TABLE IF NOT EXISTS t (id INT)", "PRAGMA optimize"],
    );
}

#[test]
fn a_task_without_its_table_fails_alone_until_the_migration() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start().unwrap();
    database.sql("CREATE TABLE t (id INT PRIMARY KEY)").unwrap();
    let tasks = "[tasks.there]\nsql = 'INSERT INTO t (id) VALUES (:id)'\n\
        [tasks.single]\nsql = 'INSERT INTO u (id) VALUES (:id)'\n\
        [tasks.batch]\nsql = 'DELETE FROM u WHERE id IN (:id)'\nbatch = { linger = '1ms' }\n";
    let worker = Settings::with(&redis, &database.url(), tasks).start();
    for task in ["single", "batch"] {
        assert!(
            worker.log().contains(&format!("the task {task} will fail")),
            "{}",
            worker.log()
        );
        post(&redis, task, task, "[1]", None);
        wait_for_status(&redis, task, "FAILURE", &worker);
        let failure = result(&redis, task).unwrap();
        assert_eq!(failure["result"]["exc_type"], "ProgrammingError");
        assert_eq!(failure["result"]["exc_message"][0], 1146, "{failure}");
    }
    post(&redis, "there", "there", "[1]", None);
    wait_for_status(&redis, "there", "SUCCESS", &worker);
    database.sql("CREATE TABLE u (id INT)").unwrap();
    for task in ["single", "batch"] {
        let again = format!("{task}-again");
        post(&redis, &again, task, "[1]", None);
        wait_for_status(&redis, &again, "SUCCESS", &worker);
    }
}

#[test]
fn a_mistake_that_an_absent_database_hides_ends_the_worker_later() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut database = MariaDb::start().unwrap();
    let url = database.url();
    database.stop();
    let settings = Settings::new(&redis, &url, &["UPDTE t SET n = :n"]);
    let (code, text) = settings.check();
    assert_eq!(code, Some(1), "{text}");
    let mut worker = settings.start();
    post(&redis, "held", "t0", "[1]", None);
    worker
        .wait_for_line(PATIENCE, "Tasks that need it wait")
        .unwrap();
    celery_testkit::wait_for(PATIENCE, "the task to be held", || {
        count(&redis, &["HLEN", "unacked"]) == 1
    })
    .unwrap();
    database.restart().unwrap();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(78));
    assert!(worker.log().contains("near 'UPDTE"), "{}", worker.log());
    // The message that it held went back, unless its task had failed before.
    let failed = result(&redis, "held").is_some();
    assert_eq!(count(&redis, &["HLEN", "unacked"]), 0);
    assert_eq!(count(&redis, &["LLEN", "celery"]), u64::from(!failed));
}

/// Asserts that a worker whose own connections use all connections of the server does not call it
/// away. It runs all calls, and still learns what the server says of the statements.
fn all_room_is_ours(url: &str, sleep: &str) {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let tasks = [sleep, "UPDATE missing SET n = :n"];
    let settings = Settings::new(&redis, url, &tasks);
    let many = ["-c", "16", "--database-connections", "16"];
    let mut worker = start(settings.command().args(many));
    let calls: Vec<String> = (0..48).map(|call| format!("call-{call}")).collect();
    for call in &calls {
        post(&redis, call, "t0", "[0.2]", None);
    }
    for call in &calls {
        wait_for_status(&redis, call, "SUCCESS", &worker);
    }
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
    let log = worker.log();
    assert!(log.contains("the task t1 will fail"), "{log}");
    assert!(!log.contains("unavailable"), "{log}");
    // The worker warns once about all refusals.
    let warned = log.matches("takes no further connection").count();
    assert_eq!(warned, 1, "{log}");
}

#[test]
fn a_server_whose_room_is_ours_is_not_away() {
    let mariadb = MariaDb::start_with(&["--max-connections=10"]).unwrap();
    all_room_is_ours(&mariadb.url(), "DO SLEEP(:s)");
    let limited = MariaDb::start().unwrap();
    limited
        .sql(
            "CREATE USER few@'127.0.0.1' IDENTIFIED BY 'few' WITH MAX_USER_CONNECTIONS 5; \
             GRANT ALL ON celery.* TO few@'127.0.0.1'",
        )
        .unwrap();
    let few = limited.url().replace("celery:celery@", "few:few@");
    all_room_is_ours(&few, "DO SLEEP(:s)");
    let postgres = Postgres::start_with("max_connections = 8").unwrap();
    all_room_is_ours(&postgres.url(), "SELECT pg_sleep(:s)");
}
