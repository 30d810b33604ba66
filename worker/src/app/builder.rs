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
use crate::tasks::Statements;

/// Builds a [`Worker`].
///
/// Each setting has a method. In a program that uses [`cli::main`](crate::cli::main) the values are
/// defaults: the command line, the environment and the file of `--config` override them.
#[derive(Default)]
pub struct WorkerBuilder {
    pub(crate) settings: Settings,
    registry: Registry,
    states: States,
    shutdown: Shutdown,
}

builder_methods!();

impl WorkerBuilder {
    /// Adds a task. It replaces an earlier task of the same name.
    #[must_use]
    pub fn register(mut self, task: TaskDef) -> Self {
        self.registry.insert(task);
        self
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
    /// [`StartError`] if a setting cannot be used, no task is registered, or a task needs a state
    /// that the worker does not have.
    pub fn build(mut self) -> Result<Worker, StartError> {
        let mut statements = Statements::default();
        let config = Config::new(self.settings)?;
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
                self.registry.insert(task.clone().define(
                    name.clone(),
                    database.dialect(),
                    once,
                )?);
            }
            self.states.insert(database);
        } else if let Some(name) = config.tasks.keys().next() {
            let cause = format!("not set, and the task {name} needs it");
            return Err(ConfigError::new(&SETTINGS.database, cause).into());
        }
        if self.registry.iter().next().is_none() {
            return Err(StartError::NoTask);
        }
        self.registry
            .change_policies(|task, policy| config.complete_policy(task, policy));
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

impl std::fmt::Debug for WorkerBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WorkerBuilder({:?})", self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
