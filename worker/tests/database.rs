//! `Database` on real servers.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_testkit::{Fault, MariaDb, Postgres, Proxy};
use celery_worker::{Database, Kind};
use serde::Deserialize;
use serde_json::json;

const TABLE: &str = "CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, name VARCHAR(20))";

async fn fill(database: &Database) {
    let sql = "INSERT INTO t (id, name) VALUES (:id, :name)";
    for (id, name) in [(1, "it's"), (2, ":id"), (4_000_000_000_u32, "ü")] {
        let params = [("id", json!(id)), ("name", json!(name))];
        assert_eq!(database.execute(sql, &params).await.unwrap(), 1);
    }
}

async fn same_everywhere(database: &Database) {
    fill(database).await;
    // The result is the number of matched rows, not of changed rows.
    let update = "UPDATE t SET name = :name WHERE id IN (:ids)";
    for _ in 0..2 {
        let params = [("name", json!("x")), ("ids", json!([1, 2, 3]))];
        assert_eq!(database.execute(update, &params).await.unwrap(), 2);
    }
    let keys = database.transaction(|open| {
        Box::pin(async { open.keys("SELECT id FROM t ORDER BY id", &[]).await })
    });
    assert_eq!(keys.await.unwrap(), [1, 2, 4_000_000_000]);
    // A failed transaction leaves nothing behind.
    let failed = database.transaction(|open| {
        Box::pin(async {
            open.execute("DELETE FROM t", &[]).await?;
            open.execute("INSERT INTO nowhere VALUES (1)", &[]).await
        })
    });
    assert_eq!(failed.await.unwrap_err().kind(), Kind::Schema);
    let params = [("id", json!(1)), ("name", json!("twice"))];
    let twice = database.execute("INSERT INTO t (id, name) VALUES (:id, :name)", &params);
    assert_eq!(twice.await.unwrap_err().kind(), Kind::Statement);
}

