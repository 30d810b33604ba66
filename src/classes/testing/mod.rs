//! The classes under `Celery\Testing\`, for the tests of applications.

mod fake_client;
mod sent_task;

use crate::ffi::class::DeclareError;

/// Declares the classes.
pub(super) fn declare() -> Result<(), DeclareError> {
    sent_task::declare()?;
    fake_client::declare()
}
