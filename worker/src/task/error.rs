//! The ways in which a task ends without a value.
//!
//! Errors are stored in the shape of Python exceptions, so that a Python or PHP client sees what a
//! Python worker would store. That is an `exc_type` such as `ValueError`, its arguments, and the
//! module of its class.
//!
//! Any Rust error becomes a [`TaskError`] by `?`. Errors of the [`Database`](crate::Database) keep
//! their meaning: a database that cannot be reached is [`TaskError::Unavailable`], which costs the
//! task only time.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::time::Duration;

use celery_protocol::result::ExceptionDoc;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::args::Signature;
use crate::database::DatabaseError;
use crate::delivery::{NewArguments, Outcome};

/// The `Result` of a task.
pub type TaskResult<T> = Result<T, TaskError>;

/// The answer to one call, as JSON.
pub(crate) type Answer = Result<Box<RawValue>, TaskError>;

/// The reason why a task returned no value.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskError {
    /// The task failed. A task with `max_retries` runs again until its retries are used up.
    Failed(Exception),
    /// The task asks to run again later.
    Retry(Retry),
    /// The task ends neither in success nor in failure. The worker acknowledges the message and
    /// stores nothing.
    Ignore,
    /// Another call goes on in place of the task, under its id. Only
    /// [`Context::replace`](crate::Context::replace) makes this error.
    Replaced,
    /// The task refuses the message.
    Reject {
        /// Why; it is stored and logged.
        reason: String,
        /// `true` if the message goes back to its queue instead of the dead-letter stream.
        requeue: bool,
    },
    /// Something that the task needs is away. The worker keeps the message, and runs the task again
    /// after a wait.
    Unavailable {
        /// What is away, and the error that showed it.
        cause: String,
    },
}

impl TaskError {
    /// Returns a failure of the type `ValueError`.
    pub fn value_error(message: impl Into<String>) -> Self {
        TaskError::Failed(Exception::new("ValueError", message))
    }

    /// Returns a failure of the type `RuntimeError`.
    pub fn runtime_error(message: impl Into<String>) -> Self {
        TaskError::Failed(Exception::new("RuntimeError", message))
    }

    /// Returns the failure of a task that ended because its soft time limit had passed.
    pub fn soft_time_limit_exceeded() -> Self {
        let exception = Exception::with_args("SoftTimeLimitExceeded", Vec::new());
        TaskError::Failed(exception.module("billiard.exceptions"))
    }
}

impl From<TaskError> for Outcome {
    fn from(error: TaskError) -> Self {
        match error {
            TaskError::Failed(exception) => Outcome::Raised {
                exception: exception.document,
                retryable: exception.retryable,
            },
            TaskError::Retry(retry) => match retry.arguments.map(|it| *it).transpose() {
                Ok(arguments) => Outcome::Retry {
                    countdown: retry.countdown,
                    reason: retry.reason.map(|reason| reason.document),
                    max_retries: retry.max_retries,
                    arguments: arguments.map(Box::new),
                },
                Err(why) => TaskError::Failed(Exception::new("ValueError", why).permanent()).into(),
            },
            TaskError::Ignore => Outcome::Ignored,
            TaskError::Replaced => Outcome::Replaced,
            TaskError::Reject { reason, requeue } => Outcome::Rejected { reason, requeue },
            TaskError::Unavailable { cause } => Outcome::Unavailable { cause },
        }
    }
}

impl<E: Error + 'static> From<E> for TaskError {
    fn from(error: E) -> Self {
        let text = chain(&error);
        let name = short_type_name::<E>();
        let error: Box<dyn Any> = Box::new(error);
        let error = match error.downcast::<Exception>() {
            Ok(exception) => return TaskError::Failed(*exception),
            Err(error) => error,
        };
        let error = match error.downcast::<Retry>() {
            Ok(retry) => return TaskError::Retry(*retry),
            Err(error) => error,
        };
        let error = match error.downcast::<DatabaseError>() {
            Ok(error) => return of_database(*error),
            Err(error) => error,
        };
        let kind = if error.is::<std::io::Error>() {
            "OSError".to_owned()
        } else if error.is::<serde_json::Error>() || error.is::<std::num::ParseIntError>() {
            "ValueError".to_owned()
        } else {
            name
        };
        TaskError::Failed(Exception::new(kind, text))
    }
}

