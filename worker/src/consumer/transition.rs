//! Turns a verdict, or the end of a message that was never run, into a settlement for broker and
//! result backend. `verdict` has made the decision. The code here does no I/O and reads no clock.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::{DecodeError, Task};
use celery_protocol::repr;
use celery_protocol::result::{ExceptionDoc, Extended, ResultDoc, State};
use celery_protocol::time::Timestamp;
use serde_json::value::{RawValue, to_raw_value};

use super::canvas;
use super::rules::{BILLIARD, CELERY, Rules, caught};
use super::verdict::{Failure, Verdict};
use crate::broker::{Document, Fate, Letter, Outgoing, Redelivery, Settlement, Step, Tag};
use crate::delivery::{Delivery, Sent, Unique, Until};

/// Causes of dead letters. `BUG`: this worker's code failed. `POISON`: workers ended again and
/// again while they held the message.
pub(super) const BUG: &str = "bug";
const POISON: &str = "poison";

/// How long the lock of a unique call is kept after its retry is due. The message of the retry is
/// then in its queue, and takes the lock again when a worker receives it.
const KEPT_FOR_RETRY: Duration = Duration::from_hours(1);

impl Rules {
    /// Turns a verdict into the settlement of its delivery.
    pub(crate) fn plan(&self, delivery: &Delivery, verdict: Verdict, now: Timestamp) -> Settlement {
        let task = &delivery.task;
        let queue = || Arc::clone(&delivery.queue);
        let is_counted = task.redelivered || delivery.is_noted;
        let mut sent = delivery.outbox.close(matches!(verdict, Verdict::Replaced));
        let before = std::mem::take(&mut sent.steps);
        let unlock = delivery
            .unique
            .as_ref()
            .map(|unique| unlock(unique, &verdict));
        let (fate, mut steps) = match verdict {
            Verdict::Success { value, .. } | Verdict::SucceededBefore(Some(value)) => {
                (Fate::Ack, self.success(task, value, sent, now))
            }
            Verdict::SucceededBefore(None) => (Fate::Ack, Vec::new()),
            // As in Celery, the failure is stored although the task runs again.
            Verdict::TimeLimit {
                failure,
                requeue: true,
                ..
            } => {
                let steps = self.failure(task, failure, sent, now);
                (redeliver(delivery, false, false), steps)
            }
            Verdict::Failure(failure) | Verdict::TimeLimit { failure, .. } => {
                (Fate::Ack, self.failure(task, failure, sent, now))
            }
            Verdict::Dead { cause, failure, .. } => {
                let fate = Fate::Dead(letter(delivery, cause));
                (fate, self.failure(task, failure, sent, now))
            }
            Verdict::Retry {
                reason,
                priority,
                message,
                span,
                ..
            } => {
                let again = Outgoing {
                    queue: queue(),
                    priority,
                    message,
                    span,
                };
                (Fate::Ack, self.retry(task, again, reason, sent))
            }
            Verdict::Revoked(revocation) => {
                let steps = self.revoked(task, &revocation.reason(), sent, now);
                (Fate::Ack, steps)
            }
            Verdict::Ignored | Verdict::Replaced => (Fate::Ack, canvas::added(self, task, &sent)),
            // The run does not count, so what it has sent is not published.
            Verdict::Requeue { .. } => {
                return unsent(delivery, redeliver(delivery, false, is_counted));
            }
            Verdict::GiveBack { begun: true } => {
                return unsent(delivery, redeliver(delivery, true, false));
            }
            // Its code has not begun, although that was noted.
            Verdict::GiveBack { begun: false } if delivery.is_noted => {
                return unsent(delivery, redeliver(delivery, true, true));
            }
            Verdict::GiveBack { begun: false } => {
                let (queue, priority) = (queue(), task.priority());
                return unsent(delivery, Fate::Return { queue, priority });
            }
        };
        // As in Celery, what the task has sent is published before what follows from its end.
        steps.splice(0..0, before);
        steps.extend(unlock);
        Settlement {
            tag: delivery.tag,
            fate,
            steps,
        }
    }

    fn success(
        &self,
        task: &Arc<Task>,
        value: Box<RawValue>,
        sent: Sent,
        now: Timestamp,
    ) -> Vec<Step> {
        let mut follow = canvas::after_success(self, task, &value, sent, now);
        if self.stores(task) {
            let mut doc = ResultDoc::success(&task.id, value, now);
            doc.children = Some(follow.children);
            follow.steps.push(self.result_step(task, doc));
        }
        follow.steps
    }

    fn failure(&self, task: &Arc<Task>, failure: Failure, sent: Sent, now: Timestamp) -> Vec<Step> {
        let Failure {
            exception,
            traceback,
            ..
        } = failure;
        let raised = (&exception, traceback.as_deref());
        let follow = canvas::after_failure(self, task, raised, &sent, now);
        // As in Celery, clients see the failed task before the tasks that fail with it.
        let mut steps = Vec::with_capacity(follow.len() + 1);
        if self.stores_errors(task) {
            let mut doc = ResultDoc::failure(&task.id, &exception, traceback, now);
            doc.children = Some(sent.children);
            steps.push(self.result_step(task, doc));
        }
        steps.extend(follow);
        steps
    }

