//! The tasks the shipped worker serves: `task_created` without any configuration but URLs, and those that its
//! configuration file describes.

mod sql;
mod statements;
mod task_created;

pub(crate) use sql::SqlTask;
pub(crate) use statements::Statements;

pub use task_created::task_created;
