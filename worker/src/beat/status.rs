//! What a process knows about the schedules, for its pages and metrics.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;

use crate::broker::schedules::Look;
use crate::monitor::metrics::Metrics;
use crate::printable::one_line;

/// The state of a process that can send due tasks.
#[derive(Debug, Default)]
pub(crate) struct Status {
    known: Mutex<Known>,
    sent: Counter,
    skipped: Counter,
    leader: Gauge,
    /// Unix seconds.
    next: Gauge,
}

/// What the last look has shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// The token of the leader; `None` before the first look, and at the end.
    leader: Option<String>,
    /// `true` if this process leads.
    leads: bool,
    /// The next due time in Unix milliseconds, if this process leads and there is one.
    next_due: Option<i64>,
}

/// Says who leads, and when an entry is due next, in one line.
impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(leader) = &self.leader else {
            return f.write_str("beat: the leader is not known yet");
        };
        if !self.leads {
            return write!(f, "beat: {} leads", one_line(leader));
        }
        f.write_str("beat: this process leads")?;
        match self.next_due.map(Timestamp::from_millisecond) {
            Some(Ok(next)) => write!(f, "; next due at {next}"),
            _ => f.write_str("; nothing is due"),
        }
    }
}

impl Status {
    /// Adds the metrics to a page.
    pub(crate) fn adopted_by(&self, metrics: &Metrics) {
        metrics.adopt(
            "celery_worker_beat_sent",
            "Messages of schedules that this process has sent",
            self.sent.clone(),
        );
        metrics.adopt(
            "celery_worker_beat_missed",
            "Times at which missed due times of an entry were passed over",
            self.skipped.clone(),
        );
        metrics.adopt(
            "celery_worker_beat_leader",
            "1 if this process sends the tasks of schedules",
            self.leader.clone(),
        );
        metrics.adopt(
            "celery_worker_beat_next_due_seconds",
            "The next due time as Unix time, if this process leads; otherwise 0",
            self.next.clone(),
        );
    }

    /// Notes the answer to a look. Returns `true` if the leader has changed.
    pub(super) fn looked(&self, look: &Look) -> bool {
        let mut known = self.lock();
        known.leads = look.lead.is_some();
        self.leader.set(i64::from(known.leads));
        if !known.leads {
            known.next_due = None;
            self.next.set(0);
        }
        let is_new = known.leader.as_ref() != Some(&look.leader);
        if is_new {
            known.leader = Some(look.leader.clone());
        }
        is_new
    }

    pub(super) fn next_due(&self, next: Option<i64>) {
        self.lock().next_due = next;
        self.next.set(next.unwrap_or(0) / 1_000);
    }

    pub(super) fn sent(&self, messages: usize) {
        self.sent.inc_by(messages as u64);
    }

    pub(super) fn skipped(&self) {
        self.skipped.inc();
    }

    pub(super) fn ended(&self) {
        *self.lock() = Known::default();
        self.leader.set(0);
        self.next.set(0);
    }

    /// Returns what is known now.
    pub(crate) fn known(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