/// A row of [`TYPES_MYSQL`] or [`TYPES_POSTGRES`].
#[derive(Debug, Deserialize, PartialEq)]
struct Typed {
    id: u64,
    flag: bool,
    small: Option<i16>,
    exact: String,
    real: f64,
    word: String,
    raw: Vec<u8>,
    day: String,
    moment: String,
    clock: String,
    tree: Tree,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Tree {
    a: Vec<Option<i64>>,
}

const TYPES_MYSQL: &str = "CREATE TABLE typed (id BIGINT UNSIGNED, flag BOOLEAN, small SMALLINT, \
    exact DECIMAL(20, 4), `real` FLOAT, word ENUM('open', 'ü'), raw VARBINARY(9), day DATE, \
    moment DATETIME(6), clock TIME, tree JSON)";
const TYPES_POSTGRES: &str = "CREATE TYPE words AS ENUM ('open', 'ü'); \
    CREATE TABLE typed (id bigint, flag boolean, small smallint, \
    exact numeric(20, 4), \"real\" real, word words, raw bytea, day date, moment timestamp, \
    clock time, tree jsonb)";

/// Reads rows of many types, and refuses what does not fit.
async fn rows_are_read(database: &Database, real: &str, raw: &str) {
    let sql = format!(
        "INSERT INTO typed VALUES (9007199254740993, true, NULL, -12345678901.5, 0.1, 'ü', {raw}, \
         '2026-05-02', '2026-05-02 03:04:05.5', '03:04:05', '{{\"a\": [1, null]}}')"
    );
    database.execute(&sql, &[]).await.unwrap();
    let all = format!(
        "SELECT id, flag, small, exact, {real}, word, raw, day, moment, clock, tree FROM typed \
         WHERE id = :id"
    );
    let params = [("id", json!(9_007_199_254_740_993_u64))];
    let expected = Typed {
        id: 9_007_199_254_740_993,
        flag: true,
        small: None,
        exact: "-12345678901.5000".to_owned(),
        real: 0.1,
        word: "ü".to_owned(),
        raw: vec![0, 255],
        day: "2026-05-02".to_owned(),
        moment: "2026-05-02T03:04:05.500000".to_owned(),
        clock: "03:04:05".to_owned(),
        tree: Tree {
            a: vec![Some(1), None],
        },
    };
    let read: Vec<Typed> = database.rows(&all, &params).await.unwrap();
    assert_eq!(read, [expected]);
    let none: Option<Typed> = database.one(&all, &[("id", json!(1))]).await.unwrap();
    assert_eq!(none, None);
    // The sum of integers is a decimal in MySQL.
    let sum: Option<i64> = database
        .one(
            "SELECT SUM(n) FROM (SELECT 3 AS n UNION ALL SELECT 4) AS t",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(sum, Some(7));
    // The connection goes on after a query of which only the first row was read.
    let many =
        "SELECT a.n FROM (SELECT 1 AS n UNION ALL SELECT 2 UNION ALL SELECT 3) AS a ORDER BY n";
    let both = database.transaction(move |open| {
        Box::pin(async move {
            let first: Option<i64> = open.one(many, &[]).await?;
            let all: Vec<(i64,)> = open.rows(many, &[]).await?;
            Ok((first, all))
        })
    });
    assert_eq!(both.await.unwrap(), (Some(1), vec![(1,), (2,), (3,)]));
    let wrong = database.rows::<(u8,)>("SELECT 300 AS n", &[]).await;
    let wrong = wrong.unwrap_err().to_string();
    assert!(wrong.starts_with("the column n: invalid value"), "{wrong}");
}

#[tokio::test]
async fn rows_of_mariadb() {
    let server = MariaDb::start().unwrap();
    server.sql(TYPES_MYSQL).unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    rows_are_read(&database, "`real`", "x'00ff'").await;
}

#[tokio::test]
async fn rows_of_postgres() {
    let server = Postgres::start().unwrap();
    server.sql(TYPES_POSTGRES).unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    rows_are_read(&database, "\"real\"", "'\\x00ff'").await;
    let moment = "SELECT TIMESTAMPTZ '2026-05-02 03:04:05+02' AS at, \
        '6f9619ff-8b86-d011-b42d-00cf4fc964ff'::uuid AS id";
    let row: Option<(String, String)> = database.one(moment, &[]).await.unwrap();
    let (at, id) = row.unwrap();
    assert_eq!(at, "2026-05-02T01:04:05+00:00");
    assert_eq!(id, "6f9619ff-8b86-d011-b42d-00cf4fc964ff");
    let unread = database
        .rows::<(String,)>("SELECT point(1, 2) AS p", &[])
        .await;
    let unread = unread.unwrap_err().to_string();
    assert!(
        unread.contains("column p:") && unread.contains("POINT"),
        "{unread}"
    );
}

/// A row of SQLite, with a value of each of its types.
type Row = (i64, f64, String, Vec<u8>, Option<bool>);

#[tokio::test]
async fn rows_of_sqlite() {
    let database = Database::from_url("sqlite::memory:").unwrap();
    let rows: Vec<Row> = database
        .rows(
            "SELECT 1, 2.5, 'ü', x'00ff', NULL UNION ALL SELECT 2, 0.0, '', x'', 1",
            &[],
        )
        .await
        .unwrap();
    let expected = vec![
        (1, 2.5, "ü".to_owned(), vec![0, 255], None),
        (2, 0.0, String::new(), vec![], Some(true)),
    ];
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn mariadb() {
    let mut server = MariaDb::start().unwrap();
    server.sql(TABLE).unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    same_everywhere(&database).await;

    // A lost server is an outage, and not an error once it is back.
    server.kill9();
    let away = database.ping().await.unwrap_err();
    assert_eq!(away.kind(), Kind::Unavailable, "{away}");
    server.restart().unwrap();
    database.ping().await.unwrap();

    let secret = format!(":{}@", server.password());
    let wrong = server.url().replace(&secret, ":wrong@");
    let refused = Database::from_url(&wrong)
        .unwrap()
        .ping()
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused, "{refused}");
}

#[tokio::test]
async fn deadlocks_are_repeated() {
    let server = MariaDb::start().unwrap();
    server.sql(TABLE).unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    fill(&database).await;
    // Each transaction holds one row and then wants the other's: the server must refuse one of
    // them.
    let meeting = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let both = [[1, 2], [2, 1]].map(|order| {
        let (database, meeting) = (database.clone(), std::sync::Arc::clone(&meeting));
        let first = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
        tokio::spawn(async move {
            database
                .transaction(move |open| {
                    let (meeting, first) = (
                        std::sync::Arc::clone(&meeting),
                        std::sync::Arc::clone(&first),
                    );
                    Box::pin(async move {
                        let sql = "UPDATE t SET name = CONCAT(name, '!') WHERE id = :id";
                        open.execute(sql, &[("id", json!(order[0]))]).await?;
                        if first.swap(false, std::sync::atomic::Ordering::Relaxed) {
                            meeting.wait().await;
                        }
                        open.execute(sql, &[("id", json!(order[1]))]).await
                    })
                })
                .await
        })
    });
    for one in both {
        one.await.unwrap().unwrap();
    }
    let names = server
        .sql("SELECT name FROM t WHERE id < 3 ORDER BY id")
        .unwrap();
    assert!(
        names.contains("it's!!") && names.contains(":id!!"),
        "{names}"
    );
}

#[tokio::test]
async fn sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let url = format!("sqlite://{}", file.display());
    let missing = Database::from_url(&url).unwrap().ping().await.unwrap_err();
    assert_eq!(missing.kind(), Kind::Refused, "{missing}");
    let database = Database::from_url(&format!("{url}?mode=rwc")).unwrap();
    database.execute(TABLE, &[]).await.unwrap();
    same_everywhere(&database).await;
}

#[tokio::test]
async fn postgresql() {
    let mut server = Postgres::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))";
    database.execute(table, &[]).await.unwrap();
    same_everywhere(&database).await;
    // A value is text unless the statement tells the server its type by a cast.
    let cast = "UPDATE t SET name = :name::varchar WHERE id = CAST(:id AS bigint)";
    let params = [("id", json!("1")), ("name", json!(null))];
    assert_eq!(database.execute(cast, &params).await.unwrap(), 1);

    server.kill9();
    // The session is a separate process, which notices a moment later that its server is gone.
    let gone = async {
        loop {
            match database.ping().await {
                Err(away) => return away,
                Ok(()) => tokio::task::yield_now().await,
            }
        }
    };
    let gone = tokio::time::timeout(Duration::from_mins(1), gone).await;
    let away = gone.unwrap();
    assert_eq!(away.kind(), Kind::Unavailable, "{away}");
    server.restart().unwrap();
    database.ping().await.unwrap();

    let wrong = server.url().replace(":celery@", ":wrong@");
    let wrong = Database::from_url(&wrong).unwrap();
    let refused = wrong.ping().await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Refused, "{refused}");
}

