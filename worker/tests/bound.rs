//! The values of a message in columns, and the meaning of statements. The tests run SQL tasks of
//! the shipped worker on real servers and read the tables with the servers' own clients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::process::Command;
use std::time::Duration;

use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{MariaDb, Postgres, Process, Redis, RedisOptions, wait_for};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_mins(1);

/// A worker with SQL tasks, and a broker.
struct Tasks {
    redis: Redis,
    worker: Process,
    calls: u32,
}

impl Tasks {
    /// Starts a worker for a database with these tasks, each a name and a statement.
    fn start(database: &str, options: &[&str], tasks: &[(&str, &str)]) -> Self {
        let redis = Redis::start(RedisOptions::new()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("tasks.toml");
        let sections = tasks.iter().map(|(name, sql)| {
            let sql = toml::Value::from(*sql);
            format!("[tasks.{name}]\nsql = {sql}\n")
        });
        std::fs::write(&file, sections.collect::<String>()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
        command
            .args(["--broker", &redis.url(), "--database", database, "--config"])
            .arg(&file)
            .args(options);
        let mut worker = Process::spawn("celery-worker", &mut command).unwrap();
        worker.wait_for_line(PATIENCE, "ready.").unwrap();
        Tasks {
            redis,
            worker,
            calls: 0,
        }
    }

    /// Calls a task and waits for its result: the number of rows, or the text of the error.
    fn call(&mut self, name: &str, args: &Value) -> Result<u64, String> {
        self.calls += 1;
        let id = format!("call-{}", self.calls);
        let raw = |json: String| RawValue::from_string(json).unwrap();
        let task = Task::new(&id, name, raw(args.to_string()), raw("{}".to_owned()));
        let message = task
            .encode_redis(&EncodeOptions::new("celery", &id))
            .unwrap();
        let message = String::from_utf8(message).unwrap();
        self.redis.cli(&["LPUSH", "celery", &message]).unwrap();
        let key = format!("celery-task-meta-{id}");
        let mut document = Value::Null;
        let done = wait_for(PATIENCE, &id, || {
            let text = self.redis.cli(&["GET", &key]).unwrap();
            document = serde_json::from_str(text.trim()).unwrap_or_default();
            ["SUCCESS", "FAILURE"]
                .iter()
                .any(|status| document["status"] == *status)
        });
        if let Err(error) = done {
            panic!("{error}; the worker said:\n{}", self.worker.log());
        }
        if document["status"] == "SUCCESS" {
            Ok(document["result"].as_u64().unwrap())
        } else {
            Err(document["result"].to_string())
        }
    }

    /// Sets columns, one task each, and compares what a client then shows; `Err` holds a part of
    /// the expected error.
    fn set(&mut self, show: impl Fn(&str) -> String, rows: Vec<Row<'_>>) {
        for (column, value, expected) in rows {
            let called = self.call(column, &json!([value]));
            match (expected, called) {
                (Ok(expected), Ok(1)) => assert_eq!(show(column), expected, "{column} = {value}"),
                (Err(part), Err(error)) => {
                    assert!(error.contains(part), "{column} = {value}: {error}");
                }
                (expected, called) => panic!("{column} = {value}: {called:?}, not {expected:?}"),
            }
        }
    }
}

fn of_kombu(kind: &str, value: impl Into<Value>) -> Value {
    json!({ "__type__": kind, "__value__": value.into() })
}

fn uuid() -> Value {
    of_kombu("uuid", json!({"hex": "0b8a1e3c5d2f4c7a9e612f3b4c5d6e7f"}))
}

fn of_php(date: &str, kind: u8, zone: &str) -> Value {
    json!({ "date": date, "timezone_type": kind, "timezone": zone })
}

/// Returns values that no database accepts for a column of dates.
fn refused(column: &str) -> Vec<Row<'_>> {
    vec![
        (
            column,
            of_kombu("complex", "1j"),
            Err(":x has the __type__ \\\"complex\\\""),
        ),
        (
            column,
            of_kombu("time", "03:04:05+02:00"),
            Err(":x is the time 03:04:05+02:00"),
        ),
        (
            column,
            of_php("2026-05-02 03:04:05.000000", 3, "Mars/Base"),
            Err("Mars/Base"),
        ),
        (
            column,
            of_php("2026-05-02 03:04:05.000000", 2, "CEST"),
            Err("CEST"),
        ),
        (
            column,
            of_php("2026-03-29 02:30:00.000000", 3, "Europe/Berlin"),
            Err("does not exist"),
        ),
    ]
}

const UUID: &str = "0b8a1e3c-5d2f-4c7a-9e61-2f3b4c5d6e7f";

/// A column or a task, its value, and what a client shows or a part of the error.
type Row<'a> = (&'a str, Value, Result<&'static str, &'static str>);

