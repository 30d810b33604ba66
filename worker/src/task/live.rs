//! What remote control can change of a task while the worker runs.

use std::sync::atomic::AtomicUsize;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use super::policy::Policy;
use super::rate::RateLimit;

/// The time limits of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TimeLimits {
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
}

/// The changes of a task.
#[derive(Debug, Default)]
pub(crate) struct Live {
    /// The time limits, once they were changed.
    limits: RwLock<Option<TimeLimits>>,
    /// The rate limit, from the start.
    pub(crate) rate: RateLimit,
    /// How many calls wait here for a limit that holds across all workers.
    pub(crate) waiting: AtomicUsize,
}

impl Live {
    /// Returns the time limits of a task with this policy.
    pub(crate) fn time_limits(&self, policy: &Policy) -> TimeLimits {
        let changed = *self.limits.read().unwrap_or_else(PoisonError::into_inner);
        changed.unwrap_or(TimeLimits {
            soft: policy.soft_time_limit,
            hard: policy.time_limit,
        })
    }

    /// Replaces the time limits. Tasks that run keep theirs.
    pub(crate) fn set_time_limits(&self, limits: TimeLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = Some(limits);
    }
}
