//! Databases that are reachable and reject the worker, or cannot be spoken to: a mistake in the
//! settings, which the check names and which ends the start.

use std::io::Write;
use std::net::{TcpListener, ToSocketAddrs};
use std::process::Command;

use celery_testkit::{MariaDb, Postgres, Process, Redis, RedisOptions};

use crate::world::*;

fn command(redis: &Redis, database: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_celery-worker"));
    command.args(["-b", &redis.url(), "--database", database]);
    command
}

/// Asserts that check and start both end with 78 and say why, and that the start names the setting.
/// No output shows the password.
fn a_mistake(redis: &Redis, database: &str, part: &str) {
    let checked = command(redis, database).arg("check").output().unwrap();
    let text = [checked.stdout, checked.stderr].concat();
    let check = (
        checked.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    );
    let mut worker = Process::spawn("celery-worker", &mut command(redis, database)).unwrap();
    let start = (worker.wait(PATIENCE).unwrap().code(), worker.log());
    for (code, text) in [check, start] {
        assert_eq!(code, Some(78), "{database}: {text}");
        assert!(!text.contains("ready."), "{database}: {text}");
        assert!(!text.contains("secret"), "{database}: {text}");
        assert!(text.contains(part), "{database}: {part} is not in {text}");
    }
    assert!(worker.log().contains("DATABASE_URL"), "{}", worker.log());
}

/// Returns this machine's name, which does not look like a loopback address; `None` if the name has
/// no address.
fn name_of_this_machine() -> Option<String> {
    let name = gethostname::gethostname().to_str()?.to_owned();
    let known = (name.as_str(), 0).to_socket_addrs().is_ok();
    known.then_some(name)
}

#[test]
fn of_mariadb() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = MariaDb::start_with(&["--bind-address=*"]).unwrap();
    database
        .sql(
            "INSTALL SONAME 'auth_ed25519'; INSTALL SONAME 'auth_pam'; \
             CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret'); \
             CREATE USER pam@'%' IDENTIFIED VIA pam; \
             CREATE USER locked@'%' IDENTIFIED BY 'secret' ACCOUNT LOCK; \
             CREATE USER expired@'%' IDENTIFIED BY 'secret' PASSWORD EXPIRE; \
             GRANT ALL ON celery.* TO ed@'%', pam@'%', locked@'%', expired@'%'",
        )
        .unwrap();
    let port = database.port();
    let login = |user: &str| format!("mysql://{user}:secret@127.0.0.1:{port}/celery");
    for (user, part) in [
        (
            "ed",
            "the login plugin ed25519 of this user is not supported",
        ),
        (
            "pam",
            "the login plugin pam (dialog) of this user is not supported",
        ),
        ("locked", "denied"),
        ("expired", "1820"),
        ("unknown", "denied"),
    ] {
        a_mistake(&redis, &login(user), part);
    }
    for (query, part) in [
        ("ssl-mode=required", "?ssl-mode=disabled"),
        ("ssl-mode=verify_identity", "?ssl-mode=disabled"),
        ("ssl-ca=/nowhere/ca.pem", "/nowhere/ca.pem"),
        ("ssl_mode=disabled", "option ssl_mode is not known"),
        ("ssl-mode=disabled&foo=1", "option foo is not known"),
        ("time_zone=UTC", "--database-time-zone"),
    ] {
        let url = format!("{}?{query}", database.url());
        a_mistake(&redis, &url, part);
    }
    let postgres = database.url().replace("mysql:", "postgres:");
    a_mistake(&redis, &postgres, "not that of a PostgreSQL server");
    let Some(name) = name_of_this_machine() else {
        println!("partly skipped: the name of this machine has no address");
        return;
    };
    let elsewhere = database.url().replace("127.0.0.1", &name);
    a_mistake(&redis, &elsewhere, "?ssl-mode=disabled");
    let mut worker = start(&mut command(
        &redis,
        &format!("{elsewhere}?ssl-mode=disabled"),
    ));
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn of_postgresql() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let database = Postgres::start().unwrap();
    let rules = database.sql("SHOW hba_file").unwrap();
    std::fs::write(
        rules,
        "host all celery all scram-sha-256\nhost all gss all gss\nhost all unwanted all reject\n",
    )
    .unwrap();
    database
        .sql("SELECT pg_reload_conf(); CREATE ROLE gss LOGIN; CREATE ROLE unwanted LOGIN")
        .unwrap();
    let closed = "CREATE DATABASE closed ALLOW_CONNECTIONS false";
    database.sql(closed).unwrap();
    let url = database.url();
    for (from, to, part) in [
        (
            "celery:celery@",
            "gss:secret@",
            "login method gss (GSSAPI) of this user is not supported",
        ),
        ("celery:celery@", "unwanted:secret@", "28000"),
        ("/postgres", "/missing", "3D000"),
        ("/postgres", "/closed", "55000"),
        ("/postgres", "/postgres?options=-c%20nope=1", "42704"),
        ("/postgres", "/postgres?sslmode=require", "?sslmode=disable"),
        (
            "/postgres",
            "/postgres?sslrootcert=/nowhere/ca.pem",
            "/nowhere/ca.pem",
        ),
    ] {
        a_mistake(&redis, &url.replace(from, to), part);
    }
    let Some(name) = name_of_this_machine() else {
        println!("partly skipped: the name of this machine has no address");
        return;
    };
    let elsewhere = url.replace("127.0.0.1", &name);
    a_mistake(&redis, &elsewhere, "?sslmode=disable");
    let mut worker = start(&mut command(
        &redis,
        &format!("{elsewhere}?sslmode=disable"),
    ));
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}

#[test]
fn of_sqlite() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text.db");
    std::fs::write(
        &file,
        "this text is longer than the header of a database, and nothing else\n".repeat(20),
    )
    .unwrap();
    for (url, part) in [
        (format!("sqlite://{}", file.display()), "not a database"),
        (
            format!("sqlite://{}/missing.db", folder.path().display()),
            "unable to open",
        ),
        (
            format!("sqlite://{}", folder.path().display()),
            "unable to open",
        ),
        (format!("sqlite://{}?vfs=nope", file.display()), "nope"),
    ] {
        a_mistake(&redis, &url, part);
    }
}

/// A server whose first bytes are not those of a database, and end too early for the driver.
#[test]
fn of_something_else() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    for answer in [
        &b"\x03\x00\x00\x00\x0a5\x00"[..],
        b"\x01\x00\x00\x00\x0a",
        b"\x04\x00\x00\x00\x0a\x00\x00\x00",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("mysql://u:secret@{}/d", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                // The connection is kept open: a closed one would look as if the server were away.
                let mut client = client.unwrap();
                client.write_all(answer).unwrap();
                std::mem::forget(client);
            }
        });
        a_mistake(&redis, &url, "not that of a MySQL or MariaDB server");
    }
}