#[tokio::test]
async fn a_link_that_swallows_everything_is_given_up() {
    let server = MariaDb::start().unwrap();
    server.sql(TABLE).unwrap();
    let proxy = Proxy::to_port(server.port()).unwrap();
    let own = format!(":{}/", server.port());
    let url = server.url().replace(&own, &format!(":{}/", proxy.port()));
    let limit = Duration::from_secs(1);
    let database = Database::from_url(&url).unwrap().timeout(Some(limit));
    fill(&database).await;
    let silent = Arc::new(tokio::sync::Notify::new());
    let begun = Arc::clone(&silent);
    let running = database.transaction(move |open| {
        let begun = Arc::clone(&begun);
        Box::pin(async move {
            open.execute("UPDATE t SET name = 'x' WHERE id = 1", &[])
                .await?;
            begun.notify_one();
            tokio::time::sleep(Duration::from_millis(50)).await;
            open.execute("UPDATE t SET name = 'y' WHERE id = 2", &[])
                .await
        })
    });
    let silence = async {
        silent.notified().await;
        proxy.set(Fault::Silence);
    };
    let asked = Instant::now();
    let (outcome, ()) = tokio::join!(running, silence);
    assert_eq!(outcome.unwrap_err().kind(), Kind::Unavailable);
    assert!(
        asked.elapsed() < limit + Duration::from_secs(20),
        "{:?}",
        asked.elapsed()
    );
    // The database works again, over other connections.
    proxy.set(Fault::None);
    let params = [("name", json!("z"))];
    let again = database.execute("UPDATE t SET name = :name WHERE id = 4000000000", &params);
    assert_eq!(again.await.unwrap(), 1);
}

/// Returns the URL of a server, by way of a proxy.
fn by_way_of(proxy: &Proxy, url: &str, port: u16) -> String {
    url.replace(&format!(":{port}/"), &format!(":{}/", proxy.port()))
}

