//! Builds a worker. Each setting has a method, which comes from its declaration.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{StartError, Stopped, Worker};
use crate::config::value::ConfigError;
use crate::config::{Config, SETTINGS, Settings, Steps, builder_methods};
use crate::consumer::Routes;
use crate::database::Database;
use crate::shutdown::Shutdown;
use crate::task::{Registry, States, TaskDef};
use crate::tasks::{Statements, builtin};

/// Builds a [`Worker`].
///
/// Each setting has a method. In a program that uses [`cli::main`](crate::cli::main) the values are
/// defaults: the command line, the environment and the file of `--config` override them.
#[derive(Default)]
pub struct WorkerBuilder {
    pub(crate) settings: Settings,
    registry: Registry,
    /// The names that were registered more than once.
    twice: Vec<Arc<str>>,
    states: States,
    shutdown: Shutdown,
}

builder_methods!();

impl WorkerBuilder {
    /// Adds a task. [`build`](Self::build) refuses a second task of this name.
    #[must_use]
    pub fn register(mut self, task: TaskDef) -> Self {
        self.insert(task);
        self
    }

    fn insert(&mut self, task: TaskDef) {
        if self.registry.get(&task.name).is_some() {
            self.twice.push(Arc::clone(&task.name));
        }
        self.registry.insert(task);
    }

    /// Adds a value that tasks get as `State<T>`.
    #[must_use]
    pub fn state<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.states.insert(value);
        self
    }

    /// Sets a handle that can stop the worker, besides signals.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = shutdown;
        self
    }

    /// Checks everything that can be checked without connecting. It must be called on a tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// [`StartError`] if a setting cannot be used, no task is registered, a task has an unusable
    /// name, the name of another task or limits that contradict each other, or a task needs a state
    /// that the worker does not have.
    pub fn build(mut self) -> Result<Worker, StartError> {
        let mut statements = Statements::default();
        let config = Config::new(std::mem::take(&mut self.settings))?;
        if let Some(url) = &config.database {
            let limit = config.database_timeout;
            let database = Database::from_url(url)
                .map_err(|error| ConfigError::new(&SETTINGS.database, error))?
                .timeout((!limit.is_zero()).then_some(limit))
                .connections(config.database_connections)
                .time_zone(config.database_time_zone.clone());
            statements = Statements::of(&config.tasks, database.dialect())?;
            for (name, task) in &config.tasks {
                let once = config.exactly_once;
                let task = task.clone();
                self.insert(task.define(name.clone(), database.dialect(), once)?);
            }
            self.states.insert(database);
        } else if let Some(name) = config.tasks.keys().next() {
            let cause = format!("not set, and the task {name} needs it");
            return Err(ConfigError::new(&SETTINGS.database, cause).into());
        }
        if self.registry.iter().next().is_none() {
            return Err(StartError::NoTask);
        }
        if let Some(task) = self.twice.first() {
            return Err(unusable(task, "two tasks have this name"));
        }
        for task in self.registry.iter() {
            task.check().map_err(|cause| unusable(&task.name, cause))?;
        }
        for task in builtin() {
            // A program may have its own.
            if self.registry.get(&task.name).is_none() {
                self.registry.insert(task);
            }
        }
        self.registry
            .change_policies(|task, policy| config.complete_policy(task, policy));
        if config.redis().is_none() {
            for task in self.registry.iter() {
                if let Some(what) = task.policy.needs_redis() {
                    let cause = format!("{what} needs a broker on Redis; this one is RabbitMQ");
                    return Err(unusable(&task.name, cause));
                }
            }
        }
        for task in self.registry.iter() {
            let Some(state) = task.lacks(&self.states) else {
                continue;
            };
            if state == std::any::type_name::<Database>() {
                let cause = format!("not set, and the task {} needs it", task.name);
                return Err(ConfigError::new(&SETTINGS.database, cause).into());
            }
            let task = task.name.to_string();
            return Err(StartError::State { task, state });
        }
        Ok(Worker {
            config,
            registry: Arc::new(self.registry),
            states: self.states,
            statements: Arc::new(statements),
            shutdown: self.shutdown,
        })
    }

    /// Builds the worker, connects to the database once, and serves until it is stopped.
    ///
    /// # Errors
    ///
    /// Those of [`build`](Self::build) and of [`Worker::run`], and [`StartError::Config`] if the
    /// database rejects the worker or lacks a table that it needs.
    pub async fn run(self) -> Result<Stopped, StartError> {
        let worker = self.build()?;
        worker.check_database().await?;
        worker.run().await
    }
}

