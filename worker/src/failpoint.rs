//! Places where a test has the process die, or one of its parts fail, to see that nothing is lost there.
//!
//! They exist only with the feature `failpoints`, which the shipped binary is built without. `CELERY_FAIL_AT=settled` is death where
//! `settled` is passed the first time, `CELERY_FAIL_AT=settled:7` where it is passed the seventh time. `CELERY_PANIC_AT` is a
//! panic there. `CELERY_HANG_AT=lease` has this role of the consumer do nothing; `CELERY_STALLED=2` has that noticed after
//! so many seconds.

/// A place of this name.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::passed($name);
    };
}

pub(crate) use failpoint;

#[cfg(feature = "failpoints")]
pub(crate) use self::points::{hangs, passed, stalled};

#[cfg(feature = "failpoints")]
mod points {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    /// A place, and how often it is passed before something happens.
    struct Place(Option<(String, AtomicUsize)>);

    impl Place {
        fn of(variable: &str) -> Self {
            let read = || {
                let place = std::env::var(variable).ok()?;
                let (name, times) = place.split_once(':').unwrap_or((&place, "1"));
                Some((name.to_owned(), AtomicUsize::new(times.parse().ok()?)))
            };
            Place(read())
        }

        fn is_now(&self, name: &str) -> bool {
            self.0.as_ref().is_some_and(|(place, left)| {
                place == name && left.fetch_sub(1, Ordering::Relaxed) == 1
            })
        }
    }

    #[allow(clippy::panic, reason = "what it is for")]
    /// Dies if it is time to: at once, as by `kill -9`, without a word to anybody. Or panics.
    pub(crate) fn passed(name: &str) {
        static DEATH: OnceLock<Place> = OnceLock::new();
        static PANIC: OnceLock<Place> = OnceLock::new();
        if DEATH
            .get_or_init(|| Place::of("CELERY_FAIL_AT"))
            .is_now(name)
        {
            std::process::abort();
        }
        if PANIC
            .get_or_init(|| Place::of("CELERY_PANIC_AT"))
            .is_now(name)
        {
            std::panic::panic_any("as the test wants it");
        }
    }

    /// Whether this role hangs.
    pub(crate) fn hangs(role: &str) -> bool {
        std::env::var("CELERY_HANG_AT").is_ok_and(|hanging| hanging == role)
    }

    /// How long a role may not turn, if a test says so.
    pub(crate) fn stalled() -> Option<Duration> {
        static STALLED: OnceLock<Option<Duration>> = OnceLock::new();
        let read = || std::env::var("CELERY_STALLED").ok()?.parse().ok();
        STALLED
            .get_or_init(|| read().map(Duration::from_secs))
            .as_ref()
            .copied()
    }
}
