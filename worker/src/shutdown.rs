//! How far the worker is on its way to stopping.
//!
//! One value for the whole process, shared by every service: it only ever goes forward, from [`Phase::Running`]
//! towards [`Phase::Cold`], however often and in whatever order it is advanced. Services look at it with
//! [`Shutdown::phase`] or wait for it with [`Shutdown::reached`]; what each of them does then is its own affair.
//!
//! | signal | phase | meaning |
//! |---|---|---|
//! | SIGUSR1 | draining | claim no more; finish what is held; stay up until a signal ends it |
//! | SIGTERM, SIGHUP, first SIGINT | warm | claim no more; finish what runs; give the rest back; exit 0 |
//! | SIGQUIT, a further SIGINT | cold | drop what runs (its messages go back to the queue); exit |
//! | SIGQUIT or SIGINT after that | | the process ends at once, with 1: what is held comes back by its lease |
//! | SIGUSR2 | | ignored: Celery opens a debugger at it, and a fleet may send it to all workers |
//!
//! A SIGHUP that was already ignored when the process started, as under `nohup`, stays ignored.
//!
//! As with Celery, `REMAP_SIGTERM=SIGQUIT` in the environment makes SIGTERM cold, and `worker_soft_shutdown_timeout` makes
//! a signal for a cold stop a warm one that becomes cold after that time, or at the next such signal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::lifecycle::ALWAYS;

/// The exit code of a process that ends at once, as that of a cold stop.
const HARD: i32 = 1;

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
    /// A soft shutdown has begun: the next signal ends it.
    soft: Arc<AtomicBool>,
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
            soft: Arc::default(),
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
        let advanced = self.phase.send_if_modified(|now| {
            let further = phase > *now;
            if further {
                *now = phase;
            }
            further
        });
        if advanced {
            // Celery's words.
            match phase {
                Phase::Running => {}
                Phase::Draining => tracing::info!(target: ALWAYS, "worker: Draining (MainProcess)"),
                Phase::Warm => {
                    tracing::info!(target: ALWAYS, "worker: Warm shutdown (MainProcess)");
                }
                Phase::Cold => {
                    tracing::info!(target: ALWAYS, "worker: Cold shutdown (MainProcess)");
                }
            }
        }
    }

    /// A wish for a cold stop: what runs has `patience` to end, unless the wish is repeated. Without patience, or when a
    /// wish is repeated, the stop is cold at once. Needs a tokio runtime.
    pub fn soften(&self, patience: Duration) {
        if patience.is_zero() || self.soft.swap(true, Ordering::AcqRel) {
            return self.advance(Phase::Cold);
        }
        tracing::warn!(
            "Initiating Soft Shutdown, terminating in {} seconds",
            patience.as_secs_f64()
        );
        self.advance(Phase::Warm);
        let shutdown = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            shutdown.advance(Phase::Cold);
        });
    }

    /// Waits until the phase is `phase` or a later one.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.phase.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }

    /// Listens for the process's signals from now on. Needs a tokio runtime. `soft_shutdown_timeout` is Celery's setting of
    /// this name; zero is none.
    ///
    /// # Errors
    ///
    /// The error of the system, which gives no handler of signals.
    pub fn listen(&self, soft_shutdown_timeout: Duration) -> io::Result<()> {
        let patience = soft_shutdown_timeout;
        let cold_term = std::env::var("REMAP_SIGTERM").is_ok_and(|to| to == "SIGQUIT");
        self.on(SignalKind::user_defined1(), |shutdown| {
            shutdown.advance(Phase::Draining);
        })?;
        self.on(SignalKind::user_defined2(), |_| {
            tracing::debug!("SIGUSR2 is ignored");
        })?;
        if !is_ignored(SignalKind::hangup()) {
            self.on(SignalKind::hangup(), |shutdown| {
                shutdown.advance(Phase::Warm);
            })?;
        }
        self.on(SignalKind::terminate(), move |shutdown| {
            if cold_term {
                shutdown.insist(patience);
            } else {
                shutdown.advance(Phase::Warm);
            }
        })?;
        self.on(SignalKind::interrupt(), move |shutdown| {
            if shutdown.phase() >= Phase::Warm {
                shutdown.insist(patience);
            } else {
                shutdown.advance(Phase::Warm);
            }
        })?;
        self.on(SignalKind::quit(), move |shutdown| {
            shutdown.insist(patience);
        })
    }

    /// A signal for a cold stop. Whoever sends it while one is under way wants an end, whatever it costs.
    fn insist(&self, patience: Duration) {
        if self.phase() < Phase::Cold {
            return self.soften(patience);
        }
        tracing::warn!(target: ALWAYS, "worker: Hard shutdown (MainProcess)");
        std::process::exit(HARD);
    }

    fn on(&self, kind: SignalKind, act: impl Fn(&Shutdown) + Send + 'static) -> io::Result<()> {
        let mut signals = signal(kind)?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                act(&shutdown);
            }
        });
        Ok(())
    }
}

/// Returns `true` if the process ignores the signal now. Linux says so in proc(5), `SigIgn` of `/proc/self/status`; where
/// that cannot be read, no signal counts as ignored.
fn is_ignored(kind: SignalKind) -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores(&status, kind))
}

fn ignores(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Bit 0 is signal 1.
    mask.is_some_and(|mask| mask >> (kind.as_raw_value() - 1) & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_status_of_the_process() {
        let (hangup, pipe) = (SignalKind::hangup(), SignalKind::pipe());
        let status = "SigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n";
        assert!(!ignores(status, hangup));
        assert!(ignores(status, pipe));
        assert!(ignores("SigIgn:\t0000000000001001\n", hangup));
        assert!(!ignores("", hangup));
    }

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
    async fn a_soft_stop_becomes_cold_in_time_or_when_asked_again() {
        let shutdown = Shutdown::new();
        shutdown.soften(Duration::from_millis(20));
        assert_eq!(shutdown.phase(), Phase::Warm);
        shutdown.reached(Phase::Cold).await;

        let shutdown = Shutdown::new();
        shutdown.soften(Duration::from_hours(1));
        shutdown.soften(Duration::from_hours(1));
        assert_eq!(shutdown.phase(), Phase::Cold);
        let shutdown = Shutdown::new();
        shutdown.soften(Duration::ZERO);
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
