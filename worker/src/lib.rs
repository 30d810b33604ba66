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
//!         .register(close_order::task());
//!     worker.run().await?;
//!     Ok(())
//! }
//! ```
//!
//! A message is acknowledged after its task has ended and its result is stored, and never before. A
//! worker that dies loses no message: the tasks that it had begun run again. Tasks must tolerate
//! that, or use [`Database::once`].
//!
//! # Layout
//!
//! * [`Worker`], [`WorkerBuilder`] – the worker as a whole: how it starts and how it stops.
//! * [`cli`] – the command line of `celery-worker`, also for your own workers: settings, log lines,
//!   `check`, `dead`.
//! * [`task`](macro@task), [`TaskDef`] – tasks with typed arguments. They can ask for a
//!   [`Context`], a [`State`] or a [`Batch`].
//! * [`canvas`] – signatures of tasks, chains, groups and chords, which a task can send.
//! * [`TaskError`], [`Exception`], [`Retry`] – the ways in which a task ends without a value.
//! * [`Database`] – MySQL, PostgreSQL or SQLite, with connections that survive outages.
//! * [`tasks`] – the tasks that the shipped worker serves.
//! * [`testing`] – runs one task in a unit test, without a broker.
//! * [`Shutdown`] – the phases of a stop, and their signals.

#[cfg(windows)]
compile_error!("Windows is not supported: the worker needs the sockets and signals of Unix");

extern crate self as celery_worker;

mod app;
mod beat;
mod broker;
pub mod canvas;
pub mod cli;
mod clock;
mod config;
// This module and `delivery` are public only for the conformance tests.
#[doc(hidden)]
pub mod consumer;
mod control;
mod database;
#[doc(hidden)]
pub mod delivery;
mod events;
mod executor;
mod failpoint;
mod health;
mod lifecycle;
mod logging;
mod monitor;
mod printable;
mod shutdown;
mod task;
mod task_log;
pub mod tasks;
pub mod testing;
mod trace;

pub use app::{StartError, Stopped, Worker, WorkerBuilder};
/// Turns a function into a Celery task.
///
/// The function stays as it is written, so other code and tests call it like any function. The
/// attribute adds a type of the same name, whose function `task` returns the [`TaskDef`].
///
/// ```
/// use celery_worker::{Context, TaskResult, task};
///
/// #[task(name = "proj.greet", max_retries = 3, retry_delay = "10s", time_limit = "1m")]
/// async fn greet(
///     context: Context,
///     name: String,
///     #[default("Hello".to_owned())] word: String,
/// ) -> TaskResult<String> {
///     Ok(format!("{word}, {name}, from {}", context.hostname()))
/// }
///
/// let definition = greet::task();
/// ```
///
/// Types and modules share a namespace, so a module cannot have the name of a task in the same
/// scope.
///
/// **Options**, all optional:
///
/// * `name` – the task's name. Default: the function's.
/// * `max_retries` – how often a failure is retried, or `"unlimited"`. Default: never.
/// * `retry_delay` – the wait before a retry. Default: 180 s.
/// * `retry_backoff`, `retry_backoff_max`, `retry_jitter` – a wait that doubles with each retry.
/// * `autoretry_for("OSError")`, `dont_autoretry_for(…)` – which failures are retried.
/// * `throws("KeyError")` – failures that are expected, and not logged as errors.
/// * `acks_late`, `reject_on_worker_lost` – with `false`, the code of a message begins only once.
/// * `acks_on_failure`, `acks_on_timeout` – with `false`, the message of a failed task is kept.
/// * `ignore_result`, `store_errors_even_if_ignored`, `track_started` – what is stored.
/// * `soft_time_limit`, `time_limit` – limits for a run. Default: none.
/// * `max_concurrency = 2`, `fleet_rate_limit = "100/m"` – limits across all workers. Default: none.
/// * `limit_by` – the argument, by name or position, for each value of which those are kept.
/// * `unique = "until_done"`, `unique_by(…)` – one call of those with the same arguments waits or
///   runs in all workers. Default: not unique.
/// * `batch(size = 500, linger = "5ms")` – one run for many calls; see below.
///
/// Times are written as `"5ms"`, `"10s"`, `"2m"` or `"1h"`.
///
/// **Parameters** are distinguished by the name of their type. [`Context`] and [`State`] come from
/// the worker. [`Args`] and [`Kwargs`] take what other parameters leave. Every other parameter is
/// an argument of the message, positional or by keyword, and must be `DeserializeOwned`. The caller
/// may omit an `Option<T>` and a parameter with `#[default(…)]`. A call that does not fit fails
/// with Python's `TypeError`, and is not retried.
///
/// **Results** are a `Result` whose error becomes a [`TaskError`], or any value that is
/// `Serialize`.
///
/// A function that is not `async` computes: it runs on as many threads as there are cores.
///
/// **Batches.** With `batch(…)` the function takes one [`Batch<T>`](Batch) and any [`State`]. `T`
/// is a struct or tuple of the arguments of one call. The function returns `Result<Answers<R>, E>`,
/// with one answer for each call. An error instead of the answers makes the worker halve the batch
/// until each call at fault stands alone.
pub use celery_worker_macros::task;
pub use config::value::ConfigError;
pub use consumer::{RouteError, Routes};
pub use database::{
    Database, DatabaseError, DatabaseUrlError, Kind, ParamError, Params, Transaction, Zone,
    ZoneError,
};
pub use shutdown::{Phase, Shutdown};
pub use task::{
    Answers, Args, Batch, BatchOptions, Context, Exception, Kwargs, Raw, Retry, State, TaskDef,
    TaskError, TaskResult,
};

/// The parts of the code that `#[task]` writes. They can change in any release.
#[doc(hidden)]
pub mod __private {
    pub use crate::task::{Bound, Call, Extract, Param, Signature};
}

/// Makes the tests compile the Rust code in the pages of the documentation.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    mod readme {}

    #[doc = include_str!("../../docs/getting-started/rust.md")]
    mod getting_started {}

    #[doc = include_str!("../../docs/guides/testing.md")]
    mod testing {}
}
