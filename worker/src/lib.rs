//! A library to write Celery workers with, and the worker `celery-worker`.

extern crate self as celery_worker;

mod app;
pub mod cli;
mod config;
pub mod consumer;
mod database;
pub mod delivery;
mod duration;
mod executor;
mod logging;
mod shutdown;
mod source;
mod task;
pub mod tasks;

pub use app::{StartError, Stopped, Worker, WorkerBuilder};
pub use celery_worker_macros::task;
pub use config::ConfigError;
pub use database::{
    Database, DatabaseError, DatabaseUrlError, Kind, ParamError, Params, Transaction,
};
pub use shutdown::{Phase, Shutdown};
pub use task::{
    Answers, Args, Batch, BatchOptions, Bound, Call, Context, Exception, Extract, Kwargs, Param,
    Retry, Signature, State, TaskDef, TaskError, TaskResult,
};
