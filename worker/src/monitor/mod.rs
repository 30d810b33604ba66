//! Records what the parts of a worker report about themselves. `health` shows it to supervisors,
//! probes and Prometheus.
//!
//! * `pulse` – whether loops still turn.
//! * `observer` – the interface of everything that reports on tasks and messages. Each transition
//!   is one call.
//! * `log` – the log lines.
//! * `metrics` – what is counted. Nothing is counted unless an address for the pages is set.
//!
//! The other observers are [`events`](crate::events) and [`trace`](crate::trace).

mod log;
pub(crate) mod metrics;
mod observer;
mod pulse;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::log::Log;
use self::metrics::Metrics;
pub(crate) use self::observer::{Lost, Observer, Of, Raised, Revocation};
pub(crate) use self::pulse::{Pulse, Pulses};
use crate::events::Events;
use crate::trace::Traces;

/// The observers of a worker. Clones report to the same places.
pub(crate) type Observers = (Log, (Metrics, (Events, Traces)));

/// The place where the parts of a worker record their state. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitor {
    /// The pulses of the consumer's roles. Each beats with every turn of its loop, and with every
    /// try to reach the broker.
    pub(crate) pulses: Arc<Pulses>,
    pub(crate) metrics: Metrics,
    pub(crate) events: Events,
    pub(crate) traces: Traces,
    stuck: Arc<AtomicUsize>,
}

impl Monitor {
    pub(crate) fn new(metrics: Metrics, events: Events) -> Self {
        Monitor {
            metrics,
            events,
            ..Self::default()
        }
    }

    /// Returns the observers of tasks and messages.
    pub(crate) fn observers(&self) -> Observers {
        let Monitor {
            metrics,
            events,
            traces,
            ..
        } = self;
        (Log, (metrics.clone(), (events.clone(), traces.clone())))
    }

    /// Counts one more task that does not end, and returns their number.
    pub(crate) fn one_more_stuck(&self) -> usize {
        self.stuck.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Returns the number of tasks that did not end after they were stopped.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }
}
