//! Defines a task: a name, a policy and something to run.
//!
//! [`TaskDef`]s are made by `#[task]` or by hand, and the executor runs them. This module does not
//! know about brokers.

mod args;
mod argument;
#[cfg(test)]
mod attribute;
mod batch;
mod binding;
mod context;
mod error;
mod live;
mod policy;
mod rate;

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use args::type_error;
pub use args::{Args, Bound, Kwargs, Param, Raw, Signature};
pub use batch::{Answers, Batch};
pub(crate) use binding::Binding;
pub(crate) use context::DEFAULT_RETRY_DELAY;
pub use context::{Call, Context, Extract, State};
pub(crate) use context::{Shared, States};
pub(crate) use error::Answer;
pub use error::{Exception, Retry, TaskError, TaskResult};
pub(crate) use live::{Live, TimeLimits};
pub use policy::BatchOptions;
pub(crate) use policy::Policy;
pub(crate) use rate::Rate;

use crate::delivery::{Retries, TaskNames};

/// Runs many calls. It returns an answer for each, in their order.
pub(crate) type RunBatch = dyn Fn(
        Vec<Arc<Task>>,
        Arc<Shared>,
        Option<Binding>,
    ) -> BoxFuture<'static, Result<Vec<Answer>, TaskError>>
    + Send
    + Sync;

/// A task as a worker registers it.
pub struct TaskDef {
    pub(crate) name: Arc<str>,
    pub(crate) policy: Policy,
    pub(crate) live: Live,
    pub(crate) run: Run,
    /// The types of the states that the task asks for, with their names.
    needs: Vec<(TypeId, &'static str)>,
}

/// The ways to run a task.
pub(crate) enum Run {
    /// A future on the runtime for tasks.
    Function(Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>),
    /// A plain function on the blocking pool.
    Blocking(Arc<dyn Fn(Call) -> Answer + Send + Sync>),
    /// One run for many calls.
    Batched(BatchOptions, Arc<RunBatch>),
}

impl TaskDef {
    fn new(name: impl Into<Arc<str>>, run: Run) -> Self {
        TaskDef {
            name: name.into(),
            policy: Policy::default(),
            live: Live::default(),
            run,
            needs: Vec::new(),
        }
    }

    /// Returns a task that is a future.
    #[doc(hidden)]
    pub fn function<F, Fut>(name: impl Into<Arc<str>>, run: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<Box<RawValue>>> + Send + 'static,
    {
        Self::new(
            name,
            Run::Function(Arc::new(move |call| Box::pin(run(call)))),
        )
    }

    /// Returns a task that computes. It runs on a pool of as many threads as there are cores.
    #[doc(hidden)]
    pub fn blocking<F>(name: impl Into<Arc<str>>, run: F) -> Self
    where
        F: Fn(Call) -> TaskResult<Box<RawValue>> + Send + Sync + 'static,
    {
        Self::new(name, Run::Blocking(Arc::new(run)))
    }

    /// Returns a task that takes many calls at once. `function` is its name in error messages about
    /// arguments.
    #[doc(hidden)]
    pub fn batched<T, R, F, Fut>(
        name: impl Into<Arc<str>>,
        function: &'static str,
        options: BatchOptions,
        run: F,
    ) -> Self
    where
        T: DeserializeOwned + Send + 'static,
        R: Serialize + Send + 'static,
        F: Fn(Batch<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<Answers<R>>> + Send + 'static,
    {
        let run = Arc::new(run);
        let run = move |tasks: Vec<Arc<Task>>, shared: Arc<Shared>, binding: Option<Binding>| {
            let run = Arc::clone(&run);
            let future = async move {
                let underway = binding.as_ref().map(Binding::begin);
                let (mut calls, mut unreadable) = (Vec::with_capacity(tasks.len()), Vec::new());
                let mut readable = Vec::with_capacity(tasks.len());
                for task in tasks {
                    match args::bind_whole::<T>(function, &task.args, &task.kwargs) {
                        Ok(call) => {
                            calls.push(call);
                            readable.push(task);
                            unreadable.push(None);
                        }
                        Err(error) => unreadable.push(Some(error)),
                    }
                }
                drop(underway);
                let answers = if calls.is_empty() {
                    Vec::new()
                } else {
                    let tasks = readable;
                    run(Batch {
                        calls,
                        tasks,
                        shared,
                    })
                    .await?
                };
                batch::merge(unreadable, answers.into_iter().map(Self::answer).collect())
            };
            Box::pin(future) as BoxFuture<'static, _>
        };
        Self::new(name, Run::Batched(options, Arc::new(run)))
    }

    /// Returns the answer of a function that returned a `Result`.
    ///
    /// # Errors
    ///
    /// Returns the error of the function, or that of [`answer_value`](Self::answer_value).
    #[doc(hidden)]
    pub fn answer<R: Serialize, E: Into<TaskError>>(
        result: Result<R, E>,
    ) -> TaskResult<Box<RawValue>> {
        Self::answer_value(result.map_err(Into::into)?)
    }

    /// Returns the answer of a function that returned a value.
    ///
    /// # Errors
    ///
    /// An `EncodeError`, as Celery names it, if the value has no JSON form.
    #[doc(hidden)]
    pub fn answer_value<R: Serialize>(value: R) -> TaskResult<Box<RawValue>> {
        to_raw_value(&value).map_err(|error| {
            let message = format!("the result cannot be written as JSON: {error}");
            TaskError::Failed(Exception::new("EncodeError", message).permanent())
        })
    }

    /// Sets how often a failure is retried.
    #[must_use]
    pub fn max_retries(mut self, retries: u32) -> Self {
        self.policy.max_retries = Some(retries);
        self
    }

    /// Sets how long to wait before a retry. Default: 180 s, as in Celery.
    #[must_use]
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.policy.retry_delay = Some(delay);
        self
    }

    /// Sets the time after which [`Context::cancelled`] tells the task to end. A limit in the
    /// message takes precedence.
    #[must_use]
    pub fn soft_time_limit(mut self, limit: Duration) -> Self {
        self.policy.soft_time_limit = Some(limit);
        self
    }

    /// Sets the time after which the task is stopped and fails. A limit in the message takes
    /// precedence.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.policy.time_limit = Some(limit);
        self
    }

