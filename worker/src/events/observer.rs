//! Turns what observers see into Celery's events.
//!
//! Failures that Celery has no event for, such as a message that ended several workers, are sent as
//! `task-failed`, with the exception that is stored.

use std::sync::atomic::Ordering;
use std::time::Duration;

use celery_protocol::events::{Event, Route, TaskInfo};
use celery_protocol::message::Task;
use celery_protocol::repr;
use serde_json::value::RawValue;

use super::{Events, Inner};
use crate::clock::now;
use crate::monitor::{Observer, Of, Raised, Revocation};

impl Events {
    /// Returns where events of tasks go, if they are enabled.
    fn tasks(&self) -> Option<&Inner> {
        let inner = self.0.as_deref()?;
        inner.tasks.load(Ordering::Acquire).then_some(inner)
    }

    fn failure(&self, of: Of<'_>, raised: Raised<'_>) {
        if let Some(inner) = self.tasks() {
            inner.add(&Event::Failed {
                uuid: &of.task.id,
                exception: &raised.exception.summary(),
                traceback: Some(raised.traceback.unwrap_or_default()),
            });
        }
    }

    /// Sends `task-failed` for a failure that no code raised.
    fn imposed(&self, of: Of<'_>, exception: impl FnOnce() -> String) {
        if let Some(inner) = self.tasks() {
            inner.add(&Event::Failed {
                uuid: &of.task.id,
                exception: &exception(),
                traceback: None,
            });
        }
    }
}

impl Observer for Events {
    fn received(&self, of: Of<'_>) {
        let Some(inner) = self.tasks() else { return };
        let task = of.task;
        let at = now().unix_micros();
        if task
            .expires
            .is_some_and(|expires| expires.unix_micros() <= at)
        {
            // It is revoked at once. Celery logs that it was received, and sends no event.
            return;
        }
        TaskInfo::of(task, |info| inner.add(&Event::Received(info)));
    }

    fn sent(&self, task: &Task, queue: &str) {
        let Some(inner) = self.0.as_deref() else {
            return;
        };
        if !inner.sent.load(Ordering::Acquire) {
            return;
        }
        let route = Route {
            queue,
            exchange: &task.delivery_info.exchange,
            routing_key: &task.delivery_info.routing_key,
        };
        TaskInfo::of(task, |info| inner.add_alone(&Event::Sent(info, route)));
    }

    fn started(&self, of: Of<'_>) {
        if let Some(inner) = &self.0 {
            inner.processed.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(inner) = self.tasks() {
            inner.add(&Event::Started { uuid: &of.task.id });
        }
    }

    fn running(&self, change: i64) {
        if let Some(inner) = &self.0 {
            inner.active.fetch_add(change, Ordering::Relaxed);
        }
    }

    fn succeeded(&self, of: Of<'_>, runtime: Duration, value: &RawValue) {
        if let Some(inner) = self.tasks() {
            inner.add(&Event::Succeeded {
                uuid: &of.task.id,
                result: &repr::value(value.get(), repr::MAX_CHARS),
                runtime: runtime.as_secs_f64(),
            });
        }
    }

    /// Python's worker sends this event with the text of an unknown result.
    fn succeeded_before(&self, of: Of<'_>) {
        if let Some(inner) = self.tasks() {
            inner.add(&Event::Succeeded {
                uuid: &of.task.id,
                result: "",
                runtime: 0.0,
            });
        }
    }

    fn failed(&self, of: Of<'_>, raised: Raised<'_>) {
        self.failure(of, raised);
    }

    fn timed_out(&self, of: Of<'_>, _limit: Duration, raised: Raised<'_>) {
        self.failure(of, raised);
    }

    fn retried(&self, of: Of<'_>, _countdown: Duration, raised: Option<Raised<'_>>) {
        let Some(inner) = self.tasks() else { return };
        let exception = raised.map(|raised| raised.exception.summary());
        let traceback = raised.and_then(|raised| raised.traceback);
        inner.add(&Event::Retried {
            uuid: &of.task.id,
            exception: exception.as_deref().unwrap_or("None"),
            traceback: Some(traceback.unwrap_or_default()),
        });
    }

    fn rejected(&self, of: Of<'_>, reason: &str, raised: Option<Raised<'_>>) {
        let Some(inner) = self.tasks() else { return };
        if let Some(raised) = raised {
            inner.add(&Event::Failed {
                uuid: &of.task.id,
                // The text of Celery's `Reject`.
                exception: &format!("reject requeue=False: {reason}"),
                traceback: Some(raised.traceback.unwrap_or_default()),
            });
        }
        inner.add(&Event::Rejected {
            uuid: &of.task.id,
            requeue: raised.is_none(),
        });
    }

    fn revoked(&self, of: Of<'_>, revocation: &Revocation) {
        if let Some(inner) = self.tasks() {
            let signum = match revocation {
                Revocation::Terminated { signal } => Some(*signal),
                Revocation::Expired | Revocation::Revoked | Revocation::Duplicate { .. } => None,
            };
            inner.add(&Event::Revoked {
                uuid: &of.task.id,
                terminated: signum.is_some(),
                signum,
                expired: *revocation == Revocation::Expired,
            });
        }
    }

    fn unregistered(&self, of: Of<'_>) {
        self.imposed(of, || {
            // The text as a Python literal.
            let name = serde_json::Value::from(of.task.name.as_str()).to_string();
            format!("NotRegistered({})", repr::value(&name, repr::MAX_CHARS))
        });
    }

    fn poison(&self, of: Of<'_>, times: u64) {
        self.imposed(of, || {
            format!("WorkerLostError('Delivered again {times} times without being finished.')")
        });
    }

    fn bug(&self, of: Of<'_>) {
        self.imposed(of, || {
            "RuntimeError('a bug of the worker; its log says more')".to_owned()
        });
    }
}
