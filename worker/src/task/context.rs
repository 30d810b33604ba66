//! What a running task may know and do, besides its arguments.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::result::{ExceptionDoc, ResultDoc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use super::Registry;
use super::args::{Bound, Signature};
use super::binding::Binding;
use super::error::{Exception, Retry, TaskError, TaskResult};
use crate::canvas::{Sent, Signature as Canvas};
use crate::delivery::{Manner, MaxRetries, RetryHeaders, Sending, Settler};
use crate::trace::SpanContext;

/// The default of Celery's `default_retry_delay`.
pub(crate) const DEFAULT_RETRY_DELAY: Duration = Duration::from_mins(3);
/// The default of Celery's `max_retries`.
pub(crate) const DEFAULT_MAX_RETRIES: MaxRetries = MaxRetries::Limited(3);

/// The values that all tasks of a worker share.
pub(crate) struct Shared {
    pub(crate) states: States,
    pub(crate) settler: Settler,
    /// The tasks of the worker, for tasks that call others.
    pub(crate) registry: Arc<Registry>,
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
    sending: Sending,
    /// `None` without a soft time limit.
    cancelled: Option<watch::Receiver<bool>>,
    max_retries: Option<MaxRetries>,
    retry_delay: Option<Duration>,
    /// The task's parameters, once the arguments have been put in their places.
    signature: OnceLock<&'static Signature>,
}

impl Context {
    pub(crate) fn new(
        task: Arc<Task>,
        shared: Arc<Shared>,
        sending: Sending,
        cancelled: Option<watch::Receiver<bool>>,
        policy: &super::Policy,
    ) -> Self {
        Context {
            task,
            shared,
            sending,
            cancelled,
            max_retries: policy.max_retries,
            retry_delay: policy.retry_delay,
            signature: OnceLock::new(),
        }
    }

