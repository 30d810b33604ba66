//! The tasks the shipped worker serves without any configuration but URLs.

mod task_created;

pub use task_created::task_created;
