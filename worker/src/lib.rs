//! A library to write Celery workers with, and the worker `celery-worker`.

pub mod consumer;
pub mod delivery;
mod shutdown;
mod source;

pub use shutdown::{Phase, Shutdown};
