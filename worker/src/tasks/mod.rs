//! The tasks that the shipped worker serves: `task_created`, which needs only URLs, and the SQL
//! tasks of its configuration file.

mod sql;
mod statements;
mod task_created;

pub(crate) use sql::SqlTask;
pub(crate) use statements::Statements;

pub use task_created::task_created;