/// A point in time as the clock of Berlin shows it.
const BERLIN: &str = "2026-05-02 03:04:05.000000";

/// Returns points in time for a column of dates, in a session with Berlin's zone or its offset.
fn moments(column: &str) -> Vec<Row<'_>> {
    vec![
        (
            column,
            of_kombu("datetime", "2026-05-02T01:04:05+00:00"),
            Ok(BERLIN),
        ),
        (
            column,
            of_kombu("datetime", "2026-05-02T10:04:05.000007+09:00"),
            Ok("2026-05-02 03:04:05.000007"),
        ),
        (
            column,
            of_kombu("datetime", "2026-05-02T01:04:05"),
            Ok("2026-05-02 01:04:05.000000"),
        ),
        (column, json!("2026-05-02T01:04:05.000000Z"), Ok(BERLIN)),
        (column, json!("2026-05-02T03:04:05+02:00"), Ok(BERLIN)),
        (column, json!("2026-05-01T20:04:05-0500"), Ok(BERLIN)),
        (
            column,
            json!("2026-05-02 01:04:05.5Z"),
            Ok("2026-05-02 03:04:05.500000"),
        ),
        (
            column,
            json!("2026-05-02 01:04:05"),
            Ok("2026-05-02 01:04:05.000000"),
        ),
        (
            column,
            json!("2026-05-02"),
            Ok("2026-05-02 00:00:00.000000"),
        ),
        (
            column,
            of_php("2026-05-02 03:04:05.000000", 3, "Europe/Berlin"),
            Ok(BERLIN),
        ),
        (
            column,
            of_php("2026-05-02 01:04:05.000000", 3, "UTC"),
            Ok(BERLIN),
        ),
        (
            column,
            of_php("2026-05-02 06:34:05.000000", 1, "+05:30"),
            Ok(BERLIN),
        ),
    ]
}

