//! What a running task may know and do, besides its arguments.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;
use serde::Serialize;
use tokio::sync::watch;

use super::args::{Bound, Signature};
use super::binding::Binding;
use super::error::{Retry, TaskError};
use crate::delivery::Settler;

/// The default of Celery's `default_retry_delay`.
pub(crate) const DEFAULT_RETRY_DELAY: Duration = Duration::from_mins(3);
/// The default of Celery's `max_retries`.
const DEFAULT_MAX_RETRIES: u32 = 3;

/// The values that all tasks of a worker share.
pub(crate) struct Shared {
    pub(crate) states: States,
    pub(crate) settler: Settler,
    pub(crate) hostname: Arc<str>,
    /// `true` if each call is applied exactly once by tasks that support it.
    pub(crate) exactly_once: bool,
}

/// The values that tasks ask for with [`State`], one for each type.
#[derive(Clone, Default)]
pub(crate) struct States(HashMap<TypeId, Arc<dyn Any + Send + Sync>>);

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.0.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn has(&self, id: TypeId) -> bool {
        self.0.contains_key(&id)
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Result<State<T>, TaskError> {
        let value = self.0.get(&TypeId::of::<T>()).cloned();
        match value.and_then(|value| value.downcast::<T>().ok()) {
            Some(value) => Ok(State(value)),
            None => Err(TaskError::runtime_error(format!(
                "this worker has no state of type {}",
                std::any::type_name::<T>()
            ))),
        }
    }
}

/// A value of the worker, given to [`WorkerBuilder::state`](crate::WorkerBuilder::state) and shared
/// by all tasks. A parameter of this type does not take an argument of the message.
#[derive(Debug)]
pub struct State<T>(pub Arc<T>);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The call that runs. A parameter of this type does not take an argument of the message.
#[derive(Clone)]
pub struct Context {
    task: Arc<Task>,
    shared: Arc<Shared>,
    /// `None` without a soft time limit.
    cancelled: Option<watch::Receiver<bool>>,
    max_retries: Option<u32>,
    retry_delay: Option<Duration>,
}

impl Context {
    pub(crate) fn new(
        task: Arc<Task>,
        shared: Arc<Shared>,
        cancelled: Option<watch::Receiver<bool>>,
        policy: &super::Policy,
    ) -> Self {
        Context {
            task,
            shared,
            cancelled,
            max_retries: policy.max_retries,
            retry_delay: policy.retry_delay,
        }
    }

    /// Returns the task's id.
    pub fn id(&self) -> &str {
        &self.task.id
    }

    /// Returns the task's name.
    pub fn name(&self) -> &str {
        &self.task.name
    }

    /// Returns how often the task has been retried: 0 in the first run.
    pub fn retries(&self) -> u32 {
        self.task.retries
    }

    /// Returns the worker's node name, such as `celery@host`.
    pub fn hostname(&self) -> &str {
        &self.shared.hostname
    }

    /// Returns everything that the message says.
    pub fn message(&self) -> &Arc<Task> {
        &self.task
    }

    /// Stores a state that the task defines, such as `PROGRESS`, for clients that wait for the
    /// result.
    ///
    /// # Errors
    ///
    /// Fails if `meta` has no JSON form, or if the state could not be stored.
    pub async fn update_state(&self, state: &str, meta: impl Serialize) -> Result<(), TaskError> {
        let meta = serde_json::value::to_raw_value(&meta)?;
        let settler = &self.shared.settler;
        Ok(settler.store_state(&self.task, state, meta).await?)
    }

    /// Returns a request to run the task again. The task returns it as its error:
    /// `return Err(context.retry().into())`.
    ///
    /// As in Celery, the task's `retry_delay` (default: 180 s) and `max_retries` (default: 3)
    /// apply. The methods of [`Retry`] change them.
    pub fn retry(&self) -> Retry {
        Retry {
            countdown: self.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY),
            reason: None,
            max_retries: Some(self.max_retries.unwrap_or(DEFAULT_MAX_RETRIES)),
        }
    }

    /// Returns `true` if the soft time limit has passed. The task should then come to an end.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.as_ref().is_some_and(|flag| *flag.borrow())
    }

    /// Waits until the soft time limit has passed. Never returns without such a limit.
    pub async fn cancelled(&self) {
        let Some(mut flag) = self.cancelled.clone() else {
            return std::future::pending::<()>().await;
        };
        if flag.wait_for(|passed| *passed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({}[{}])", self.name(), self.id())
    }
}

/// One call whose arguments are not yet in place. The code that `#[task]` generates uses it.
#[derive(Debug)]
pub struct Call {
    pub(crate) context: Context,
    /// `None` if the arguments are small.
    pub(crate) binding: Option<Binding>,
}

impl Call {
    /// Puts the message's arguments in the places of `signature`.
    ///
    /// Drop the result as soon as the arguments have been taken: the worker watches how long that
    /// takes.
    ///
    /// # Errors
    ///
    /// A `TypeError` if the message has too many arguments or unknown ones.
    pub fn bind(&self, signature: &'static Signature) -> Result<Bound<'_>, TaskError> {
        let underway = self.binding.as_ref().map(Binding::begin);
        let task = &self.context.task;
        let mut bound = Bound::new(signature, &task.args, &task.kwargs)?;
        bound.underway = underway;
        Ok(bound)
    }

    /// Returns the call's [`Context`], or a [`State`] of the worker.
    ///
    /// # Errors
    ///
    /// The task fails if the worker has no value of this type.
    pub fn extract<T: Extract>(&self) -> Result<T, TaskError> {
        T::extract(&self.context)
    }
}

/// A type that a task's parameter can have without taking an argument.
pub trait Extract: Sized {
    /// Takes the value from the context of the call.
    ///
    /// # Errors
    ///
    /// The task fails if the worker has no value of this type.
    fn extract(context: &Context) -> Result<Self, TaskError>;
}

impl Extract for Context {
    fn extract(context: &Context) -> Result<Self, TaskError> {
        Ok(context.clone())
    }
}

impl<T: Send + Sync + 'static> Extract for State<T> {
    fn extract(context: &Context) -> Result<Self, TaskError> {
        context.shared.states.get()
    }
}
