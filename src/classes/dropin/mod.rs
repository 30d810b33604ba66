//! The classes that replace those of celery-php.
//!
//! `Celery`, `CeleryAdvanced` and `CeleryAbstract` are one family with one Rust state ([`family`]);
//! `AsyncResult` has its own. The names under `Celery\` serve code written for celery-php's
//! unreleased 3.0. They are aliases if the two APIs agree, and classes of their own if a signature
//! differs: `Celery\Celery` lacks `$persistent_messages`, and the last parameter of `PostTask` is
//! `$options`.

pub(crate) mod api;
pub(crate) mod async_result;
pub(crate) mod exceptions;
pub(crate) mod family;

use crate::ffi::class::DeclareError;

/// Declares all classes and aliases: parents first.
pub(super) fn declare() -> Result<(), DeclareError> {
    exceptions::declare()?;
    family::declare()?;
    async_result::declare()
}
