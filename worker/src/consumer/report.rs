//! Reports the verdict on a task to the observers, once. A verdict that gives a message back does
//! not end the task.

use super::verdict::{Failure, Verdict};
use crate::delivery::Delivery;
use crate::monitor::Observer;

/// Reports a verdict.
pub(super) fn verdict(delivery: &Delivery, verdict: &Verdict, observers: &impl Observer) {
    let of = delivery.of();
    match verdict {
        Verdict::Success { value, runtime } => observers.succeeded(of, *runtime, value),
        Verdict::Failure(failure) => observers.failed(of, failure.seen()),
        Verdict::TimeLimit { limit, failure, .. } => {
            observers.timed_out(of, *limit, failure.seen());
        }
        Verdict::Dead {
            reason, failure, ..
        } => observers.rejected(of, reason, Some(failure.seen())),
        Verdict::Requeue { reason } => observers.rejected(of, reason, None),
        Verdict::Retry {
            countdown, reason, ..
        } => {
            let raised = reason.as_ref().map(Failure::seen);
            observers.retried(of, *countdown, raised);
        }
        Verdict::Revoked(revocation) => observers.revoked(of, revocation),
        Verdict::SucceededBefore(_) => observers.succeeded_before(of),
        // As in Celery, a task that was replaced is logged as ignored.
        Verdict::Ignored | Verdict::Replaced => observers.ignored(of),
        Verdict::GiveBack { .. } => observers.given_back(of),
    }
}
