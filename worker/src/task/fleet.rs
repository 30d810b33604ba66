//! Limits of a task that hold across all workers: how many calls run at once, and how often one may
//! begin. Each can be kept for each value of an argument.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;

use super::key::{ArgumentPath, digest};
use super::rate::Rate;

/// The most calls that a limit may let run at once. The broker looks at each of them.
pub(crate) const MOST_AT_ONCE: u32 = 10_000;

/// The limits of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FleetLimits {
    /// The most calls that run at once.
    pub(crate) max_concurrency: Option<u32>,
    /// How often a call begins.
    pub(crate) rate: Option<Rate>,
    /// The argument by which calls are counted. `None`: all calls of the task together.
    pub(crate) by: Option<ArgumentPath>,
}

impl FleetLimits {
    /// Returns `true` if there is a limit.
    pub(crate) fn are_set(&self) -> bool {
        self.max_concurrency.is_some() || self.rate.is_some()
    }

    /// Returns the time between the beginnings of two calls.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.rate.as_ref().map(Rate::interval)
    }

    /// Returns the digest of the key of a call, if calls are counted by an argument.
    pub(crate) fn key(&self, task: &Task) -> Option<Arc<str>> {
        Some(digest(&self.by.as_ref()?.value(task)))
    }

    /// Returns why these limits cannot be kept.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.by.is_some() && !self.are_set() {
            return Err("limit_by needs max_concurrency or fleet_rate_limit".to_owned());
        }
        self.check_size()
    }

    /// Like [`check`](Self::check), for limits that others may complete.
    pub(crate) fn check_size(&self) -> Result<(), String> {
        match self.max_concurrency {
            Some(most) if most > MOST_AT_ONCE => Err(format!(
                "max_concurrency ({most}) is above {MOST_AT_ONCE}, the most that can be kept"
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::DIGITS;
    use super::super::key::testing::called;
    use super::*;

    fn by(text: &str) -> FleetLimits {
        FleetLimits {
            max_concurrency: Some(1),
            by: Some(ArgumentPath::parse(text)),
            ..FleetLimits::default()
        }
    }

    #[test]
    fn calls_with_equal_arguments_have_one_key() {
        let key = |limit: &str, args: &str, kwargs: &str| by(limit).key(&called(args, kwargs));
        let first = key("1", "[5, \"a\"]", "{}");
        assert_eq!(first.as_ref().map(|key| key.len()), Some(DIGITS));
        assert_eq!(first, key("1", "[6,\"a\" ]", "{\"x\": 1}"));
        assert_ne!(first, key("1", "[5, \"b\"]", "{}"));
        assert_eq!(
            key("tenant", "[]", "{\"tenant\": {\"b\": 1, \"a\": [2]}}"),
            key(
                "tenant",
                "[1]",
                "{\"x\": 0, \"tenant\":{\"b\":1,\"a\":[2]}}"
            )
        );
        assert_ne!(
            key("0", "[7]", "{}"),
            key("0", "[\"7\"]", "{}"),
            "a number and a text"
        );
        // Calls without the argument share a key.
        assert_eq!(key("3", "[1]", "{}"), key("tenant", "[2]", "{}"));
        assert_eq!(
            FleetLimits::default().key(&called("[1]", "{}")),
            None,
            "without limit_by"
        );
    }

    #[test]
    fn limits_that_cannot_be_kept_are_refused() {
        let limits = |most| FleetLimits {
            max_concurrency: most,
            ..by("0")
        };
        assert_eq!(limits(Some(MOST_AT_ONCE)).check(), Ok(()));
        assert!(limits(Some(MOST_AT_ONCE + 1)).check().is_err());
        assert!(limits(None).check().is_err());
        assert_eq!(FleetLimits::default().check(), Ok(()));
    }
}
