//! What a verdict, or a message that gets none, means for broker and result backend. Pure: no I/O, no clock.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{DEFAULT_MAX_BODY, DecodeError, EncodeOptions, Task};
use celery_protocol::result::{ExceptionDoc, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

use super::canvas;
use crate::delivery::{Delivery, TaskNames, Verdict};
use crate::label::label;
use crate::source::{Letter, Step};

/// The module of Celery's own exceptions, as results name it.
pub(super) const CELERY: &str = "celery.exceptions";

/// The module of its exceptions about processes.
const BILLIARD: &str = "billiard.exceptions";

/// Causes of dead letters: the code here failed; workers ended time and again.
pub(super) const BUG: &str = "bug";
const POISON: &str = "poison";

/// What `this` gives, unless it panics: a bug about one message must not end the worker, and with the next delivery the
/// next one. The panic itself is told of by the process's panic hook.
pub(super) fn caught<T>(this: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(this)).ok()
}

/// What is the same for all messages of a worker.
pub(crate) struct Rules {
    /// Whether results are stored at all.
    pub(crate) results: bool,
    /// Where follow-ups go that name no queue (`task_default_queue`).
    pub(crate) default_queue: Arc<str>,
    /// Written into messages published here.
    pub(crate) origin: String,
    pub(crate) reply_to: String,
    /// The most bytes that may follow from one task; see `canvas`.
    pub(crate) most: usize,
    pub(crate) names: Arc<dyn TaskNames>,
}

/// What is to be done for a delivery.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// These steps, then the acknowledgement.
    Steps(Vec<Step>),
    /// The message itself, marked as redelivered, back to its queue: its head, or its end.
    Redeliver { front: bool },
}

impl Rules {
    /// Whether this task's result is stored.
    pub(crate) fn stores(&self, task: &Task) -> bool {
        self.results
            && !task
                .ignore_result
                .unwrap_or_else(|| self.names.ignores_result(&task.name))
    }

    pub(crate) fn plan(&self, delivery: &Delivery, verdict: Verdict, now: Timestamp) -> Plan {
        caught(|| self.decide(delivery, verdict, now))
            .unwrap_or_else(|| Plan::Steps(self.bug(delivery, now)))
    }

    fn decide(&self, delivery: &Delivery, verdict: Verdict, now: Timestamp) -> Plan {
        let task = &delivery.task;
        Plan::Steps(match verdict {
            Verdict::Success(result) => self.success(task, result, now),
            Verdict::Failure {
                exception,
                traceback,
            } => self.failure(task, &exception, traceback, now),
            Verdict::Retry {
                countdown,
                reason,
                traceback,
                max_retries,
            } => {
                if max_retries.is_some_and(|most| task.retries >= most) {
                    self.out_of_retries(task, reason, traceback, now)
                } else {
                    self.retry(delivery, countdown, reason, traceback, now)
                }
            }
            Verdict::Revoked(reason) => self.revoked(task, &reason, now),
            Verdict::Ignore => Vec::new(),
            Verdict::Reject { requeue: true } => return Plan::Redeliver { front: false },
            Verdict::Reject { requeue: false } => {
                let exception =
                    ExceptionDoc::new("Reject", "rejected", Some(CELERY)).with_args(vec![
                        serde_json::Value::Null,
                        serde_json::Value::Bool(false),
                    ]);
                self.dead(delivery, &exception, "rejected", now)
            }
            Verdict::GiveBack { started: true } => return Plan::Redeliver { front: true },
            Verdict::GiveBack { started: false } => vec![Step::Return {
                queue: Arc::clone(&delivery.queue),
                priority: task.priority(),
            }],
        })
    }

    fn success(&self, task: &Arc<Task>, result: Box<RawValue>, now: Timestamp) -> Vec<Step> {
        if result.get().len() > DEFAULT_MAX_BODY {
            // Redis would close the connection on it, every time.
            let text = format!("the result has {} bytes", result.get().len());
            tracing::error!("Task {}: {text}", label(task));
            let exception = ExceptionDoc::new("EncodeError", text, Some("kombu.exceptions"));
            return self.failure(task, &exception, None, now);
        }
        let mut follow = canvas::after_success(self, task, &result, now);
        if self.stores(task) {
            let mut doc = ResultDoc::success(&task.id, result, now);
            doc.children = Some(follow.children);
            follow.steps.push(result_step(task, doc));
        }
        follow.steps
    }

