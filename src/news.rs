//! What a wait for results brings.

/// A state of a task.
pub(crate) struct Stored {
    pub(crate) task_id: String,
    /// The document as the worker wrote it.
    pub(crate) document: Vec<u8>,
    /// Whether the wait for this task has ended.
    pub(crate) is_last: bool,
}

/// What a wait brought.
pub(crate) enum News {
    /// A state of a task.
    Stored(Stored),
    /// Every task has ended.
    Done,
    /// The deadline has passed.
    TooLate,
}
