//! The document that a worker stores and publishes for each state of a task.
//!
//! Members are written in Python's order. Values that only the task understands (the result, the
//! arguments, stamps) stay JSON text.
//!
//! * `stored`: the serializer and the compression of what is stored;
//! * `tree`: the results of a canvas as Celery writes them;
//! * `causes`: the exceptions that led to a failure.

mod causes;
mod error;
mod stored;
mod tree;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::fields::{Fields, Reading};
use crate::json::write::Object;
use crate::json::{Special, each_member, write};
use crate::repr;
use crate::serializer::Serializer;

pub use causes::Cause;
pub use error::ResultError;
pub use stored::StoredForm;
use stored::document;
pub use tree::{ResultTree, child};

/// A task's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No state is stored.
    Pending,
    /// A worker runs the task.
    Started,
    /// The task will run again.
    Retry,
    /// The task returned.
    Success,
    /// The task raised an exception.
    Failure,
    /// The task will not run, or was ended.
    Revoked,
    /// A state that the task set, such as `PROGRESS`.
    Custom(String),
}

impl State {
    /// Returns Celery's word for the state.
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

    /// Returns the state for a word; any unknown word is a custom state.
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

    /// Returns `true` if no other state will follow.
    pub fn ready(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// Returns `true` if a result stored with this state is an exception, unless it is null.
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Failure | Self::Retry | Self::Revoked)
    }
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An exception in the form of a stored result. It is data only: the names in it are never used to
/// create anything, and its arguments keep their text.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct ExceptionDoc {
    /// The class.
    pub exc_type: String,
    /// The exception's arguments, each as JSON.
    pub exc_message: Vec<Box<RawValue>>,
    /// The class's module.
    pub exc_module: Option<String>,
}

impl ExceptionDoc {
    /// Returns an exception with one argument.
    pub fn new(
        exc_type: impl Into<String>,
        message: impl Into<Value>,
        module: Option<&str>,
    ) -> Self {
        let exception = Self {
            exc_type: exc_type.into(),
            exc_message: Vec::new(),
            exc_module: module.map(str::to_owned),
        };
        exception.with_args(vec![message.into()])
    }

    /// Replaces the arguments.
    #[must_use]
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        let raw = |arg| to_raw_value(arg).unwrap_or_else(|_| RawValue::NULL.to_owned());
        self.exc_message = args.iter().map(raw).collect();
        self
    }

    /// Returns an exception with these arguments, a JSON list.
    pub fn of_arguments(exc_type: &str, module: Option<&str>, arguments: &RawValue) -> Self {
        Self {
            exc_type: exc_type.to_owned(),
            exc_message: serde_json::from_str(arguments.get()).unwrap_or_default(),
            exc_module: module.map(str::to_owned),
        }
    }

    /// Reads an exception from a result. Accepts a message that is not a list and a module that is
    /// null or absent.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError::Invalid`] if the text is not an object with the name of an exception.
    pub fn from_json(json: &str) -> Result<Self, ResultError> {
        let invalid = |error| ResultError::Invalid(format!("not an exception: {error}"));
        let Raised {
            exc_type,
            exc_message,
            exc_module,
        } = serde_json::from_str(json).map_err(invalid)?;
        let exc_message = match exc_message {
            None => Vec::new(),
            Some(args) if args.get().starts_with('[') => {
                serde_json::from_str(args.get()).map_err(invalid)?
            }
            Some(text) => vec![text.to_owned()],
        };
        Ok(Self {
            exc_type,
            exc_message,
            exc_module,
        })
    }

    /// Returns the exception as the value of `result`.
    pub fn to_json(&self) -> Box<RawValue> {
        to_raw_value(self).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// Returns the exception as Python's `str(exc)` shows it: one argument as text, several as a
    /// tuple.
    pub fn message(&self) -> String {
        let shown = |arg: &RawValue| repr::value(arg.get(), MESSAGE_CHARS);
        match &*self.exc_message {
            [] => String::new(),
            // A missing key is shown like in code.
            [key] if self.exc_type == "KeyError" => shown(key),
            [arg] => text(arg).unwrap_or_else(|| shown(arg)),
            args => {
                let args: Vec<String> = args.iter().map(|arg| shown(arg)).collect();
                format!("({})", args.join(", "))
            }
        }
    }

    /// Returns one line for logs, as Python shows an exception: `ValueError('boom')`.
    pub fn summary(&self) -> String {
        let args: Vec<_> = self
            .exc_message
            .iter()
            .map(|arg| repr::value(arg.get(), repr::MAX_CHARS))
            .collect();
        format!("{}({})", self.exc_type, args.join(", "))
    }
}

