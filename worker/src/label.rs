//! How tasks are named in the log.

use celery_protocol::message::Task;

/// `proj.add[id]`.
pub(crate) fn label(task: &Task) -> String {
    format!("{}[{}]", task.name, task.id)
}
