//! A library to write Celery workers with, and the worker `celery-worker`.
//!
//! ```no_run
//! use celery_worker::{Database, State, TaskResult, Worker, task};
//! use serde_json::json;
//!
//! /// Called as `close_order(17)` or `close_order(id=17)`, from any language.
//! #[task(max_retries = 3, retry_delay = "10s")]
//! async fn close_order(database: State<Database>, id: u64) -> TaskResult<bool> {
//!     let sql = "UPDATE orders SET state = 'closed' WHERE id = :id";
//!     Ok(database.execute(sql, &[("id", json!(id))]).await? > 0)
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let worker = Worker::builder()
//!         .broker("redis://localhost/0")
//!         .database("mysql://user:password@localhost/shop")
//!         .register(close_order());
//!     worker.run().await?;
//!     Ok(())
//! }
//! ```
//!
//! A message is acknowledged after its task has ended and its result is stored, and never before: a worker that dies loses
//! nothing, and what it had begun is run again. Tasks must bear that, or use [`Database::once`].
//!
//! # Layout
//!
//! * [`Worker`], [`WorkerBuilder`] – the worker as a whole: how it starts, how it stops.
//! * [`cli`] – the command line of `celery-worker`, for workers of one's own too; settings, log lines, `check`, `dead`.
//! * [`task`](macro@task), [`TaskDef`] – tasks, with typed arguments; [`Context`], [`State`], [`Batch`] are what they can ask for.
//! * [`TaskError`], [`Exception`], [`Retry`] – how a task ends other than by returning a value.
//! * [`Database`] – MySQL, PostgreSQL or SQLite, kept in reach through outages.
//! * [`tasks`] – what the shipped worker serves.
//! * [`Shutdown`] – the phases of stopping and their signals.
//! * [`consumer`], [`delivery`] – claiming messages and carrying out verdicts; the executor between them runs the tasks.

extern crate self as celery_worker;

mod app;
pub mod cli;
mod clock;
mod config;
pub mod consumer;
mod database;
pub mod delivery;
mod duration;
mod executor;
mod failpoint;
mod health;
mod lifecycle;
mod logging;
mod monitor;
mod printable;
mod shutdown;
mod source;
mod task;
mod task_log;
pub mod tasks;

pub use app::{StartError, Stopped, Worker, WorkerBuilder};
/// Makes a function a Celery task: the function of the same name then returns its [`TaskDef`].
///
/// ```
/// use celery_worker::{Context, TaskResult, task};
///
/// #[task(name = "proj.greet", max_retries = 3, retry_delay = "10s", time_limit = "1m")]
/// async fn greet(context: Context, name: String, #[default("Hello".to_owned())] word: String) -> TaskResult<String> {
///     Ok(format!("{word}, {name}, from {}", context.hostname()))
/// }
///
/// let definition = greet();
/// ```
///
/// **Options**, all of which may be left out: `name` (the function's), `max_retries` (failures are retried so often; without
/// it never), `retry_delay` (180 s), `soft_time_limit`, `time_limit`, `batch(size = 500, linger = "5ms")`. Times are
/// `"5ms"`, `"10s"`, `"2m"`, `"1h"`.
///
/// **Parameters** are told by the name of their type. [`Context`] and [`State`] come from the worker. [`Args`] and
/// [`Kwargs`] take what other parameters leave. Everything else is an argument of the message, positional or by keyword,
/// and must be `DeserializeOwned`; `Option<T>` and `#[default(…)]` may be left out by the caller. A call that does not fit
/// fails with Python's `TypeError`, and is not retried.
///
/// **Results** are a `Result` whose error becomes a [`TaskError`], or any value that is `Serialize`.
///
/// A function that is not `async` computes: it runs on as many threads as there are cores.
///
/// **Batches.** With `batch(…)` the function takes one [`Batch<T>`](Batch), where `T` is a struct or tuple of the arguments of one
/// call, and any [`State`]; it returns `Result<Answers<R>, E>`: one answer for each call. An error instead of the answers
/// has the batch halved until the calls at fault stand alone.
pub use celery_worker_macros::task;
pub use config::value::ConfigError;
pub use consumer::{RouteError, Routes};
pub use database::{
    Database, DatabaseError, DatabaseUrlError, Kind, ParamError, Params, Transaction, Zone,
    ZoneError,
};
pub use shutdown::{Phase, Shutdown};
pub use task::{
    Answers, Args, Batch, BatchOptions, Bound, Call, Context, Exception, Extract, Kwargs, Param,
    Raw, Retry, Signature, State, TaskDef, TaskError, TaskResult,
};

/// The Rust code in these pages compiles.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}

    #[doc = include_str!("../../docs/getting-started/rust.md")]
    mod getting_started {}

    #[doc = include_str!("../../docs/guides/testing.md")]
    mod testing {}
}