impl PartialEq for ExceptionDoc {
    fn eq(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|exception| exception.exc_message.iter());
        self.exc_type == other.exc_type
            && self.exc_module == other.exc_module
            && ours.map(|arg| arg.get()).eq(theirs.map(|arg| arg.get()))
    }
}

/// The forms in which Celery's versions have written an exception.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the document's names")]
struct Raised<'a> {
    exc_type: String,
    #[serde(borrow, default)]
    exc_message: Option<&'a RawValue>,
    #[serde(default)]
    exc_module: Option<String>,
}

/// The most characters of an argument that is not a text, in an exception's message.
const MESSAGE_CHARS: usize = 4096;

/// The document that a worker stores for a task.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResultDoc {
    /// The task.
    pub task_id: String,
    /// Its state.
    pub status: State,
    /// The returned value, the exception, or the task's own data about its state.
    pub result: Box<RawValue>,
    /// The traceback of an exception.
    pub traceback: Option<String>,
    /// The tasks that this task published, each as Celery's `[[id, parent], members]`. `None` is
    /// written as null, as Celery does for a state that no running task stored (a revoked task).
    pub children: Option<Vec<Box<RawValue>>>,
    /// The time at which the task ended, if it did. Celery before 5.4 wrote no offset.
    pub date_done: Option<String>,
    /// Its group.
    pub group_id: Option<String>,
    /// The task that published it.
    pub parent_id: Option<String>,
    /// The members that `result_extended` adds.
    pub extended: Option<Extended>,
    /// Other members: `stamped_headers` and each stamp, or what a later Celery adds.
    pub extra: Fields,
}

/// The defined members. A stamp with such a name is left out: it would be read in place of the
/// member.
const MEMBERS: [&str; 14] = [
    "status",
    "result",
    "traceback",
    "children",
    "date_done",
    "group_id",
    "parent_id",
    "name",
    "args",
    "kwargs",
    "worker",
    "retries",
    "queue",
    "task_id",
];

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
    /// The number of retries.
    pub retries: Option<i64>,
    /// The queue it came from.
    pub queue: Option<String>,
}

