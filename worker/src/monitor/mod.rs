//! What others may know of a running worker: a supervisor (systemd), a probe, a Prometheus server.
//!
//! * `pulse` – whether loops still turn.
//! * `metrics` – what is counted; nothing unless somebody asked for it.
//! * `vitals` – what makes a worker healthy, and what makes it ready.
//! * `http` – the three pages: `/healthz`, `/readyz`, `/metrics`.
//! * `systemd` – readiness and the watchdog.
//!
//! All of it runs on the worker's own runtime, so that no task can make it lie.

pub(crate) mod http;
pub(crate) mod metrics;
mod pulse;
pub(crate) mod systemd;
mod vitals;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::metrics::Metrics;
pub(crate) use self::pulse::{Pulse, Pulses};
pub(crate) use self::vitals::Vitals;

/// What the parts of a worker write into. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Monitor {
    /// Those of the consumer's roles: each beats with every turn of its loop, and every try to reach the broker.
    pub(crate) pulses: Arc<Pulses>,
    pub(crate) metrics: Metrics,
    stuck: Arc<AtomicUsize>,
}

impl Monitor {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Monitor {
            metrics,
            ..Self::default()
        }
    }

    /// One more task that does not end; how many there are now.
    pub(crate) fn one_more_stuck(&self) -> usize {
        self.stuck.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How many tasks did not end when told to.
    pub(crate) fn stuck(&self) -> usize {
        self.stuck.load(Ordering::Relaxed)
    }
}
