//! Names a task in log lines: by a label in the text of a line, and by fields in JSON.
//!
//! `monitor/log.rs` writes the lines of the worker about a task. Lines from the code of a task get the
//! fields from [`running`], like those of Celery's `get_task_logger`. The code of a batch runs for
//! many tasks, so its lines get none.

use std::sync::Arc;

use celery_protocol::message::Task;

/// The fields of a line about a task: its id, its name and its queue.
pub(crate) const FIELDS: [&str; 3] = ["task_id", "task_name", "queue"];

/// Returns a task's label, such as `proj.add[id]`.
pub(crate) fn label(task: &Task) -> String {
    format!("{}[{}]", task.name, task.id)
}

tokio::task_local! {
    static RUNNING: Running;
}

/// The task whose code runs.
#[derive(Clone)]
pub(crate) struct Running {
    task: Arc<Task>,
    queue: Arc<str>,
}

impl Running {
    pub(crate) fn new(task: &Arc<Task>, queue: &Arc<str>) -> Self {
        Running {
            task: Arc::clone(task),
            queue: Arc::clone(queue),
        }
    }

    /// Runs `code` as the code of this task.
    pub(crate) async fn run<F: Future>(self, code: F) -> F::Output {
        RUNNING.scope(self, code).await
    }

    /// Like [`Running::run`], for code that blocks its thread.
    pub(crate) fn run_blocking<R>(self, code: impl FnOnce() -> R) -> R {
        RUNNING.sync_scope(self, code)
    }
}

/// Returns the values of [`FIELDS`] for the task whose code calls this, if any.
pub(crate) fn running() -> Option<[String; 3]> {
    let fields = |running: &Running| {
        let (task, queue) = (&running.task, &running.queue);
        [task.id.clone(), task.name.clone(), queue.to_string()]
    };
    RUNNING.try_with(fields).ok()
}
