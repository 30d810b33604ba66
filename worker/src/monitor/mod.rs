//! What the parts of a worker write about themselves. `health` shows it to supervisors, probes and Prometheus.
//!
//! * `pulse` – whether loops still turn.
//! * `metrics` – what is counted; nothing unless an address for the pages is set.

pub(crate) mod metrics;
mod pulse;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::metrics::Metrics;
pub(crate) use self::pulse::{Pulse, Pulses};

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
