//! Compares this worker with one of Celery 5.7, on messages that are not as Celery writes them.
//!
//! Each line of `cases.txt` is a message with one member changed. It is pushed as it is to a list
//! that the Python worker serves, and to one that the worker here serves. The two answers must be
//! those in the table of `docs/reference/messages.md`. Where the answers differ, the line gives the
//! reason. `TOLERANCE_WRITE=1` writes the table anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    unreachable_pub,
    reason = "tests"
)]

mod case;
mod workers;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use celery_testkit::{Redis, RedisOptions};

use self::case::Case;
use self::workers::{Ours, Python};

/// The lines around the table in its document.
const BEGIN: &str = "<!-- table: made by worker/tests/tolerance -->\n";
const END: &str = "<!-- end of the table -->\n";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns `true` if an answer says that the task runs.
fn runs(answer: &str) -> bool {
    answer == "ran"
}

#[test]
fn the_worker_runs_what_python_runs_and_makes_the_rest_dead_letters() {
    let cases: Vec<Case> = include_str!("cases.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(Case::parse)
        .collect();
    assert!(cases.len() >= 60);
    let document = root().join("docs/reference/messages.md");
    let text = std::fs::read_to_string(&document).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (written, after) = rest.split_once(END).unwrap();

    let mut redis = Redis::start(RedisOptions::new()).unwrap();
    let mut ours = Ours::start(&redis);
    let ours: Vec<String> = cases.iter().map(|case| ours.answer(&redis, case)).collect();
    let python: Vec<String> = if let Some(program) = workers::python() {
        let mut python = Python::start(&redis, program);
        cases
            .iter()
            .map(|case| python.answer(&redis, case))
            .collect()
    } else {
        eprintln!(
            "skipped: Celery 5.7 is not in .venv (make setup); its answers are those of the table"
        );
        let rows = written.lines().skip(2);
        rows.map(|row| row.rsplit(" | ").nth(2).unwrap_or_default().to_owned())
            .collect()
    };
    redis.stop();

    let mut table = "| message | Celery 5.7 | here | why |\n| --- | --- | --- | --- |\n".to_owned();
    let mut wrong = String::new();
    for ((case, python), ours) in cases.iter().zip(&python).zip(&ours) {
        writeln!(table, "| {case} | {python} | {ours} | {} |", case.why).unwrap();
        if runs(python) != runs(ours) && case.why.is_empty() {
            writeln!(wrong, "{case}: {python}, here {ours}").unwrap();
        }
        // A message that is not run must not be lost without a trace.
        assert!(!ours.is_empty(), "{case}");
    }
    if std::env::var_os("TOLERANCE_WRITE").is_some() {
        let text = format!("{before}{BEGIN}{table}{END}{after}");
        std::fs::write(&document, text).unwrap();
    }
    assert!(wrong.is_empty(), "differences without a reason:\n{wrong}");
    let differences: Vec<String> = written
        .lines()
        .zip(table.lines())
        .filter(|(old, new)| old != new)
        .map(|(old, new)| format!("{old}\n  is now\n{new}"))
        .collect();
    assert!(
        written == table,
        "docs/reference/messages.md is out of date; TOLERANCE_WRITE=1 writes it anew:\n{}",
        differences.join("\n")
    );
}
