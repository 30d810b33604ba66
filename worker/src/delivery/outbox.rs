//! The outbox of a delivery: what its task has sent so far.
//!
//! A running task sends by putting planned steps here. They become part of the delivery's
//! settlement, so they are published exactly when the message is acknowledged. A run that is
//! repeated starts with an empty outbox, because nothing of the run before has been published.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celery_protocol::RawValue;
use celery_protocol::canvas::Signature;
use celery_protocol::message::Task;
use celery_protocol::result::ExceptionDoc;

use crate::broker::Step;

/// What follows from calls that a task has made.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The steps that publish the calls, in their order.
    pub(crate) steps: Vec<Step>,
    /// The calls as Celery's result tuples, for the `children` of the task's document.
    pub(crate) children: Vec<Box<RawValue>>,
    /// About how many bytes the steps have.
    pub(crate) bytes: usize,
    /// The number of calls that were added to the chord that the task belongs to.
    pub(crate) added: usize,
}

/// A planned call: its steps, and the id and result tuple of the whole.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) sent: Sent,
    pub(crate) id: String,
    pub(crate) tuple: Box<RawValue>,
}

/// How a signature is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// It is a task of its own.
    Send,
    /// It takes the place of the running task. Celery's `replace`.
    Replace,
    /// It becomes a member of the chord that the running task belongs to. Celery's `add_to_chord`.
    AddToChord,
}

/// Plans the calls that running tasks make. The consumer implements it by its rules.
pub(crate) trait Caller: Send + Sync {
    /// Plans a call. `bytes` have been planned before by the same run.
    fn plan_call(
        &self,
        task: &Arc<Task>,
        signature: Signature,
        manner: Manner,
        bytes: usize,
    ) -> Result<Planned, ExceptionDoc>;

    /// Plans the failure of a chord's body, and of what follows it. `cause` is the exception of the
    /// member that failed.
    fn plan_failure(
        &self,
        task: &Arc<Task>,
        body: &Signature,
        why: String,
        cause: Option<ExceptionDoc>,
    ) -> Planned;

    /// Returns `true` if results are stored where they can be read.
    fn has_results(&self) -> bool;
}

/// The outbox of a delivery. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    /// The number of the run that may send.
    run: u64,
    closed: bool,
    sent: Sent,
    replacement: Option<Sent>,
}

/// The right of one run to send.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    outbox: Outbox,
    run: u64,
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, Contents> {
        // A panic in a locked section leaves whole calls: they are added after they were planned.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the outbox for a new run. Earlier runs can no longer send.
    pub(crate) fn begin(&self) -> Sending {
        let mut contents = self.lock();
        contents.run += 1;
        contents.sent = Sent::default();
        contents.replacement = None;
        Sending {
            outbox: self.clone(),
            run: contents.run,
        }
    }

    /// Ends the sending. Returns what was sent, with the replacement if the task was `replaced`.
    pub(crate) fn close(&self, replaced: bool) -> Sent {
        let mut contents = self.lock();
        contents.closed = true;
        let mut sent = std::mem::take(&mut contents.sent);
        if let (Some(replacement), true) = (contents.replacement.take(), replaced) {
            sent.steps.extend(replacement.steps);
            sent.children.extend(replacement.children);
        }
        sent
    }
}

impl Sending {
    /// Adds a call that `plan` makes from the number of bytes that were planned before. Returns
    /// `None` if the run has ended.
    pub(crate) fn add(
        &self,
        manner: Manner,
        plan: impl FnOnce(usize) -> Result<Planned, ExceptionDoc>,
    ) -> Option<Result<(String, Box<RawValue>), ExceptionDoc>> {
        let mut contents = self.outbox.lock();
        if contents.closed || contents.run != self.run {
            return None;
        }
        let planned = match plan(contents.sent.bytes) {
            Ok(planned) => planned,
            Err(why) => return Some(Err(why)),
        };
        let Planned { sent, id, tuple } = planned;
        if manner == Manner::Replace {
            contents.replacement = Some(sent);
        } else {
            let all = &mut contents.sent;
            all.steps.extend(sent.steps);
            all.children.extend(sent.children);
            all.bytes = all.bytes.saturating_add(sent.bytes);
            all.added += sent.added;
        }
        Some(Ok((id, tuple)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Outgoing;

    fn planned(bytes: usize) -> Planned {
        let tuple = RawValue::NULL.to_owned();
        let sent = Sent {
            steps: vec![Step::Publish(Outgoing {
                queue: "celery".into(),
                priority: 0,
                message: vec![0; bytes],
                span: None,
            })],
            children: vec![tuple.clone()],
            bytes,
            added: 0,
        };
        let id = "a".to_owned();
        Planned { sent, id, tuple }
    }

    #[test]
    fn only_the_run_that_goes_on_can_send() {
        let outbox = Outbox::default();
        let first = outbox.begin();
        assert!(first.add(Manner::Send, |_| Ok(planned(1))).is_some());
        let second = outbox.begin();
        assert!(first.add(Manner::Send, |_| Ok(planned(1))).is_none());
        for before in [0, 5, 10] {
            let plan = |bytes| {
                assert_eq!(bytes, before);
                Ok(planned(5))
            };
            assert!(second.add(Manner::Send, plan).is_some());
        }
        assert_eq!(outbox.close(false).steps.len(), 3);
        assert!(second.add(Manner::Send, |_| Ok(planned(1))).is_none());
        assert!(outbox.close(false).steps.is_empty());
    }

    #[test]
    fn a_replacement_counts_only_if_the_task_was_replaced() {
        for (replaced, steps) in [(false, 1), (true, 2)] {
            let outbox = Outbox::default();
            let sending = outbox.begin();
            for manner in [Manner::Replace, Manner::Send, Manner::Replace] {
                sending.add(manner, |_| Ok(planned(1))).unwrap().unwrap();
            }
            assert_eq!(outbox.close(replaced).steps.len(), steps);
        }
    }
}
