//! Whether a loop still turns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A loop that has not turned for so long hangs. Every wait in the loops that are watched is shorter: an answer of the
/// broker, which after several that did not come is given 80 s, is the longest.
pub(super) const STALLED: Duration = Duration::from_secs(90);

/// The time of a loop's last turn.
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
    /// The loop has turned.
    pub(crate) fn beat(&self) {
        self.beat_at(Instant::now());
    }

    fn beat_at(&self, now: Instant) {
        let since = now.saturating_duration_since(self.born).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// How long ago it last turned.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.saturating_duration_since(self.born)
            .saturating_sub(last)
    }

    /// Whether it still turns.
    pub(crate) fn is_alive(&self, now: Instant) -> bool {
        self.age(now) < STALLED
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
        assert!(pulse.is_alive(later + STALLED - Duration::from_secs(1)));
        assert!(!pulse.is_alive(later + STALLED));
        // A clock that is read out of order is no death.
        assert_eq!(pulse.age(pulse.born), Duration::ZERO);
    }
}
