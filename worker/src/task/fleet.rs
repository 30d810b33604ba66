//! Limits of a task that hold across all workers: how many calls run at once, and how often one may
//! begin. Each can be kept for each value of an argument.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::rate::Rate;

/// The most calls that a limit may let run at once. The broker looks at each of them.
pub(crate) const MOST_AT_ONCE: u32 = 10_000;

/// How many hexadecimal digits of a digest name a key.
const DIGITS: usize = 32;

/// The limits of a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FleetLimits {
    /// The most calls that run at once.
    pub(crate) max_concurrency: Option<u32>,
    /// How often a call begins.
    pub(crate) rate: Option<Rate>,
    /// The argument by which calls are counted. `None`: all calls of the task together.
    pub(crate) by: Option<LimitBy>,
}

/// The argument by which calls are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LimitBy {
    /// Its name among the keyword arguments.
    pub(crate) name: Option<String>,
    /// Its place among the positional arguments, from 0.
    pub(crate) position: Option<usize>,
}

impl LimitBy {
    /// Reads the place of an argument, or its name.
    pub(crate) fn parse(text: &str) -> Self {
        match text.parse() {
            Ok(position) => LimitBy {
                name: None,
                position: Some(position),
            },
            Err(_) => LimitBy {
                name: Some(text.to_owned()),
                position: None,
            },
        }
    }

    /// Returns the argument of a call, or null if the call does not have it.
    fn value(&self, task: &Task) -> Value {
        let named = self.name.as_deref().and_then(|name| {
            let all: HashMap<String, &RawValue> = serde_json::from_str(task.kwargs.get()).ok()?;
            serde_json::from_str(all.get(name)?.get()).ok()
        });
        let placed = || {
            let all: Vec<&RawValue> = serde_json::from_str(task.args.get()).ok()?;
            serde_json::from_str(all.get(self.position?)?.get()).ok()
        };
        named.or_else(placed).unwrap_or_default()
    }
}

impl fmt::Display for LimitBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.position) {
            (Some(name), _) => f.write_str(name),
            (None, position) => write!(f, "{}", position.unwrap_or_default()),
        }
    }
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
    ///
    /// The digest is that of the argument as JSON. So `7` and `"7"` are two keys, and callers cannot
    /// choose the name of a key in the broker.
    pub(crate) fn key(&self, task: &Task) -> Option<Arc<str>> {
        let value = self.by.as_ref()?.value(task).to_string();
        let mut digest = String::with_capacity(2 * DIGITS);
        for byte in Sha256::digest(value.as_bytes()) {
            // Writing to a string does not fail.
            let _ = write!(digest, "{byte:02x}");
        }
        digest.truncate(DIGITS);
        Some(digest.into())
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
    use super::*;
    use crate::task::testing;

    fn by(text: &str) -> FleetLimits {
        FleetLimits {
            max_concurrency: Some(1),
            by: Some(LimitBy::parse(text)),
            ..FleetLimits::default()
        }
    }

    fn called(args: &str, kwargs: &str) -> Task {
        let mut task = testing::task("t", args);
        task.kwargs = RawValue::from_string(kwargs.to_owned()).unwrap();
        task
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
    fn an_argument_with_name_and_position_is_found_by_either() {
        let mut limits = by("tenant");
        if let Some(by) = &mut limits.by {
            by.position = Some(1);
        }
        assert_eq!(
            limits.key(&called("[1, 2]", "{}")),
            limits.key(&called("[1]", "{\"tenant\": 2}"))
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
