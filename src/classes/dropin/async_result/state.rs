//! The state of a result object.

use std::rc::Rc;

use crate::classes::dropin::api::Api;
use crate::connection::Connection;
use crate::ffi::object::{Held, state};
use crate::ffi::throw::Thrown;
use crate::messages::Document;
use crate::post::Message;

/// The connection of a result's client.
#[derive(Clone, Default)]
pub(super) enum Place {
    #[default]
    Unknown,
    Known(Rc<Connection>),
    /// The name in a stored result, which is looked up at the first use.
    Named(String),
}

/// A lookup of a connection by its name, either of a broker or of a backend.
pub(super) type Lookup = fn(&str) -> Result<Rc<Connection>, Thrown>;

impl Place {
    pub(super) fn name(&self) -> Option<String> {
        match self {
            Place::Unknown => None,
            Place::Known(connection) => Some(connection.endpoint.identity()),
            Place::Named(name) => Some(name.clone()),
        }
    }

    pub(super) fn find(&self, named: Lookup) -> Result<Rc<Connection>, Thrown> {
        match self {
            Place::Known(connection) => Ok(Rc::clone(connection)),
            Place::Named(name) => named(name),
            Place::Unknown => Err(Thrown::celery(
                "This result has no connection: its constructor did not run. A subclass must call \
                 parent::__construct().",
            )),
        }
    }
}

/// The state of an `AsyncResult`.
#[derive(Clone, Default)]
pub(crate) struct AsyncResult {
    pub(super) api: Api,
    pub(super) id: String,
    pub(super) task_name: Option<Rc<str>>,
    /// The positional arguments as JSON, shortened in a stored result.
    pub(super) args: Option<String>,
    pub(super) backend: Place,
    pub(super) broker: Place,
    /// The final result, once it was fetched.
    pub(super) document: Option<Rc<Document>>,
    /// The task's result, once it was decoded. Each object holds a reference of its own, because
    /// PHP's collector counts references: a clone shares the value, but not the reference.
    pub(super) value: Option<Held>,
}

state!(AsyncResult, "AsyncResult", value);

impl AsyncResult {
    /// Returns the result of a task just posted.
    pub(crate) fn posted(
        api: Api,
        message: Message,
        broker: Rc<Connection>,
        backend: Rc<Connection>,
    ) -> Self {
        let (task_name, id, args) = message.into_parts();
        let args = args.map(|args| Box::<str>::from(args).into_string());
        AsyncResult {
            api,
            id,
            task_name: Some(task_name),
            args: Some(args.unwrap_or_else(|| "[]".to_owned())),
            backend: Place::Known(backend),
            broker: Place::Known(broker),
            document: None,
            value: None,
        }
    }

    pub(super) fn fetched(&self, method: &str) -> Result<Rc<Document>, Thrown> {
        self.document.clone().ok_or_else(|| {
            Thrown::celery(format!(
                "{method}() was called before the task was ready. Call isReady() or get() first, which ask the \
                 result backend."
            ))
        })
    }
}

/// The number of characters of a task's arguments to keep in a stored result and to show in
/// messages.
const LONGEST_ARGS: usize = 200;

/// Returns the beginning of a task's arguments.
pub(super) fn shortened(args: &str) -> String {
    match args.char_indices().nth(LONGEST_ARGS) {
        Some((end, _)) => format!("{}…", &args[..end]),
        None => args.to_owned(),
    }
}
