//! Why a message could not be read or written.
//!
//! Most users meet [`DecodeError`]: it keeps what could be read of the message, so that a failure can be
//! stored for whoever waits for the task, and it says which Python exception Celery would have shown.

use crate::compression::CompressionError;
use crate::fields::TooManyMembers;
use crate::keys::NameError;
use crate::result::ExceptionDoc;
use crate::serializer::SerializerError;

/// A message that cannot be read as a task.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct DecodeError {
    pub(crate) cause: Cause,
    pub(crate) detail: String,
    pub(crate) id: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) delivery_tag: Option<String>,
}

impl DecodeError {
    pub(crate) fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self {
            cause,
            detail: detail.into(),
            id: None,
            task: None,
            delivery_tag: None,
        }
    }

    /// What is wrong, as a kind.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What is wrong, as a sentence. It may quote a few characters of the message.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The task's id, if it could be read and [`check_task_id`](crate::keys::check_task_id) has nothing against it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The task's name, if it could be read and [`check_task_name`](crate::keys::check_task_name) has nothing against
    /// it.
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// The message's own delivery tag, if it could be read.
    pub fn delivery_tag(&self) -> Option<&str> {
        self.delivery_tag.as_deref()
    }

    /// The exception to store as the task's failure, named as Celery names it.
    pub fn exception(&self) -> ExceptionDoc {
        let (exc_type, module) = match self.cause {
            Cause::ContentDisallowed => ("ContentDisallowed", "kombu.exceptions"),
            Cause::Envelope
            | Cause::Encoding
            | Cause::Compression
            | Cause::TooLarge
            | Cause::Body => ("DecodeError", "kombu.exceptions"),
            Cause::NoTask | Cause::NoId | Cause::Field | Cause::BodyShape | Cause::Arguments => {
                ("InvalidTaskError", "celery.exceptions")
            }
        };
        ExceptionDoc::new(exc_type, self.detail.as_str(), Some(module))
    }
}

/// The kinds of unreadable messages. [`code`](Self::code) is what a dead-letter entry and a metric show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The message is not an envelope: no JSON object, headers or properties that are no objects.
    Envelope,
    /// No header names the task and the body is no task of protocol 1.
    NoTask,
    /// The task has no id.
    NoId,
    /// The content type is unknown or not accepted; pickle never is.
    ContentDisallowed,
    /// The body is not in the encoding that the message names.
    Encoding,
    /// The compression is unknown or the compressed body is damaged.
    Compression,
    /// The body is larger, or becomes larger, than is allowed, or an object of the message's own has too many
    /// members.
    TooLarge,
    /// The body cannot be read in its content type.
    Body,
    /// The body is not arguments, keyword arguments and what follows.
    BodyShape,
    /// The arguments are no array or the keyword arguments no object.
    Arguments,
    /// A header has a value it cannot have, such as an `eta` that is no date or an id with a line break.
    Field,
}

impl Cause {
    /// A short name that stays the same.
    pub fn code(self) -> &'static str {
        match self {
            Self::Envelope => "envelope",
            Self::NoTask => "no-task",
            Self::NoId => "no-id",
            Self::ContentDisallowed => "content-disallowed",
            Self::Encoding => "encoding",
            Self::Compression => "compression",
            Self::TooLarge => "too-large",
            Self::Body => "body",
            Self::BodyShape => "body-shape",
            Self::Arguments => "arguments",
            Self::Field => "field",
        }
    }
}

impl TooManyMembers {
    /// The error of a message in which this object has too many.
    pub(super) fn of(self, object: &str) -> DecodeError {
        DecodeError::new(Cause::TooLarge, format!("{object}: {self}"))
    }
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A task that cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The id, task name or queue name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The positional arguments are not a JSON array.
    #[error("args is not a JSON array")]
    Args,
    /// The keyword arguments are not a JSON object.
    #[error("kwargs is not a JSON object")]
    Kwargs,
    /// Something to be embedded is not of its kind (callbacks, errbacks and chain are arrays, a chord an
    /// object).
    #[error("{0} is not of the kind Celery expects there")]
    Embed(&'static str),
    /// A number is not finite.
    #[error("{0} is not a finite number")]
    Number(&'static str),
    /// A header or property of the caller's has the name of one that the protocol defines.
    #[error("{0:?} is a name of the protocol's own")]
    Reserved(String),
    /// Protocol 1 has no place for something the task says.
    #[error("protocol 1 cannot say {0}")]
    NotInProtocol1(&'static str),
    /// The body cannot be said in the chosen serializer.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
    /// The body could not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}
