//! Mistakes with TLS to the broker: the log says which end does not use it, or that the authority is
//! unknown.

use std::process::Command;

use celery_testkit::{Process, Redis, RedisOptions, ServerName};

use crate::world::*;

/// Asserts that the log of a worker and the output of its check say `words`, and show no password.
fn is_named(broker: &str, words: &str) {
    let command = |more: &[&str]| {
        let mut command = Command::new(playground());
        command.args(["-b", broker]).args(more);
        command
    };
    let mut worker = Process::spawn("playground", &mut command(&[])).unwrap();
    worker
        .wait_for_line(PATIENCE, words)
        .unwrap_or_else(|error| panic!("{broker}: {error}\n{}", worker.log()));
    worker.kill9();
    let checked = command(&["check"]).output().unwrap();
    let output = [checked.stdout, checked.stderr].concat();
    let output = String::from_utf8_lossy(&output).into_owned();
    assert!(!checked.status.success(), "{broker}: {output}");
    assert!(output.contains(words), "{broker}: {output}");
    for text in [worker.log(), output] {
        assert!(!text.contains("secret"), "{broker}: {text}");
    }
}

#[test]
fn each_mistake_with_tls_is_named() {
    let redis = Redis::start(RedisOptions::new().tls(ServerName::Right)).unwrap();
    let stranger = Redis::start(RedisOptions::new().tls(ServerName::Right)).unwrap();
    let (plain, tls) = (redis.port(), redis.tls_port().unwrap());
    let authority = stranger.certificates().unwrap().ca();
    let unknown = "its certificate is not signed by a trusted authority";
    is_named(&format!("rediss://:secret@localhost:{tls}/0"), unknown);
    is_named(
        &format!(
            "rediss://:secret@localhost:{tls}/0?ssl_ca_certs={}",
            authority.display()
        ),
        unknown,
    );
    is_named(
        &format!("redis://:secret@localhost:{tls}/0"),
        "use rediss://",
    );
    is_named(
        &format!("rediss://:secret@127.0.0.1:{plain}/0"),
        "use redis://",
    );
}