    pub(crate) fn failure(
        &self,
        task: &Arc<Task>,
        exception: &ExceptionDoc,
        traceback: Option<String>,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = canvas::after_failure(self, task, exception, traceback.as_deref(), now);
        if self.stores(task) {
            steps.push(result_step(
                task,
                ResultDoc::failure(&task.id, exception, traceback, now),
            ));
        }
        steps
    }

    fn revoked(&self, task: &Arc<Task>, reason: &str, now: Timestamp) -> Vec<Step> {
        let doc = ResultDoc::revoked(&task.id, reason, now);
        let mut steps = Vec::new();
        if let Some(Ok(exception)) = doc.exception() {
            steps.extend(canvas::after_revoke(self, task, &exception, now));
        }
        if self.stores(task) {
            steps.push(result_step(task, doc));
        }
        steps
    }

    fn retry(
        &self,
        delivery: &Delivery,
        countdown: Duration,
        reason: Option<ExceptionDoc>,
        traceback: Option<String>,
        now: Timestamp,
    ) -> Vec<Step> {
        let task = &*delivery.task;
        // As in Celery, a countdown of nothing is no ETA.
        let wait = i64::try_from(countdown.as_micros()).unwrap_or(i64::MAX);
        let eta = (wait > 0).then(|| now.plus_micros(wait));
        let next = task.retry(eta, now, &self.origin);
        let message = match self.encode(&next, &delivery.queue) {
            Ok(message) => message,
            Err(why) => {
                tracing::error!("Task {} cannot be retried: {why}", label(task));
                let exception = ExceptionDoc::new("Reject", why, Some(CELERY));
                return self.dead(delivery, &exception, "retry-not-encodable", now);
            }
        };
        let mut steps = vec![Step::Push {
            queue: Arc::clone(&delivery.queue),
            priority: next.priority(),
            message,
        }];
        if self.stores(task) {
            steps.push(result_step(
                task,
                ResultDoc::retry(&task.id, reason.as_ref(), traceback),
            ));
        }
        steps
    }

    fn out_of_retries(
        &self,
        task: &Arc<Task>,
        reason: Option<ExceptionDoc>,
        traceback: Option<String>,
        now: Timestamp,
    ) -> Vec<Step> {
        let exception = reason.unwrap_or_else(|| {
            let text = format!(
                "Can't retry {}[{}] args:{} kwargs:{}",
                task.name,
                task.id,
                task.argsrepr.as_deref().unwrap_or(task.args.get()),
                task.kwargsrepr.as_deref().unwrap_or(task.kwargs.get()),
            );
            ExceptionDoc::new("MaxRetriesExceededError", text, Some(CELERY))
        });
        tracing::error!(
            "Task {} raised unexpected: {}",
            label(task),
            exception.summary()
        );
        self.failure(task, &exception, traceback, now)
    }

    /// FAILURE, and the message itself among the dead letters.
    fn dead(
        &self,
        delivery: &Delivery,
        exception: &ExceptionDoc,
        cause: &str,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = self.failure(&delivery.task, exception, None, now);
        steps.insert(0, Step::Dead(letter(delivery, cause)));
        steps
    }

    /// A message that cannot be read.
    pub(crate) fn malformed(
        &self,
        queue: &Arc<str>,
        error: &DecodeError,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = vec![Step::Dead(Letter {
            queue: Arc::clone(queue),
            id: error.id().unwrap_or_default().to_owned(),
            task: error.task().unwrap_or_default().to_owned(),
            cause: error.cause().code().to_owned(),
        })];
        if self.results
            && let Some(id) = error.id()
            && celery_protocol::keys::check_task_id(id).is_ok()
        {
            let doc = ResultDoc::failure(id, &error.exception(), None, now);
            steps.push(Step::Result {
                id: id.to_owned(),
                document: doc.encode(),
            });
        }
        steps
    }

