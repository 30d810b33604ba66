//! How a task is run: its limits, its retries, the size of its batches.

use std::time::Duration;

use celery_protocol::result::ExceptionDoc;

use super::fleet::FleetLimits;
use super::rate::Rate;
use super::unique::Uniqueness;
use crate::delivery::{Backoff, MaxRetries};

/// The options of a batch. It is complete with `size` calls, or `linger` after its first call.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    /// The number of calls that completes a batch.
    pub size: usize,
    /// How long after its first call a batch is complete, whatever its size.
    pub linger: Duration,
}

/// The types of exceptions that a setting is about, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExceptionTypes(Vec<String>);

impl ExceptionTypes {
    pub(crate) fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        ExceptionTypes(names.into_iter().map(Into::into).collect())
    }

    /// Returns `true` if the type of an exception is one of these. A name is that of the type, with
    /// or without its module; `Exception` stands for each type.
    pub(crate) fn has(&self, exception: &ExceptionDoc) -> bool {
        let (kind, module) = (&exception.exc_type, exception.exc_module.as_deref());
        self.0.iter().any(|name| {
            name == "Exception"
                || name == kind
                || name.strip_suffix(kind.as_str()).is_some_and(|before| {
                    before
                        .strip_suffix('.')
                        .is_some_and(|it| Some(it) == module)
                })
        })
    }
}

/// The settings that apply to every call of a task.
#[derive(Clone, Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own, with Celery's meaning"
)]
pub(crate) struct Policy {
    pub(crate) max_retries: Option<MaxRetries>,
    pub(crate) retry_delay: Option<Duration>,
    /// The first wait, in seconds, if the waits before retries of failures grow.
    pub(crate) backoff_factor: Option<u32>,
    /// How the waits grow.
    pub(crate) backoff: Backoff,
    /// The failures that are retried. `None`: all, if `max_retries` is set.
    pub(crate) autoretry_for: Option<ExceptionTypes>,
    /// The failures that are not retried.
    pub(crate) dont_autoretry_for: ExceptionTypes,
    /// The failures that are expected, and not logged as errors.
    pub(crate) throws: ExceptionTypes,
    /// `true` if the message counts as acknowledged once the code has begun.
    pub(crate) acks_early: bool,
    /// `true` if a task that had begun is not run again after its worker was lost.
    pub(crate) fails_when_lost: bool,
    /// `true` if the message of a failed task becomes a dead letter.
    pub(crate) keeps_failed: bool,
    /// `true` if the message of a task over its time limit goes back to its queue.
    pub(crate) requeues_late: bool,
    pub(crate) soft_time_limit: Option<Duration>,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) rate_limit: Option<Rate>,
    /// The limits that hold across all workers.
    pub(crate) fleet: FleetLimits,
    /// What makes its calls unique in all workers.
    pub(crate) unique: Uniqueness,
    /// `true` if the state STARTED is stored when the code begins.
    pub(crate) track_started: bool,
    /// `true` if results are not stored unless the message asks for it.
    pub(crate) ignore_result: bool,
    /// `true` if errors are stored even where results are not.
    pub(crate) store_errors: bool,
}

impl Policy {
    /// Returns what this task has that only a broker on Redis can do.
    pub(crate) fn needs_redis(&self) -> Option<&'static str> {
        if self.fleet.are_set() {
            Some("a limit across all workers")
        } else if self.unique.until.is_some() {
            Some("a unique task")
        } else {
            None
        }
    }

    /// Returns `true` if the code of a message begins only once. Celery runs it again only if the
    /// message is acknowledged late and rejected when its worker is lost.
    pub(crate) fn at_most_once(&self) -> bool {
        self.acks_early || self.fails_when_lost
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn types_are_named_with_or_without_their_module() {
        let of = |kind: &str, module| ExceptionDoc::new(kind, Value::Null, module);
        let operational = of("OperationalError", Some("celery_worker.database"));
        let os = of("OSError", Some("builtins"));
        for (names, exception, has) in [
            (vec!["OSError"], &os, true),
            (vec!["KeyError", "builtins.OSError"], &os, true),
            (vec!["Error"], &os, false),
            (vec!["other.OSError"], &os, false),
            (vec!["OSErrors", "SError", ".OSError"], &os, false),
            (vec!["Exception"], &os, true),
            (vec![], &os, false),
            (
                vec!["celery_worker.database.OperationalError"],
                &operational,
                true,
            ),
            (vec!["database.OperationalError"], &operational, false),
            (vec!["x.OSError"], &of("OSError", None), false),
        ] {
            assert_eq!(
                ExceptionTypes::new(names.clone()).has(exception),
                has,
                "{names:?}"
            );
        }
    }
}
