//! Where the compiler points when `#[task]` is misused, and what it says there.
//!
//! The compiler runs as it does for a program with such a task, against the library that was built for
//! these tests. Each file in `task_errors` has the expected errors in its comments.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The line of an error, the text at which it points, and its message or the expected part of it.
type Found = (u64, String, String);

/// Returns the newest build of the library beside this test, whose dependencies are there, too.
fn library(folder: &Path) -> PathBuf {
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let libraries = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libcelery_worker-") && name.ends_with(".rlib")
    });
    let built = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
    libraries.max_by_key(built).unwrap()
}

/// Returns the errors of the compiler for a file.
fn compiled(file: &Path) -> Vec<Found> {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    let out = tempfile::tempdir().unwrap();
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--edition", "2024", "--emit", "metadata"]);
    command.args(["--error-format", "json", "--cap-lints", "allow"]);
    command.arg("--extern");
    command.arg(format!("celery_worker={}", library(folder).display()));
    command.arg("-L");
    command.arg(format!("dependency={}", folder.display()));
    command.arg("--out-dir").arg(out.path()).arg(file);
    let output = command.output().unwrap();
    assert!(!output.status.success(), "{} compiles", file.display());
    let lines = String::from_utf8(output.stderr).unwrap();
    let diagnostics = lines.lines().map(|line| {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {lines}"))
    });
    let errors =
        diagnostics.filter(|it| it["level"] == "error" && it["spans"] != Value::Array(Vec::new()));
    errors.map(|error| place(&error)).collect()
}

/// Returns where an error points, and its message.
fn place(error: &Value) -> Found {
    let message = error["message"].as_str().unwrap().to_owned();
    let spans = error["spans"].as_array().unwrap();
    let span = spans
        .iter()
        .find(|span| span["is_primary"] == true)
        .unwrap();
    let line = span["line_start"].as_u64().unwrap();
    let text = &span["text"][0];
    let column = |name: &str| usize::try_from(text[name].as_u64().unwrap()).unwrap() - 1;
    let (start, end) = (column("highlight_start"), column("highlight_end"));
    let all = text["text"].as_str().unwrap().chars();
    let pointed = all.skip(start).take(end - start).collect();
    (line, pointed, message)
}

/// Returns the errors that the comments of a file announce.
fn announced(source: &str) -> Vec<Found> {
    let lines = (1..).zip(source.lines());
    let found = lines.filter_map(|(number, line)| {
        let (_, comment) = line.split_once("//~ `")?;
        let (text, part) = comment.split_once("` ").unwrap();
        Some((number, text.to_owned(), part.to_owned()))
    });
    found.collect()
}

fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/task_errors");
    let file = folder.join(name);
    let (found, expected) = (
        compiled(&file),
        announced(&std::fs::read_to_string(&file).unwrap()),
    );
    assert!(!expected.is_empty());
    let mut left: BTreeSet<Found> = found.into_iter().collect();
    for (line, text, part) in expected {
        let is = |it: &&Found| it.0 == line && it.1 == text && it.2.contains(&part);
        let matching: Vec<Found> = left.iter().filter(is).cloned().collect();
        assert!(
            !matching.is_empty(),
            "{name}:{line}: {text:?}: {part}\nnot in {left:#?}"
        );
        for each in matching {
            left.remove(&each);
        }
    }
    assert!(left.is_empty(), "{name}: not announced: {left:#?}");
}

#[test]
fn mistakes_in_the_attribute_are_pointed_at() {
    check("attribute.rs");
}

#[test]
fn types_that_no_message_can_give_are_pointed_at() {
    check("types.rs");
}