    /// A task of a name that nobody registered.
    pub(crate) fn unknown(&self, delivery: &Delivery, now: Timestamp) -> Vec<Step> {
        caught(|| {
            let name = delivery.task.name.as_str();
            let exception = ExceptionDoc::new("NotRegistered", name, Some(CELERY));
            self.dead(delivery, &exception, "not-registered", now)
        })
        .unwrap_or_else(|| self.bug(delivery, now))
    }

    /// What follows from a message cannot be worked out here. Its callbacks, its chain and its chord are part of that: they
    /// hear nothing.
    pub(crate) fn bug(&self, delivery: &Delivery, now: Timestamp) -> Vec<Step> {
        let task = &*delivery.task;
        tracing::error!(
            "Task {} met a bug of this worker: the message was moved to the dead letters",
            label(task)
        );
        let mut steps = vec![Step::Dead(letter(delivery, BUG))];
        if self.results && task.ignore_result != Some(true) {
            let text = "a bug of the worker; its log says more";
            let exception = ExceptionDoc::new("RuntimeError", text, Some("builtins"));
            steps.push(result_step(
                task,
                ResultDoc::failure(&task.id, &exception, None, now),
            ));
        }
        steps
    }

    /// A message that ended so many workers while they read it.
    pub(crate) fn unreadable(
        &self,
        queue: &Arc<str>,
        id: &str,
        task: &str,
        times: u64,
        now: Timestamp,
    ) -> Vec<Step> {
        let letter = Letter {
            id: id.to_owned(),
            task: task.to_owned(),
            ..Letter::unread(queue, POISON)
        };
        let mut steps = vec![Step::Dead(letter)];
        if self.results && celery_protocol::keys::check_task_id(id).is_ok() {
            let text = format!("{times} workers ended while they read this message.");
            let exception = ExceptionDoc::new("WorkerLostError", text, Some(BILLIARD));
            let document = ResultDoc::failure(id, &exception, None, now).encode();
            steps.push(Step::Result {
                id: id.to_owned(),
                document,
            });
        }
        steps
    }

    /// A message that was delivered too often, each time to a worker that did not live to finish it.
    pub(crate) fn poison(&self, delivery: &Delivery, times: u64, now: Timestamp) -> Vec<Step> {
        let text = format!("Delivered again {times} times without being finished.");
        let exception = ExceptionDoc::new("WorkerLostError", text, Some(BILLIARD));
        caught(|| self.dead(delivery, &exception, POISON, now))
            .unwrap_or_else(|| self.bug(delivery, now))
    }

    /// The document of an intermediate state, if this task's states are stored.
    pub(crate) fn state(
        &self,
        task: &Task,
        state: &str,
        meta: Box<RawValue>,
        now: Timestamp,
    ) -> Option<Vec<u8>> {
        self.stores(task).then(|| {
            let state = State::from_word(state);
            with_family(
                task,
                ResultDoc::new(&task.id, state, meta, Some(now.to_string())),
            )
            .encode()
        })
    }

    /// A task as a message for a queue.
    pub(crate) fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, String> {
        let tag = uuid::Uuid::new_v4().to_string();
        let options = EncodeOptions::new(queue, &tag)
            .origin(&self.origin)
            .reply_to(&self.reply_to)
            .protocol(task.protocol)
            .serializer(task.serializer)
            .compression(task.compression);
        task.encode_redis(&options)
            .map_err(|error| error.to_string())
    }
}

fn letter(delivery: &Delivery, cause: &str) -> Letter {
    Letter {
        queue: Arc::clone(&delivery.queue),
        id: delivery.task.id.clone(),
        task: delivery.task.name.clone(),
        cause: cause.to_owned(),
    }
}

fn with_family(task: &Task, mut doc: ResultDoc) -> ResultDoc {
    doc.group_id.clone_from(&task.group);
    doc.parent_id.clone_from(&task.parent_id);
    doc
}

fn result_step(task: &Task, doc: ResultDoc) -> Step {
    Step::Result {
        id: task.id.clone(),
        document: with_family(task, doc).encode(),
    }
}
