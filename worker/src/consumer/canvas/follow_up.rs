//! The messages that are published after a task, and the limit on their bytes.

use serde_json::value::RawValue;

use crate::broker::Step;

/// The most bytes that may follow from one task, unless it is a single message. It is already far
/// more than a broker should receive at once.
pub(crate) const MOST: usize = 64 << 20;

/// The messages that are published after a task.
#[derive(Debug, Default)]
pub(crate) struct FollowUps {
    pub(crate) steps: Vec<Step>,
    /// The published tasks, each as Celery's result tuple `[[id, parent], members]`, for the
    /// document's `children`.
    pub(crate) children: Vec<Box<RawValue>>,
}
