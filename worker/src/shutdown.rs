//! How far the worker is on its way to stopping.
//!
//! One value for the whole process, shared by every service: it only ever goes forward, from [`Phase::Running`]
//! towards [`Phase::Cold`], however often and in whatever order it is advanced. Services look at it with
//! [`Shutdown::phase`] or wait for it with [`Shutdown::reached`]; what each of them does then is its own affair.
//!
//! | signal | phase | meaning |
//! |---|---|---|
//! | SIGUSR1 | draining | claim no more; finish what is held; stay up until a signal ends it |
//! | SIGTERM, first SIGINT | warm | claim no more; finish what runs; give the rest back; exit 0 |
//! | SIGQUIT, a further SIGINT | cold | drop what runs (its messages go back to the queue); exit |
//!
//! As with Celery, `REMAP_SIGTERM=SIGQUIT` in the environment makes SIGTERM cold.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// A stage of the worker's life. The order is the order in which they are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything works.
    Running,
    /// No new messages are claimed; what is held is finished.
    Draining,
    /// Running tasks are finished, held ones go back to the queue, then the process ends.
    Warm,
    /// Nothing is waited for any longer.
    Cold,
}

/// The shared, forward-only [`Phase`]. Clones are handles of the same value.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// A worker that has just started.
    pub fn new() -> Self {
        Shutdown {
            phase: Arc::new(watch::Sender::new(Phase::Running)),
        }
    }

    /// The present phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// True until somebody asks the worker to claim no more.
    pub fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Goes on to `phase`; a phase that is already passed changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
    }

    /// Waits until the phase is `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.phase.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }

    /// Listens for the process's signals from now on. Needs a tokio runtime.
    pub fn listen(&self) -> io::Result<()> {
        let cold_term = std::env::var("REMAP_SIGTERM").is_ok_and(|to| to == "SIGQUIT");
        self.on(SignalKind::user_defined1(), Phase::Draining, None)?;
        let term = if cold_term { Phase::Cold } else { Phase::Warm };
        self.on(SignalKind::terminate(), term, None)?;
        self.on(SignalKind::interrupt(), Phase::Warm, Some(Phase::Cold))?;
        self.on(SignalKind::quit(), Phase::Cold, None)
    }

    /// One signal: the phase it leads to, and the one it leads to when that is already reached.
    fn on(&self, kind: SignalKind, first: Phase, again: Option<Phase>) -> io::Result<()> {
        let mut signals = signal(kind)?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                let next = match again {
                    Some(again) if shutdown.phase() >= first => again,
                    _ => first,
                };
                shutdown.advance(next);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_forward_only() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(shutdown.is_running());
        shutdown.advance(Phase::Warm);
        shutdown.advance(Phase::Draining);
        assert_eq!(other.phase(), Phase::Warm);
        other.advance(Phase::Cold);
        assert_eq!(shutdown.phase(), Phase::Cold);
    }

    #[tokio::test]
    async fn waiting_ends_at_a_later_phase_too() {
        let shutdown = Shutdown::new();
        let waiting = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { shutdown.reached(Phase::Draining).await }
        });
        shutdown.advance(Phase::Cold);
        waiting.await.unwrap();
        shutdown.reached(Phase::Cold).await;
    }
}
