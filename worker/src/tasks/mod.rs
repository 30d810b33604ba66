//! The tasks that the shipped worker serves: `task_created`, which needs only URLs, the SQL tasks of
//! its configuration file, and Celery's built-in tasks, which every worker serves.

mod builtin;
mod created;
mod map;
mod sql;
mod statements;
mod unlock;

pub(crate) use builtin::builtin;
pub(crate) use sql::SqlTask;
pub(crate) use statements::Statements;

pub use created::task_created;