    /// Returns the time limits of a run, unless the message has others.
    pub(crate) fn time_limits(&self) -> TimeLimits {
        self.live.time_limits(&self.policy)
    }

    /// Declares that the task asks for a [`State`] of this type. A worker without one does not
    /// start.
    #[must_use]
    pub fn needs<S: 'static>(mut self) -> Self {
        self.needs.push((TypeId::of::<S>(), type_name::<S>()));
        self
    }

    /// Returns the first state that the task asks for and the worker lacks.
    pub(crate) fn lacks(&self, states: &States) -> Option<&'static str> {
        let missing = self.needs.iter().find(|(id, _)| !states.has(*id));
        missing.map(|(_, name)| *name)
    }
}

impl fmt::Debug for TaskDef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskDef({})", self.name)
    }
}

/// The tasks that a worker serves, by name.
#[derive(Debug, Default)]
pub(crate) struct Registry(HashMap<Arc<str>, Arc<TaskDef>>);

impl Registry {
    /// Adds a task. It replaces an earlier task of the same name.
    pub(crate) fn insert(&mut self, task: TaskDef) {
        self.0.insert(Arc::clone(&task.name), Arc::new(task));
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<TaskDef>> {
        self.0.get(name)
    }

    /// Changes the policy of each task. It must come before tasks are shared.
    pub(crate) fn change_policies(&mut self, change: impl Fn(&str, &mut Policy)) {
        for task in self.0.values_mut() {
            if let Some(task) = Arc::get_mut(task) {
                change(&task.name, &mut task.policy);
                let rate = task.policy.rate_limit.clone();
                task.live.rate.set(rate, Instant::now());
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<TaskDef>> {
        self.0.values()
    }

    /// Returns the size of the largest batch, or 0 without batched tasks.
    pub(crate) fn largest_batch(&self) -> usize {
        let sizes = self.iter().map(|task| match &task.run {
            Run::Batched(options, _) => options.size,
            _ => 0,
        });
        sizes.max().unwrap_or(0)
    }
}

impl TaskNames for Registry {
    fn knows(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn retries(&self, name: &str) -> Option<Retries> {
        let policy = &self.0.get(name)?.policy;
        Some(Retries {
            most: policy.max_retries?,
            delay: policy.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY),
        })
    }

    fn ignores_result(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|task| task.policy.ignore_result)
    }

    fn stores_errors(&self, name: &str) -> bool {
        self.0
            .get(name)
            .is_some_and(|task| task.policy.store_errors)
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use celery_protocol::message::Task;
    use serde_json::value::RawValue;

    /// Returns a task with these positional arguments.
    pub(crate) fn task(name: &str, args: &str) -> Task {
        let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
        Task::new("an-id", name, raw(args), raw("{}"))
    }
}
