//! A private MariaDB has its database, and committed rows survive a kill.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::TcpStream;

use celery_testkit::MariaDb;

#[test]
fn keeps_what_was_committed_when_killed() {
    let mut database = MariaDb::start().unwrap();
    TcpStream::connect(("127.0.0.1", database.port())).unwrap();
    database
        .sql("CREATE TABLE t (word VARCHAR(20)); INSERT INTO t VALUES ('žluťoučký')")
        .unwrap();
    database.kill9();
    assert!(database.sql("SELECT 1").is_err());
    database.restart().unwrap();
    assert_eq!(database.sql("SELECT word FROM t").unwrap(), "žluťoučký");
}

#[test]
fn an_error_carries_the_servers_words() {
    let database = MariaDb::start().unwrap();
    let error = database.sql("SELECT * FROM nowhere").unwrap_err();
    assert!(error.to_string().contains("doesn't exist"), "{error}");
}
