//! A worker for tests, benchmarks and trying out. It serves the tasks that the captured messages of
//! Python Celery name, and `noop`. It has the command line of `celery-worker`.
//!
//! ```text
//! playground --broker redis://localhost/0 --loglevel INFO
//! ```
//!
//! A call of `noop` with a number is counted. When the worker ends, it writes the counts into the
//! folder that the variable `BENCH_TALLY` names, one byte for each number. So a benchmark sees
//! which calls ran twice and which did not run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use celery_worker::canvas::Signature;
use celery_worker::{
    Answers, Args, Batch, Context, Exception, Kwargs, Raw, TaskError, TaskResult, cli, task,
};
use serde::Serialize;
use serde_json::{Number, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The allocator of `celery-worker` with this feature, so that benchmarks measure what users run.
#[cfg(all(
    feature = "jemalloc",
    target_os = "linux",
    target_env = "gnu",
    target_arch = "x86_64"
))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How often `noop` ran with each number.
static RUNS: [AtomicU8; 1 << 21] = [const { AtomicU8::new(0) }; 1 << 21];

/// Does nothing, so that benchmarks measure the cost of everything else.
#[task]
async fn noop(args: Args, _kwargs: Kwargs) {
    let number = args.0.first().and_then(Value::as_u64);
    if let Some(runs) = number.and_then(|number| RUNS.get(usize::try_from(number).ok()?)) {
        runs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns the sum of two numbers.
#[task(name = "proj.add")]
async fn add(x: Number, y: Number) -> TaskResult<Number> {
    arithmetic(&x, &y, i64::checked_add, |x, y| x + y)
}

/// Returns the product of two numbers.
#[task(name = "proj.mul")]
async fn mul(x: Number, y: Number) -> TaskResult<Number> {
    arithmetic(&x, &y, i64::checked_mul, |x, y| x * y)
}

/// Returns the sum of a list, as the body of a chord gets it.
#[task(name = "proj.xsum")]
async fn xsum(numbers: Vec<Number>) -> TaskResult<Number> {
    numbers.iter().try_fold(Number::from(0), |sum, number| {
        arithmetic(&sum, number, i64::checked_add, |x, y| x + y)
    })
}

/// Returns its arguments.
#[task(name = "proj.echo")]
async fn echo(args: Args<Raw>, kwargs: Kwargs<Raw>) -> Echo {
    Echo {
        args: args.0,
        kwargs: kwargs.0,
    }
}

/// The arguments of `proj.echo`, each as its original text.
#[derive(Serialize)]
struct Echo {
    args: Vec<Raw>,
    kwargs: BTreeMap<String, Raw>,
}

/// Writes a line to the worker's log.
#[task(name = "proj.log")]
async fn log(text: String) {
    tracing::warn!("{text}");
}

/// Writes a line to the worker's log from a thread that may block.
#[task(name = "proj.log_blocking")]
fn log_blocking(text: String) {
    tracing::warn!("{text}");
}

/// Fails with a `ValueError`.
#[task(name = "proj.fail")]
async fn fail(#[default("boom".to_owned())] msg: String) -> TaskResult<()> {
    Err(TaskError::value_error(msg))
}

/// Fails with an `OSError`. It is retried twice, a second apart, and fails each time.
#[task(name = "proj.retrying", max_retries = 2)]
async fn retrying(context: Context, _args: Args, _kwargs: Kwargs) -> TaskResult<()> {
    let error = Exception::with_args("OSError", vec![json!(5), json!("io failed")]);
    Err(context
        .retry()
        .countdown(Duration::from_secs(1))
        .because(error)
        .into())
}

/// Asks for a retry after this number of seconds, without a reason.
#[task(name = "proj.retry_noexc")]
async fn retry_noexc(
    context: Context,
    #[default(Number::from(600))] countdown: Number,
) -> TaskResult<()> {
    Err(context.retry().countdown(seconds(&countdown)?).into())
}

/// Returns the header `laravel` of its message. With `sends` it first sends itself once more, and
/// returns the id of that call.
#[task(name = "proj.laravel")]
async fn laravel(context: Context, #[default(false)] sends: bool) -> TaskResult<Value> {
    if sends {
        let sent = context.send(Signature::new("proj.laravel"))?;
        return Ok(sent.id().into());
    }
    Ok(context.header("laravel")?.unwrap_or_default())
}

/// Sleeps for `n` seconds.
#[task(name = "proj.sleep")]
async fn sleep(#[default(Number::from(1))] n: Number) -> TaskResult<Number> {
    tokio::time::sleep(seconds(&n)?).await;
    Ok(n)
}

/// Connects to an address, writes its process and a key there, and ends when the other side closes
/// the connection. So a test sees which calls run, and decides when they end.
#[task(name = "proj.occupy")]
async fn occupy(address: String, #[default(String::new())] key: String) -> TaskResult<()> {
    stay(&address, &key).await
}

/// Like `proj.occupy`, but of the calls with one key, one waits or runs.
#[task(name = "proj.alone", unique = "until_done", unique_by = "key")]
async fn alone(address: String, #[default(String::new())] key: String) -> TaskResult<()> {
    stay(&address, &key).await
}

async fn stay(address: &str, key: &str) -> TaskResult<()> {
    let mut door = TcpStream::connect(address).await?;
    let line = format!("{} {key}\n", std::process::id());
    door.write_all(line.as_bytes()).await?;
    let mut nothing = Vec::new();
    door.read_to_end(&mut nothing).await?;
    Ok(())
}

/// Sleeps, but heeds its soft time limit.
#[task(name = "proj.soft", soft_time_limit = "1s", time_limit = "3s")]
async fn soft(context: Context, n: Number) -> TaskResult<()> {
    tokio::select! {
        () = context.cancelled() => Err(TaskError::soft_time_limit_exceeded()),
        () = tokio::time::sleep(seconds(&n)?) => Ok(()),
    }
}

/// Shows a state of its own for a moment.
#[task(name = "proj.custom_state")]
async fn custom_state(
    context: Context,
    #[default(Number::from(1))] wait: Number,
) -> TaskResult<&'static str> {
    context
        .update_state("PROGRESS", json!({ "current": 1, "total": 2 }))
        .await?;
    tokio::time::sleep(seconds(&wait)?).await;
    Ok("done")
}

/// Leaves a state of its own behind, and no result.
#[task(name = "proj.ignore")]
async fn ignore(context: Context) -> TaskResult<()> {
    context.update_state("MYSTATE", json!({ "a": 1 })).await?;
    Err(TaskError::Ignore)
}

/// Rejects its message.
#[task(name = "proj.reject")]
async fn reject(#[default(false)] requeue: bool) -> TaskResult<()> {
    Err(TaskError::Reject {
        reason: "no".to_owned(),
        requeue,
    })
}

/// Ends each call of a batch as its argument says.
#[allow(clippy::panic, reason = "one of the ends")]
#[task(
    name = "proj.ends",
    max_retries = 1,
    retry_delay = "1s",
    time_limit = "1s",
    batch(size = 8, linger = "200ms")
)]
async fn ends(calls: Batch<(String,)>) -> TaskResult<Answers<String>> {
    assert!(!calls.iter().any(|(end,)| end == "panic"), "boom");
    if calls.iter().any(|(end,)| end == "hang") {
        std::future::pending::<()>().await;
    }
    let answer = |(end,): &(String,)| match end.as_str() {
        "fail" => Err(TaskError::value_error("boom")),
        "ignore" => Err(TaskError::Ignore),
        "reject" => Err(TaskError::Reject {
            reason: "no".to_owned(),
            requeue: false,
        }),
        _ => Ok(end.clone()),
    };
    Ok(calls.iter().map(answer).collect())
}

