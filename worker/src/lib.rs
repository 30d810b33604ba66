//! A library to write Celery workers with, and the worker `celery-worker`.

pub mod consumer;
pub mod delivery;
mod shutdown;

pub use shutdown::{Phase, Shutdown};
