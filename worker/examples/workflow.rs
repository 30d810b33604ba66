//! Tasks that send tasks: `Context::send` and `Context::replace`.
//!
//! `shop.announce` sends a task to another queue. `shop.total` puts a chord in its own place: a
//! client that waits for `shop.total` gets the result of the chord. Run it with
//! `--broker redis://localhost/0`; calls then end like this:
//!
//! ```text
//! > shop.total [[1,2,3]]
//! SUCCESS 12
//! > shop.announce ["three"]
//! SUCCESS "announced three"
//! > shop.total [[]]
//! FAILURE ValueError: nothing to add
//! ```

use std::process::ExitCode;

use celery_worker::canvas::{Signature, chord};
use celery_worker::{Context, TaskError, TaskResult, cli, task};

/// Doubles a number.
#[task(name = "shop.double")]
async fn double(n: i64) -> i64 {
    n.saturating_mul(2)
}

/// Adds up numbers.
#[task(name = "shop.sum")]
async fn sum(numbers: Vec<i64>) -> i64 {
    numbers.into_iter().fold(0, i64::saturating_add)
}

/// Doubles all numbers at the same time, and then adds them up.
#[task(name = "shop.total")]
async fn total(context: Context, numbers: Vec<i64>) -> TaskResult<i64> {
    if numbers.is_empty() {
        return Err(TaskError::value_error("nothing to add"));
    }
    let doubles = numbers
        .into_iter()
        .map(|n| Signature::new("shop.double").arg(n));
    Err(context.replace(chord(doubles, Signature::new("shop.sum"))))
}

/// Sends a task to another queue. It is published when this task has ended.
#[task(name = "shop.announce")]
async fn announce(context: Context, what: String) -> TaskResult<String> {
    let mail = Signature::new("shop.mail").arg(&what);
    context.send(mail.option("queue", "mails"))?;
    Ok(format!("announced {what}"))
}

fn main() -> ExitCode {
    cli::main(|worker| {
        let worker = worker.register(double::task()).register(sum::task());
        worker.register(total::task()).register(announce::task())
    })
}
