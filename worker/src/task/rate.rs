//! Rate limits of tasks: how often a worker may begin a task.
//!
//! As in Celery, each task has a token bucket of its own, which holds one token: tasks begin one by
//! one, evenly spread, and a pause does not allow a burst.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use celery_protocol::duration::LONGEST;

/// The most bytes of a rate's text. Requests choose it, and it is kept and shown.
const MOST_TEXT: usize = 64;

/// A rate, such as `10/m`. Celery's `rate_limit`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rate {
    /// The rate as it was written.
    text: String,
    /// The time between two tasks.
    interval: Duration,
}

/// A text that is not a rate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a rate; write for example 10/s, 100/m or 3/h, or 0 for no limit")]
pub(crate) struct RateError(String);

impl Rate {
    /// Reads a rate: a number of tasks, and the unit of time, `s`, `m` or `h`. Without a unit it is
    /// `s`. Returns `None` for 0, which means no limit.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, RateError> {
        let text = text.trim();
        let wrong = || RateError(text.chars().take(MOST_TEXT).collect());
        if text.len() > MOST_TEXT {
            return Err(wrong());
        }
        let (tasks, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(wrong()),
        };
        let tasks: f64 = tasks.trim().parse().map_err(|_| wrong())?;
        if !tasks.is_finite() || tasks < 0.0 {
            return Err(wrong());
        }
        if tasks == 0.0 {
            return Ok(None);
        }
        let interval = Duration::try_from_secs_f64(seconds / tasks).unwrap_or(LONGEST);
        Ok(Some(Rate {
            text: text.to_owned(),
            interval: interval.min(LONGEST),
        }))
    }
}

impl Rate {
    /// Returns the time between two tasks.
    pub(crate) fn interval(&self) -> Duration {
        self.interval
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The rate limit of a task, which can change while the worker runs.
#[derive(Debug, Default)]
pub(crate) struct RateLimit {
    bucket: Mutex<Option<Bucket>>,
    /// Wakes the task that waits for its turn: the rate has changed.
    changed: Notify,
}

#[derive(Debug)]
struct Bucket {
    rate: Rate,
    /// When the next task may begin.
    next: Instant,
}

impl RateLimit {
    fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        // A panic in a locked section cannot leave half a bucket.
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the rate from now on. `None` means no limit.
    pub(crate) fn set(&self, rate: Option<Rate>, now: Instant) {
        *self.lock() = rate.map(|rate| Bucket { rate, next: now });
        self.changed.notify_one();
    }

    /// Returns the rate.
    pub(crate) fn rate(&self) -> Option<Rate> {
        self.lock().as_ref().map(|bucket| bucket.rate.clone())
    }

    /// Returns `true` if there is a limit.
    pub(crate) fn is_set(&self) -> bool {
        self.lock().is_some()
    }

    /// Returns how long to wait until there is a token.
    fn wait(&self, now: Instant) -> Duration {
        let bucket = self.lock();
        let next = bucket.as_ref().map(|bucket| bucket.next);
        next.map_or(Duration::ZERO, |next| next.saturating_duration_since(now))
    }

    /// Takes the token that [`turn`](Self::turn) has waited for.
    pub(crate) fn take(&self, now: Instant) {
        if let Some(bucket) = self.lock().as_mut() {
            bucket.next = now + bucket.rate.interval;
        }
    }

    /// Waits until one more task may begin, which then takes its token. One future at a time may
    /// wait.
    pub(crate) async fn turn(&self) {
        loop {
            let wait = self.wait(Instant::now());
            if wait.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(text: &str) -> Option<Rate> {
        Rate::parse(text).unwrap()
    }

    #[test]
    fn rates_are_read_as_in_celery() {
        for (text, millis) in [
            ("10/s", 100),
            ("100/m", 600),
            ("2/h", 1_800_000),
            ("0.5/s", 2_000),
            ("4", 250),
            ("1e3/s", 1),
            ("5/", 200),
        ] {
            let rate = rate(text).unwrap();
            assert_eq!(rate.interval, Duration::from_millis(millis), "{text}");
            assert_eq!(rate.to_string(), text);
        }
        for none in ["0", "0/m", "0.0/h"] {
            assert_eq!(rate(none), None, "{none}");
        }
        for wrong in ["", "x", "1/d", "1/M", "-1/s", "nan/s", "inf", "/s", "1/m/s"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
        // The text is kept, so it is short.
        assert_eq!(
            rate(&format!(" 10/s{}", " ".repeat(100_000)))
                .unwrap()
                .to_string(),
            "10/s"
        );
        let error = Rate::parse(&"1".repeat(100_000)).unwrap_err();
        assert!(error.to_string().len() < 200, "{error}");
        // A very low rate does not make the next point in time overflow.
        assert_eq!(rate("1e-300/h").unwrap().interval, LONGEST);
    }

    #[test]
    fn tasks_are_spread_and_a_pause_allows_no_burst() {
        let (limit, now) = (RateLimit::default(), Instant::now());
        assert_eq!((limit.wait(now), limit.is_set()), (Duration::ZERO, false));
        limit.take(now);
        assert!(limit.wait(now).is_zero());
        limit.set(rate("10/s"), now);
        let after = |millis| now + Duration::from_millis(millis);
        for (at, wait) in [(0, 0), (0, 100), (99, 1), (100, 0), (5_000, 0), (5_001, 99)] {
            let found = limit.wait(after(at));
            assert_eq!(found, Duration::from_millis(wait), "after {at} ms");
            if wait == 0 {
                limit.take(after(at));
            }
        }
        // Waiting alone takes nothing.
        assert!(limit.wait(after(5_100)).is_zero() && limit.wait(after(5_100)).is_zero());
        limit.set(None, after(5_001));
        assert!(limit.wait(after(5_001)).is_zero());
    }

    #[tokio::test]
    async fn a_new_rate_counts_for_the_task_that_waits() {
        let limit = std::sync::Arc::new(RateLimit::default());
        limit.set(rate("1/h"), Instant::now());
        limit.turn().await;
        limit.take(Instant::now());
        let waiting = tokio::spawn({
            let limit = std::sync::Arc::clone(&limit);
            async move { limit.turn().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        limit.set(None, Instant::now());
        waiting.await.unwrap();
    }
}
