//! From what a task returned to what becomes of its message.

use std::time::Duration;

use celery_protocol::repr;
use serde_json::Value;

use super::{Stage, report};
use crate::delivery::{Delivery, Verdict};
use crate::failpoint::failpoint;
use crate::monitor::metrics::Of;
use crate::task::{DEFAULT_RETRY_DELAY, Exception, Outcome, Retry, TaskDef, TaskError};

/// Says in the log what happened, and hands in the verdict.
pub(crate) fn outcome(
    delivery: Delivery,
    outcome: Outcome,
    took: Duration,
    def: &TaskDef,
    stage: &Stage,
) {
    failpoint!("ran");
    let task = &delivery.task;
    let (of, metrics) = (Of::delivery(&delivery), &stage.monitor.metrics);
    let verdict = match outcome {
        Ok(value) => {
            report::succeeded(task, took, &value);
            metrics.succeeded(of, took);
            Verdict::Success(value)
        }
        Err(TaskError::Failed(exception)) => {
            match retry_of_failure(&exception, task.retries, def) {
                Some(retry) => retried(&delivery, retry, stage),
                None => failed(&delivery, &exception, stage),
            }
        }
        Err(TaskError::Retry(retry)) => match retry.max_retries {
            Some(most) if task.retries >= most => {
                let exception = retry.reason.unwrap_or_else(|| exhausted(&delivery));
                failed(&delivery, &exception, stage)
            }
            _ => retried(&delivery, retry, stage),
        },
        Err(TaskError::Ignore) => {
            report::ignored(task);
            Verdict::Ignore
        }
        Err(TaskError::Reject { reason, requeue }) => {
            report::rejected(task, &reason, requeue);
            metrics.rejected(of);
            if requeue {
                Verdict::Reject { requeue }
            } else {
                // As Celery 5.7: a refused task is a failure to whoever waits for it.
                let args = vec![Value::String(reason), Value::Bool(false)];
                let exception = Exception::with_args("Reject", args).module("celery.exceptions");
                without_traceback(&exception)
            }
        }
        // The executor runs these again and never settles them.
        Err(TaskError::Unavailable { .. }) => Verdict::GiveBack { started: false },
    };
    stage.settler.finish(delivery, verdict);
}

/// The end of a task whose time was over before it could begin.
pub(crate) fn expired(delivery: Delivery, stage: &Stage) {
    report::expired(&delivery.task);
    stage.monitor.metrics.revoked(Of::delivery(&delivery));
    let verdict = Verdict::Revoked("expired".to_owned());
    stage.settler.finish(delivery, verdict);
}

/// The failure of a task that had to be stopped.
pub(crate) fn time_limit(delivery: Delivery, limit: Duration, stage: &Stage) {
    report::hard_limit(&delivery.task, limit);
    let metrics = &stage.monitor.metrics;
    metrics.failed(Of::delivery(&delivery), "TimeLimitExceeded");
    let verdict = without_traceback(&limit_exceeded(limit));
    stage.settler.finish(delivery, verdict);
}

/// Celery's exception for a hard time limit. A task that took too long once is not run again.
pub(super) fn limit_exceeded(limit: Duration) -> Exception {
    let seconds = match limit.subsec_nanos() {
        0 => Value::from(limit.as_secs()),
        _ => Value::from(limit.as_secs_f64()),
    };
    Exception::with_args("TimeLimitExceeded", vec![seconds])
        .module("billiard.exceptions")
        .permanent()
}

/// Whether the task's policy has a failure run again.
fn retry_of_failure(exception: &Exception, retries: u32, def: &TaskDef) -> Option<Retry> {
    let most = def.policy.max_retries?;
    (exception.is_retryable() && retries < most).then(|| Retry {
        countdown: def.policy.retry_delay.unwrap_or(DEFAULT_RETRY_DELAY),
        reason: Some(exception.clone()),
        max_retries: Some(most),
    })
}

fn retried(delivery: &Delivery, retry: Retry, stage: &Stage) -> Verdict {
    stage.monitor.metrics.retried(Of::delivery(delivery));
    report::retried(&delivery.task, retry.countdown, retry.reason.as_ref());
    Verdict::Retry {
        countdown: retry.countdown,
        traceback: retry.reason.as_ref().map(Exception::traceback),
        reason: retry.reason.map(|reason| reason.document().clone()),
        max_retries: retry.max_retries,
    }
}

fn failed(delivery: &Delivery, exception: &Exception, stage: &Stage) -> Verdict {
    let metrics = &stage.monitor.metrics;
    metrics.failed(Of::delivery(delivery), &exception.document().exc_type);
    let traceback = exception.traceback();
    report::failed(&delivery.task, exception, &traceback);
    Verdict::Failure {
        exception: exception.document().clone(),
        traceback: Some(traceback),
    }
}

fn without_traceback(exception: &Exception) -> Verdict {
    Verdict::Failure {
        exception: exception.document().clone(),
        traceback: None,
    }
}

/// What Celery raises when there is no retry left and no other exception.
fn exhausted(delivery: &Delivery) -> Exception {
    let task = &delivery.task;
    let message = format!(
        "Can't retry {}[{}] args:{} kwargs:{}",
        task.name,
        task.id,
        repr::args(task.args.get()),
        repr::value(task.kwargs.get(), repr::MAX_CHARS),
    );
    Exception::new("MaxRetriesExceededError", message).module("celery.exceptions")
}
