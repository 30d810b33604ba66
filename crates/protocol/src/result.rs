//! The document that a worker stores and publishes for each state of a task.
//!
//! Members are written in Python's order. What of them is known only to the task – the result, the
//! arguments, stamps – stays JSON text.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::compression::{Compression, CompressionError};
use crate::fields::Fields;
use crate::serializer::{Serializer, SerializerError};

/// A task's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is stored.
    Pending,
    /// A worker runs it.
    Started,
    /// It will be run again.
    Retry,
    /// It returned.
    Success,
    /// It raised.
    Failure,
    /// It will not be run, or was ended.
    Revoked,
    /// A state of the task's own, such as `PROGRESS`.
    Custom(String),
}

impl State {
    /// Celery's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Started => "STARTED",
            Self::Retry => "RETRY",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Revoked => "REVOKED",
            Self::Custom(word) => word,
        }
    }

    /// The state of a word; any unknown one is the task's own.
    pub fn from_word(word: &str) -> Self {
        match word {
            "PENDING" => Self::Pending,
            "STARTED" => Self::Started,
            "RETRY" => Self::Retry,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "REVOKED" => Self::Revoked,
            other => Self::Custom(other.to_owned()),
        }
    }

    /// Whether no other state will follow.
    pub fn ready(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// Whether the result is an exception (if it is not null).
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Failure | Self::Retry | Self::Revoked)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exception as it stands in a result. It is data only: nothing is ever made of the names in it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ExceptionDoc {
    /// The class.
    pub exc_type: String,
    /// The exception's arguments.
    pub exc_message: Vec<Value>,
    /// The class's module.
    pub exc_module: Option<String>,
}

impl ExceptionDoc {
    /// An exception of one argument.
    pub fn new(
        exc_type: impl Into<String>,
        message: impl Into<Value>,
        module: Option<&str>,
    ) -> Self {
        Self {
            exc_type: exc_type.into(),
            exc_message: vec![message.into()],
            exc_module: module.map(str::to_owned),
        }
    }

    /// Replaces the arguments.
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        self.exc_message = args;
        self
    }

    /// Reads an exception from a result. A message that is no list, and a module that is null or absent,
    /// are accepted.
    pub fn from_json(json: &str) -> Result<Self, ResultError> {
        let _ = json;
        todo!()
    }

    /// The exception as the value of `result`.
    pub fn to_json(&self) -> Box<RawValue> {
        todo!()
    }

    /// One line for logs: `ValueError('boom')`.
    pub fn summary(&self) -> String {
        todo!()
    }
}

/// What a worker stores for a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResultDoc {
    /// The task.
    pub task_id: String,
    /// Its state.
    pub status: State,
    /// The returned value, the exception, or what the task says about its state.
    pub result: Box<RawValue>,
    /// The traceback of an exception.
    pub traceback: Option<String>,
    /// What the task published, each as Celery's `[[id, parent], members]`.
    pub children: Vec<Box<RawValue>>,
    /// When it ended, only if it did. Celery before 5.4 wrote no offset.
    pub date_done: Option<String>,
    /// Its group.
    pub group_id: Option<String>,
    /// The task that published it.
    pub parent_id: Option<String>,
    /// What `result_extended` adds.
    pub extended: Option<Extended>,
    /// Other members: `stamped_headers` and each stamp, or what a later Celery adds.
    pub extra: Fields,
}

/// The members that Celery's setting `result_extended` adds to a result.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Extended {
    /// The task type.
    pub name: Option<String>,
    /// Its arguments.
    pub args: Option<Box<RawValue>>,
    /// Its keyword arguments.
    pub kwargs: Option<Box<RawValue>>,
    /// The node that ran it.
    pub worker: Option<String>,
    /// How often it had been retried.
    pub retries: Option<i64>,
    /// The queue it came from.
    pub queue: Option<String>,
}

/// A stored result that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// The result is a Python pickle, which is never read. Set Celery's `result_serializer` to `json`.
    #[error("the stored result is a pickle, which is refused; set result_serializer to json")]
    Pickle,
    /// The bytes are not a result document.
    #[error("not a result document: {0}")]
    Invalid(String),
    /// The compression is unknown, damaged or a bomb.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// The bytes are not of their serializer.
    #[error(transparent)]
    Serializer(#[from] SerializerError),
}

impl ResultDoc {
    /// A document of a state with a result.
    ///
    /// `date_done` belongs to states that are [`ready`](State::ready) and is left out of others.
    pub fn new(
        task_id: impl Into<String>,
        status: State,
        result: Box<RawValue>,
        date_done: Option<String>,
    ) -> Self {
        let date_done = if status.ready() { date_done } else { None };
        Self {
            task_id: task_id.into(),
            status,
            result,
            traceback: None,
            children: Vec::new(),
            date_done,
            group_id: None,
            parent_id: None,
            extended: None,
            extra: Fields::new(),
        }
    }

    /// A task that returned.
    pub fn success(
        task_id: impl Into<String>,
        result: Box<RawValue>,
        date_done: impl ToString,
    ) -> Self {
        Self::new(task_id, State::Success, result, Some(date_done.to_string()))
    }

    /// A task that raised.
    pub fn failure(
        task_id: impl Into<String>,
        exception: &ExceptionDoc,
        traceback: Option<String>,
        date_done: impl ToString,
    ) -> Self {
        let mut doc = Self::new(
            task_id,
            State::Failure,
            exception.to_json(),
            Some(date_done.to_string()),
        );
        doc.traceback = traceback;
        doc
    }

    /// A task that will be run again. Its own id is its child, as Celery has it.
    pub fn retry(
        task_id: impl Into<String>,
        reason: Option<&ExceptionDoc>,
        traceback: Option<String>,
    ) -> Self {
        let _ = (task_id.into(), reason, traceback);
        todo!()
    }

    /// A task that a worker runs.
    pub fn started(task_id: impl Into<String>, pid: u32, hostname: &str) -> Self {
        let _ = (task_id.into(), pid, hostname);
        todo!()
    }

    /// A task that will not be run, or was ended; Celery's reasons are `revoked`, `terminated` and
    /// `expired`.
    pub fn revoked(task_id: impl Into<String>, reason: &str, date_done: impl ToString) -> Self {
        let exception = ExceptionDoc::new("TaskRevokedError", reason, Some("celery.exceptions"));
        Self::new(
            task_id,
            State::Revoked,
            exception.to_json(),
            Some(date_done.to_string()),
        )
    }

    /// The exception in the result, if the state has one.
    pub fn exception(&self) -> Option<Result<ExceptionDoc, ResultError>> {
        if !self.status.is_exception() || self.result.get() == "null" {
            return None;
        }
        Some(ExceptionDoc::from_json(self.result.get()))
    }

    /// The document in compact JSON.
    pub fn encode(&self) -> Vec<u8> {
        todo!()
    }

    /// The document in another format, compressed if asked.
    pub fn encode_with(
        &self,
        serializer: Serializer,
        compression: Option<Compression>,
    ) -> Result<Vec<u8>, ResultError> {
        let _ = (serializer, compression);
        todo!()
    }

    /// Reads a stored document in JSON, compressed or not.
    pub fn decode(bytes: &[u8]) -> Result<Self, ResultError> {
        Self::decode_with(bytes, Serializer::Json)
    }

    /// Reads a stored document in the backend's serializer, compressed or not.
    pub fn decode_with(bytes: &[u8], serializer: Serializer) -> Result<Self, ResultError> {
        let _ = (bytes, serializer);
        todo!()
    }
}
