//! The worker of docs/getting-started/rust.md: two tasks and the command line of `celery-worker`.

use std::process::ExitCode;

use celery_worker::{Exception, TaskResult, cli, task};

/// Returns a greeting. Called as `greet("Ada")` or `greet(name="Ada", word="Welcome")`.
#[task]
async fn greet(name: String, #[default("Hello".to_owned())] word: String) -> String {
    format!("{word}, {name}!")
}

/// Divides two numbers. Fails as Python's division does where the second is 0.
#[task(name = "shop.divide")]
async fn divide(x: f64, y: f64) -> TaskResult<f64> {
    if y == 0.0 {
        return Err(Exception::new("ZeroDivisionError", "division by zero").into());
    }
    Ok(x / y)
}

fn main() -> ExitCode {
    cli::main(|worker| worker.register(greet::task()).register(divide::task()))
}
