//! An *owed* answer: Redis will still send it, because its caller did not wait for it.

/// The answer to a command that was sent without waiting.
#[derive(Debug)]
pub(in crate::redis::blocking) enum Owed {
    /// The answer to the writing of a binding.
    Binding,
    /// The answer to the post of this task.
    Post { task_id: String, bytes: usize },
    /// The answer to `WAIT`: the number of replicas that have all posts sent before the `WAIT`.
    Replicas,
}

impl Owed {
    pub(super) fn posts(&self) -> usize {
        usize::from(matches!(self, Self::Post { .. }))
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Binding | Self::Replicas => 0,
            Self::Post { bytes, .. } => *bytes,
        }
    }
}
