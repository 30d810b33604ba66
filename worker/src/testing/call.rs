//! A call for a test, and how it ended.

use std::time::Duration;

use celery_protocol::message::Task;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::consumer::{FAILED, Failure, Verdict};
use crate::delivery::Outcome;
use crate::task::Exception;

/// A call of a task: its arguments and, where they matter, its id and its number of retries.
///
/// ```
/// use celery_worker::testing::TestCall;
///
/// // As Python's `greet("Ada", word="Hi")`, in its second run:
/// let call = TestCall::new().arg("Ada").kwarg("word", "Hi").retries(1);
/// ```
#[derive(Clone, Debug)]
pub struct TestCall {
    id: String,
    args: Vec<Value>,
    kwargs: serde_json::Map<String, Value>,
    retries: u32,
    redelivered: bool,
}

impl TestCall {
    /// Returns a call without arguments, with a random id.
    pub fn new() -> Self {
        TestCall {
            id: uuid::Uuid::new_v4().to_string(),
            args: Vec::new(),
            kwargs: serde_json::Map::new(),
            retries: 0,
            redelivered: false,
        }
    }

    /// Adds a positional argument, as JSON.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Value>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Adds positional arguments, as JSON.
    #[must_use]
    pub fn args<V: Into<Value>>(mut self, values: impl IntoIterator<Item = V>) -> Self {
        self.args.extend(values.into_iter().map(Into::into));
        self
    }

    /// Adds a keyword argument, as JSON. A second one of this name replaces the first.
    #[must_use]
    pub fn kwarg(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.kwargs.insert(name.into(), value.into());
        self
    }

    /// Sets the task's id.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self
    }

    /// Sets how often the task has been retried before. Default: 0.
    #[must_use]
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Marks the message as one that a worker had begun before.
    #[must_use]
    pub fn redelivered(mut self) -> Self {
        self.redelivered = true;
        self
    }

    pub(super) fn into_task(self, name: &str) -> Task {
        // Values always have a JSON form.
        let raw = |value: Value| to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        let (args, kwargs) = (Value::Array(self.args), Value::Object(self.kwargs));
        let mut task = Task::new(&self.id, name, raw(args), raw(kwargs));
        task.retries = self.retries;
        task.redelivered = self.redelivered;
        task
    }
}

impl Default for TestCall {
    fn default() -> Self {
        Self::new()
    }
}

/// How a call ended, as a worker would record it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The task returned this value.
    Success(Value),
    /// The task failed, panicked, or exceeded its time limit, and is not run again.
    Failure(Exception),
    /// The task runs again, because it asked for that or because failures are retried.
    Retry {
        /// How long the next run waits.
        countdown: Duration,
        /// The failure behind it.
        reason: Option<Exception>,
    },
    /// The task asked that its end is not recorded.
    Ignored,
    /// The task put another call in its place;
    /// [`take_sent`](super::TestWorker::take_sent) returns that call.
    Replaced,
    /// The task refused the message.
    Rejected {
        /// Why.
        reason: String,
        /// `true` if the message goes back to its queue instead of the dead-letter stream.
        requeue: bool,
    },
    /// Something that the task needs is away. A worker keeps the message and runs the task again
    /// after a wait.
    Unavailable {
        /// What is away, and the error that showed it.
        cause: String,
    },
    /// The run took longer than [`TestWorker::timeout`](super::TestWorker::timeout).
    Interrupted,
}

impl End {
    /// Returns `true` if a worker publishes what the task has sent.
    pub(super) fn publishes(&self) -> bool {
        !matches!(
            self,
            End::Unavailable { .. } | End::Interrupted | End::Rejected { requeue: true, .. }
        )
    }

    /// Returns how a call with this outcome ends, as the worker judges it.
    pub(super) fn of(outcome: Outcome, judge: impl FnOnce(Outcome) -> Verdict) -> Self {
        if let Outcome::Unavailable { cause } = outcome {
            return End::Unavailable { cause };
        }
        match judge(outcome) {
            // Text that serde_json cannot read as a value, such as an integer of 100 digits.
            Verdict::Success { value, .. } => {
                let read = serde_json::from_str(value.get());
                End::Success(read.unwrap_or_else(|_| Value::from(value.get())))
            }
            Verdict::Failure(failure) | Verdict::TimeLimit { failure, .. } => {
                End::Failure(failure.into())
            }
            Verdict::Dead {
                cause: FAILED,
                failure,
                ..
            } => End::Failure(failure.into()),
            Verdict::Dead { reason, .. } => End::Rejected {
                reason,
                requeue: false,
            },
            Verdict::Requeue { reason } => End::Rejected {
                reason,
                requeue: true,
            },
            Verdict::Retry {
                countdown, reason, ..
            } => End::Retry {
                countdown,
                reason: reason.map(Into::into),
            },
            Verdict::Ignored | Verdict::SucceededBefore(_) => End::Ignored,
            Verdict::Replaced => End::Replaced,
            Verdict::Revoked(_) | Verdict::GiveBack { .. } => End::Interrupted,
        }
    }
}

impl From<Failure> for Exception {
    fn from(failure: Failure) -> Self {
        Exception::of(failure.exception)
    }
}
