//! Logs and counts what becomes of a task: each verdict once, in Celery's words. A verdict that gives a message back is
//! not an end, and is neither logged nor counted.

use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::repr;
use serde_json::value::RawValue;
use tracing::Level;

use super::verdict::{Failure, Verdict};
use crate::delivery::Delivery;
use crate::label::label;
use crate::monitor::metrics::{Metrics, Of};

/// The longest result shown, in characters, as Celery cuts results in its log.
const RESULT_CHARS: usize = 46;

/// Logs and counts a verdict.
pub(super) fn verdict(delivery: &Delivery, verdict: &Verdict, metrics: &Metrics) {
    let (task, of) = (&*delivery.task, Of::delivery(delivery));
    match verdict {
        Verdict::Success { value, runtime } => {
            succeeded(task, *runtime, value);
            metrics.succeeded(of, *runtime);
        }
        Verdict::Failure(failure) => {
            failed(task, failure);
            metrics.failed(of, &failure.exception.exc_type);
        }
        Verdict::TimeLimit { limit, failure } => {
            hard_limit(task, *limit);
            metrics.failed(of, &failure.exception.exc_type);
        }
        Verdict::Dead { reason, .. } => {
            rejected(task, reason, false);
            metrics.rejected(of);
        }
        Verdict::Requeue { reason } => {
            rejected(task, reason, true);
            metrics.rejected(of);
        }
        Verdict::Retry {
            countdown, reason, ..
        } => {
            retried(task, *countdown, reason.as_ref());
            metrics.retried(of);
        }
        Verdict::Revoked(_) => {
            tracing::info!("Discarding revoked task: {}", label(task));
            metrics.revoked(of);
        }
        Verdict::Ignored => {
            if tracing::enabled!(Level::INFO) {
                tracing::info!("Task {} ignored", label(task));
            }
        }
        Verdict::GiveBack { .. } => {}
    }
}

fn succeeded(task: &Task, took: Duration, result: &RawValue) {
    if tracing::enabled!(Level::INFO) {
        let (label, took) = (label(task), took.as_secs_f64());
        let shown = repr::value(result.get(), RESULT_CHARS);
        tracing::info!("Task {label} succeeded in {took}s: {shown}");
    }
}

fn failed(task: &Task, failure: &Failure) {
    let (label, exception) = (label(task), failure.exception.summary());
    let traceback = failure.traceback.as_deref().unwrap_or_default().trim_end();
    tracing::error!("Task {label} raised unexpected: {exception}\n{traceback}");
}

fn hard_limit(task: &Task, limit: Duration) {
    let (label, limit) = (label(task), limit.as_secs_f64());
    tracing::error!("Hard time limit ({limit}s) exceeded for {label}");
}

fn rejected(task: &Task, reason: &str, requeue: bool) {
    let requeue = if requeue { "True" } else { "False" };
    let label = label(task);
    tracing::warn!("Task {label} reject requeue={requeue}: {reason}");
}

fn retried(task: &Task, countdown: Duration, reason: Option<&Failure>) {
    if tracing::enabled!(Level::INFO) {
        let (label, wait) = (label(task), countdown.as_secs_f64());
        match reason.map(|failure| failure.exception.summary()) {
            Some(reason) => tracing::info!("Task {label} retry: Retry in {wait}s: {reason}"),
            None => tracing::info!("Task {label} retry: Retry in {wait}s"),
        }
    }
}
