//! The statements of the SQL tasks, which the database prepares once when it is first reached.
//!
//! A mistake in one ends the start of the worker; a table, column or right that is missing is a
//! warning, since a migration may follow. A database that is away delays this, not the start: the
//! worker serves, and stops later if a statement turns out to be a mistake. What it holds goes
//! back to the queue then.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celery_client::aio::{Backoff, random};

use super::SqlTask;
use crate::config::value::{ConfigError, setting};
use crate::database::{Database, DatabaseError, Dialect, Finding, LONGEST_LOOK, Sample};

/// The first wait while the database cannot be asked. It doubles up to [`LONGEST_LOOK`], with
/// jitter: workers that were started together do not ask together.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    tasks: Vec<String>,
    samples: Vec<Sample>,
    /// Whether the database has prepared them.
    prepared: AtomicBool,
}

/// What the database says of the statements, a line each.
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
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.samples.len()
    }

    /// Those of the tasks in a file of settings.
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

    /// Has them prepared. An error says that the database cannot be asked now.
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

    /// Has them prepared if the database can be asked now; logs the warnings.
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
            Err(ConfigError::new(
                setting::TASKS,
                findings.mistakes.join("; "),
            ))
        }
    }

    /// Has them prepared as soon as the database can be asked. Returns the mistake, if there is one.
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
            tokio::time::sleep(backoff.failed(random())).await;
        }
    }
}
