//! Measures how long binding takes (putting a call's arguments in their places), so that the
//! executor can limit it.
//!
//! Binding has no await, so nothing can interrupt it, and the message decides how much work it is.
//! The work grows with the length of the arguments, so a call with small arguments needs no watch.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use celery_protocol::message::Task;

/// Arguments shorter than this, in bytes, are bound within milliseconds.
const LARGE: usize = 1 << 20;

/// The binding of one call, or of the calls of one batch. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Binding(Arc<Mutex<Progress>>);

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    #[default]
    Ahead,
    Since(Instant),
    Done,
}

impl Binding {
    /// Returns the binding of these calls if it has to be watched.
    pub(crate) fn of<'t>(tasks: impl IntoIterator<Item = &'t Task>) -> Option<Self> {
        let sizes = tasks
            .into_iter()
            .map(|task| task.args.get().len() + task.kwargs.get().len());
        (sizes.sum::<usize>() >= LARGE).then(Self::default)
    }

    /// Records that the binding begins. Dropping the returned guard records its end.
    pub(crate) fn begin(&self) -> Underway {
        self.set(Progress::Since(Instant::now()));
        Underway(self.clone())
    }

    /// Waits until the binding has taken longer than `limit`. Never returns if the binding ends
    /// earlier.
    pub(crate) async fn overdue(&self, limit: Duration) {
        while let Some(wait) = self.wait(limit, Instant::now()) {
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait).await;
        }
        std::future::pending::<()>().await;
    }

    /// Returns how long to wait before looking again: zero if the binding takes longer than
    /// `limit`, `None` if it has ended.
    fn wait(&self, limit: Duration, now: Instant) -> Option<Duration> {
        match self.progress() {
            Progress::Ahead => Some(limit),
            Progress::Since(begin) => {
                Some(limit.saturating_sub(now.saturating_duration_since(begin)))
            }
            Progress::Done => None,
        }
    }

    fn progress(&self) -> Progress {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, progress: Progress) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }
}

/// Ends the binding when it is dropped.
#[derive(Debug)]
pub(crate) struct Underway(Binding);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.set(Progress::Done);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::testing;

    #[test]
    fn waiting_before_the_binding_is_not_timed() {
        const LIMIT: Duration = Duration::from_secs(30);
        let (binding, start) = (Binding::default(), Instant::now());
        // A call that waits for a thread or a core has not begun.
        assert_eq!(binding.wait(LIMIT, start + 9 * LIMIT), Some(LIMIT));
        let underway = binding.begin();
        let begin = Instant::now();
        assert!(binding.wait(LIMIT, begin + LIMIT / 2) <= Some(LIMIT / 2));
        assert_eq!(binding.wait(LIMIT, begin + LIMIT), Some(Duration::ZERO));
        drop(underway);
        assert_eq!(binding.wait(LIMIT, begin + 9 * LIMIT), None);
    }

    #[test]
    fn large_arguments_are_watched_alone_or_together() {
        let half = testing::task("t", &format!("[\"{}\"]", "x".repeat(LARGE / 2)));
        assert!(Binding::of([&half]).is_none());
        assert!(Binding::of([&half, &half]).is_some());
    }
}
