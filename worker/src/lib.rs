//! A library to write Celery workers with, and the worker `celery-worker`.

mod shutdown;

pub use shutdown::{Phase, Shutdown};