impl ResultDoc {
    /// Returns a document of a state with a result.
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
            children: Some(Vec::new()),
            date_done,
            group_id: None,
            parent_id: None,
            extended: None,
            extra: Fields::new(),
        }
    }

    /// Returns the document of a task that returned.
    pub fn success(
        task_id: impl Into<String>,
        result: Box<RawValue>,
        date_done: impl ToString,
    ) -> Self {
        Self::new(task_id, State::Success, result, Some(date_done.to_string()))
    }

    /// Returns the document of a task that raised an exception.
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

    /// Returns the document of a task that will run again. Its own id is its child, as in Celery.
    pub fn retry(
        task_id: impl Into<String>,
        reason: Option<&ExceptionDoc>,
        traceback: Option<String>,
    ) -> Self {
        let result = reason.map_or_else(|| RawValue::NULL.to_owned(), ExceptionDoc::to_json);
        let mut doc = Self::new(task_id, State::Retry, result, None);
        doc.traceback = traceback;
        doc.children = Some(child(&doc.task_id).into_iter().collect());
        doc
    }

    /// Returns the document of a task that a worker runs.
    pub fn started(task_id: impl Into<String>, pid: u32, hostname: &str) -> Self {
        #[derive(Serialize)]
        struct Process<'a> {
            pid: u32,
            hostname: &'a str,
        }
        let process =
            to_raw_value(&Process { pid, hostname }).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self::new(task_id, State::Started, process, None)
    }

    /// Returns the document of a task that will not run, or was ended. Celery's reasons are
    /// `revoked`, `terminated` and `expired`.
    pub fn revoked(task_id: impl Into<String>, reason: &str, date_done: impl ToString) -> Self {
        let exception = ExceptionDoc::new("TaskRevokedError", reason, Some("celery.exceptions"));
        Self::new(
            task_id,
            State::Revoked,
            exception.to_json(),
            Some(date_done.to_string()),
        )
    }

    /// Returns the exception in the result, if the state has one.
    pub fn exception(&self) -> Option<Result<ExceptionDoc, ResultError>> {
        if !self.status.is_exception() || self.result.get() == "null" {
            return None;
        }
        Some(ExceptionDoc::from_json(self.result.get()))
    }

    /// Returns the exception of a task that did not succeed, whatever was stored in its place.
    pub fn failed_with(&self) -> ExceptionDoc {
        match self.exception() {
            Some(Ok(exception)) => exception,
            // Some programs store a text.
            Some(Err(_)) => {
                let message = text(&self.result);
                let message = message.unwrap_or_else(|| self.result.get().to_owned());
                ExceptionDoc::new("Exception", message, None)
            }
            None if self.status == State::Revoked => {
                ExceptionDoc::new("TaskRevokedError", "revoked", Some("celery.exceptions"))
            }
            None => ExceptionDoc::new("Exception", self.status.as_str(), None),
        }
    }

    /// Returns the exceptions that led to the one in the result, the closest first. They are read
    /// from the traceback's text, which is not a format: where it is not understood, there are none.
    pub fn causes(&self) -> Vec<Cause> {
        match (&self.traceback, self.exception()) {
            (Some(traceback), Some(Ok(exception))) => {
                causes::causes(traceback, &exception.exc_type)
            }
            _ => Vec::new(),
        }
    }

    /// Returns the results of the tasks that this task published. Those in another form than
    /// Celery's are left out.
    pub fn child_results(&self) -> Vec<ResultTree> {
        let children = self.children.iter().flatten();
        children
            .filter_map(|child| ResultTree::from_json(child.get()).ok())
            .collect()
    }

    /// Returns the stamps that `result_extended` adds, each with its name.
    pub fn stamps(&self) -> Vec<(String, &RawValue)> {
        let names = self.extra.get("stamped_headers");
        let names: Vec<String> = names
            .and_then(|names| serde_json::from_str(names.get()).ok())
            .unwrap_or_default();
        let stamp = |name: String| self.extra.get(&name).map(|value| (name, value));
        names.into_iter().filter_map(stamp).collect()
    }

    /// Returns the document in compact JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(
            self.result.get().len() + self.traceback.as_ref().map_or(0, String::len) + 256,
        );
        let mut doc = Object::new(&mut out);
        doc.string("status", self.status.as_str());
        doc.raw("result", Some(&self.result));
        doc.optional("traceback", self.traceback.as_deref());
        match &self.children {
            Some(children) => write::raws(doc.name("children"), children),
            None => doc.null("children"),
        }
        doc.optional("date_done", self.date_done.as_deref());
        doc.present("group_id", self.group_id.as_deref());
        doc.present("parent_id", self.parent_id.as_deref());
        if let Some(extended) = &self.extended {
            doc.optional("name", extended.name.as_deref());
            doc.raw("args", extended.args.as_deref());
            doc.raw("kwargs", extended.kwargs.as_deref());
            doc.optional("worker", extended.worker.as_deref());
            doc.optional_integer("retries", extended.retries);
            doc.optional("queue", extended.queue.as_deref());
        }
        for (name, value) in self.extra.iter() {
            if !MEMBERS.contains(&name) {
                doc.other(name, value);
            }
        }
        doc.string("task_id", &self.task_id);
        doc.end();
        out
    }

    /// Reads a stored document in JSON, compressed or not.
    ///
    /// # Errors
    ///
    /// Like [`decode_with`](Self::decode_with).
    pub fn decode(bytes: &[u8]) -> Result<Self, ResultError> {
        Self::decode_with(bytes, Serializer::Json)
    }

    /// Reads a stored document in the backend's serializer, compressed or not.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError`] if the document is a pickle, does not decompress, or does not
    /// have the form that a worker stores.
    pub fn decode_with(bytes: &[u8], serializer: Serializer) -> Result<Self, ResultError> {
        Self::from_document(&document(bytes, Some(serializer))?)
    }

    /// Reads a stored document in any of the serializers, compressed or not. It is for clients,
    /// which do not know the worker's `result_serializer`. A document is a map, and each serializer
    /// begins a map with different bytes.
    ///
    /// # Errors
    ///
    /// Like [`decode_with`](Self::decode_with).
    pub fn decode_any(bytes: &[u8]) -> Result<Self, ResultError> {
        Self::from_document(&document(bytes, None)?)
    }

    fn from_document(json: &str) -> Result<Self, ResultError> {
        let mut doc = Self::new(
            String::new(),
            State::Pending,
            RawValue::NULL.to_owned(),
            None,
        );
        let (mut task_id, mut status) = (None, None);
        let mut extended = Extended::default();
        let mut is_extended = false;
        let mut extra = Reading::default();
        let members = each_member(json, |name, value| match &*name {
            "task_id" => task_id = text(value),
            "status" => status = text(value),
            "result" => doc.result = value.to_owned(),
            "traceback" => doc.traceback = text(value),
            "children" => doc.children = serde_json::from_str(value.get()).unwrap_or_default(),
            "date_done" => doc.date_done = date(value),
            "group_id" => doc.group_id = text(value),
            "parent_id" => doc.parent_id = text(value),
            other if extended.take(other, value) => is_extended = true,
            _ => extra.take(name, value),
        });
        members.map_err(|error| ResultError::Invalid(error.to_string()))?;
        doc.extra = extra
            .end()
            .map_err(|error| ResultError::Invalid(error.to_string()))?;
        let Some(status) = status else {
            return Err(ResultError::Invalid("it has no status".to_owned()));
        };
        // A reader of a result knows the id: it is the key.
        doc.task_id = task_id.unwrap_or_default();
        doc.status = State::from_word(&status);
        doc.extended = is_extended.then_some(extended);
        Ok(doc)
    }
}