/// Returns the task's error for an error of its database.
fn of_database(error: DatabaseError) -> TaskError {
    if error.is_absence() {
        return TaskError::Unavailable {
            cause: error.to_string(),
        };
    }
    let (is_permanent, is_of_whole_batch) = (error.is_permanent(), error.is_of_whole_batch());
    let (name, args) = error.into_python();
    let exception = Exception::with_args(name, args).module("celery_worker.database");
    TaskError::Failed(match () {
        () if is_permanent => exception.permanent(),
        () if is_of_whole_batch => exception.of_whole_batch(),
        () => exception,
    })
}

/// Shortens the name of a type: `my_crate::errors::QuotaExceeded<T>` becomes `QuotaExceeded`.
fn short_type_name<E>() -> String {
    let name = std::any::type_name::<E>();
    let plain = name.split('<').next().unwrap_or(name);
    plain.rsplit("::").next().unwrap_or(plain).to_owned()
}

/// Returns the error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Many errors already print their source.
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

/// A failure in the shape of a Python exception.
#[derive(Clone, Debug)]
pub struct Exception {
    document: ExceptionDoc,
    retryable: bool,
    whole_batch: bool,
}

impl Exception {
    /// Returns an exception with one argument, its message.
    pub fn new(exc_type: impl Into<String>, message: impl Into<String>) -> Self {
        Self::with_args(exc_type, vec![Value::String(message.into())])
    }

    /// Returns an exception with these arguments.
    pub fn with_args(exc_type: impl Into<String>, args: Vec<Value>) -> Self {
        Exception {
            document: ExceptionDoc::new(exc_type, Value::Null, Some("builtins")).with_args(args),
            retryable: true,
            whole_batch: false,
        }
    }

    /// Sets the Python module of the exception's class. Default: `builtins`.
    #[must_use]
    pub fn module(mut self, module: impl Into<String>) -> Self {
        self.document.exc_module = Some(module.into());
        self
    }

    /// Marks a failure that another run cannot mend (wrong arguments, a bug): `max_retries` does
    /// not apply.
    #[must_use]
    pub fn permanent(mut self) -> Self {
        self.retryable = false;
        self
    }

    /// Marks a failure of a batch that is not the fault of a single call, so that halving the batch
    /// is useless.
    #[must_use]
    pub fn of_whole_batch(mut self) -> Self {
        self.whole_batch = true;
        self
    }

    /// Returns the exception that is stored like this.
    pub(crate) fn of(document: ExceptionDoc) -> Self {
        Exception {
            document,
            retryable: true,
            whole_batch: false,
        }
    }

    pub(crate) fn is_of_whole_batch(&self) -> bool {
        self.whole_batch
    }

    /// Returns the exception as it is stored.
    #[cfg(test)]
    pub(crate) fn document(&self) -> &ExceptionDoc {
        &self.document
    }
}

/// Compares what clients see: the type, its module and the arguments.
impl PartialEq for Exception {
    fn eq(&self, other: &Self) -> bool {
        self.document == other.document
    }
}

impl fmt::Display for Exception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.document.summary())
    }
}

impl Error for Exception {}

/// A request to run again, made by [`Context::retry`](crate::Context::retry).
#[derive(Clone, Debug)]
pub struct Retry {
    pub(crate) countdown: Duration,
    pub(crate) reason: Option<Exception>,
    pub(crate) max_retries: Option<u32>,
    /// The names of the task's parameters, if they are known.
    pub(crate) signature: Option<&'static Signature>,
    /// The arguments of the next run, or why they cannot be used.
    pub(crate) arguments: Option<Box<Result<NewArguments, String>>>,
}

