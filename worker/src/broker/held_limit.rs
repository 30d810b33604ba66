//! The limit on the number of held messages. It follows the tasks: a worker whose tasks are short
//! holds more of them, so that it need not wait for its next claim.
//!
//! The limit is the number of messages that the worker settles in [`AHEAD`], between a least and a
//! most number. It takes its time as an argument.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How much work may be held. With the default multiplier of 4, the limit grows once all slots run
/// tasks that end within a quarter of this, 10 ms. What is held then is also a small part of what
/// the worker gives back in a second when it stops.
const AHEAD: Duration = Duration::from_millis(40);

/// The least time over which messages are counted: several claims of a busy worker.
const WINDOW: Duration = Duration::from_millis(20);

/// The limit, and the count that it follows.
#[derive(Debug)]
pub(crate) struct HeldLimit {
    least: AtomicUsize,
    most: usize,
    now: AtomicUsize,
    /// The messages settled since the window began.
    settled: AtomicUsize,
    /// When the window began. `None` until the first one begins.
    begin: Mutex<Option<Instant>>,
}

impl HeldLimit {
    /// Returns a limit from `least` to `most`. If `most` is not larger, the limit is `least`.
    pub(crate) fn between(least: usize, most: usize) -> Self {
        HeldLimit {
            least: AtomicUsize::new(least),
            most,
            now: AtomicUsize::new(least),
            settled: AtomicUsize::new(0),
            begin: Mutex::default(),
        }
    }

    /// Returns the present limit.
    pub(crate) fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// Changes the least number. The limit begins with it again.
    pub(crate) fn set_least(&self, least: usize) {
        // `adapt` must not overwrite the change with what it has computed from the old number.
        let _begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        self.least.store(least, Ordering::Relaxed);
        self.now.store(least, Ordering::Relaxed);
    }

    /// Counts settled messages.
    pub(crate) fn settled(&self, count: usize) {
        self.settled.fetch_add(count, Ordering::Relaxed);
    }

    /// Sets the limit from what was settled in the window that ends now. It falls by half at most,
    /// so that a pause of the system does not undo it. Does nothing while the window is short.
    pub(crate) fn adapt(&self, now: Instant) {
        let mut begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner);
        let least = self.least.load(Ordering::Relaxed);
        if self.most <= least {
            return;
        }
        let elapsed = begin.map_or(Duration::ZERO, |begin| now.saturating_duration_since(begin));
        if begin.is_some() && elapsed < WINDOW {
            return;
        }
        *begin = Some(now);
        let settled = self.settled.swap(0, Ordering::Relaxed) as u128;
        if elapsed.is_zero() {
            return;
        }
        let ahead = settled * AHEAD.as_micros() / elapsed.as_micros().max(1);
        let ahead = usize::try_from(ahead).unwrap_or(usize::MAX);
        // After a longer pause nothing is known about the tasks that come next.
        let kept = if elapsed > 10 * WINDOW {
            0
        } else {
            self.get() / 2
        };
        let limit = ahead.max(kept).clamp(least, self.most);
        self.now.store(limit, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Settles this many messages in each of `windows` windows, and returns the limit.
    fn after(limit: &HeldLimit, at: &mut Instant, windows: u32, settled: usize) -> usize {
        for _ in 0..windows {
            limit.settled(settled);
            *at += WINDOW;
            limit.adapt(*at);
        }
        limit.get()
    }

    #[test]
    fn the_limit_grows_while_tasks_are_short() {
        let limit = HeldLimit::between(400, 1_600);
        let mut at = Instant::now();
        limit.adapt(at);
        assert_eq!(limit.get(), 400);
        // A hundred slots whose tasks take 100 ms, 10 ms, 5 ms, or hardly any time.
        for (settled, expected) in [(20, 400), (200, 400), (400, 800), (2_000, 1_600)] {
            assert_eq!(after(&limit, &mut at, 3, settled), expected, "{settled}");
        }
        // It falls step by step when tasks become long, and at once after a pause.
        assert_eq!(after(&limit, &mut at, 1, 0), 800);
        assert_eq!(after(&limit, &mut at, 2, 0), 400);
        assert_eq!(after(&limit, &mut at, 1, 2_000), 1_600);
        limit.adapt(at + 11 * WINDOW);
        assert_eq!(limit.get(), 400);
    }

    #[test]
    fn a_given_limit_is_exact() {
        for (least, most) in [(7, 7), (2_000, 1_600), (1, 0)] {
            let limit = HeldLimit::between(least, most);
            let mut at = Instant::now();
            assert_eq!(after(&limit, &mut at, 5, 1_000_000), least);
        }
    }

    #[test]
    fn the_least_number_can_change() {
        for (most, expected) in [(1_600, 1_600), (0, 100)] {
            let limit = HeldLimit::between(400, most);
            let mut at = Instant::now();
            limit.set_least(100);
            assert_eq!(limit.get(), 100);
            limit.adapt(at);
            assert_eq!(after(&limit, &mut at, 2, 1_000_000), expected);
        }
    }

    #[test]
    fn a_short_window_is_not_counted_alone() {
        let limit = HeldLimit::between(10, 100);
        let at = Instant::now();
        limit.adapt(at);
        limit.settled(1_000);
        limit.adapt(at + WINDOW / 2);
        assert_eq!(limit.get(), 10);
        limit.adapt(at + WINDOW);
        assert_eq!(limit.get(), 100);
    }
}
