//! The reasons why a signature cannot be called.

use crate::message::EncodeError;

/// Signatures nested deeper than this are refused. No client writes them.
pub const DEPTH: usize = 48;

/// The most tasks of a chain in a message of protocol 1, where each task is nested in the one before
/// it. Readers of JSON limit the depth.
pub(super) const MOST_LINKED: usize = 40;

/// The reason why a signature cannot be read, written or called.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CanvasError {
    /// The text is not a signature, or a value has no JSON form.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Signatures are nested deeper than [`DEPTH`].
    #[error("signatures in signatures, more than {DEPTH} deep")]
    TooDeep,
    /// More than [`DEPTH`] groups follow each other, so that their chords would be nested as deep.
    #[error("more than {DEPTH} groups after each other")]
    TooManyGroups,
    /// A chain has more tasks than protocol 1 can hold and is sent in protocol 1.
    #[error("a chain of more than {MOST_LINKED} tasks, which protocol 1 cannot hold")]
    TooManyLinked,
    /// The messages of one call have more bytes than the limit.
    #[error("the messages have more than {0} bytes together")]
    TooManyBytes(usize),
    /// A call copies arguments, options and callbacks to a very large number of signatures.
    #[error("groups, chains or chords in very large numbers")]
    TooManyCopies,
    /// The signature is one of `chunks` without a size.
    #[error("chunks of no items")]
    Chunks,
    /// A group is called with a callback. Its members can have callbacks; it cannot.
    #[error("a callback of a group as a whole")]
    CallbackOfGroup,
    /// A callback is attached to a group without members.
    #[error("a callback of an empty group")]
    CallbackOfNothing,
    /// A chord is called where no results are stored.
    #[error("a chord needs a result backend")]
    NoResults,
    /// A chain without steps is called.
    #[error("a chain without steps")]
    NoSteps,
    /// A composite is used where only a single task can be.
    #[error("not a single task")]
    NotATask,
    /// An option has a value that cannot be used.
    #[error("{0}")]
    Option(String),
    /// The message of a task cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl From<CanvasError> for String {
    /// Returns the reason as a dead letter shows it.
    fn from(error: CanvasError) -> Self {
        error.to_string()
    }
}