impl Retry {
    /// Sets how long to wait before the task runs again.
    #[must_use]
    pub fn countdown(mut self, wait: Duration) -> Self {
        self.countdown = wait;
        self
    }

    /// Sets the failure behind the request. Clients see it while the task waits, and as its result
    /// if no retry is left.
    #[must_use]
    pub fn because(mut self, reason: Exception) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets the positional arguments of the next run: a tuple, a `Vec`, or what else is a list in
    /// JSON. Keyword arguments of parameters that get a value by this are dropped; the others stay.
    /// Celery's `retry(args=…)`.
    ///
    /// If the value is not a list, the task fails with a `ValueError`.
    #[must_use]
    pub fn args(self, args: impl Serialize) -> Self {
        self.change(&args, '[', |new, args| new.args = Some(args))
    }

    /// Sets the keyword arguments of the next run: a map, a struct, or what else is an object in
    /// JSON. Those of the last run are dropped. Positional arguments stay, with the new values of
    /// parameters that are named here. Celery's `retry(kwargs=…)`.
    ///
    /// If the value is not an object, the task fails with a `ValueError`.
    #[must_use]
    pub fn kwargs(self, kwargs: impl Serialize) -> Self {
        self.change(&kwargs, '{', |new, kwargs| new.kwargs = Some(kwargs))
    }

    fn change(
        mut self,
        value: &impl Serialize,
        opening: char,
        set: impl FnOnce(&mut NewArguments, Box<RawValue>),
    ) -> Self {
        let given = self
            .arguments
            .take()
            .map_or(Ok(NewArguments::default()), |it| *it);
        let changed = given.and_then(|mut new| {
            let json = to_raw_value(value);
            let json = json.map_err(|why| format!("the arguments of a retry: {why}"))?;
            if !json.get().starts_with(opening) {
                let what = if opening == '[' {
                    "a list"
                } else {
                    "an object"
                };
                return Err(format!("the arguments of a retry are not {what}"));
            }
            let parameters = self.signature.into_iter().flat_map(|it| it.params);
            new.parameters = parameters.map(|parameter| parameter.name).collect();
            set(&mut new, json);
            Ok(new)
        });
        self.arguments = Some(Box::new(changed));
        self
    }

    /// Sets the most retries of the task in total. `None` means no limit.
    #[must_use]
    pub fn max_retries(mut self, most: Option<u32>) -> Self {
        self.max_retries = most;
        self
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Retry in {}s", self.countdown.as_secs_f64())?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl Error for Retry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_become_exceptions_with_pythons_names() {
        let io: TaskError = std::io::Error::other("disk").into();
        assert!(matches!(io, TaskError::Failed(e) if e.to_string() == "OSError('disk')"));
        let json: TaskError = serde_json::from_str::<u8>("x").unwrap_err().into();
        assert!(matches!(json, TaskError::Failed(e) if e.document().exc_type == "ValueError"));
        let own: TaskError = Exception::new("KeyError", "k").into();
        assert!(matches!(own, TaskError::Failed(e) if e.document().exc_type == "KeyError"));
        let other: TaskError = std::env::VarError::NotPresent.into();
        assert!(matches!(other, TaskError::Failed(e) if e.document().exc_type == "VarError"));
    }

    #[test]
    fn an_absent_database_costs_the_task_nothing() {
        let away = TaskError::from(DatabaseError::unavailable("gone away"));
        assert!(matches!(away, TaskError::Unavailable { cause } if cause == "gone away"));
    }

    #[test]
    fn wording() {
        let exception = Exception::with_args("OSError", vec![5.into(), "io failed".into()]);
        assert_eq!(exception.to_string(), "OSError(5, 'io failed')");
        let retry = Retry {
            countdown: Duration::from_secs(10),
            reason: None,
            max_retries: Some(3),
            signature: None,
            arguments: None,
        };
        assert_eq!(retry.to_string(), "Retry in 10s");
        assert_eq!(
            retry.because(exception).to_string(),
            "Retry in 10s: OSError(5, 'io failed')"
        );
    }
}
