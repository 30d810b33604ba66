//! The classes that PHP sees: one file for each, or for a few that belong together.
//!
//! Those that replace celery-php's are in [`dropin`]. All others belong to the API for new code,
//! under `Celery\`. `ARCHITECTURE.md` says how to add one.

pub(crate) mod canvas;
mod chain;
mod chord;
pub(crate) mod client;
mod control;
mod dead_letters;
pub(crate) mod dropin;
pub(crate) mod durations;
pub(crate) mod enums;
mod events;
pub(crate) mod exceptions;
mod group;
pub(crate) mod group_result;
mod inspect;
pub(crate) mod interfaces;
mod members;
pub(crate) mod option_names;
pub(crate) mod options;
pub(crate) mod private;
mod remote;
pub(crate) mod result;
pub(crate) mod result_set;
pub(crate) mod retry_policy;
mod schedules;
pub(crate) mod signature;
mod summary;
pub(crate) mod task_meta;
mod testing;
pub(crate) mod value;
mod waiting_task;

use crate::ffi::class::DeclareError;

/// Declares all classes and aliases: parents and interfaces first.
pub(crate) fn declare() -> Result<(), DeclareError> {
    dropin::declare()?;
    enums::declare()?;
    exceptions::declare()?;
    interfaces::declare()?;
    result::declare()?;
    result_set::declare()?;
    group_result::declare()?;
    task_meta::declare()?;
    retry_policy::declare()?;
    canvas::declare()?;
    signature::declare()?;
    chain::declare()?;
    group::declare()?;
    chord::declare()?;
    inspect::declare()?;
    control::declare()?;
    events::declare()?;
    dead_letters::declare()?;
    waiting_task::declare()?;
    schedules::declare()?;
    client::declare()?;
    testing::declare()?;
    value::declare()
}
