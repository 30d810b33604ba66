//! `testkit up` gives a command its servers, its signals and its exit code.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use celery_testkit::{Process, wait_for};

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
fn servers_end_with_a_kit_that_is_killed() {
    // The command ends with the kit, so that the test leaves nothing behind.
    let mut kit = up(
        &["redis"],
        "echo redis is $REDIS_PID; while kill -0 $PPID 2>/dev/null; do sleep 0.05; done",
    );
    let redis = kit.wait_for_line(SOON, "redis is ").unwrap();
    let redis = redis.trim_start_matches("redis is ");
    // A dead process may wait to be reaped by the process that inherits orphans.
    let runs = || {
        let state = fs::read_to_string(format!("/proc/{redis}/stat")).unwrap_or_default();
        !state.is_empty() && !state.contains(") Z ")
    };
    assert!(runs());
    kit.kill9();
    wait_for(SOON, "the end of Redis", || !runs()).unwrap();
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
