//! Tasks that run again: `max_retries`, and `Context::retry`.
//!
//! With `max_retries` every failure is followed by another run until the retries are used up. A
//! task can also ask for another run itself. Run it with `--broker redis://localhost/0`; calls then
//! end like this, with `RETRY` before each further run:
//!
//! ```text
//! > shop.fetch [2]
//! RETRY OSError: try 1
//! RETRY OSError: try 2
//! SUCCESS "fetched by try 3"
//! > shop.fetch [9]
//! RETRY OSError: try 1
//! RETRY OSError: try 2
//! FAILURE OSError: try 3
//! > shop.fetch [-1]
//! FAILURE ValueError: -1 is not a number of failures
//! > shop.poll [1]
//! RETRY TimeoutError: not ready
//! SUCCESS "ready"
//! > shop.poll [5]
//! RETRY TimeoutError: not ready
//! FAILURE TimeoutError: not ready
//! ```

use std::process::ExitCode;
use std::time::Duration;

use celery_worker::{Context, Exception, TaskResult, cli, task};

/// Fails the given number of times, like an unreliable service. A wrong argument is a permanent
/// failure, which is not retried.
#[task(name = "shop.fetch", max_retries = 2, retry_delay = "50ms")]
async fn fetch(context: Context, failures: i64) -> TaskResult<String> {
    if failures < 0 {
        let text = format!("{failures} is not a number of failures");
        return Err(Exception::new("ValueError", text).permanent().into());
    }
    let run = context.retries() + 1;
    if i64::from(run) <= failures {
        return Err(Exception::new("OSError", format!("try {run}")).into());
    }
    Ok(format!("fetched by try {run}"))
}

/// Asks for another run while something is not ready, after a wait that it chooses itself.
#[task(name = "shop.poll")]
async fn poll(context: Context, ready_after: u32) -> TaskResult<&'static str> {
    if context.retries() < ready_after {
        let again = context.retry().countdown(Duration::from_millis(50));
        let reason = Exception::new("TimeoutError", "not ready");
        return Err(again.max_retries(Some(1)).because(reason).into());
    }
    Ok("ready")
}

fn main() -> ExitCode {
    cli::main(|worker| worker.register(fetch::task()).register(poll::task()))
}