    /// Returns the context of a call that is a part of this one.
    pub(crate) fn inside(&self, task: Arc<Task>, policy: &super::Policy) -> Self {
        Context {
            task,
            max_retries: policy.max_retries,
            retry_delay: policy.retry_delay,
            signature: OnceLock::new(),
            ..self.clone()
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
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

    /// Returns a header of the message that Celery does not define, such as `laravel` with the
    /// Context of a Laravel application; `None` if the message does not have it.
    ///
    /// # Errors
    ///
    /// A `ValueError` if the header is not a `T`.
    pub fn header<T: DeserializeOwned>(&self, name: &str) -> TaskResult<Option<T>> {
        let Some(value) = self.task.headers.get(name) else {
            return Ok(None);
        };
        let value = serde_json::from_str(value.get());
        value.map(Some).map_err(|why| {
            let text = format!("the header {name:?} of the message cannot be read: {why}");
            TaskError::Failed(Exception::new("ValueError", text).permanent())
        })
    }

    /// Returns the header `traceparent` that continues the trace of this task, for example in an
    /// HTTP request; `None` if the task belongs to no trace.
    pub fn traceparent(&self) -> Option<String> {
        SpanContext::of(&self.task).map(|context| context.to_string())
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

    /// Sends a call: a task, a chain, a group or a chord. Celery's `apply_async` in a task.
    ///
    /// The messages are published in the step that settles this task: with its acknowledgement, and
    /// after its result is known. They are published even if the task then fails, is retried or
    /// ignored, as in Celery. If the task does not end, because its worker dies or loses its
    /// database, nothing is published, and the next run sends again. The same holds for a task that
    /// puts its message back with `requeue`.
    ///
    /// The calls are among the `children` of the task's result, and have the task as their parent.
    ///
    /// # Errors
    ///
    /// A `ValueError` if the call cannot be written as a message, if more than 64 MiB follow from
    /// this task, or if the task has ended.
    pub fn send(&self, call: impl Into<Canvas>) -> TaskResult<Sent> {
        self.call(call.into(), Manner::Send)
    }

    /// Adds a call to the header of the chord that this task is a member of. The body then also
    /// waits for that call, and gets its result. Celery's `add_to_chord`.
    ///
    /// The call is sent as by [`send`](Self::send).
    ///
    /// # Errors
    ///
    /// A `ValueError` if this task is not a member of a chord, or for the reasons of
    /// [`send`](Self::send).
    pub fn add_to_chord(&self, call: impl Into<Canvas>) -> TaskResult<Sent> {
        self.call(call.into(), Manner::AddToChord)
    }

    /// Puts a call in the place of this task. Celery's `replace`.
    ///
    /// The task returns the value as its error: `return Err(context.replace(call))`. The call goes
    /// on under the id of this task, so clients that wait for the task get the result of the call.
    /// It also takes over the callbacks and the place in a chain, a group or a chord. The result of
    /// a group is the list of its members' results. The task itself stores no result. If it returns
    /// something else, nothing is replaced.
    #[must_use = "the task is replaced only if it returns this error"]
    pub fn replace(&self, call: impl Into<Canvas>) -> TaskError {
        match self.call(call.into(), Manner::Replace) {
            Ok(_) => TaskError::Replaced,
            Err(error) => error,
        }
    }

    fn call(&self, call: Canvas, manner: Manner) -> TaskResult<Sent> {
        let wrong = |why| TaskError::Failed(Exception::new("ValueError", why).permanent());
        let signature = call.into_inner().map_err(wrong)?;
        let caller = &self.shared.settler.caller;
        let plan = |bytes| caller.plan_call(&self.task, signature, manner, bytes);
        match self.sending.add(manner, plan) {
            Some(Ok((id, tuple))) => Ok(Sent { id, tuple }),
            Some(Err(exception)) => Err(TaskError::Failed(Exception::of(exception).permanent())),
            None => Err(wrong("the task has ended".to_owned())),
        }
    }

    /// Returns the documents of other tasks.
    pub(crate) async fn results(&self, ids: Vec<String>) -> Vec<Option<ResultDoc>> {
        self.shared.settler.read_results(ids).await
    }

    /// Returns `true` if the worker stores results.
    pub(crate) fn has_results(&self) -> bool {
        self.shared.settler.caller.has_results()
    }

    /// Fails the body of a chord with a `ChordError`, and the tasks that follow it. `cause` is the
    /// exception of the member that failed.
    pub(crate) fn fail_body(
        &self,
        body: Canvas,
        why: String,
        cause: Option<ExceptionDoc>,
    ) -> TaskResult<()> {
        let wrong = |why| TaskError::Failed(Exception::new("ValueError", why).permanent());
        let body = body.into_inner().map_err(wrong)?;
        let caller = &self.shared.settler.caller;
        let fail = |_| Ok(caller.plan_failure(&self.task, &body, why, cause));
        match self.sending.add(Manner::Send, fail) {
            Some(Ok(_)) => Ok(()),
            Some(Err(exception)) => Err(TaskError::Failed(Exception::of(exception).permanent())),
            None => Err(wrong("the task has ended".to_owned())),
        }
    }

    /// Returns a request to run the task again. The task returns it as its error:
    /// `return Err(context.retry().into())`.
    ///
    /// As in Celery, the task's `retry_delay` (default: 180 s) and `max_retries` (default: 3)
    /// apply, unless the message has the headers `backoff` and `tries` of a Laravel job. The methods
    /// of [`Retry`] change them.
    pub fn retry(&self) -> Retry {
        let asked = RetryHeaders::of(&self.task);
        let most = asked.most.or(self.max_retries);
        let delay = self.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY);
        Retry {
            countdown: asked.wait.unwrap_or(delay),
            reason: None,
            max_retries: most.unwrap_or(DEFAULT_MAX_RETRIES).number(),
            signature: self.signature.get().copied(),
            arguments: None,
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
        // A call is bound once.
        let _ = self.context.signature.set(signature);
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
