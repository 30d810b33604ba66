//! Logs what happens to tasks and messages, in Celery's words where Celery has a line for it.
//!
//! A line about a task has its [`FIELDS`](crate::task_log::FIELDS). The texts are made only if
//! their level is logged: `tracing` evaluates them then.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::DecodeError;
use celery_protocol::repr;
use serde_json::value::RawValue;

use super::observer::{Lost, Observer, Of, Raised, Revocation};
use crate::task_log::{label, trace_id};

/// The longest result shown, in characters, as Celery cuts results in its log.
const RESULT_CHARS: usize = 46;

/// The observer that logs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log;

/// Logs a line about a task.
///
/// An example is `log_task!(info, of, "Task {} received", label(of.task))`.
macro_rules! log_task {
    ($level:ident, $of:expr, $($message:tt)+) => {
        tracing::$level!(
            task_id = $of.task.id.as_str(),
            task_name = $of.task.name.as_str(),
            queue = &**$of.queue,
            trace_id = trace_id($of.task),
            $($message)+
        )
    };
}

impl Observer for Log {
    fn received(&self, of: Of<'_>) {
        log_task!(info, of, "Task {} received", label(of.task));
    }

    fn started(&self, of: Of<'_>) {
        log_task!(
            debug,
            of,
            "Task accepted: {} pid:{}",
            label(of.task),
            std::process::id()
        );
    }

    fn soft_limit(&self, of: Of<'_>, limit: Duration) {
        let limit = limit.as_secs_f64();
        let label = label(of.task);
        log_task!(warn, of, "Soft time limit ({limit}s) exceeded for {label}");
    }

    fn waits(&self, of: Of<'_>, cause: &str) {
        log_task!(debug, of, "Task {} waits: {cause}", label(of.task));
    }

    fn batch_waits(&self, task: &Arc<str>, calls: usize, cause: &str) {
        tracing::debug!("{calls} calls of {task} wait: {cause}");
    }

    fn succeeded(&self, of: Of<'_>, runtime: Duration, value: &RawValue) {
        let took = runtime.as_secs_f64();
        log_task!(
            info,
            of,
            "Task {} succeeded in {took}s: {}",
            label(of.task),
            repr::value(value.get(), RESULT_CHARS)
        );
    }

    fn succeeded_before(&self, of: Of<'_>) {
        let label = label(of.task);
        log_task!(
            info,
            of,
            "Task {label} Task already completed successfully."
        );
    }

    fn failed(&self, of: Of<'_>, raised: Raised<'_>) {
        if raised.is_expected {
            let summary = raised.exception.summary();
            let label = label(of.task);
            return log_task!(info, of, "Task {label} raised expected: {summary}");
        }
        let traceback = raised.traceback.unwrap_or_default().trim_end();
        log_task!(
            error,
            of,
            "Task {} raised unexpected: {}\n{traceback}",
            label(of.task),
            raised.exception.summary()
        );
    }

    fn timed_out(&self, of: Of<'_>, limit: Duration, _raised: Raised<'_>) {
        let limit = limit.as_secs_f64();
        let label = label(of.task);
        log_task!(error, of, "Hard time limit ({limit}s) exceeded for {label}");
    }

    fn retried(&self, of: Of<'_>, countdown: Duration, raised: Option<Raised<'_>>) {
        let wait = countdown.as_secs_f64();
        let because = |raised: Raised<'_>| format!(": {}", raised.exception.summary());
        log_task!(
            info,
            of,
            "Task {} retry: Retry in {wait}s{}",
            label(of.task),
            raised.map(because).unwrap_or_default()
        );
    }

    fn rejected(&self, of: Of<'_>, reason: &str, raised: Option<Raised<'_>>) {
        let requeue = if raised.is_some() { "False" } else { "True" };
        let label = label(of.task);
        log_task!(warn, of, "Task {label} reject requeue={requeue}: {reason}");
    }

    fn revoked(&self, of: Of<'_>, revocation: &Revocation) {
        if let Revocation::Terminated { signal } = revocation {
            return log_task!(
                info,
                of,
                "Task {} terminated (signal {signal})",
                label(of.task)
            );
        }
        if let Revocation::Duplicate { of: other } = revocation {
            let label = label(of.task);
            return log_task!(info, of, "Discarding duplicate task: {label}, of {other}");
        }
        log_task!(info, of, "Discarding revoked task: {}", label(of.task));
    }

    fn ignored(&self, of: Of<'_>) {
        log_task!(info, of, "Task {} ignored", label(of.task));
    }

    fn unregistered(&self, of: Of<'_>) {
        log_task!(
            error,
            of,
            "Received unregistered task of type '{}'. The message was moved to the dead letters",
            of.task.name
        );
    }

    fn poison(&self, of: Of<'_>, times: u64) {
        log_task!(
            error,
            of,
            "Task {} was redelivered {times} times without being finished: moved to the dead letters",
            label(of.task)
        );
    }

    fn bug(&self, of: Of<'_>) {
        log_task!(
            error,
            of,
            "Task {} met a bug of this worker: the message was moved to the dead letters",
            label(of.task)
        );
    }

    fn not_objects(&self, messages: usize) {
        tracing::error!(
            "Received {messages} messages that are not tasks: moved to the dead letters"
        );
    }

    fn malformed(&self, queue: &str, error: &DecodeError) {
        tracing::error!(
            queue,
            "Received invalid task message: {error}. It was moved to the dead letters"
        );
    }

    fn unreadable(&self) {
        tracing::error!(
            "Received a message that cannot be read because of a bug. It was moved to the dead letters"
        );
    }

    fn lethal(&self, queue: &str, id: &str, task: &str, times: u64) {
        tracing::error!(
            task_id = id,
            task_name = task,
            queue,
            "Task {task}[{id}] ended {times} workers that read it: moved to the dead letters"
        );
    }

    fn gives_back(&self, waiting: usize) {
        tracing::info!("Giving back {waiting} tasks that wait for their ETA");
    }

    fn lost(&self, leases: usize, how: Lost) {
        match how {
            Lost::Renewed => tracing::warn!(
                "The leases of {leases} tasks were lost: other workers may run them too. Tasks that have not begun here will not begin"
            ),
            Lost::Acknowledged => tracing::warn!(
                "{leases} tasks were done here, but their leases were lost: other workers may run them too"
            ),
            Lost::Settled => tracing::warn!(
                "The leases of {leases} tasks were lost: what they returned is discarded"
            ),
        }
    }

    fn restored(&self, messages: usize) {
        tracing::warn!("Restored {messages} unacknowledged message(s) whose worker is gone");
    }

    fn unreadable_orphans(&self, messages: usize) {
        tracing::error!(
            "Moved {messages} unreadable unacknowledged message(s) to the dead letters"
        );
    }

    fn unsettled(&self, tag: &str, why: &str) {
        tracing::error!("Delivery {tag} cannot be settled and will be delivered again: {why}");
    }
}
