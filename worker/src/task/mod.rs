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
mod fleet;
mod key;
mod live;
mod policy;
mod rate;
mod unique;

use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_protocol::message::Task;
use celery_protocol::names::check_task_name;
use celery_protocol::result::ExceptionDoc;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};

pub(crate) use args::type_error;
pub use args::{Args, Bound, Kwargs, Param, Raw, Signature};
pub use batch::{Answers, Batch};
pub(crate) use binding::Binding;
pub use context::{Call, Context, Extract, State};
pub(crate) use context::{DEFAULT_MAX_RETRIES, DEFAULT_RETRY_DELAY};
pub(crate) use context::{Shared, States};
pub(crate) use error::Answer;
pub use error::{Exception, Retry, TaskError, TaskResult};
pub(crate) use fleet::FleetLimits;
pub(crate) use key::{ArgumentPath, digest};
pub(crate) use live::{Live, TimeLimits};
pub use policy::BatchOptions;
pub(crate) use policy::{ExceptionTypes, Policy};
pub(crate) use rate::Rate;
pub(crate) use unique::Uniqueness;

pub(crate) use crate::delivery::MaxRetries;
use crate::delivery::{Backoff, Retries, RetryHeaders, TaskNames, Unique, Until};

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
        self.policy.max_retries = Some(MaxRetries::Limited(retries));
        self
    }

    /// Sets that failures are retried without limit. Celery's `max_retries = None`.
    #[must_use]
    pub fn unlimited_retries(mut self) -> Self {
        self.policy.max_retries = Some(MaxRetries::Unlimited);
        self
    }

    /// Sets which failures are retried, by the names of their types, with or without the module;
    /// `Exception` stands for all. Without `max_retries`, there are at most 3 retries. Celery's
    /// `autoretry_for`.
    #[must_use]
    pub fn autoretry_for<S: Into<String>>(mut self, types: impl IntoIterator<Item = S>) -> Self {
        self.policy.autoretry_for = Some(ExceptionTypes::new(types));
        self
    }

    /// Sets which failures are not retried. Celery's `dont_autoretry_for`.
    #[must_use]
    pub fn dont_autoretry_for<S: Into<String>>(
        mut self,
        types: impl IntoIterator<Item = S>,
    ) -> Self {
        self.policy.dont_autoretry_for = ExceptionTypes::new(types);
        self
    }

    /// Sets that the wait before a retry of a failure doubles with each retry, from `factor`
    /// seconds. Celery's `retry_backoff`, where `true` is a factor of 1.
    #[must_use]
    pub fn retry_backoff(mut self, factor: u32) -> Self {
        self.policy.backoff_factor = Some(factor.max(1));
        self
    }

    /// Sets the longest wait of [`retry_backoff`](Self::retry_backoff). Default: 10 minutes.
    /// Celery's `retry_backoff_max`.
    #[must_use]
    pub fn retry_backoff_max(mut self, most: Duration) -> Self {
        self.policy.backoff.most = most;
        self
    }

    /// Sets whether the wait of [`retry_backoff`](Self::retry_backoff) is a random number of
    /// seconds from 0 to its length. Default: `true`. Celery's `retry_jitter`.
    #[must_use]
    pub fn retry_jitter(mut self, jitter: bool) -> Self {
        self.policy.backoff.jitter = jitter;
        self
    }

    /// Sets which failures are expected: they are logged at the level INFO. Celery's `throws`.
    #[must_use]
    pub fn throws<S: Into<String>>(mut self, types: impl IntoIterator<Item = S>) -> Self {
        self.policy.throws = ExceptionTypes::new(types);
        self
    }

    /// Sets whether the message is acknowledged after the task has ended. Default: `true`; in Celery
    /// `false`. With `false`, the code of a message begins at most once: if its worker is lost
    /// meanwhile, the task fails with `WorkerLostError`. Celery's `acks_late`.
    #[must_use]
    pub fn acks_late(mut self, late: bool) -> Self {
        self.policy.acks_early = !late;
        self
    }

    /// Sets whether a task that had begun runs again after its worker was lost. Default: `true`; in
    /// Celery `false`. With `false` it fails with `WorkerLostError`. Celery's
    /// `reject_on_worker_lost`.
    #[must_use]
    pub fn reject_on_worker_lost(mut self, reject: bool) -> Self {
        self.policy.fails_when_lost = !reject;
        self
    }

    /// Sets whether the message of a failed task is acknowledged. Default: `true`. With `false` it
    /// becomes a dead letter with the cause `failed`. Celery's `acks_on_failure`.
    #[must_use]
    pub fn acks_on_failure(mut self, acks: bool) -> Self {
        self.policy.keeps_failed = !acks;
        self
    }

    /// Sets whether the message of a task over its hard time limit is acknowledged. Default: `true`.
    /// With `false` it goes to the end of its queue. Celery's `acks_on_timeout`.
    #[must_use]
    pub fn acks_on_timeout(mut self, acks: bool) -> Self {
        self.policy.requeues_late = !acks;
        self
    }

    /// Sets that the result is not stored, unless the message asks for it. Celery's `ignore_result`.
    #[must_use]
    pub fn ignore_result(mut self, ignore: bool) -> Self {
        self.policy.ignore_result = ignore;
        self
    }

    /// Sets that errors are stored even where results are not. Celery's
    /// `store_errors_even_if_ignored`.
    #[must_use]
    pub fn store_errors_even_if_ignored(mut self, store: bool) -> Self {
        self.policy.store_errors = store;
        self
    }

    /// Sets that the state STARTED is stored when the code begins. Celery's `track_started`.
    #[must_use]
    pub fn track_started(mut self, track: bool) -> Self {
        self.policy.track_started = track;
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

    /// Sets how many calls run at once in all workers. 0 means no limit.
    #[must_use]
    pub fn max_concurrency(mut self, calls: u32) -> Self {
        self.policy.fleet.max_concurrency = (calls > 0).then_some(calls);
        self
    }

    /// Sets how often a call may begin in all workers, such as `10/s`, `100/m` or `3/h`. 0 means no
    /// limit.
    ///
    /// # Panics
    ///
    /// Panics if the text is not a rate.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "a mistake in the code of the program, found at its start"
    )]
    pub fn fleet_rate_limit(mut self, rate: &str) -> Self {
        self.policy.fleet.rate = Rate::parse(rate).unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets the argument for each value of which [`max_concurrency`](Self::max_concurrency) and
    /// [`fleet_rate_limit`](Self::fleet_rate_limit) are kept: its name or its position, from 0.
    #[must_use]
    pub fn limit_by(mut self, argument: &str) -> Self {
        self.policy.fleet.by = Some(ArgumentPath::parse(argument));
        self
    }

    /// Like [`limit_by`](Self::limit_by), for an argument that callers pass by its name or by its
    /// position.
    #[doc(hidden)]
    #[must_use]
    pub fn limit_by_parameter(mut self, name: &str, position: usize) -> Self {
        self.policy.fleet.by = Some(ArgumentPath::of_parameter(name, position));
        self
    }

    /// Lets one call of those with the same arguments wait or run in all workers: `until_started`,
    /// `until_done`, or a time such as `10m`. The others end as revoked.
    ///
    /// # Panics
    ///
    /// Panics if the text is none of these.
    #[must_use]
    #[expect(
        clippy::panic,
        reason = "a mistake in the code of the program, found at its start"
    )]
    pub fn unique(mut self, until: &str) -> Self {
        let until = Until::parse(until).unwrap_or_else(|error| panic!("{error}"));
        self.policy.unique.until = Some(until);
        self
    }

    /// Adds an argument by which [`unique`](Self::unique) compares calls: its name or its position,
    /// from 0, and what is inside it, such as `order.id`. Without one, all arguments are compared.
    #[must_use]
    pub fn unique_by(mut self, argument: &str) -> Self {
        self.policy.unique.by.push(ArgumentPath::parse(argument));
        self
    }

    /// Like [`unique_by`](Self::unique_by), for an argument that callers pass by its name or by its
    /// position.
    #[doc(hidden)]
    #[must_use]
    pub fn unique_by_parameter(mut self, name: &str, position: usize) -> Self {
        let argument = ArgumentPath::of_parameter(name, position);
        self.policy.unique.by.push(argument);
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

    /// Returns an error if the task cannot be served: its name is unusable, or its soft time limit
    /// is above its hard one. Call it before the settings complete the limits.
    pub(crate) fn check(&self) -> Result<(), String> {
        check_task_name(&self.name).map_err(|error| error.to_string())?;
        self.policy.fleet.check()?;
        self.policy.unique.check()?;
        match (self.policy.soft_time_limit, self.policy.time_limit) {
            (Some(soft), Some(hard)) if soft > hard => Err(format!(
                "the soft time limit ({}s) is above the time limit ({}s)",
                soft.as_secs_f64(),
                hard.as_secs_f64()
            )),
            _ => Ok(()),
        }
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

    /// Returns `true` if a task has a limit that holds across all workers.
    pub(crate) fn has_fleet_limits(&self) -> bool {
        self.iter().any(|task| task.policy.fleet.are_set())
    }

    /// Returns `true` if a task has a limit that holds across all workers, or is unique.
    pub(crate) fn has_limits(&self) -> bool {
        self.has_fleet_limits() || self.iter().any(|task| task.policy.unique.until.is_some())
    }

    fn policy_has(&self, name: &str, has: impl FnOnce(&Policy) -> bool) -> bool {
        self.get(name).is_some_and(|task| has(&task.policy))
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

    fn retries(&self, task: &Task, exception: &ExceptionDoc) -> Option<Retries> {
        let policy = &self.0.get(task.name.as_str())?.policy;
        if policy.dont_autoretry_for.has(exception) {
            return None;
        }
        let asked = RetryHeaders::of(task);
        let most = asked.most.or(policy.max_retries);
        let most = match &policy.autoretry_for {
            Some(types) if !types.has(exception) => return None,
            Some(_) => most.unwrap_or(DEFAULT_MAX_RETRIES),
            None => most?,
        };
        let growing = policy.backoff_factor.map(|factor| Backoff {
            factor,
            ..policy.backoff
        });
        let of_task = policy.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY);
        Some(Retries {
            most: most.number(),
            delay: asked.wait.unwrap_or(of_task),
            backoff: growing.filter(|_| asked.wait.is_none()),
        })
    }

    fn expects(&self, name: &str, exception: &ExceptionDoc) -> bool {
        self.policy_has(name, |policy| policy.throws.has(exception))
    }

    fn keeps_failed(&self, name: &str) -> bool {
        self.policy_has(name, |policy| policy.keeps_failed)
    }

    fn requeues_late(&self, name: &str) -> bool {
        self.policy_has(name, |policy| policy.requeues_late)
    }

    fn at_most_once(&self, name: &str) -> bool {
        self.policy_has(name, Policy::at_most_once)
    }

    fn unique(&self, task: &Task) -> Option<Unique> {
        self.get(&task.name)?.policy.unique.of(task)
    }

    fn ignores_result(&self, name: &str) -> bool {
        self.policy_has(name, |policy| policy.ignore_result)
    }

    fn stores_errors(&self, name: &str) -> bool {
        self.policy_has(name, |policy| policy.store_errors)
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
