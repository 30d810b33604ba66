//! Pauses between attempts: they double up to a limit and carry random jitter.
//!
//! The caller does the waiting, so blocking and async code share the type.

use std::time::Duration;

/// The first pause. A restarted Redis is often back within tens of milliseconds, so the first
/// attempts follow each other quickly.
const FLOOR: Duration = Duration::from_millis(25);

/// The longest pause. The client must work again two seconds after its server is back. An attempt
/// may first have to wait out a pause that has just begun.
const CAP: Duration = Duration::from_millis(800);

/// The state of the pauses: their limits, and the number of attempts that have failed in a row.
#[derive(Clone, Debug)]
pub struct Backoff {
    floor: Duration,
    cap: Duration,
    failures: u32,
}

impl Default for Backoff {
    fn default() -> Self {
        Self::between(FLOOR, CAP)
    }
}

impl Backoff {
    /// Returns a backoff without failures, with the pauses for a Redis.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a backoff without failures, whose pauses double from `floor` up to `cap`.
    #[must_use]
    pub fn between(floor: Duration, cap: Duration) -> Self {
        Backoff {
            floor,
            cap,
            failures: 0,
        }
    }

    /// Counts a failure and returns the pause before the next attempt, with random jitter.
    ///
    /// The pause is between half and all of a duration that doubles up to the limit.
    pub fn pause(&mut self) -> Duration {
        self.failed(random())
    }

    /// Like [`pause`](Self::pause), with jitter from the caller: `random` is in 0..1.
    fn failed(&mut self, random: f64) -> Duration {
        let doubled = self.floor.saturating_mul(1 << self.failures.min(16));
        let whole = doubled.min(self.cap);
        self.failures = self.failures.saturating_add(1);
        whole.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }

    /// Resets the count after a success: the next pause is the shortest again.
    pub fn worked(&mut self) {
        self.failures = 0;
    }
}

/// Returns a number in 0..1 for jitter, taken from a random UUID, which this crate needs anyway.
pub fn random() -> f64 {
    let (bits, ..) = uuid::Uuid::new_v4().as_fields();
    f64::from(bits) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_cap_and_start_again() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..8).map(|_| backoff.failed(1.0).as_millis()).collect();
        assert_eq!(pauses, [25, 50, 100, 200, 400, 800, 800, 800]);
        backoff.worked();
        assert_eq!(backoff.failed(1.0), FLOOR);
    }

    #[test]
    fn pauses_may_be_longer() {
        let seconds = Duration::from_secs;
        let mut backoff = Backoff::between(Duration::from_millis(500), seconds(30));
        let pauses: Vec<_> = (0..9).map(|_| backoff.failed(1.0).as_millis()).collect();
        let expected = [
            500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
        ];
        assert_eq!(pauses, expected);
        assert_eq!(backoff.failed(0.0), seconds(15));
        backoff.worked();
        assert_eq!(backoff.failed(0.5), Duration::from_millis(375));
    }

    #[test]
    fn jitter_takes_up_to_half() {
        let mut backoff = Backoff::new();
        assert_eq!(backoff.failed(0.0), FLOOR / 2);
        for _ in 0..100 {
            backoff.failed(0.0);
        }
        assert_eq!(backoff.failed(0.0), CAP / 2);
    }

    #[test]
    fn random_is_in_range() {
        assert!((0..1000).map(|_| random()).all(|x| (0.0..1.0).contains(&x)));
    }
}
