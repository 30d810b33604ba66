//! The time limits of a run, and the waits that keep them.
//!
//! Converting large arguments to the parameters of the task (binding) has a time limit, even if the
//! task has none.

use std::time::Duration;

use celery_protocol::message::Task;
use tokio::time::sleep;

use crate::delivery::Delivery;
use crate::task::{Binding, Run, TaskDef, TimeLimits};

/// The time limits of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) soft: Option<Duration>,
    pub(super) hard: Option<Duration>,
}

impl Limits {
    /// Returns the limits of a run of these calls.
    ///
    /// A call has the limits of its message, else those of its task. A batch has the hard limit of
    /// its task: the limits of the messages are meant for a call that runs alone.
    pub(super) fn of(def: &TaskDef, calls: &[Delivery]) -> Self {
        match (&def.run, calls) {
            (Run::Function(_) | Run::Blocking(_), [call]) => {
                Limits::of_call(&call.task, def.time_limits())
            }
            _ => Limits {
                soft: None,
                hard: def.time_limits().hard,
            },
        }
    }

    fn of_call(task: &Task, of_task: TimeLimits) -> Self {
        // Limits that are not a duration (negative, infinite) limit nothing; nor does 0, as in
        // Celery.
        let seconds = |limit: Option<f64>| {
            limit
                .and_then(|limit| Duration::try_from_secs_f64(limit).ok())
                .filter(|limit| !limit.is_zero())
        };
        Limits {
            soft: seconds(task.time_limit.soft).or(of_task.soft),
            hard: seconds(task.time_limit.hard).or(of_task.hard),
        }
    }

    /// Returns `true` if neither limit is set.
    pub(super) fn are_none(self) -> bool {
        self.soft.is_none() && self.hard.is_none()
    }
}

/// Returns the binding of the arguments of these calls, if it has to be watched.
pub(super) fn binding(calls: &[Delivery]) -> Option<Binding> {
    Binding::of(calls.iter().map(|call| &*call.task))
}

/// Waits for `limit` and returns it. Never ends without a limit.
pub(super) async fn after(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Returns `limit` if the arguments have not been bound within it. Never ends if there is no
/// binding to watch.
pub(super) async fn bound_late(binding: Option<Binding>, limit: Duration) -> Duration {
    match binding {
        Some(binding) => {
            binding.overdue(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing;

    #[test]
    fn the_limits_of_the_message_precede_those_of_the_task() {
        let of_task = TimeLimits {
            soft: None,
            hard: Some(Duration::from_mins(1)),
        };
        let mut task = testing::task("t", "[]");
        assert_eq!(
            Limits::of_call(&task, of_task).hard,
            Some(Duration::from_mins(1))
        );
        task.time_limit.hard = Some(1.5);
        task.time_limit.soft = Some(f64::NAN);
        let limits = Limits::of_call(&task, of_task);
        assert_eq!(limits.hard, Some(Duration::from_millis(1500)));
        assert_eq!(limits.soft, None);
    }
}