/// Kills its process, to test the consequences.
#[task(name = "proj.killself")]
async fn killself() -> TaskResult<()> {
    std::process::Command::new("kill")
        .args(["-9", &std::process::id().to_string()])
        .status()?;
    Ok(())
}

/// Keeps its thread for `wait` seconds and never yields, not even when it should stop. An async
/// task must not do this.
#[task(name = "proj.spin")]
async fn spin(wait: Number) -> TaskResult<()> {
    std::thread::sleep(seconds(&wait)?);
    Ok(())
}

/// Like `proj.spin`, in a task that computes, which has a thread of its own.
#[task(name = "proj.compute")]
fn compute(wait: Number) -> TaskResult<()> {
    std::thread::sleep(seconds(&wait)?);
    Ok(())
}

/// Panics.
#[allow(clippy::panic, reason = "that is what it is for")]
#[task(name = "proj.panic")]
async fn panics(#[default("boom".to_owned())] msg: String) -> TaskResult<()> {
    panic!("{msg}")
}

/// Computes as Python does: whole numbers stay whole.
fn arithmetic(
    x: &Number,
    y: &Number,
    whole: fn(i64, i64) -> Option<i64>,
    real: fn(f64, f64) -> f64,
) -> TaskResult<Number> {
    if let (Some(x), Some(y)) = (x.as_i64(), y.as_i64()) {
        let overflow = || Exception::new("OverflowError", "the result needs more than 64 bits");
        return Ok(whole(x, y).ok_or_else(overflow)?.into());
    }
    let result = x.as_f64().zip(y.as_f64()).map(|(x, y)| real(x, y));
    let no_number = || Exception::new("OverflowError", "the result is not a number");
    Ok(result.and_then(Number::from_f64).ok_or_else(no_number)?)
}

fn seconds(number: &Number) -> TaskResult<Duration> {
    let time = number.as_f64().map(Duration::try_from_secs_f64);
    match time {
        Some(Ok(time)) => Ok(time),
        _ => Err(TaskError::value_error(format!(
            "{number} is not a time to sleep"
        ))),
    }
}

fn main() -> ExitCode {
    let code = serve();
    if let Some(folder) = std::env::var_os("BENCH_TALLY") {
        let runs: Vec<u8> = RUNS.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        let file = Path::new(&folder).join(format!("{}.runs", std::process::id()));
        if let Err(error) = std::fs::write(&file, runs) {
            eprintln!("{}: {error}", file.display());
            return ExitCode::FAILURE;
        }
    }
    code
}

fn serve() -> ExitCode {
    cli::main(|worker| {
        [
            noop::task(),
            add::task(),
            mul::task(),
            xsum::task(),
            echo::task(),
            fail::task(),
            log::task(),
            log_blocking::task(),
            laravel::task(),
            retrying::task(),
            retry_noexc::task(),
            sleep::task(),
            alone::task(),
            occupy::task(),
            soft::task(),
            custom_state::task(),
            ignore::task(),
            reject::task(),
            ends::task(),
            killself::task(),
            spin::task(),
            compute::task(),
            panics::task(),
        ]
        .into_iter()
        .fold(worker, celery_worker::WorkerBuilder::register)
    })
}