/// Forgets a link in the middle of a transaction, and tells neither end. New connections work.
async fn a_dead_link_is_detected(url: &str, port: u16) {
    let proxy = Proxy::to_port(port).unwrap();
    let database = Database::from_url(&by_way_of(&proxy, url, port)).unwrap();
    let locks = "UPDATE t SET name = 'locked' WHERE id = 1";
    let (begun, mut begin) = tokio::sync::mpsc::unbounded_channel();
    let working = tokio::spawn({
        let database = database.clone();
        async move {
            let working = database.transaction(move |open| {
                let begun = begun.clone();
                Box::pin(async move {
                    open.execute(locks, &[]).await?;
                    let (go, going) = tokio::sync::oneshot::channel::<()>();
                    begun.send(go).unwrap();
                    let _ = going.await;
                    open.execute(locks, &[]).await
                })
            });
            working.await
        }
    });
    let go = begin.recv().await.unwrap();
    proxy.strand_all();
    go.send(()).unwrap();
    let lost = working.await.unwrap().unwrap_err();
    assert_eq!(lost.kind(), Kind::Unavailable, "{lost}");
    assert!(
        lost.to_string().contains("the connection is dead"),
        "{lost}"
    );
    // The dead session has been ended, with its locks.
    let direct = Database::from_url(url).unwrap();
    let again = tokio::time::timeout(Duration::from_secs(20), direct.execute(locks, &[]));
    assert_eq!(again.await.unwrap().unwrap(), 1);
    // The death of an idle connection is detected too, and has no effect.
    database.execute(locks, &[]).await.unwrap();
    proxy.strand_all();
    assert_eq!(database.execute(locks, &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_dead_link_is_detected_mariadb() {
    let server = MariaDb::start().unwrap();
    server.sql(TABLE).unwrap();
    fill(&Database::from_url(&server.url()).unwrap()).await;
    a_dead_link_is_detected(&server.url(), server.port()).await;
}

#[tokio::test]
async fn a_dead_link_is_detected_postgres() {
    let server = Postgres::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))";
    database.execute(table, &[]).await.unwrap();
    fill(&database).await;
    a_dead_link_is_detected(&server.url(), server.port()).await;
}

#[tokio::test]
async fn a_long_statement_may_run() {
    let (mariadb, postgres) = (MariaDb::start().unwrap(), Postgres::start().unwrap());
    let [mariadb, postgres] =
        [mariadb.url(), postgres.url()].map(|url| Database::from_url(&url).unwrap());
    // The statements run so long that the connection is checked twice.
    let (mariadb, postgres) = tokio::join!(
        mariadb.execute("DO SLEEP(14)", &[]),
        postgres.execute("SELECT pg_sleep(14)", &[])
    );
    mariadb.unwrap();
    postgres.unwrap();
}

#[tokio::test]
async fn waiting_for_a_connection_is_not_an_outage() {
    let server = MariaDb::start().unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let sleepers: Vec<_> = (0..40)
        .map(|_| {
            let database = database.clone();
            tokio::spawn(async move { database.execute("DO SLEEP(2)", &[]).await })
        })
        .collect();
    for sleeper in sleepers {
        // The check works while all connections are in use.
        database.ping().await.unwrap();
        sleeper.await.unwrap().unwrap();
    }
    let connections = server
        .sql("SHOW STATUS LIKE 'Max_used_connections'")
        .unwrap();
    let most: u32 = connections
        .split_whitespace()
        .last()
        .unwrap()
        .parse()
        .unwrap();
    assert!((16..=19).contains(&most), "{connections}");
}

#[tokio::test]
async fn a_value_that_is_too_large_for_the_server_is_refused_here() {
    let server = MariaDb::start_with(&["--max-allowed-packet=1M"]).unwrap();
    server
        .sql("CREATE TABLE t (id INT UNSIGNED PRIMARY KEY, name LONGTEXT)")
        .unwrap();
    let database = Database::from_url(&server.url()).unwrap();
    let insert = "INSERT INTO t (id, name) VALUES (:id, :name)";
    let of = |id: u32, bytes: usize| [("id", json!(id)), ("name", json!("x".repeat(bytes)))];
    for (id, bytes) in [(1, 1_048_000), (2, 500_000)] {
        assert_eq!(database.execute(insert, &of(id, bytes)).await.unwrap(), 1);
    }
    for bytes in [1_050_000, 3_000_000] {
        let error = database.execute(insert, &of(3, bytes)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Statement, "{error}");
        assert!(error.to_string().contains("(1153)"), "{error}");
    }
    let select = "SELECT id FROM t WHERE id IN (:ids)";
    for (length, fits) in [(40_000, true), (65_536, false), (70_000, false)] {
        let values: Vec<u32> = (0..length).collect();
        let params = [("ids", json!(values))];
        let many = database.execute(select, &params).await;
        let refused = many.map_err(|error| error.kind()).err();
        assert_eq!(refused, (!fits).then_some(Kind::Statement), "{length}");
    }
}

#[tokio::test]
async fn after_a_failover_writes_go_to_the_new_server() {
    let (old, new) = (MariaDb::start().unwrap(), MariaDb::start().unwrap());
    for server in [&old, &new] {
        server.sql(TABLE).unwrap();
        fill(&Database::from_url(&server.url()).unwrap()).await;
    }
    let proxy = Proxy::to_port(old.port()).unwrap();
    let database = Database::from_url(&by_way_of(&proxy, &old.url(), old.port())).unwrap();
    let update = "UPDATE t SET name = 'new' WHERE id = 1";
    database.execute("SELECT 1", &[]).await.unwrap();
    old.sql("SET GLOBAL read_only = 1").unwrap();
    proxy.retarget(([127, 0, 0, 1], new.port()).into());
    // The connections still lead to the old server, which refuses the write.
    let refused = database.execute(update, &[]).await.unwrap_err();
    assert_eq!(refused.kind(), Kind::Unavailable, "{refused}");
    assert_eq!(database.execute(update, &[]).await.unwrap(), 1);
    let name = |server: &MariaDb| server.sql("SELECT name FROM t WHERE id = 1").unwrap();
    assert_eq!((name(&old).as_str(), name(&new).as_str()), ("it's", "new"));
}

#[tokio::test]
async fn a_statement_outlives_a_change_of_its_table() {
    let (mariadb, postgres) = (MariaDb::start().unwrap(), Postgres::start().unwrap());
    for url in [mariadb.url(), postgres.url()] {
        let database = Database::from_url(&url).unwrap();
        let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))";
        database.execute(table, &[]).await.unwrap();
        fill(&database).await;
        for column in ["a", "b"] {
            let rows = database.transaction(|open| {
                Box::pin(async { open.keys("SELECT * FROM t WHERE id = 1", &[]).await })
            });
            assert_eq!(rows.await.unwrap(), [1]);
            let alter = format!("ALTER TABLE t ADD COLUMN {column} INT");
            database.execute(&alter, &[]).await.unwrap();
        }
    }
}

