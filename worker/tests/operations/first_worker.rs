//! The worker that docs/getting-started/rust.md builds.

use std::path::Path;
use std::process::Command;

use celery_testkit::{Redis, RedisOptions};
use serde_json::json;

use crate::world::*;

const PAGE: &str = include_str!("../../../docs/getting-started/rust.md");

#[test]
fn the_page_shows_the_example_that_is_tested() {
    let block = PAGE
        .split("```rust,no_run\n")
        .nth(1)
        .and_then(|rest| rest.split_once("```"));
    let (code, _) = block.unwrap();
    assert_eq!(code, include_str!("../../examples/first_worker.rs"));
}

#[test]
fn the_example_runs_its_tasks() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let folder = Path::new(env!("CARGO_BIN_EXE_celery-worker")).parent();
    let program = folder.unwrap().join("examples/first_worker");
    let mut command = Command::new(program);
    command.args(["--broker", &redis.url(), "--loglevel", "INFO"]);
    let mut worker = start(&mut command);
    for (id, name, args, status, result) in [
        ("a", "greet", r#"["Ada"]"#, "SUCCESS", json!("Hello, Ada!")),
        ("b", "greet", r#"["Bo", "Hi"]"#, "SUCCESS", json!("Hi, Bo!")),
        ("c", "shop.divide", "[7, 2]", "SUCCESS", json!(3.5)),
        (
            "d",
            "shop.divide",
            "[7, 0]",
            "FAILURE",
            json!("ZeroDivisionError"),
        ),
        ("e", "greet", "[]", "FAILURE", json!("TypeError")),
    ] {
        post(&redis, id, name, args, None);
        wait_for_status(&redis, id, status, &worker);
        let stored = &crate::world::result(&redis, id).unwrap()["result"];
        let stored = stored.get("exc_type").unwrap_or(stored);
        assert_eq!(*stored, result, "{id}");
    }
    let line = "s: 'Hello, Ada!'";
    assert!(worker.log().contains(line), "{}", worker.log());
    worker.terminate();
    assert_eq!(worker.wait(PATIENCE).unwrap().code(), Some(0));
}