    fn revoked(&self, task: &Arc<Task>, reason: &str, sent: Sent, now: Timestamp) -> Vec<Step> {
        let mut doc = ResultDoc::revoked(&task.id, reason, now);
        let mut steps = Vec::new();
        if let Some(Ok(exception)) = doc.exception() {
            steps.extend(canvas::after_revoke(self, task, &exception, &sent));
        }
        doc.children = Some(sent.children);
        if self.stores_errors(task) {
            steps.push(self.result_step(task, doc));
        }
        steps
    }

    fn retry(
        &self,
        task: &Arc<Task>,
        again: Outgoing,
        reason: Option<Failure>,
        sent: Sent,
    ) -> Vec<Step> {
        let mut steps = canvas::added(self, task, &sent);
        steps.push(Step::Publish(again));
        if self.stores_errors(task) {
            let (exception, traceback) = match reason {
                Some(failure) => (Some(failure.exception), failure.traceback),
                None => (None, None),
            };
            let mut doc = ResultDoc::retry(&task.id, exception.as_ref(), traceback);
            doc.children
                .get_or_insert_default()
                .splice(0..0, sent.children);
            steps.push(self.result_step(task, doc));
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
    ) -> Settlement {
        Settlement {
            tag: delivery.tag,
            fate: Fate::Dead(letter(delivery, cause)),
            steps: self.failure(&delivery.task, failure, Sent::default(), now),
        }
    }

    /// Returns the settlement of a message that cannot be read.
    pub(crate) fn malformed(
        &self,
        tag: Tag,
        queue: &Arc<str>,
        error: &DecodeError,
        now: Timestamp,
    ) -> Settlement {
        let letter = Letter {
            queue: Arc::clone(queue),
            id: error.id().unwrap_or_default().to_owned(),
            task: error.task().unwrap_or_default().to_owned(),
            cause: error.cause().code().to_owned(),
        };
        let mut steps = Vec::new();
        if self.results
            && let Some(id) = error.id()
            && celery_protocol::names::check_task_id(id).is_ok()
        {
            let doc = ResultDoc::failure(id, &error.exception(), None, now);
            steps.push(Step::store(&doc, None));
        }
        Settlement {
            tag,
            fate: Fate::Dead(letter),
            steps,
        }
    }

    /// Returns the settlement of a task whose name is not registered, or `None` if a bug prevents
    /// it.
    pub(crate) fn unknown(&self, delivery: &Delivery, now: Timestamp) -> Option<Settlement> {
        caught(|| {
            let name = delivery.task.name.clone();
            let failure = Failure::imposed("NotRegistered", CELERY, vec![name.into()]);
            self.dead(delivery, failure, "not-registered", now)
        })
    }

    /// Returns the settlement of a message whose follow-ups cannot be worked out because of a bug.
    /// Its callbacks, chain and chord are not notified.
    pub(crate) fn bug(&self, delivery: &Delivery, now: Timestamp) -> Settlement {
        let task = &*delivery.task;
        let mut steps = Vec::new();
        if self.results && task.ignore_result != Some(true) {
            let text = "a bug of the worker; its log says more";
            let exception = ExceptionDoc::new("RuntimeError", text, Some("builtins"));
            steps.push(self.result_step(task, ResultDoc::failure(&task.id, &exception, None, now)));
        }
        Settlement {
            tag: delivery.tag,
            fate: Fate::Dead(letter(delivery, BUG)),
            steps,
        }
    }

    /// Returns the settlement of a message that ended `times` workers while they read it.
    pub(crate) fn unreadable(
        &self,
        tag: Tag,
        queue: &Arc<str>,
        id: &str,
        task: &str,
        times: u64,
        now: Timestamp,
    ) -> Settlement {
        let letter = Letter {
            id: id.to_owned(),
            task: task.to_owned(),
            ..Letter::unread(queue, POISON)
        };
        let mut steps = Vec::new();
        if self.results && celery_protocol::names::check_task_id(id).is_ok() {
            let text = format!("{times} workers ended while they read this message.");
            let exception = ExceptionDoc::new("WorkerLostError", text, Some(BILLIARD));
            let doc = ResultDoc::failure(id, &exception, None, now);
            steps.push(Step::store(&doc, None));
        }
        Settlement {
            tag,
            fate: Fate::Dead(letter),
            steps,
        }
    }

    /// Returns the settlement of a poison message: one that was redelivered `times` times, each
    /// time to a worker that ended before it had finished the task. Returns `None` if a bug
    /// prevents it.
    pub(crate) fn poison(
        &self,
        delivery: &Delivery,
        times: u64,
        now: Timestamp,
    ) -> Option<Settlement> {
        let text = format!("Delivered again {times} times without being finished.");
        let failure = Failure::imposed("WorkerLostError", BILLIARD, vec![text.into()]);
        caught(|| self.dead(delivery, failure, POISON, now))
    }

    /// Returns the document of an intermediate state, if this task's states are stored.
    pub(crate) fn state(
        &self,
        task: &Task,
        state: &str,
        meta: Box<RawValue>,
        now: Timestamp,
    ) -> Option<Document> {
        self.stores(task).then(|| {
            let state = State::from_word(state);
            let doc = ResultDoc::new(&task.id, state, meta, Some(now.to_string()));
            Document::new(&self.complete(task, doc), self.reply(task))
        })
    }

    /// Adds to a document what it has from the message: its family, and with `result_extended` the
    /// members that describe the request.
    fn complete(&self, task: &Task, mut doc: ResultDoc) -> ResultDoc {
        doc.group_id.clone_from(&task.group);
        doc.parent_id.clone_from(&task.parent_id);
        if !self.can_store(&doc.result) {
            doc.result = shown(&doc, |value| self.can_store(value));
        }
        if !self.extended {
            return doc;
        }
        let mut extended = Extended::default();
        extended.name = Some(task.name.clone());
        let storable = |value: &RawValue| self.can_store(value).then(|| value.to_owned());
        extended.args = storable(&task.args);
        extended.kwargs = storable(&task.kwargs);
        extended.worker = Some(self.origin.clone());
        extended.retries = Some(i64::from(task.retries));
        extended.queue = Some(task.delivery_info.routing_key.clone());
        doc.extended = Some(extended);
        if let Some(headers) = task.stamped_headers.as_ref().filter(|it| !it.is_empty()) {
            // A list of texts can always be written.
            let names = to_raw_value(headers).unwrap_or_default();
            doc.extra.insert("stamped_headers", names);
            for (name, stamp) in task.stamps.iter() {
                doc.extra.insert(name, stamp.to_owned());
            }
        }
        doc
    }

    fn result_step(&self, task: &Task, doc: ResultDoc) -> Step {
        Step::store(&self.complete(task, doc), self.reply(task))
    }
}

/// Returns the result of a document in which texts replace what the serializer has no form for. As
/// in Celery, the arguments of an exception become the texts that show them.
fn shown(doc: &ResultDoc, can_store: impl Fn(&RawValue) -> bool) -> Box<RawValue> {
    let text = |value: &RawValue| {
        let shown = repr::value(value.get(), repr::MAX_CHARS);
        to_raw_value(&shown).unwrap_or_default()
    };
    match doc.exception() {
        Some(Ok(mut exception)) => {
            for argument in &mut exception.exc_message {
                if !can_store(argument) {
                    *argument = text(argument);
                }
            }
            exception.to_json()
        }
        _ => text(&doc.result),
    }
}

/// Returns the step that ends the lock of a unique call, or keeps it for the next run.
fn unlock(unique: &Unique, verdict: &Verdict) -> Step {
    let keep = match verdict {
        Verdict::Retry {
            countdown,
            keeps_lock: true,
            ..
        } if unique.until == Until::Done => countdown.saturating_add(KEPT_FOR_RETRY),
        _ => Duration::ZERO,
    };
    Step::Unlock(unique.lock.clone(), keep)
}

/// Returns the settlement of a message that goes back.
fn unsent(delivery: &Delivery, fate: Fate) -> Settlement {
    Settlement {
        tag: delivery.tag,
        fate,
        steps: Vec::new(),
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

/// Returns the fate of a message that is put back and marked. With `clear` the count of its starts
/// is cleared: a task may put itself back without limit, as with Celery.
fn redeliver(delivery: &Delivery, front: bool, clear: bool) -> Fate {
    let task = &delivery.task;
    Fate::Redeliver(Box::new(Redelivery {
        queue: Arc::clone(&delivery.queue),
        id: task.id.clone(),
        task: task.name.clone(),
        front,
        clear: clear.then(|| task.redelivery_name().to_owned()),
        size: delivery.size,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Lock;

    #[test]
    fn only_a_retry_of_a_call_that_is_unique_until_it_is_done_keeps_its_lock() {
        let lock = Lock {
            task: "t".into(),
            digest: "0a".into(),
        };
        let retry = |keeps_lock| Verdict::Retry {
            keeps_lock,
            countdown: Duration::from_mins(1),
            reason: None,
            priority: 0,
            message: Vec::new(),
            span: None,
        };
        let kept = Duration::from_mins(1) + KEPT_FOR_RETRY;
        for (until, verdict, keep) in [
            (Until::Done, retry(true), kept),
            (Until::Done, retry(false), Duration::ZERO),
            (Until::Done, Verdict::Ignored, Duration::ZERO),
            (Until::Started, retry(true), Duration::ZERO),
            (
                Until::Time(Duration::from_secs(9)),
                retry(true),
                Duration::ZERO,
            ),
        ] {
            let unique = Unique {
                lock: lock.clone(),
                until,
            };
            assert_eq!(unlock(&unique, &verdict), Step::Unlock(lock.clone(), keep));
        }
    }
}
