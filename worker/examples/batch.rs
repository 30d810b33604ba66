//! A task that gets many calls at once: `batch(…)`.
//!
//! A batch is complete with `size` calls, or `linger` after its first one. Each call has an answer
//! of its own. Run it with `--broker redis://localhost/0`; three calls then end like this:
//!
//! ```text
//! > shop.import ["apple", 3]
//! > shop.import ["pear", 0]
//! > shop.import ["plum", 5]
//! SUCCESS "3 apple in a batch of 3"
//! FAILURE ValueError: no pear
//! SUCCESS "5 plum in a batch of 3"
//! ```

use std::process::ExitCode;

use celery_worker::{Answers, Batch, TaskError, TaskResult, cli, task};

/// Adds pieces of an article to the stock.
#[task(name = "shop.import", batch(size = 3, linger = "30s"))]
async fn import(calls: Batch<(String, u64)>) -> TaskResult<Answers<String>> {
    // A real task would run one statement, or send one request, for all calls here.
    let answer = |(article, pieces): &(String, u64)| match pieces {
        0 => Err(TaskError::value_error(format!("no {article}"))),
        _ => Ok(format!("{pieces} {article} in a batch of {}", calls.len())),
    };
    Ok(calls.iter().map(answer).collect())
}

fn main() -> ExitCode {
    cli::main(|worker| worker.register(import::task()))
}
