//! A private Redis is reachable, survives what it should and loses what it should.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;

use celery_testkit::{Certificates, Redis, RedisOptions, ServerName};

fn ping(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn answers_on_its_port_and_its_socket() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    assert_eq!(ping(&mut tcp), "+PONG\r\n");
    let mut unix = UnixStream::connect(redis.socket()).unwrap();
    assert_eq!(ping(&mut unix), "+PONG\r\n");
    assert_eq!(redis.url(), format!("redis://127.0.0.1:{}/0", redis.port()));
}

#[test]
fn two_run_side_by_side() {
    let one = RedisOptions::new().start().unwrap();
    let two = RedisOptions::new().start().unwrap();
    one.cli(&["SET", "key", "one"]).unwrap();
    assert_eq!(two.cli(&["EXISTS", "key"]).unwrap(), "0");
}

#[test]
fn loses_nothing_with_aof_and_everything_without() {
    for (options, expected) in [(RedisOptions::new().aof(), "1"), (RedisOptions::new(), "0")] {
        let mut redis = options.start().unwrap();
        let port = redis.port();
        redis.cli(&["SET", "key", "value"]).unwrap();
        redis.kill9();
        redis.restart().unwrap();
        assert_eq!(redis.port(), port);
        assert_eq!(redis.cli(&["EXISTS", "key"]).unwrap(), expected);
    }
}

#[test]
fn asks_for_its_password_and_refuses_when_full() {
    let redis = RedisOptions::new()
        .password("secret")
        .maxmemory("100kb")
        .start()
        .unwrap();
    assert_eq!(
        redis.url_of_db(3),
        format!("redis://:secret@127.0.0.1:{}/3", redis.port())
    );
    let mut tcp = TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    assert_eq!(ping(&mut tcp), "-NOAUTH");
    let refused = redis.cli(&["SET", "key", "value"]).unwrap_err();
    assert!(refused.to_string().contains("OOM"), "{refused}");
}

#[test]
fn leaves_nothing_behind() {
    let redis = RedisOptions::new().start().unwrap();
    let (pid, socket) = (redis.pid(), redis.socket());
    drop(redis);
    assert!(!socket.exists());
    assert!(fs::metadata(format!("/proc/{pid}")).is_err());
}

#[test]
fn a_wrong_setting_is_reported_with_the_servers_words() {
    let error = RedisOptions::new()
        .set("no-such-setting", "1")
        .start()
        .unwrap_err();
    assert!(error.to_string().contains("no-such-setting"), "{error}");
}

#[test]
fn speaks_tls_with_a_certificate_of_its_own_authority() {
    let redis = RedisOptions::new().tls(ServerName::Right).start().unwrap();
    let certificates = redis.certificates().unwrap();
    let ping = |ca: &std::path::Path| {
        Command::new("redis-cli")
            .args([
                "-h",
                "localhost",
                "-p",
                &redis.tls_port().unwrap().to_string(),
            ])
            .args(["-e", "--tls", "--cacert"])
            .arg(ca)
            .arg("PING")
            .output()
            .unwrap()
    };
    assert_eq!(ping(&certificates.ca()).stdout, b"PONG\n");
    let stranger = tempfile::tempdir().unwrap();
    let stranger = Certificates::generate(stranger.path(), ServerName::Right).unwrap();
    assert!(!ping(&stranger.ca()).status.success());
    assert!(redis.tls_url().unwrap().starts_with("rediss://localhost:"));
}
