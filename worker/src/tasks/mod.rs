//! The tasks that the shipped worker serves: `task_created`, which needs only URLs, and the SQL
//! tasks of its configuration file.

mod created;
mod sql;
mod statements;

pub(crate) use sql::SqlTask;
pub(crate) use statements::Statements;

pub use created::task_created;
