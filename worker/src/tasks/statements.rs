//! Keeps the statements of the SQL tasks. The database prepares them once when it is first reached.
//!
//! A mistake in a statement prevents the start of the worker. A missing table, column or right is a
//! warning, since a migration may follow. A database that is away delays the preparation, but not
//! the start. The worker then serves, and stops later if a statement turns out to be a mistake. The
//! messages that it holds go back to the queue then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celery_client::backoff::Backoff;

use super::SqlTask;
use crate::config::value::{ConfigError, TASKS};
use crate::database::{Database, DatabaseError, Dialect, Finding, LONGEST_LOOK, Sample};

/// The first wait while the database cannot be asked. It doubles up to [`LONGEST_LOOK`], with
/// jitter, so that workers that were started together do not ask at the same moment.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The statements of the SQL tasks, and whether the database has prepared them.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    tasks: Vec<String>,
    samples: Vec<Sample>,
    /// `true` once the database has prepared them.
    prepared: AtomicBool,
}

/// The database's report about the statements, one line each.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) mistakes: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.mistakes.is_empty() && self.warnings.is_empty()
    }
}

impl Statements {
    /// Returns the number of statements.
    pub(crate) fn count(&self) -> usize {
        self.samples.len()
    }

    /// Returns the statements of the SQL tasks in a file of settings.
    pub(crate) fn of(
        tasks: &BTreeMap<String, SqlTask>,
        dialect: Dialect,
    ) -> Result<Self, ConfigError> {
        let mut all = Statements::default();
        for (name, task) in tasks {
            all.tasks.push(name.clone());
            all.samples.push(task.sample(name, dialect)?);
        }
        Ok(all)
    }

    /// Lets the database prepare the statements. An error means that the database cannot be asked
    /// now.
    pub(crate) async fn prepare(&self, database: &Database) -> Result<Findings, DatabaseError> {
        let mut findings = Findings::default();
        if self.samples.is_empty() {
            return Ok(findings);
        }
        let found = database.prepare(&self.samples).await?;
        for (task, finding) in self.tasks.iter().zip(found) {
            match finding {
                Finding::Fits => {}
                Finding::Unfit(error) => findings.warnings.push(format!(
                    "the task {task} will fail, unless a migration follows: {error}"
                )),
                Finding::Mistake(error) => findings.mistakes.push(format!("{task}: {error}")),
            }
        }
        Ok(findings)
    }

    /// Lets the database prepare the statements if that has not been done and the database can be
    /// asked now. Logs the warnings.
    pub(crate) async fn prepare_once(&self, database: &Database) -> Result<(), ConfigError> {
        if self.prepared.load(Ordering::Acquire) {
            return Ok(());
        }
        // The database itself logs that it is away.
        let Ok(findings) = self.prepare(database).await else {
            return Ok(());
        };
        self.prepared.store(true, Ordering::Release);
        for warning in findings.warnings {
            tracing::warn!("{warning}");
        }
        if findings.mistakes.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::new(TASKS, findings.mistakes.join("; ")))
        }
    }

    /// Lets the database prepare the statements as soon as it can be asked. Returns the mistakes as
    /// an error.
    pub(crate) async fn prepare_when_reached(
        &self,
        database: &Database,
    ) -> Result<(), ConfigError> {
        let mut backoff = Backoff::between(FIRST_WAIT, LONGEST_LOOK);
        loop {
            self.prepare_once(database).await?;
            if self.prepared.load(Ordering::Acquire) {
                return Ok(());
            }
            tokio::time::sleep(backoff.pause()).await;
        }
    }
}
