//! The tasks of the page `/work` in `examples/laravel-tasks`. Their results say which worker ran
//! them and for how many seconds. `examples/laravel-tasks/python/worker.py` has the tasks for a
//! Python worker.
//!
//! `demo.item` writes into the table `items` of that application:
//!
//! ```sh
//! work_page -b redis://localhost/0 --database mysql://app:secret@localhost/app -Q work
//! ```

use std::process::ExitCode;
use std::time::{Duration, Instant};

use celery_worker::{Context, Database, Exception, State, TaskError, TaskResult, cli, task};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::sleep;

/// The steps of `demo.long`, and how many twentieths of the time each takes.
const STEPS: [(&str, u32); 5] = [
    ("Read the orders", 3),
    ("Check the addresses", 4),
    ("Add up", 2),
    ("Draw the charts", 7),
    ("Write the report", 4),
];
const TICKS: u32 = 20;

/// What a task returns: its value, and who computed it.
#[derive(Serialize)]
struct Report<T> {
    value: T,
    worker: String,
    language: &'static str,
    seconds: f64,
}

impl<T> Report<T> {
    fn new(context: &Context, began: Instant, value: T) -> Self {
        Self {
            value,
            worker: context.hostname().to_owned(),
            language: "Rust",
            seconds: began.elapsed().as_secs_f64(),
        }
    }
}

/// A member of the chord, as its body gets it.
#[derive(Deserialize)]
struct Member {
    value: i64,
}

/// Works in steps and reports its progress. Takes `seconds` in all.
#[task(name = "demo.long")]
async fn long(context: Context, seconds: f64) -> TaskResult<Report<Vec<Value>>> {
    let tick = duration(seconds)? / TICKS;
    let (began, mut ticks, mut done) = (Instant::now(), 0, Vec::new());
    for (name, length) in STEPS {
        let step = Instant::now();
        for _ in 0..length {
            let progress = json!({
                "percent": ticks * 100 / TICKS,
                "step": name,
                "steps": done,
                "worker": context.hostname(),
                "language": "Rust",
            });
            context.update_state("PROGRESS", progress).await?;
            sleep(tick).await;
            ticks += 1;
        }
        done.push(json!({ "name": name, "seconds": step.elapsed().as_secs_f64() }));
    }
    Ok(Report::new(&context, began, done))
}

/// Fails.
#[task(name = "demo.fail")]
async fn fail(order: u64) -> TaskResult<()> {
    let reason = format!("order {order} has no address");
    Err(Exception::new("LookupError", reason).into())
}

/// Returns the square of a number. Takes `seconds`.
#[task(name = "demo.square")]
async fn square(context: Context, n: i64, seconds: f64) -> TaskResult<Report<i64>> {
    let began = Instant::now();
    sleep(duration(seconds)?).await;
    Ok(Report::new(&context, began, n.saturating_mul(n)))
}

/// Adds up the squares of a chord.
#[task(name = "demo.sum")]
async fn sum(context: Context, members: Vec<Member>) -> TaskResult<Report<i64>> {
    let began = Instant::now();
    let sum = members
        .iter()
        .fold(0_i64, |sum, member| sum.saturating_add(member.value));
    Ok(Report::new(&context, began, sum))
}

/// Completes a row of `items`. Counts how often it began: a task whose worker was killed runs again.
#[task(name = "demo.item")]
async fn item(
    context: Context,
    database: State<Database>,
    id: u64,
    milliseconds: u64,
) -> TaskResult<()> {
    let began = "UPDATE items SET runs = runs + 1 WHERE id = :id";
    database.execute(began, &[("id", json!(id))]).await?;
    sleep(Duration::from_millis(milliseconds)).await;
    let done = "UPDATE items SET worker = :worker, done_at = UTC_TIMESTAMP(3) \
                WHERE id = :id AND done_at IS NULL";
    let values = [("worker", json!(context.hostname())), ("id", json!(id))];
    database.execute(done, &values).await?;
    Ok(())
}

fn duration(seconds: f64) -> TaskResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| TaskError::value_error(format!("{seconds} seconds: {error}")))
}

fn main() -> ExitCode {
    cli::main(|worker| {
        [
            long::task(),
            fail::task(),
            square::task(),
            sum::task(),
            item::task(),
        ]
        .into_iter()
        .fold(worker, celery_worker::WorkerBuilder::register)
    })
}
