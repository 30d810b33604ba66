//! A statement means the same to the worker as to the database's own client. Each test compares the
//! worker's session with a session of `mariadb` or `psql`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use celery_testkit::{MariaDb, Postgres};
use celery_worker::{Database, Kind};
use serde_json::json;

/// The settings that decide the meaning of a statement, and two statements that depend on them.
const MYSQL_SEEN: &str = "INSERT INTO seen SELECT CONCAT_WS(' ', @@sql_mode, @@time_zone, \
    @@character_set_client, @@character_set_connection, @@character_set_results, \
    @@collation_connection, @@collation_database, \
    TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(), NOW()), '1' || '0')";

fn seen(server: &MariaDb) -> Vec<String> {
    let rows = server.sql("SELECT what FROM seen").unwrap();
    rows.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_mariadb_session_is_as_the_server_has_it() {
    for (options, part) in [
        (&["--default-time-zone=+02:00"][..], "+02:00"),
        (
            &["--sql-mode=ANSI", "--default-time-zone=-03:30"],
            " -210 10",
        ),
        (&["--sql-mode=", "--default-time-zone=+00:00"], " 0 1"),
        (
            &["--sql-mode=NO_BACKSLASH_ESCAPES,TRADITIONAL"],
            "TRADITIONAL",
        ),
        (
            &[
                "--character-set-server=latin1",
                "--collation-server=latin1_german1_ci",
            ],
            "utf8mb4_general_ci",
        ),
    ] {
        let server = MariaDb::start_with(options).unwrap();
        server.sql("CREATE TABLE seen (what TEXT)").unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        database.execute(MYSQL_SEEN, &[]).await.unwrap();
        server.sql(MYSQL_SEEN).unwrap();
        let seen = seen(&server);
        assert_eq!(seen[0], seen[1], "{options:?}");
        assert!(seen[0].contains(part), "{seen:?}");
    }
}

/// Asserts that each statement does what it does in the client, whatever a backslash and `"` mean
/// to the server.
#[tokio::test]
async fn quotes_are_read_as_the_session_reads_them() {
    let literal = [r"'a\'", r"'C:\'", r"'it''s \'"];
    let escaped = [r"'it\'s'", r"'\':x'", r"'\\'"];
    for (mode, texts) in [
        ("NO_BACKSLASH_ESCAPES", &literal),
        ("NO_BACKSLASH_ESCAPES,ANSI_QUOTES,TRADITIONAL", &literal),
        ("ANSI_QUOTES", &escaped),
        ("", &escaped),
    ] {
        let server = MariaDb::start_with(&[&format!("--sql-mode={mode}")]).unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        let make = r"CREATE TABLE seen (n INT, what TEXT, `q\` INT)";
        server.sql(make).unwrap();
        for (at, text) in texts.iter().enumerate() {
            let insert = |n: &str| format!("INSERT INTO seen (n, what) VALUES ({n}, {text})");
            let given = &[("n", json!(at))];
            database.execute(&insert(":n"), given).await.unwrap();
            server.sql(&insert(&at.to_string())).unwrap();
        }
        if mode.contains("ANSI_QUOTES") {
            let named = r#"UPDATE seen SET "q\" = :n"#;
            let matched = database.execute(named, &[("n", json!(1))]).await;
            assert_eq!(matched.unwrap(), 2 * texts.len() as u64, "{mode}");
        }
        let pairs =
            "SELECT COUNT(*) FROM (SELECT 1 FROM seen GROUP BY n, what HAVING COUNT(*) = 2) x";
        let equal = server.sql(pairs).unwrap();
        assert_eq!(equal.trim(), texts.len().to_string(), "{mode}");
    }
}

#[tokio::test]
async fn quotes_in_postgresql_follow_standard_conforming_strings() {
    let server = Postgres::start().unwrap();
    server.sql("CREATE TABLE seen (n int, what text)").unwrap();
    for (setting, text) in [("on", r"'a\'"), ("off", r"'it\'s'"), ("off", r"'\':n'")] {
        let set = format!("ALTER ROLE celery SET standard_conforming_strings = {setting}");
        server.sql(&set).unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        let insert = format!("INSERT INTO seen (what, n) VALUES ({text}, :n)");
        database.execute(&insert, &[("n", json!(1))]).await.unwrap();
    }
    let seen = server.sql("SELECT what FROM seen").unwrap();
    assert_eq!(seen.lines().collect::<Vec<_>>(), [r"a\", "it's", "':n"]);
}

#[tokio::test]
async fn settings_of_init_connect_are_kept() {
    let server =
        MariaDb::start_with(&["--init-connect=SET NAMES utf8mb4 COLLATE utf8mb4_czech_ci"])
            .unwrap();
    server.sql("CREATE TABLE seen (what TEXT)").unwrap();
    // The server runs `init_connect` only for users without the right SUPER.
    server
        .sql("CREATE USER plain@'%' IDENTIFIED BY 'plain'; GRANT INSERT ON celery.* TO plain@'%'")
        .unwrap();
    let own = format!("{}:{}@", server.username(), server.password());
    let database = Database::from_url(&server.url().replace(&own, "plain:plain@")).unwrap();
    database.execute(MYSQL_SEEN, &[]).await.unwrap();
    assert!(
        seen(&server)[0].contains("utf8mb4_czech_ci"),
        "{:?}",
        seen(&server)
    );
}

#[tokio::test]
async fn the_setting_changes_a_mariadb_session() {
    let server = MariaDb::start_with(&["--default-time-zone=+02:00"]).unwrap();
    server.sql("CREATE TABLE seen (what TEXT)").unwrap();
    for (zone, part) in [
        ("+00:00", " 0 1"),
        ("UTC", " 0 1"),
        ("-12:59", " -779 1"),
        ("+05:30", " 330 1"),
    ] {
        let database = Database::from_url(&server.url()).unwrap();
        let database = database.time_zone(Some(zone.parse().unwrap()));
        database.execute(MYSQL_SEEN, &[]).await.unwrap();
        let last = seen(&server).pop().unwrap();
        assert!(last.ends_with(part), "{zone}: {last}");
    }
    // The server's tables of time zones are empty.
    let database = Database::from_url(&server.url()).unwrap();
    let database = database.time_zone(Some("Asia/Tokyo".parse().unwrap()));
    let error = database.ping().await.unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    for part in ["Asia/Tokyo", "+00:00", "mysql_tzinfo_to_sql"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

const POSTGRES_SEEN: &str = "INSERT INTO seen SELECT concat_ws(' ', current_setting('TimeZone'), \
    current_setting('DateStyle'), current_setting('extra_float_digits'), \
    current_setting('client_encoding'), extract(timezone FROM now()), '01/02/2026'::date - '2026-01-01', \
    0.1::float4::float8)";

#[tokio::test]
async fn a_postgres_session_is_as_the_server_has_it() {
    let settings = "timezone = 'Asia/Tokyo'\ndatestyle = 'sql, dmy'\nextra_float_digits = 0";
    let server = Postgres::start_with(settings).unwrap();
    server.sql("CREATE TABLE seen (what text)").unwrap();
    for (change, part) in [
        ("SELECT 1", "Asia/Tokyo SQL, DMY 0 UTF8 32400 31"),
        (
            "ALTER DATABASE postgres SET timezone = 'America/St_Johns'",
            "America/St_Johns SQL, DMY",
        ),
        (
            "ALTER ROLE ALL SET datestyle = 'iso, mdy'",
            "America/St_Johns ISO, MDY",
        ),
        (
            "ALTER ROLE celery SET \"TimeZone\" = 'Europe/Lisbon'",
            "Europe/Lisbon ISO, MDY",
        ),
        (
            "ALTER ROLE celery IN DATABASE postgres SET timezone = 'Asia/Kolkata'",
            "Asia/Kolkata ISO, MDY",
        ),
    ] {
        server.sql(change).unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        database.execute(POSTGRES_SEEN, &[]).await.unwrap();
        server.sql(POSTGRES_SEEN).unwrap();
        let rows = server.sql("DELETE FROM seen RETURNING what").unwrap();
        let (worker, client) = rows.split_once('\n').unwrap();
        assert_eq!(worker, client, "{change}");
        assert!(worker.starts_with(part), "{worker}");
    }
    for (zone, seconds) in [("+05:30", 19_800), ("-03:00", -10_800), ("UTC", 0)] {
        let database = Database::from_url(&server.url()).unwrap();
        let database = database.time_zone(Some(zone.parse().unwrap()));
        let sql = "INSERT INTO seen SELECT 1 WHERE extract(timezone FROM now()) = :seconds";
        let rows = database.execute(sql, &[("seconds", json!(seconds))]).await;
        assert_eq!(rows.unwrap(), 1, "{zone}");
    }
}

#[tokio::test]
async fn sqlite_checks_foreign_keys_where_the_url_says_so() {
    for (query, enforced) in [
        ("", false),
        ("?foreign_keys=off", false),
        ("?foreign_keys=on", true),
    ] {
        let database = Database::from_url(&format!("sqlite::memory:{query}")).unwrap();
        for sql in [
            "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
            "CREATE TABLE child (id INTEGER REFERENCES parent)",
        ] {
            database.execute(sql, &[]).await.unwrap();
        }
        let orphan = database.execute("INSERT INTO child VALUES (1)", &[]).await;
        assert_eq!(orphan.is_err(), enforced, "{query}");
    }
    let wrong = Database::from_url("sqlite::memory:?foreign_keys=maybe").unwrap_err();
    assert!(wrong.to_string().contains("maybe"), "{wrong}");
}
