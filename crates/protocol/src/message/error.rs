//! The errors of reading and writing a message.
//!
//! Most users meet [`DecodeError`]. It keeps what could be read of the message, so that a failure
//! can be stored for the caller that waits for the task. It also names the Python exception that
//! Celery would have shown.

use crate::amqp::AmqpError;
use crate::compression::CompressionError;
use crate::fields::TooManyMembers;
use crate::names::NameError;
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

    /// Returns the kind of error.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// Returns the error as a sentence. It may quote a few characters of the message.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the task's id, if it could be read and passed
    /// [`check_task_id`](crate::names::check_task_id).
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the task's name, if it could be read and passed
    /// [`check_task_name`](crate::names::check_task_name).
    pub fn task(&self) -> Option<&str> {
        self.task.as_deref()
    }

    /// Returns the message's own delivery tag, if it could be read.
    pub fn delivery_tag(&self) -> Option<&str> {
        self.delivery_tag.as_deref()
    }

    /// Returns the exception to store as the task's failure, named as Celery names it.
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

/// The kinds of unreadable messages. Dead letters and metrics show [`code`](Self::code).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The message is not an envelope: the message, its headers or its properties are not a JSON
    /// object.
    Envelope,
    /// No header names the task, and the body is not a task of protocol 1.
    NoTask,
    /// The task has no id.
    NoId,
    /// The content type is unknown or not accepted; pickle never is.
    ContentDisallowed,
    /// The body is not in the encoding that the message names.
    Encoding,
    /// The compression is unknown or the compressed body is damaged.
    Compression,
    /// The body is, or becomes, larger than permitted, or an object of the message has too many
    /// members.
    TooLarge,
    /// The body cannot be read in its content type.
    Body,
    /// The body does not consist of arguments, keyword arguments and embedded signatures.
    BodyShape,
    /// The arguments are not an array, or the keyword arguments are not an object.
    Arguments,
    /// A header has an invalid value, such as an `eta` that is not a date or an id with a line
    /// break.
    Field,
}

impl Cause {
    /// Returns a short name that does not change between versions.
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
    /// Returns the error of a message whose member `object` has too many members.
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
    /// An embedded signature is of the wrong kind (callbacks, errbacks and chain are arrays, a
    /// chord is an object).
    #[error("{0} is not of the type that Celery expects there")]
    Embed(&'static str),
    /// A number is not finite.
    #[error("{0} is not a finite number")]
    Number(&'static str),
    /// A custom header or property has a name that the protocol defines.
    #[error("{0:?} is a name that the protocol defines")]
    Reserved(String),
    /// Protocol 1 has no place for a part of the task.
    #[error("protocol 1 has no place for {0}")]
    NotInProtocol1(&'static str),
    /// The chosen serializer has no form for the body.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
    /// The body could not be compressed.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// A header or a property has no form in AMQP.
    #[error(transparent)]
    Amqp(#[from] AmqpError),
}
