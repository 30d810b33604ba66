//! Turns a verdict, or the end of a message that was never run, into steps for broker and result
//! backend. `verdict` has made the decision. The code here does no I/O and reads no clock.

use std::sync::Arc;

use celery_protocol::message::{DecodeError, Task};
use celery_protocol::result::{ExceptionDoc, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::RawValue;

use super::canvas;
use super::rules::{BILLIARD, CELERY, Rules, caught};
use super::verdict::{Failure, Verdict};
use crate::broker::{Letter, Step};
use crate::delivery::Delivery;
use crate::task_log::{label, log_task};

/// Causes of dead letters. `BUG`: this worker's code failed. `POISON`: workers ended again and
/// again while they held the message.
pub(super) const BUG: &str = "bug";
const POISON: &str = "poison";

/// The steps that a verdict requires.
#[derive(Debug, PartialEq)]
pub(crate) enum Plan {
    /// Carry out these steps, then acknowledge the message.
    Steps(Vec<Step>),
    /// Put the message itself, marked as redelivered, back into its queue: at its head, or at its
    /// end.
    Redeliver { front: bool },
}

impl Rules {
    /// Turns a verdict into a plan.
    pub(crate) fn plan(&self, delivery: &Delivery, verdict: Verdict, now: Timestamp) -> Plan {
        let task = &delivery.task;
        Plan::Steps(match verdict {
            Verdict::Success { value, .. } => self.success(task, value, now),
            Verdict::Failure(failure) | Verdict::TimeLimit { failure, .. } => {
                self.failure(task, failure, now)
            }
            Verdict::Dead { cause, failure, .. } => self.dead(delivery, failure, cause, now),
            Verdict::Retry {
                reason,
                priority,
                message,
                ..
            } => {
                let push = Step::Push {
                    queue: Arc::clone(&delivery.queue),
                    priority,
                    message,
                };
                self.retry(task, push, reason)
            }
            Verdict::Revoked(reason) => self.revoked(task, reason, now),
            Verdict::Ignored => Vec::new(),
            Verdict::Requeue { .. } => return Plan::Redeliver { front: false },
            Verdict::GiveBack { begun: true } => return Plan::Redeliver { front: true },
            Verdict::GiveBack { begun: false } => vec![Step::Return {
                queue: Arc::clone(&delivery.queue),
                priority: task.priority(),
            }],
        })
    }

    fn success(&self, task: &Arc<Task>, value: Box<RawValue>, now: Timestamp) -> Vec<Step> {
        let mut follow = canvas::after_success(self, task, &value, now);
        if self.stores(task) {
            let mut doc = ResultDoc::success(&task.id, value, now);
            doc.children = Some(follow.children);
            follow.steps.push(result_step(task, doc));
        }
        follow.steps
    }

    fn failure(&self, task: &Arc<Task>, failure: Failure, now: Timestamp) -> Vec<Step> {
        let Failure {
            exception,
            traceback,
        } = failure;
        let follow = canvas::after_failure(self, task, &exception, traceback.as_deref(), now);
        // As in Celery, clients see the failed task before the tasks that fail with it.
        let mut steps = Vec::with_capacity(follow.len() + 1);
        if self.stores(task) {
            let doc = ResultDoc::failure(&task.id, &exception, traceback, now);
            steps.push(result_step(task, doc));
        }
        steps.extend(follow);
        steps
    }

    fn revoked(&self, task: &Arc<Task>, reason: &str, now: Timestamp) -> Vec<Step> {
        let doc = ResultDoc::revoked(&task.id, reason, now);
        let mut steps = Vec::new();
        if let Some(Ok(exception)) = doc.exception() {
            steps.extend(canvas::after_revoke(self, task, &exception));
        }
        if self.stores(task) {
            steps.push(result_step(task, doc));
        }
        steps
    }

    fn retry(&self, task: &Task, push: Step, reason: Option<Failure>) -> Vec<Step> {
        let mut steps = vec![push];
        if self.stores(task) {
            let (exception, traceback) = match reason {
                Some(failure) => (Some(failure.exception), failure.traceback),
                None => (None, None),
            };
            steps.push(result_step(
                task,
                ResultDoc::retry(&task.id, exception.as_ref(), traceback),
            ));
        }
        steps
    }

    /// Stores FAILURE, and moves the message itself to the dead letters.
    fn dead(
        &self,
        delivery: &Delivery,
        failure: Failure,
        cause: &str,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut steps = self.failure(&delivery.task, failure, now);
        steps.insert(0, Step::Dead(letter(delivery, cause)));
        steps
    }

    /// Returns the steps for a message that cannot be read.
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
            && celery_protocol::names::check_task_id(id).is_ok()
        {
            let doc = ResultDoc::failure(id, &error.exception(), None, now);
            steps.push(Step::Result {
                id: id.to_owned(),
                document: doc.encode(),
            });
        }
        steps
    }

    /// Returns the steps for a task whose name is not registered.
    pub(crate) fn unknown(&self, delivery: &Delivery, now: Timestamp) -> Vec<Step> {
        caught(|| {
            let name = delivery.task.name.clone();
            let failure = Failure::imposed("NotRegistered", CELERY, vec![name.into()]);
            self.dead(delivery, failure, "not-registered", now)
        })
        .unwrap_or_else(|| self.bug(delivery, now))
    }

    /// Returns the steps for a message whose follow-ups cannot be worked out because of a bug. The
    /// follow-ups include its callbacks, its chain and its chord, which are not notified.
    pub(crate) fn bug(&self, delivery: &Delivery, now: Timestamp) -> Vec<Step> {
        let task = &*delivery.task;
        log_task!(
            error,
            delivery,
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

    /// Returns the steps for a message that ended `times` workers while they read it.
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
        if self.results && celery_protocol::names::check_task_id(id).is_ok() {
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

    /// Returns the steps for a poison message: one that was redelivered `times` times, each time to
    /// a worker that ended before it had finished the task.
    pub(crate) fn poison(&self, delivery: &Delivery, times: u64, now: Timestamp) -> Vec<Step> {
        let text = format!("Delivered again {times} times without being finished.");
        let failure = Failure::imposed("WorkerLostError", BILLIARD, vec![text.into()]);
        caught(|| self.dead(delivery, failure, POISON, now))
            .unwrap_or_else(|| self.bug(delivery, now))
    }

    /// Returns the document of an intermediate state, if this task's states are stored.
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
