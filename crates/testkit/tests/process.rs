//! Programs are started with their output captured, waited for and ended.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::process::Command;
use std::time::Duration;

use celery_testkit::{Error, Process, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Process {
    Process::spawn("a shell", Command::new("sh").args(["-c", script])).unwrap()
}

#[test]
fn a_line_is_waited_for() {
    let mut process = shell("echo one; echo two >&2; exec sleep 60");
    assert_eq!(process.wait_for_line(SOON, "tw").unwrap(), "two");
    process.terminate();
    assert_eq!(Process::shell_code(process.wait(SOON).unwrap()), 143);
}

#[test]
fn a_program_that_ends_without_the_line_is_an_error_at_once() {
    let mut process = shell("echo alas; exit 3");
    let error = process.wait_for_line(SOON, "ready").unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(error.to_string().contains("alas"), "{error}");
    assert_eq!(process.exit_status().unwrap().code(), Some(3));
}

#[test]
fn a_line_that_does_not_come_is_a_timeout_with_the_output() {
    let mut process = shell("echo still here; exec sleep 60");
    process.wait_for_line(SOON, "still here").unwrap();
    let error = process
        .wait_for_line(Duration::from_millis(50), "ready")
        .unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert!(error.to_string().contains("still here"), "{error}");
}

#[test]
fn a_group_goes_with_its_children() {
    let mut process = Process::spawn_group(
        "a shell",
        Command::new("sh").args(["-c", "sleep 60 & echo child $!; wait"]),
    )
    .unwrap();
    let line = process.wait_for_line(SOON, "child ").unwrap();
    let child = line.trim_start_matches("child ").to_owned();
    drop(process);
    // The child is gone, or dead and not yet reaped by the process that inherits orphans.
    let state = || fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
    wait_for(SOON, "the child's end", || {
        let state = state();
        state.is_empty() || state.contains(") Z ")
    })
    .unwrap();
}

#[test]
fn a_frozen_program_does_nothing_more() {
    let script = "while :; do :; done & while :; do :; done & echo begun; wait";
    let mut process =
        Process::spawn_group("a shell", Command::new("sh").args(["-c", script])).unwrap();
    process.wait_for_line(SOON, "begun").unwrap();
    let group = process.pid();
    let states = || {
        let mut found = String::new();
        for entry in fs::read_dir("/proc").unwrap() {
            let stat = fs::read_to_string(entry.unwrap().path().join("stat")).unwrap_or_default();
            let Some((_, rest)) = stat.rsplit_once(") ") else {
                continue;
            };
            let fields: Vec<&str> = rest.split(' ').collect();
            if fields[2] == group.to_string() {
                found.push_str(fields[0]);
            }
        }
        found
    };
    for _ in 0..20 {
        process.pause();
        assert_eq!(states(), "TTT");
        process.resume();
        wait_for(SOON, "work", || states().contains('R')).unwrap();
    }
}
