//! Runs tasks that end at once, one after the other, on one thread.
//!
//! A runtime wakes a thread for each future that it is given. For a task that ends after some
//! microseconds, that costs more than the task. The lane therefore polls the future of a task once.
//! If the task has not ended by then, the runtime of tasks gets it like any other.
//!
//! The thread is one of that runtime's pool for blocking code. What a task does there happens in the
//! context of the runtime, but the runtime's own threads stay free. A future that a task wakes, or
//! that the lane hands over, goes to a queue that all of them serve.
//!
//! A task in the lane delays those behind it, so the lane is for short tasks only. A name whose
//! task waits for something, or takes longer than [`SHORT`], is kept out of the lane for its next
//! [`OUT`] calls. If a task does not return at all, [`Lane::rescue`] gives the tasks behind it to
//! the runtime, and the lane takes no more until it does.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;

/// A task that takes longer gains from a thread of its own more than it loses by waking it: that
/// takes about this long on an idle machine.
const SHORT: Duration = Duration::from_micros(50);

/// How many calls of a name are kept out of the lane after one that was not short. It is small,
/// because the system may have paused the thread of a short task.
const OUT: u32 = 100;

/// How long a task may keep the lane before the tasks behind it leave.
const STUCK: Duration = Duration::from_millis(20);

/// How often the lane is looked at while it is in use.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Tells whether the tasks of one name belong in the lane.
///
/// Clones are handles of one standing.
#[derive(Clone, Debug, Default)]
pub(super) struct Standing {
    /// The number of calls that are still kept out of the lane.
    out: Arc<AtomicU32>,
}

impl Standing {
    /// Counts a call. Returns `true` if it belongs in the lane.
    pub(super) fn is_short(&self) -> bool {
        let one_less = |out: u32| out.checked_sub(1);
        let counted = self
            .out
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
        counted.is_err()
    }

    fn keep_out(&self) {
        self.out.store(OUT, Ordering::Relaxed);
    }
}

/// A task that waits for the lane.
struct Call {
    standing: Standing,
    run: BoxFuture<'static, ()>,
}

/// The lane. Clones are handles of one lane.
#[derive(Clone)]
pub(super) struct Lane {
    tasks: Handle,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Call>,
    /// While the lane is open: when it was opened, or when the present poll began.
    since: Option<Instant>,
}

impl Lane {
    pub(super) fn new(tasks: Handle) -> Self {
        Lane {
            tasks,
            state: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No locked section can panic between two changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns `true` while the lane runs tasks.
    pub(super) fn is_open(&self) -> bool {
        self.lock().since.is_some()
    }

    /// Runs a call after those that wait already.
    pub(super) fn run(&self, standing: &Standing, run: BoxFuture<'static, ()>) {
        let now = Instant::now();
        let mut state = self.lock();
        if state.is_stuck(now) {
            drop(state);
            self.tasks.spawn(run);
            return;
        }
        let standing = standing.clone();
        state.waiting.push_back(Call { standing, run });
        if state.since.is_none() {
            state.since = Some(now);
            drop(state);
            let lane = self.clone();
            self.tasks.spawn_blocking(move || lane.drain());
        }
    }

    /// Gives the tasks behind one that does not return to the runtime.
    pub(super) fn rescue(&self) {
        let mut state = self.lock();
        if state.is_stuck(Instant::now()) {
            let behind = std::mem::take(&mut state.waiting);
            drop(state);
            for call in behind {
                self.tasks.spawn(call.run);
            }
        }
    }

    /// Runs the waiting calls until there are none.
    fn drain(self) {
        let mut began = Instant::now();
        while let Some(mut call) = self.next(began) {
            let polled = poll_once(&mut call.run);
            let ended = Instant::now();
            if polled.is_pending() || ended > began + SHORT {
                call.standing.keep_out();
            }
            if polled.is_pending() {
                // The runtime polls it again at once, with a waker that works.
                self.tasks.spawn(call.run);
            }
            began = ended;
        }
    }

    /// Returns the next call, whose poll begins now. If there is none, the lane is closed.
    fn next(&self, now: Instant) -> Option<Call> {
        let mut state = self.lock();
        let call = state.waiting.pop_front();
        state.since = call.is_some().then_some(now);
        call
    }
}

/// Polls a call once. The code of a task does not panic here; a bug of the worker ends this call
/// alone.
fn poll_once(run: &mut BoxFuture<'static, ()>) -> Poll<()> {
    let mut context = Context::from_waker(Waker::noop());
    let poll = AssertUnwindSafe(|| run.as_mut().poll(&mut context));
    std::panic::catch_unwind(poll).unwrap_or(Poll::Ready(()))
}

impl State {
    /// Returns `true` if the task that is being polled does not return, or if the runtime has not
    /// given the lane a thread.
    fn is_stuck(&self, now: Instant) -> bool {
        let since = self.since;
        since.is_some_and(|since| now.saturating_duration_since(since) > STUCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_short_is_kept_out_for_some_calls() {
        let standing = Standing::default();
        assert!(standing.is_short() && standing.is_short());
        standing.keep_out();
        for call in 0..OUT {
            assert!(!standing.is_short(), "{call}");
        }
        assert!(standing.is_short());
    }
}
