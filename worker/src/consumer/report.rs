//! Logs and counts the verdict on a task, once and in Celery's words. A verdict that gives a
//! message back does not end the task, and is neither logged nor counted.

use std::time::Duration;

use celery_protocol::repr;
use serde_json::value::RawValue;
use tracing::Level;

use super::verdict::{Failure, Verdict};
use crate::delivery::Delivery;
use crate::monitor::metrics::{Metrics, Of};
use crate::task_log::{label, log_task};

/// The longest result shown, in characters, as Celery cuts results in its log.
const RESULT_CHARS: usize = 46;

/// Logs and counts a verdict.
pub(super) fn verdict(delivery: &Delivery, verdict: &Verdict, metrics: &Metrics) {
    let of = Of::delivery(delivery);
    match verdict {
        Verdict::Success { value, runtime } => {
            succeeded(delivery, *runtime, value);
            metrics.succeeded(of, *runtime);
        }
        Verdict::Failure(failure) => {
            failed(delivery, failure);
            metrics.failed(of, &failure.exception.exc_type);
        }
        Verdict::TimeLimit { limit, failure } => {
            hard_limit(delivery, *limit);
            metrics.failed(of, &failure.exception.exc_type);
        }
        Verdict::Dead { reason, .. } => {
            rejected(delivery, reason, false);
            metrics.rejected(of);
        }
        Verdict::Requeue { reason } => {
            rejected(delivery, reason, true);
            metrics.rejected(of);
        }
        Verdict::Retry {
            countdown, reason, ..
        } => {
            retried(delivery, *countdown, reason.as_ref());
            metrics.retried(of);
        }
        Verdict::Revoked(_) => {
            log_task!(
                info,
                delivery,
                "Discarding revoked task: {}",
                label(&delivery.task)
            );
            metrics.revoked(of);
        }
        Verdict::Ignored => {
            if tracing::enabled!(Level::INFO) {
                log_task!(info, delivery, "Task {} ignored", label(&delivery.task));
            }
        }
        Verdict::GiveBack { .. } => {}
    }
}

fn succeeded(delivery: &Delivery, took: Duration, result: &RawValue) {
    if tracing::enabled!(Level::INFO) {
        let (label, took) = (label(&delivery.task), took.as_secs_f64());
        let shown = repr::value(result.get(), RESULT_CHARS);
        log_task!(info, delivery, "Task {label} succeeded in {took}s: {shown}");
    }
}

fn failed(delivery: &Delivery, failure: &Failure) {
    let (label, exception) = (label(&delivery.task), failure.exception.summary());
    let traceback = failure.traceback.as_deref().unwrap_or_default().trim_end();
    log_task!(
        error,
        delivery,
        "Task {label} raised unexpected: {exception}\n{traceback}"
    );
}

fn hard_limit(delivery: &Delivery, limit: Duration) {
    let (label, limit) = (label(&delivery.task), limit.as_secs_f64());
    log_task!(
        error,
        delivery,
        "Hard time limit ({limit}s) exceeded for {label}"
    );
}

fn rejected(delivery: &Delivery, reason: &str, requeue: bool) {
    let requeue = if requeue { "True" } else { "False" };
    let label = label(&delivery.task);
    log_task!(
        warn,
        delivery,
        "Task {label} reject requeue={requeue}: {reason}"
    );
}

fn retried(delivery: &Delivery, countdown: Duration, reason: Option<&Failure>) {
    if tracing::enabled!(Level::INFO) {
        let (label, wait) = (label(&delivery.task), countdown.as_secs_f64());
        if let Some(reason) = reason.map(|failure| failure.exception.summary()) {
            log_task!(
                info,
                delivery,
                "Task {label} retry: Retry in {wait}s: {reason}"
            );
        } else {
            log_task!(info, delivery, "Task {label} retry: Retry in {wait}s");
        }
    }
}
