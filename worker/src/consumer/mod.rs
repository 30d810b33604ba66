//! Claims messages, hands them to the executor, and carries out its verdicts.

mod options;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use options::{ConsumerOptions, Results};

use crate::Shutdown;
use crate::delivery::{Delivery, Settler, TaskNames};

/// A running consumer. It ends with [`close`](Self::close).
#[derive(Debug)]
pub struct Consumer {}

/// What a consumer could not finish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Left {
    /// Deliveries whose verdict was not given or not carried out in time. Their leases run out, and others get them.
    pub held: usize,
}

impl Consumer {
    /// Starts consuming. Needs a tokio runtime; does not wait for the broker.
    ///
    /// The deliveries end (`None`) when `shutdown` leaves [`Phase::Running`](crate::Phase::Running) and everything
    /// claimed until then has been handed out or given back.
    pub fn start(
        options: ConsumerOptions,
        names: Arc<dyn TaskNames>,
        shutdown: &Shutdown,
    ) -> (Consumer, mpsc::Receiver<Delivery>, Settler) {
        let _ = (options, names, shutdown);
        todo!()
    }

    /// Waits until every connection to the broker stands.
    pub async fn connected(&self) {
        todo!()
    }

    /// Carries out every verdict handed in so far and gives back what waits for its ETA, then ends. To be called after
    /// the last verdict; waits no longer than `patience`.
    pub async fn close(self, patience: Duration) -> Left {
        let _ = patience;
        todo!()
    }
}
