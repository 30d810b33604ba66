//! Places where a test makes the process die, or one of its parts fail, to see that nothing is lost
//! there.
//!
//! They exist only with the feature `failpoints`; the shipped binary is built without it.
//!
//! * `CELERY_FAIL_AT=settled` kills the process when it first passes `settled`,
//!   `CELERY_FAIL_AT=settled:7` when it passes it for the seventh time.
//! * `CELERY_PANIC_AT` causes a panic there instead, `CELERY_STOP_AT` stops the process as SIGSTOP
//!   does.
//! * `CELERY_HANG_AT=lease` makes the consumer's role `lease` do nothing. With `CELERY_STALLED=2`,
//!   a role that does nothing counts as hanging after two seconds.

/// Marks a place with this name.
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

    /// A place, and the number of passes that are left until the failure.
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

    #[allow(clippy::panic, reason = "a failpoint panics on purpose")]
    /// Aborts the process, panics or stops, if the test asks for it at this pass. Like `kill -9`, an abort
    /// comes at once, without a cleanup or a message.
    pub(crate) fn passed(name: &str) {
        static DEATH: OnceLock<Place> = OnceLock::new();
        static PANIC: OnceLock<Place> = OnceLock::new();
        static STOP: OnceLock<Place> = OnceLock::new();
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
            std::panic::panic_any("the test asked for this panic");
        }
        if STOP
            .get_or_init(|| Place::of("CELERY_STOP_AT"))
            .is_now(name)
        {
            // A process may always stop itself. If it did not, its test would wait in vain.
            let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP);
        }
    }

    /// Returns `true` if this role must hang.
    pub(crate) fn hangs(role: &str) -> bool {
        std::env::var("CELERY_HANG_AT").is_ok_and(|hanging| hanging == role)
    }

    /// Returns how long a role may be silent, if the test sets it.
    pub(crate) fn stalled() -> Option<Duration> {
        static STALLED: OnceLock<Option<Duration>> = OnceLock::new();
        let read = || std::env::var("CELERY_STALLED").ok()?.parse().ok();
        STALLED
            .get_or_init(|| read().map(Duration::from_secs))
            .as_ref()
            .copied()
    }
}