/// Returns values that MariaDB and PostgreSQL accept and show alike.
fn shared() -> Vec<Row<'static>> {
    vec![
        ("d", of_kombu("date", "2026-05-02"), Ok("2026-05-02")),
        (
            "d",
            of_kombu("datetime", "2026-05-02T22:30:00+00:00"),
            Ok("2026-05-03"),
        ),
        (
            "t",
            of_kombu("time", "03:04:05.678901"),
            Ok("03:04:05.678901"),
        ),
        ("u", uuid(), Ok(UUID)),
        ("v", uuid(), Ok(UUID)),
        ("raw", of_kombu("bytes", "abc"), Ok("616263")),
        ("j", json!([]), Ok("[]")),
        ("join", json!(["a"]), Err(":x is a list")),
        ("n_in", json!([[1]]), Err(":x holds a list")),
        ("n_in", json!({"a": 1}), Err(":x is an object")),
        ("limit", json!([1, 2]), Err(":x is a list")),
        ("limit", json!({"a": 1}), Err(":x is an object")),
        ("array", json!(["a", "b", "c"]), Err(":x is a list")),
        ("differs", json!(["a"]), Err(":x is a list")),
        ("differs", json!({"a": 1}), Err(":x is an object")),
        ("equals", json!(["a"]), Err(":x is a list")),
        ("passed", json!(["a"]), Err(":x is a list")),
    ]
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn values_in_columns_of_mariadb() {
    let server = MariaDb::start_with(&["--default-time-zone=+02:00"]).unwrap();
    server
        .sql(
            "CREATE TABLE v (id INT PRIMARY KEY, at DATETIME(6), ts TIMESTAMP(6) NULL, d DATE, t TIME(6), \
            n DECIMAL(40, 10), u UUID, raw VARBINARY(20), j JSON, v VARCHAR(80), b BIGINT UNSIGNED); \
            INSERT INTO v (id) VALUES (1)",
        )
        .unwrap();
    let columns = ["at", "ts", "d", "t", "n", "u", "raw", "j", "v", "b"];
    let statements = columns.map(|column| format!("UPDATE v SET {column} = :x WHERE id = 1"));
    let mut tasks: Vec<(&str, &str)> = columns
        .into_iter()
        .zip(statements.iter().map(String::as_str))
        .collect();
    tasks.extend([
        ("at_in", "UPDATE v SET v = 'in' WHERE at IN (:x)"),
        ("n_in", "UPDATE v SET v = 'in' WHERE n IN (:x)"),
        ("v_in", "UPDATE v SET b = 1 WHERE b IN (:x)"),
        ("v_not_in", "UPDATE v SET b = NULL WHERE b NOT IN (:x)"),
        ("plus", "UPDATE v SET n = n + :x WHERE id = 1"),
        ("array", "UPDATE v SET j = JSON_ARRAY(:x) WHERE id = 1"),
        ("join", "UPDATE v SET v = CONCAT_WS('-', :x) WHERE id = 1"),
        ("differs", "UPDATE v SET b = 1 WHERE v <> :x"),
        ("equals", "UPDATE v SET b = 1 WHERE v = :x"),
        ("same", "UPDATE v SET b = 5 WHERE j = JSON_COMPACT(:x)"),
        ("given", "UPDATE v SET b = 5 + IF(:x IS NULL, 0, 1)"),
        (
            "passed",
            "UPDATE v SET j = JSON_ARRAY(COALESCE(:x, 1)) WHERE id = 1",
        ),
        ("among", "UPDATE v SET v = 'x' WHERE id IN (1, :x)"),
        ("length", "UPDATE v SET b = JSON_LENGTH(:x) WHERE id = 1"),
        ("pipes", "UPDATE v SET v = 'closed' WHERE id = 7 || id = :x"),
        ("limit", "UPDATE v SET v = 'limit' LIMIT :x"),
        ("later", "UPDATE v SET at = NOW() + INTERVAL :x DAY"),
    ]);
    let mut worker = Tasks::start(&server.url(), &[], &tasks);
    let show = |column: &str| {
        let column = if column == "raw" { "HEX(raw)" } else { column };
        server.sql(&format!("SELECT {column} FROM v")).unwrap()
    };
    let mut rows = Vec::new();
    for column in ["at", "ts"] {
        rows.extend(moments(column));
        rows.extend(refused(column));
        rows.push((column, json!(null), Ok("NULL")));
    }
    rows.extend(shared());
    let digits = "123456789012345678901234567890.1234567891";
    rows.extend([
        ("t", of_kombu("time", "03:04"), Ok("03:04:00.000000")),
        ("n", of_kombu("decimal", digits), Ok(digits)),
        ("n", of_kombu("decimal", "-1E+5"), Ok("-100000.0000000000")),
        ("n", of_kombu("decimal", "0.1"), Ok("0.1000000000")),
        (
            "n",
            of_kombu("decimal", "NaN"),
            Err(":x is the decimal NaN"),
        ),
        (
            "n",
            of_kombu("decimal", format!("1E+{}", 400)),
            Err("more digits"),
        ),
        ("b", json!(u64::MAX), Ok("18446744073709551615")),
        ("raw", of_kombu("base64", "/wBhYmM="), Ok("FF00616263")),
        ("raw", of_kombu("bytes", ""), Ok("")),
        ("j", json!(["a", "b", "c"]), Ok(r#"["a","b","c"]"#)),
        ("j", json!(["a"]), Ok(r#"["a"]"#)),
        ("j", json!({"a": [1]}), Ok(r#"{"a":[1]}"#)),
        (
            "j",
            json!([of_kombu("decimal", "1.10"), uuid()]),
            Ok(r#"["1.10","0b8a1e3c-5d2f-4c7a-9e61-2f3b4c5d6e7f"]"#),
        ),
        (
            "j",
            json!({"at": of_kombu("datetime", "2026-05-02T03:04:05+02:00")}),
            Ok(r#"{"at":"2026-05-02T03:04:05+02:00"}"#),
        ),
        ("j", json!({"x": of_kombu("foo", 1)}), Err("foo")),
        (
            "v",
            json!("at 2026-05-02T01:04:05Z"),
            Ok("at 2026-05-02T01:04:05Z"),
        ),
        ("v", json!("2026-05-02T01:04:05Z"), Ok(BERLIN)),
        ("among", json!([2, 3]), Err(":x is a list")),
        ("among", json!({"a": 1}), Err(":x is an object")),
        ("limit", json!("many"), Err(":x stands behind LIMIT")),
        ("limit", json!(-1), Err(":x stands behind LIMIT")),
        ("limit", json!(null), Err(":x stands behind LIMIT")),
        ("plus", json!([1]), Err(":x is a list")),
        ("later", json!([1]), Err(":x is a list")),
    ]);
    worker.set(show, rows);
    for count in [json!(1), json!("1")] {
        assert_eq!(worker.call("limit", &json!([count])), Ok(1));
    }
    assert_eq!(worker.call("limit", &json!([0])), Ok(0));
    for document in [json!({"a": [1, "ä/b"]}), json!(["a"]), json!([])] {
        assert_eq!(worker.call("j", &json!([document])), Ok(1));
        assert_eq!(worker.call("same", &json!([document])), Ok(1), "{document}");
        assert_eq!(worker.call("given", &json!([document])), Ok(1));
        assert_eq!(show("b"), "6");
    }
    assert_eq!(worker.call("same", &json!([{"a": 2}])), Ok(0));
    assert_eq!(worker.call("length", &json!([["a", "b"]])), Ok(1));
    assert_eq!(show("b"), "2");

    // Values in the list of an IN are converted, too.
    let moments = json!([[
        of_kombu("datetime", "2026-05-02T01:04:05+00:00"),
        of_kombu("datetime", "2027-05-02T01:04:05+00:00"),
        "2026-01-01T00:00:00Z"
    ]]);
    assert_eq!(worker.call("at", &json!(["2026-01-01T00:00:00Z"])), Ok(1));
    assert_eq!(worker.call("at_in", &moments), Ok(1));
    assert_eq!(show("v"), "in");
    assert_eq!(
        worker.call("n", &json!([of_kombu("decimal", digits)])),
        Ok(1)
    );
    let near = digits.replace("891", "892");
    for (list, matched) in [
        (json!([of_kombu("decimal", digits)]), 1),
        (json!([1, of_kombu("decimal", digits)]), 1),
        (json!([of_kombu("decimal", near)]), 0),
        (json!([]), 0),
    ] {
        assert_eq!(worker.call("n_in", &json!([list])), Ok(matched), "{list}");
    }
    assert_eq!(
        worker.call("plus", &json!([of_kombu("decimal", "0.0000000001")])),
        Ok(1)
    );
    assert_eq!(show("n"), digits.replace("891", "892"));
    // `IN` with an empty list matches no row; `NOT IN` matches every row, also those with NULL.
    server
        .sql("INSERT INTO v (id, b) VALUES (2, NULL), (3, 3)")
        .unwrap();
    assert_eq!(worker.call("v_in", &json!([[]])), Ok(0));
    assert_eq!(worker.call("v_not_in", &json!([[]])), Ok(3));
    // `||` is OR, as in the client.
    assert_eq!(worker.call("pipes", &json!([1])), Ok(1));
    assert_eq!(
        server.sql("SELECT id FROM v WHERE v = 'closed'").unwrap(),
        "1"
    );
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn values_in_columns_of_postgres() {
    let server = Postgres::start_with("timezone = 'Europe/Berlin'").unwrap();
    server
        .sql(
            "CREATE TYPE mood AS ENUM ('fine', 'bad'); CREATE DOMAIN short AS varchar(5); \
            CREATE TABLE v (id int PRIMARY KEY, at timestamp, ts timestamptz, d date, t time, n numeric, \
            u uuid, raw bytea, j jsonb, v text, b bigint, m mood, s short, c char(3), a int[], f real, \
            bits bit(4)); INSERT INTO v (id) VALUES (1)",
        )
        .unwrap();
    let columns = [
        "at", "ts", "d", "t", "n", "u", "raw", "j", "v", "b", "m", "s", "c", "a", "f", "bits",
    ];
    let statements = columns.map(|column| format!("UPDATE v SET {column} = :x WHERE id = 1"));
    let mut tasks: Vec<(&str, &str)> = columns
        .into_iter()
        .zip(statements.iter().map(String::as_str))
        .collect();
    tasks.extend([
        ("ts_in", "UPDATE v SET v = 'in' WHERE ts IN (:x)"),
        ("n_in", "UPDATE v SET v = 'in' WHERE n IN (:x)"),
        ("id_in", "UPDATE v SET v = 'in' WHERE id IN (:x)"),
        ("id_not_in", "UPDATE v SET v = 'out' WHERE id NOT IN (:x)"),
        ("any", "UPDATE v SET v = 'any' WHERE id = ANY(:x)"),
        (
            "array",
            "UPDATE v SET j = jsonb_build_array(:x) WHERE id = 1",
        ),
        ("join", "UPDATE v SET v = concat_ws('-', :x) WHERE id = 1"),
        ("differs", "UPDATE v SET b = 1 WHERE v <> :x"),
        ("equals", "UPDATE v SET b = 1 WHERE v = :x"),
        (
            "passed",
            "UPDATE v SET v = concat_ws('-', COALESCE(:x, 'a')) WHERE id = 1",
        ),
        (
            "elements",
            "UPDATE v SET b = (SELECT count(*) FROM jsonb_array_elements(:x)) WHERE id = 1",
        ),
        (
            "is_null",
            "UPDATE v SET v = CASE WHEN :x IS NULL THEN 'null' ELSE 'some' END WHERE id = 1",
        ),
        ("text_id", "UPDATE v SET v = 'text' WHERE id = :x"),
        ("same", "UPDATE v SET b = 5 WHERE v = CAST(:x AS text)"),
        (
            "range",
            "UPDATE v SET b = 5 WHERE int8range(1, 2, '[]') = :x",
        ),
        (
            "distance",
            "UPDATE v SET b = 5 WHERE point(1, 1) <-> ((:x::jsonb ->> 0) || ',1')::point < 1",
        ),
        ("local", "SELECT set_config('app.user', :x, 't'::bool)"),
        ("j_in", "UPDATE v SET v = 'in' WHERE j IN (:x)"),
        (
            "limit",
            "UPDATE v SET v = 'limit' WHERE id IN (SELECT id FROM v LIMIT :x)",
        ),
    ]);
    let mut worker = Tasks::start(&server.url(), &[], &tasks);
    let show = |column: &str| {
        let shown = match column {
            "at" | "ts" => format!("to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US')"),
            "raw" => "encode(raw, 'hex')".to_owned(),
            "is_null" => "v".to_owned(),
            column => column.to_owned(),
        };
        server
            .sql(&format!("SELECT {shown} FROM v WHERE id = 1"))
            .unwrap()
    };
    let mut rows = Vec::new();
    for column in ["at", "ts"] {
        rows.extend(moments(column));
        rows.extend(refused(column));
        rows.push((column, json!(null), Ok("")));
    }
    rows.extend(shared());
    let digits = "12345678901234567890123456789012345.12345678901234567890";
    rows.extend([
        ("n", of_kombu("decimal", digits), Ok(digits)),
        ("n", of_kombu("decimal", "1E+5"), Ok("100000")),
        ("n", of_kombu("decimal", "NaN"), Ok("NaN")),
        ("n", json!(u64::MAX), Ok("18446744073709551615")),
        ("n", json!("1.50"), Ok("1.50")),
        ("u", json!(UUID), Ok(UUID)),
        ("raw", of_kombu("base64", "/wBhYmM="), Ok("ff00616263")),
        (
            "v",
            of_kombu("bytes", "abc"),
            Err(":x holds bytes, and its place takes text"),
        ),
        ("j", json!(["a", "b"]), Ok(r#"["a", "b"]"#)),
        ("j", json!({"a": [1]}), Ok(r#"{"a": [1]}"#)),
        ("j", json!([of_kombu("decimal", "1.10")]), Ok(r#"["1.10"]"#)),
        ("v", json!(["a"]), Ok(r#"["a"]"#)),
        (
            "v",
            json!("2026-05-02T01:04:05Z"),
            Ok("2026-05-02T01:04:05Z"),
        ),
        (
            "v",
            of_kombu("datetime", "2026-05-02T01:04:05+00:00"),
            Ok(BERLIN),
        ),
        ("b", json!("42"), Ok("42")),
        ("b", json!(7), Ok("7")),
        ("m", json!("bad"), Ok("bad")),
        ("m", json!("odd"), Err("odd")),
        ("s", json!("hello"), Ok("hello")),
        ("s", json!("too long"), Err("too long")),
        ("c", json!("xyz"), Ok("xyz")),
        ("a", json!([1, 2]), Ok("{1,2}")),
        ("a", json!([]), Ok("{}")),
        ("f", json!(1.5), Ok("1.5")),
        ("bits", json!("1010"), Ok("1010")),
        ("is_null", json!(null), Ok("null")),
        ("is_null", json!("a"), Ok("some")),
        ("is_null", json!(1), Ok("some")),
        ("limit", json!("many"), Err("22P02")),
        ("j", json!({"a": 1}), Ok(r#"{"a": 1}"#)),
    ]);
    worker.set(show, rows);
    assert_eq!(worker.call("j_in", &json!([{"a": 1}])), Ok(1));
    assert_eq!(worker.call("limit", &json!([1])), Ok(1));
    assert_eq!(worker.call("elements", &json!([["a", "b"]])), Ok(1));
    assert_eq!(show("b"), "2");
    // An hour that comes twice: with an offset, each time is one point in time.
    for (at, shown) in [
        ("2026-10-25T00:30:00Z", "2026-10-25 02:30:00+02"),
        ("2026-10-25T01:30:00Z", "2026-10-25 02:30:00+01"),
    ] {
        assert_eq!(worker.call("ts", &json!([at])), Ok(1));
        assert_eq!(server.sql("SELECT ts FROM v").unwrap(), shown);
    }

    server
        .sql("INSERT INTO v (id, ts) VALUES (2, '2026-01-01 01:00:00'), (3, NULL)")
        .unwrap();
    for (name, list, matched) in [
        (
            "ts_in",
            json!([
                "2026-01-01T00:00:00Z",
                of_kombu("datetime", "2026-10-25T01:30:00+00:00")
            ]),
            2,
        ),
        (
            "ts_in",
            json!([of_kombu("datetime", "2027-10-25T01:30:00+00:00")]),
            0,
        ),
        ("n_in", json!([of_kombu("decimal", "1.5"), 2]), 1),
        ("id_in", json!([1, "2"]), 2),
        ("id_in", json!([]), 0),
        ("id_not_in", json!([]), 3),
        ("id_not_in", json!([1]), 2),
        ("any", json!([1, 3]), 2),
        ("any", json!([]), 0),
    ] {
        assert_eq!(
            worker.call(name, &json!([list])),
            Ok(matched),
            "{name} {list}"
        );
    }
    assert_eq!(worker.call("text_id", &json!(["3"])), Ok(1));
    assert_eq!(worker.call("text_id", &json!([3])), Ok(1));
    for (name, value, matched) in [
        ("v", json!({"a": ["ä/b"]}), 1),
        ("same", json!({"a": ["ä/b"]}), 1),
        ("same", json!({"a": []}), 0),
        ("range", json!([1, 2]), 3),
        ("range", json!([1, 3]), 0),
        ("distance", json!([1]), 3),
        ("local", json!("me"), 1),
    ] {
        assert_eq!(worker.call(name, &json!([value])), Ok(matched), "{name}");
    }
    assert!(worker.call("text_id", &json!([[3]])).is_err());
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn values_in_columns_of_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("v.db");
    let shell = |sql: &str| {
        let output = Command::new("sqlite3")
            .arg(&file)
            .arg(sql)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    };
    shell(
        "CREATE TABLE v (id INTEGER PRIMARY KEY, at DATETIME, n NUMERIC, raw BLOB, v TEXT); INSERT INTO v (id) VALUES (1)",
    );
    let columns = ["at", "n", "raw", "v"];
    let statements = columns.map(|column| format!("UPDATE v SET {column} = :x WHERE id = 1"));
    let mut tasks: Vec<(&str, &str)> = columns
        .into_iter()
        .zip(statements.iter().map(String::as_str))
        .collect();
    tasks.extend([
        ("at_in", "UPDATE v SET v = 'in' WHERE at IN (:x)"),
        ("id_in", "UPDATE v SET v = 'in' WHERE id IN (:x)"),
        ("id_not_in", "UPDATE v SET v = 'out' WHERE id NOT IN (:x)"),
        ("array", "UPDATE v SET v = json_array(:x) WHERE id = 1"),
        ("same", "UPDATE v SET n = 5 WHERE v = json(:x)"),
        ("equals", "UPDATE v SET n = 5 WHERE id = :x"),
        ("member", "UPDATE v SET n = 5 WHERE id = :x ->> '$.id'"),
        (
            "members",
            "UPDATE v SET n = 5 WHERE id IN (:x ->> 0, :x ->> 1)",
        ),
        (
            "plus",
            "UPDATE v SET n = n + :x ->> '$.n' WHERE id = :x ->> '$.id'",
        ),
        ("given", "UPDATE v SET n = 5 + iif(:x NOT NULL, 1, 0)"),
        (
            "each",
            "UPDATE v SET v = 'each' WHERE id IN (SELECT value FROM json_each(:x))",
        ),
        (
            "now",
            "UPDATE v SET v = 'now' WHERE abs(julianday('now') - julianday(:x)) > 0",
        ),
    ]);
    let url = format!("sqlite://{}", file.display());
    let mut worker = Tasks::start(&url, &[], &tasks);
    let show = |column: &str| {
        shell(&format!(
            "SELECT {} FROM v WHERE id = 1",
            if column == "raw" { "hex(raw)" } else { column }
        ))
    };
    let mut rows = vec![
        (
            "at",
            of_kombu("datetime", "2026-05-02T03:04:05+02:00"),
            Ok("2026-05-02 01:04:05.000000"),
        ),
        (
            "at",
            of_kombu("datetime", "2026-05-02T03:04:05"),
            Ok("2026-05-02 03:04:05.000000"),
        ),
        (
            "at",
            json!("2026-05-02T03:04:05+02:00"),
            Ok("2026-05-02 01:04:05.000000"),
        ),
        (
            "at",
            of_php("2026-05-02 03:04:05.000000", 3, "Europe/Berlin"),
            Ok("2026-05-02 01:04:05.000000"),
        ),
        ("v", of_kombu("decimal", "1.10"), Ok("1.10")),
        ("n", of_kombu("decimal", "1.10"), Ok("1.1")),
        ("v", uuid(), Ok(UUID)),
        ("raw", of_kombu("base64", "/wBhYmM="), Ok("FF00616263")),
        ("v", json!(["a", "b"]), Ok(r#"["a","b"]"#)),
        ("v", json!({"a": [1]}), Ok(r#"{"a":[1]}"#)),
        ("array", json!(["a"]), Err(":x is a list")),
        ("equals", json!([1]), Err("is compared with json(:x)")),
        ("equals", json!({"id": 1}), Err("is compared with json(:x)")),
    ];
    rows.extend(refused("at"));
    worker.set(show, rows);
    shell("INSERT INTO v (id) VALUES (2), (3)");
    for (name, list, matched) in [
        ("at_in", json!(["2026-05-02T01:04:05Z", "x"]), 1),
        ("id_in", json!([1, 2, 3]), 3),
        ("id_in", json!([]), 0),
        ("id_not_in", json!([]), 3),
        ("v", json!({"a": ["ä/b"]}), 1),
        ("same", json!({"a": ["ä/b"]}), 1),
        ("same", json!({"a": []}), 0),
        ("member", json!({"id": 3}), 1),
        ("member", json!({"id": 9}), 0),
        ("members", json!([1, 2]), 2),
        ("plus", json!({"id": 3, "n": 2}), 1),
        ("given", json!({"id": 3}), 3),
        ("each", json!([2, 3]), 2),
    ] {
        assert_eq!(
            worker.call(name, &json!([list])),
            Ok(matched),
            "{name} {list}"
        );
    }
}

#[test]
fn dates_follow_the_zone_that_is_set() {
    let server = MariaDb::start_with(&["--default-time-zone=+02:00"]).unwrap();
    server
        .sql("CREATE TABLE v (id INT, at DATETIME, ts TIMESTAMP NULL); INSERT INTO v (id) VALUES (1)")
        .unwrap();
    let both = "UPDATE v SET at = :x, ts = :x WHERE id = 1";
    let options = ["--database-time-zone", "-03:30"];
    let mut worker = Tasks::start(&server.url(), &options, &[("both", both)]);
    for value in [
        of_kombu("datetime", "2026-05-02T01:04:05+00:00"),
        json!("2026-05-02T01:04:05Z"),
        of_php("2026-05-02 03:04:05.000000", 3, "Europe/Berlin"),
    ] {
        assert_eq!(worker.call("both", &json!([value])), Ok(1));
        // Both columns have the right time; the client's clock shows it two hours east of UTC.
        assert_eq!(
            server.sql("SELECT at, ts FROM v").unwrap(),
            "2026-05-01 21:34:05\t2026-05-02 03:04:05"
        );
    }
}

#[test]
fn a_batch_without_a_place_for_lists_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tasks.toml");
    for sql in [
        "UPDATE t SET n = :n WHERE id IN (:id)",
        "INSERT INTO t VALUES (:n)",
        "UPDATE t SET n = 1 WHERE id IN (0, :n)",
        "DELETE FROM t WHERE id = coalesce(1, f(:n))",
    ] {
        std::fs::write(
            &file,
            format!("[tasks.many]\nsql = '{sql}'\nbatch = {{ size = 2 }}\n"),
        )
        .unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_celery-worker"))
            .args(["--database", "sqlite::memory:", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        let said = format!("{output:?}");
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("many") && said.contains(":n"), "{said}");
    }
}