#[tokio::test]
async fn rows_that_a_statement_returns_are_counted() {
    let (mariadb, postgres) = (MariaDb::start().unwrap(), Postgres::start().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("test.db");
    let sqlite = format!("sqlite://{}?mode=rwc", file.display());
    for url in [&mariadb.url(), &postgres.url(), &sqlite] {
        let database = Database::from_url(url).unwrap();
        let table = "CREATE TABLE t (id BIGINT PRIMARY KEY, name VARCHAR(20))";
        database.execute(table, &[]).await.unwrap();
        for (sql, count) in [
            (
                "INSERT INTO t (id, name) VALUES (1, 'a'), (2, 'b') RETURNING id, name",
                2,
            ),
            (
                "INSERT INTO t (id, name) SELECT id + 2, name FROM t RETURNING id",
                2,
            ),
            ("UPDATE t SET name = 'c' WHERE id < 4", 3),
            ("DELETE FROM t WHERE id > 1 RETURNING name", 3),
            ("DELETE FROM t WHERE id > 1 RETURNING name", 0),
        ] {
            assert_eq!(
                database.execute(sql, &[]).await.unwrap(),
                count,
                "{url}: {sql}"
            );
        }
    }
    // The rows that a procedure returns are not those that it has changed.
    let procedure = "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2 UNION SELECT 3; \
        UPDATE t SET name = 'd'; END";
    mariadb
        .sql(&format!("DELIMITER //\n{procedure}//"))
        .unwrap();
    let database = Database::from_url(&mariadb.url()).unwrap();
    for _ in 0..3 {
        assert_eq!(database.execute("CALL p()", &[]).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_task_that_was_stopped_commits_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite://{}?mode=rwc",
        folder.path().join("test.db").display()
    );
    let database = Database::from_url(&url).unwrap();
    database.execute(TABLE, &[]).await.unwrap();
    let (begun, begin) = tokio::sync::oneshot::channel();
    let begun = Arc::new(std::sync::Mutex::new(Some(begun)));
    let go = Arc::new(tokio::sync::Notify::new());
    let (going, running) = (Arc::clone(&go), database.clone());
    let task = tokio::spawn(async move {
        let work = running.transaction(move |open| {
            let (begun, going) = (Arc::clone(&begun), Arc::clone(&going));
            Box::pin(async move {
                open.execute("INSERT INTO t VALUES (1, 'late')", &[])
                    .await?;
                let begun = begun.lock().unwrap().take();
                begun.unwrap().send(()).unwrap();
                going.notified().await;
                Ok(())
            })
        });
        work.await
    });
    begin.await.unwrap();
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    go.notify_one();
    // The only connection is free again when that transaction has ended.
    let rows =
        database.transaction(|open| Box::pin(async { open.keys("SELECT id FROM t", &[]).await }));
    assert!(rows.await.unwrap().is_empty());
}
