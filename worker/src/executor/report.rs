//! What the worker says about its tasks, in Celery's words. That they were received says the consumer.

use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::repr;
use serde_json::value::RawValue;
use tracing::Level;

use crate::label::label;
use crate::task::Exception;

/// The longest result shown, in characters, as Celery cuts results in its log.
const RESULT_CHARS: usize = 46;

pub(crate) fn succeeded(task: &Task, took: Duration, result: &RawValue) {
    if tracing::enabled!(Level::INFO) {
        let (label, took) = (label(task), took.as_secs_f64());
        let shown = repr::value(result.get(), RESULT_CHARS);
        tracing::info!("Task {label} succeeded in {took}s: {shown}");
    }
}

pub(crate) fn failed(task: &Task, exception: &Exception, traceback: &str) {
    let (label, traceback) = (label(task), traceback.trim_end());
    tracing::error!("Task {label} raised unexpected: {exception}\n{traceback}");
}

pub(crate) fn retried(task: &Task, countdown: Duration, reason: Option<&Exception>) {
    if tracing::enabled!(Level::INFO) {
        let (label, wait) = (label(task), countdown.as_secs_f64());
        match reason {
            Some(reason) => tracing::info!("Task {label} retry: Retry in {wait}s: {reason}"),
            None => tracing::info!("Task {label} retry: Retry in {wait}s"),
        }
    }
}

pub(crate) fn expired(task: &Task) {
    tracing::info!("Discarding revoked task: {}", label(task));
}

pub(crate) fn ignored(task: &Task) {
    if tracing::enabled!(Level::INFO) {
        tracing::info!("Task {} ignored", label(task));
    }
}

pub(crate) fn rejected(task: &Task, reason: &str, requeue: bool) {
    let requeue = if requeue { "True" } else { "False" };
    let label = label(task);
    tracing::warn!("Task {label} reject requeue={requeue}: {reason}");
}

pub(crate) fn soft_limit(task: &Task, limit: Duration) {
    let (label, limit) = (label(task), limit.as_secs_f64());
    tracing::warn!("Soft time limit ({limit}s) exceeded for {label}");
}

pub(crate) fn hard_limit(task: &Task, limit: Duration) {
    let (label, limit) = (label(task), limit.as_secs_f64());
    tracing::error!("Hard time limit ({limit}s) exceeded for {label}");
}
