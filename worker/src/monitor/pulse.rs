//! Shows whether loops still turn. A loop that has nothing to do still turns from time to time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

/// A loop that has not turned for this long hangs. Every wait in the watched loops is shorter. The
/// longest wait is for an answer of the broker: up to 80 s, after several calls without an answer.
const STALLED: Duration = Duration::from_secs(90);

fn stalled() -> Duration {
    #[cfg(feature = "failpoints")]
    if let Some(stalled) = crate::failpoint::stalled() {
        return stalled;
    }
    STALLED
}

/// The watched loops.
#[derive(Debug, Default)]
pub(crate) struct Pulses(Mutex<Vec<(&'static str, Weak<Pulse>)>>);

impl Pulses {
    /// Returns the pulse of a loop. It is watched until the loop drops it.
    pub(crate) fn watch(&self, name: &'static str) -> Arc<Pulse> {
        let pulse = Arc::new(Pulse::default());
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push((name, Arc::downgrade(&pulse)));
        pulse
    }

    /// Returns the loops that no longer turn, each with the time since its last turn.
    pub(crate) fn hanging(&self, now: Instant) -> Vec<(&'static str, Duration)> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pulses = watched
            .iter()
            .filter_map(|(name, pulse)| Some((*name, pulse.upgrade()?)));
        pulses
            .filter(|(_, pulse)| !pulse.is_alive(now))
            .map(|(name, pulse)| (name, pulse.age(now)))
            .collect()
    }
}

/// Records when a loop last turned.
#[derive(Debug)]
pub(crate) struct Pulse {
    born: Instant,
    /// Milliseconds after `born`.
    last: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Pulse {
            born: Instant::now(),
            last: AtomicU64::new(0),
        }
    }
}

impl Pulse {
    /// Records that the loop has turned.
    pub(crate) fn beat(&self) {
        self.beat_at(Instant::now());
    }

    /// Waits for something to do, however long that takes, and keeps the pulse alive meanwhile.
    pub(crate) async fn idle<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = std::pin::pin!(wait);
        loop {
            self.beat();
            tokio::select! {
                biased;
                done = &mut wait => return done,
                () = self.turn() => {}
            }
        }
    }

    /// Waits until it is time to turn.
    pub(crate) async fn turn(&self) {
        tokio::time::sleep(stalled() / 6).await;
    }

    fn beat_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.born).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// Returns the time since the last turn.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born)
            .saturating_sub(last)
    }

    /// Returns `true` if the loop still turns.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.age(now) < stalled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_does_not_turn_is_dead_after_a_while() {
        let pulse = Pulse::default();
        let later = pulse.born + 2 * STALLED;
        assert!(pulse.is_alive(pulse.born));
        assert!(!pulse.is_alive(later));
        pulse.beat_at(later);
        assert!(
            pulse.is_alive(
                (later + STALLED)
                    .checked_sub(Duration::from_secs(1))
                    .unwrap()
            )
        );
        assert!(!pulse.is_alive(later + STALLED));
        // A loop that hangs is listed by its name until it ends.
        let pulses = Pulses::default();
        let (fetch, lease) = (pulses.watch("fetch"), pulses.watch("lease"));
        let late = lease.born + 2 * STALLED;
        fetch.beat_at(late);
        let hanging: Vec<_> = pulses.hanging(late).iter().map(|(name, _)| *name).collect();
        assert_eq!(hanging, ["lease"]);
        drop(lease);
        assert!(pulses.hanging(late).is_empty());
        // A clock that seems to go back does not count as a hang.
        assert_eq!(pulse.age(pulse.born), Duration::ZERO);
    }
}