impl Extended {
    /// Stores a defined member; returns `false` for any other.
    fn take(&mut self, name: &str, value: &RawValue) -> bool {
        match name {
            "name" => self.name = text(value),
            "args" => self.args = present(value),
            "kwargs" => self.kwargs = present(value),
            "worker" => self.worker = text(value),
            "retries" => self.retries = serde_json::from_str(value.get()).ok(),
            "queue" => self.queue = text(value),
            _ => return false,
        }
        true
    }
}

/// A saved group result (Celery's `GroupResult.save()`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct GroupDoc {
    /// The group as a tuple: `[[group id, parent], [member, …]]`.
    pub result: Box<RawValue>,
}

impl GroupDoc {
    /// Returns a group to save.
    pub fn new(result: Box<RawValue>) -> Self {
        Self { result }
    }

    /// Returns the document in compact JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.result.get().len() + 16);
        let mut doc = Object::new(&mut out);
        doc.raw("result", Some(&self.result));
        doc.end();
        out
    }

    /// Returns a group to save, from its results.
    pub fn of(group: &ResultTree) -> Self {
        Self::new(group.to_json())
    }

    /// Returns the results of the group.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError::Invalid`] if the result is not that of a group.
    pub fn tree(&self) -> Result<ResultTree, ResultError> {
        match ResultTree::from_json(self.result.get())? {
            group if group.members.is_some() => Ok(group),
            _ => Err(ResultError::Invalid("it is not a group".to_owned())),
        }
    }

    /// Reads a saved group in the backend's serializer, compressed or not.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError`] if the document is a pickle, does not decompress, or does not
    /// have the form that a worker stores.
    pub fn decode_with(bytes: &[u8], serializer: Serializer) -> Result<Self, ResultError> {
        Self::from_document(&document(bytes, Some(serializer))?)
    }

    /// Reads a saved group in any of the serializers, compressed or not, for clients.
    ///
    /// # Errors
    ///
    /// Like [`decode_with`](Self::decode_with).
    pub fn decode_any(bytes: &[u8]) -> Result<Self, ResultError> {
        Self::from_document(&document(bytes, None)?)
    }

    fn from_document(json: &str) -> Result<Self, ResultError> {
        let mut result = None;
        let members = each_member(json, |name, value| {
            if name == "result" {
                result = Some(value.to_owned());
            }
        });
        members.map_err(|error| ResultError::Invalid(error.to_string()))?;
        match result {
            Some(result) => Ok(Self { result }),
            None => Err(ResultError::Invalid("it has no result".to_owned())),
        }
    }
}

fn text(value: &RawValue) -> Option<String> {
    serde_json::from_str(value.get()).ok()
}

fn present(value: &RawValue) -> Option<Box<RawValue>> {
    (value.get() != "null").then(|| value.to_owned())
}

/// Reads a date as text; some versions wrapped it as a special value.
fn date(value: &RawValue) -> Option<String> {
    text(value).or_else(
        || match Special::from_value(&serde_json::from_str(value.get()).ok()?) {
            Some(Ok(Special::Datetime(time))) => Some(time.to_string()),
            _ => None,
        },
    )
}
