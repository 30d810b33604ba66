//! Types for a task that takes many calls at once.

use std::sync::Arc;

use celery_protocol::message::Task;

use super::context::{Shared, State};
use super::error::{Answer, TaskError};

/// The answers of a batched task: one for each call, in the calls' order.
///
/// An error *instead* of the answers says that the batch as a whole failed. The worker then halves
/// the batch until each call at fault stands alone.
pub type Answers<R> = Vec<Result<R, TaskError>>;

/// The calls of a batch. Each call's arguments have been read as a `T`.
pub struct Batch<T> {
    pub(crate) calls: Vec<T>,
    /// The messages of the calls, in the same order.
    pub(crate) tasks: Vec<Arc<Task>>,
    pub(crate) shared: Arc<Shared>,
}

impl<T> Batch<T> {
    /// Returns an iterator over the calls.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.calls.iter()
    }

    /// Returns the tasks' ids in the calls' order, as
    /// [`Database::once_each`](crate::Database::once_each) expects them.
    pub fn ids(&self) -> Vec<String> {
        self.tasks.iter().map(|task| task.id.clone()).collect()
    }

    /// Returns `true` if the worker is configured to apply each call exactly once.
    pub(crate) fn exactly_once(&self) -> bool {
        self.shared.exactly_once
    }

    /// Returns the number of calls, which is at least 1.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Returns `true` if there are no calls. A batch that a task receives is never empty.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Returns the worker's value of this type.
    ///
    /// # Errors
    ///
    /// The task fails if the worker has no value of this type.
    pub fn extract<S: Send + Sync + 'static>(&self) -> Result<State<S>, TaskError> {
        self.shared.states.get()
    }
}

impl<'b, T> IntoIterator for &'b Batch<T> {
    type Item = &'b T;
    type IntoIter = std::slice::Iter<'b, T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<T: std::fmt::Debug> std::fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.calls).finish()
    }
}

/// Merges the answers to the calls that could be read with the errors of those that could not, in
/// the calls' order.
pub(crate) fn merge(
    unreadable: Vec<Option<TaskError>>,
    answers: Vec<Answer>,
) -> Result<Vec<Answer>, TaskError> {
    let readable = unreadable.iter().filter(|error| error.is_none()).count();
    if answers.len() != readable {
        return Err(TaskError::Failed(
            super::Exception::new(
                "RuntimeError",
                format!(
                    "the batch of {readable} calls got {} answers",
                    answers.len()
                ),
            )
            .permanent()
            .of_whole_batch(),
        ));
    }
    let mut answers = answers.into_iter();
    Ok(unreadable
        .into_iter()
        .filter_map(|error| match error {
            Some(error) => Some(Err(error)),
            None => answers.next(),
        })
        .collect())
}