fn unusable(task: &str, cause: impl ToString) -> StartError {
    StartError::Task {
        task: task.to_owned(),
        cause: cause.to_string(),
    }
}

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerBuilder({:?})", self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task;

    #[task(name = "proj.one")]
    async fn one() {}

    #[tokio::test]
    async fn tasks_that_cannot_be_told_apart_or_run_are_refused() {
        let named = |name: &'static str| TaskDef::function(name, |_| async { Ok(null()) });
        let limited = |soft: u64, hard: u64| {
            let task = named("proj.limited").soft_time_limit(Duration::from_secs(soft));
            task.time_limit(Duration::from_secs(hard))
        };
        for (tasks, words) in [
            (vec![one::task(), one::task()], Some("proj.one: two tasks")),
            (
                vec![one::task(), named("proj.two"), named("proj.one")],
                Some("proj.one: two tasks"),
            ),
            (vec![named("")], Some("is empty")),
            (vec![named("a\nb")], Some("control")),
            (
                vec![limited(2, 1)],
                Some("proj.limited: the soft time limit"),
            ),
            (vec![limited(1, 1), one::task(), named("proj.two")], None),
            // A limit of all tasks does not contradict that of one: the shorter one ends it.
            (
                vec![named("proj.short").time_limit(Duration::from_secs(1))],
                None,
            ),
            // A program may replace a built-in task.
            (vec![named("celery.map")], None),
        ] {
            let builder = Worker::builder().broker("redis://h/1");
            let builder = builder.soft_time_limit(Duration::from_secs(2));
            let builder = tasks.into_iter().fold(builder, WorkerBuilder::register);
            let refused = builder.build().err().map(|error| error.to_string());
            match (words, &refused) {
                (Some(words), Some(refused)) => assert!(refused.contains(words), "{refused}"),
                (words, refused) => assert_eq!((words, refused), (None, &None)),
            }
        }
    }

    fn null() -> Box<serde_json::value::RawValue> {
        serde_json::value::RawValue::NULL.to_owned()
    }

    #[test]
    fn the_methods_reach_the_settings() {
        let builder = Worker::builder()
            .broker("redis://h/1")
            .key_prefix("shop:")
            .prefetch_multiplier(1)
            .visibility_timeout(Duration::from_hours(12))
            .result_expires(Duration::from_millis(1_500))
            .soft_shutdown_timeout(Duration::from_secs(10))
            .database("sqlite:x")
            .database_connections(3)
            .accept_content(["json", "yaml"])
            .queues(["a", "b"])
            .queue_weights([("a", 3)])
            .priority_steps([0, 5])
            .routes(Routes::new([("x.*", "a")]).unwrap())
            .logfile("/log")
            .exactly_once(true);
        let printed = Config::new(builder.settings).unwrap().to_string();
        for line in [
            "broker = \"redis://h:6379/1\"",
            "key_prefix = \"shop:\"",
            "prefetch_multiplier = 1",
            "visibility_timeout = \"43200s\"",
            "result_expires = \"1.5s\"",
            "soft_shutdown_timeout = \"10s\"",
            "database_connections = 3",
            "accept_content = [\"json\", \"yaml\"]",
            "queues = [\"a\", \"b\"]",
            "queue_weights = { \"a\" = 3 }",
            "priority_steps = [0, 5]",
            "routes = { \"x.*\" = \"a\" }",
            "logfile = \"/log\"",
            "exactly_once = true",
        ] {
            assert!(
                printed.lines().any(|it| it == line),
                "{line} is not in {printed}"
            );
        }
    }
}
