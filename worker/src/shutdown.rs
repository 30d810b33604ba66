//! Tracks the phase of the worker's stop.
//!
//! There is one value for the whole process, and every service shares it. It only goes forward,
//! from [`Phase::Running`] towards [`Phase::Cold`], however often and in whatever order it is
//! advanced. Services read it with [`Shutdown::phase`] or wait for it with [`Shutdown::reached`].
//! Each service decides what to do then.
//!
//! | signal | phase | meaning |
//! |---|---|---|
//! | SIGUSR1 | draining | claim no more; finish what is held; wait for another signal |
//! | SIGTERM, SIGHUP, first SIGINT | warm | claim no more; finish running tasks; give back others |
//! | SIGQUIT, a further SIGINT | cold | drop running tasks and give back their messages |
//! | SIGQUIT or SIGINT after that | | end at once; the leases return what was held |
//! | SIGUSR2 | | ignored: Celery opens a debugger at it, and a fleet may send it to all workers |
//!
//! The exit code is 0 after a warm stop, and 1 when the process ends at once.
//!
//! A SIGHUP that was already ignored when the process started, as under `nohup`, stays ignored.
//!
//! As with Celery, `REMAP_SIGTERM=SIGQUIT` in the environment makes SIGTERM cold. With
//! `worker_soft_shutdown_timeout`, a signal for a cold stop starts a warm one. The warm stop
//! becomes cold after the time-out, or at the next signal for a cold stop.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::lifecycle::ALWAYS;

/// The exit code of a process that ends at once. A cold stop has the same.
const HARD: i32 = 1;

/// A stage of the worker's life. The stages are passed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The worker claims and runs messages.
    Running,
    /// The worker claims no new messages, and finishes what it holds.
    Draining,
    /// Running tasks are finished, other held messages go back to the queue, then the process ends.
    Warm,
    /// Running tasks are dropped, their messages go back to the queue, and the process ends.
    Cold,
}

/// The shared, forward-only [`Phase`]. Clones are handles of one value.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: Arc<watch::Sender<Phase>>,
    /// `true` once a soft shutdown has begun: the next signal ends it.
    soft: Arc<AtomicBool>,
    /// `true` once a warm or cold stop was requested. A stop that the worker itself begins does not
    /// count.
    requested: Arc<AtomicBool>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

impl Shutdown {
    /// Returns the value for a worker that has just started.
    pub fn new() -> Self {
        Shutdown {
            phase: Arc::new(watch::Sender::new(Phase::Running)),
            soft: Arc::default(),
            requested: Arc::default(),
        }
    }

    /// Returns the present phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Returns `true` until the worker is asked to claim no more.
    pub fn is_running(&self) -> bool {
        self.phase() == Phase::Running
    }

    /// Goes on to `phase`. Does nothing if the worker has passed that phase already.
    pub fn advance(&self, phase: Phase) {
        if phase >= Phase::Warm {
            self.requested.store(true, Ordering::Release);
        }
        self.go(phase, |now| phase > now);
    }

    /// Begins a warm stop that the worker decided on itself, without a request. If the worker is
    /// not in the phase `Running`, does nothing and returns `false`: a drain lasts until a stop is
    /// requested.
    pub(crate) fn stop_of_itself(&self) -> bool {
        self.go(Phase::Warm, |now| now == Phase::Running)
    }

    /// Returns `true` if a warm or cold stop was requested, even after the worker began its own.
    pub(crate) fn is_requested(&self) -> bool {
        self.requested.load(Ordering::Acquire)
    }

    /// Goes on to `phase` if the present phase allows it, and returns whether it did.
    fn go(&self, phase: Phase, allows: impl FnOnce(Phase) -> bool) -> bool {
        let advanced = self.phase.send_if_modified(|now| {
            let further = allows(*now);
            if further {
                *now = phase;
            }
            further
        });
        if advanced {
            // The wording is Celery's.
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
        advanced
    }

    /// Requests a soft stop: warm now, cold after `patience`. A repeated request, or one without
    /// patience, makes the stop cold at once. It needs a tokio runtime.
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
        // The sender lives in `self`, so waiting cannot fail.
        let _ = seen.wait_for(|now| *now >= phase).await;
    }

    /// Listens for the process's signals from now on. It needs a tokio runtime.
    /// `soft_shutdown_timeout` is Celery's setting `worker_soft_shutdown_timeout`; zero means none.
    ///
    /// # Errors
    ///
    /// The system's error if it refuses to install a signal handler.
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

    /// Handles a signal for a cold stop. A sender that repeats it during a cold stop wants the
    /// process to end at any cost.
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

/// Returns `true` if the process ignores the signal now. On Linux, `SigIgn` in `/proc/self/status`
/// tells (proc(5)). If that cannot be read, no signal counts as ignored.
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
    fn the_phase_only_goes_forward() {
        let shutdown = Shutdown::new();
        let other = shutdown.clone();
        assert!(shutdown.is_running());
        shutdown.advance(Phase::Warm);
        shutdown.advance(Phase::Draining);
        assert_eq!(other.phase(), Phase::Warm);
        other.advance(Phase::Cold);
        assert_eq!(shutdown.phase(), Phase::Cold);
    }

    #[test]
    fn the_workers_own_stop_gives_way_to_requests() {
        let shutdown = Shutdown::new();
        assert!(shutdown.stop_of_itself());
        assert_eq!(shutdown.phase(), Phase::Warm);
        assert!(!shutdown.is_requested() && !shutdown.stop_of_itself());
        shutdown.clone().advance(Phase::Draining);
        assert!(!shutdown.is_requested());
        shutdown.clone().advance(Phase::Warm);
        assert!(shutdown.is_requested());
        for phase in [Phase::Draining, Phase::Warm, Phase::Cold] {
            let shutdown = Shutdown::new();
            shutdown.advance(phase);
            assert!(!shutdown.stop_of_itself(), "{phase:?}");
            assert_eq!(shutdown.phase(), phase);
        }
    }

    #[tokio::test]
    async fn a_soft_stop_becomes_cold_in_time_or_at_the_next_request() {
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
