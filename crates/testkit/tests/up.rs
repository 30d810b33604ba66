//! `testkit up` gives a command its servers, its signals and its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use celery_testkit::Process;

const SOON: Duration = Duration::from_mins(1);

fn up(services: &[&str], script: &str) -> Process {
    let mut command = Command::new(env!("CARGO_BIN_EXE_testkit"));
    command.arg("up").args(services);
    command.args(["--", "sh", "-c", script]);
    Process::spawn("testkit", &mut command).unwrap()
}

#[test]
fn the_command_finds_its_servers_and_decides_the_exit_code() {
    let mut kit = up(
        &["redis", "mariadb"],
        "redis-cli -u $REDIS_URL PING && \
         mariadb --no-defaults -u$DB_USERNAME -p$DB_PASSWORD -S$DB_SOCKET -e 'SELECT 40 + 2' $DB_DATABASE && \
         echo redis is $REDIS_PID; exit 7",
    );
    assert_eq!(kit.wait(SOON).unwrap().code(), Some(7), "{}", kit.log());
    let log = kit.log();
    assert!(log.contains("PONG") && log.contains("42"), "{log}");
    let redis = kit.wait_for_line(SOON, "redis is ").unwrap();
    let redis = redis.trim_start_matches("redis is ");
    assert!(fs::metadata(format!("/proc/{redis}")).is_err());
}

#[test]
fn signals_reach_the_command() {
    let mut kit = up(
        &[],
        "trap 'echo told to end; exit 3' TERM; echo ready; while :; do sleep 0.05; done",
    );
    kit.wait_for_line(SOON, "ready").unwrap();
    kit.terminate();
    assert_eq!(kit.wait(SOON).unwrap().code(), Some(3));
    assert!(kit.log().contains("told to end"));
}

#[test]
fn what_it_does_not_know_is_said() {
    let mut kit = up(&["oracle"], "true");
    assert_eq!(kit.wait(SOON).unwrap().code(), Some(70));
    assert!(
        kit.log().contains("unknown service oracle"),
        "{}",
        kit.log()
    );
}
