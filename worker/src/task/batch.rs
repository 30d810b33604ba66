//! Many calls of one task at once.

use std::sync::Arc;

use celery_protocol::message::Task;

use super::Answer;
use super::context::{Shared, State};
use super::error::TaskError;

/// What a task in batches returns: one answer for each call, in the calls' order.
///
/// An error *instead* of the answers says that the batch as a whole could not be done: the worker then halves it until
/// the calls at fault stand alone.
pub type Answers<R> = Vec<Result<R, TaskError>>;

/// The calls of a batch, each as a `T` made of its arguments.
pub struct Batch<T> {
    pub(crate) calls: Vec<T>,
    /// Their messages, in the same order.
    pub(crate) tasks: Vec<Arc<Task>>,
    pub(crate) shared: Arc<Shared>,
}

impl<T> Batch<T> {
    /// The calls.
    pub fn iter(&self) -> std::slice::Iter<'_, T> {
        self.calls.iter()
    }

    /// The tasks' ids, in the calls' order; what [`Database::once_each`](crate::Database::once_each) wants.
    pub fn ids(&self) -> Vec<String> {
        self.tasks.iter().map(|task| task.id.clone()).collect()
    }

    /// Whether the worker is set to apply each call once.
    pub(crate) fn exactly_once(&self) -> bool {
        self.shared.exactly_once
    }

    /// How many there are; at least one.
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Never true for a batch that is handed to a task.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// A value of the worker.
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

/// Puts the answers to the calls that could be read among the complaints about those that could not.
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
                    "the batch of {readable} was given {} answers",
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
