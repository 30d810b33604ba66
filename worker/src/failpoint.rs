//! Places where a test has the process die, to see that nothing is lost there.
//!
//! They exist only with the feature `failpoints`, which the shipped binary is built without. `CELERY_FAIL_AT=settled` is death where
//! `settled` is passed the first time, `CELERY_FAIL_AT=settled:7` where it is passed the seventh time.

/// A place of this name.
macro_rules! failpoint {
    ($name:literal) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::passed($name);
    };
}

pub(crate) use failpoint;

/// Dies if it is time to: at once, as by `kill -9`, without a word to anybody.
#[cfg(feature = "failpoints")]
pub(crate) fn passed(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static PLACE: OnceLock<Option<(String, AtomicUsize)>> = OnceLock::new();
    let place = PLACE.get_or_init(|| {
        let place = std::env::var("CELERY_FAIL_AT").ok()?;
        let (name, times) = place.split_once(':').unwrap_or((&place, "1"));
        Some((name.to_owned(), AtomicUsize::new(times.parse().ok()?)))
    });
    if let Some((place, left)) = place
        && place == name
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        std::process::abort();
    }
}
