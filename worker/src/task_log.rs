//! Names a task in log lines: by a label in the text of a line, and by fields in JSON.
//!
//! `monitor/log.rs` writes the lines of the worker about a task. Lines from the code of a task get the
//! fields from [`running`], like those of Celery's `get_task_logger`. The code of a batch runs for
//! many tasks, so its lines get none.

use std::sync::Arc;

use celery_protocol::message::Task;

use crate::trace::SpanContext;

/// The fields of a line about a task: its id, its name, its queue, and the trace that it belongs to,
/// if any.
pub(crate) const FIELDS: [&str; 4] = ["task_id", "task_name", "queue", "trace_id"];

/// Returns a task's label, such as `proj.add[id]`.
pub(crate) fn label(task: &Task) -> String {
    format!("{}[{}]", task.name, task.id)
}

/// Returns the number of the trace that a task belongs to.
pub(crate) fn trace_id(task: &Task) -> Option<String> {
    Some(SpanContext::of(task)?.trace.to_string())
}

tokio::task_local! {
    static RUNNING: Running;
}

/// The task whose code runs.
#[derive(Clone, Debug)]
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

    /// Returns the task whose code calls this, if any.
    pub(crate) fn here() -> Option<Self> {
        RUNNING.try_with(Clone::clone).ok()
    }

    /// Runs `code` as the code of a task, if there is one.
    pub(crate) async fn run_any<F: Future>(task: Option<Self>, code: F) -> F::Output {
        match task {
            Some(task) => task.run(code).await,
            None => code.await,
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

/// Returns the label of the task whose code calls this, if any: its name and its id.
pub(crate) fn running() -> Option<(String, String)> {
    let label = |running: &Running| (running.task.name.clone(), running.task.id.clone());
    RUNNING.try_with(label).ok()
}

/// Returns the [`FIELDS`] of the task whose code calls this, if any, with their values.
pub(crate) fn fields() -> Vec<(&'static str, String)> {
    let fields = |running: &Running| {
        let (task, queue) = (&running.task, &running.queue);
        let values = [
            Some(task.id.clone()),
            Some(task.name.clone()),
            Some(queue.to_string()),
            trace_id(task),
        ];
        let fields = FIELDS.into_iter().zip(values);
        fields
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    };
    RUNNING.try_with(fields).unwrap_or_default()
}
