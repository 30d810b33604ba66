//! Runs tasks that end at once, one after the other, on one thread.
//!
//! A runtime wakes a thread for each future that it is given. For a task that ends after some
//! microseconds, that costs more than the task. The lane therefore polls the future of a task once.
//! If the task has not ended by then, the runtime of tasks gets it like any other.
//!
//! Calls begin in the order of their arrival: each takes its slot, or joins the line for one, when
//! its turn in the lane comes. A call for another thread is handed over at once while no call waits
//! in the lane, and otherwise when its turn comes.
//!
//! The thread is one of that runtime's pool for blocking code. What a task does there happens in the
//! context of the runtime, but the runtime's own threads stay free. A future that a task wakes, or
//! that the lane hands over, goes to a queue that all of them serve.
//!
//! A task in the lane delays those behind it, so the lane is for short tasks only. A name whose
//! task waits for something, or takes longer than [`SHORT`], is kept out of the lane for its next
//! [`OUT`] calls; those that wait in the lane already go to the runtime. After a task that takes
//! longer than [`LONG`], everything behind it does. If a task does not return at all,
//! [`Lane::watch`] gives the tasks behind it to the runtime, and the lane takes no more until it
//! does.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// A task that takes longer gains from a thread of its own more than it loses by waking it: that
/// takes about this long on an idle machine.
const SHORT: Duration = Duration::from_micros(50);

/// How many calls of a name are kept out of the lane after one that was not short. It is small,
/// because the system may have paused the thread of a short task.
const OUT: u32 = 100;

/// After a task that takes longer, the tasks behind it leave the lane: it may not be the only one.
const LONG: Duration = Duration::from_millis(1);

/// How long a task may keep the lane before the tasks behind it leave although it has not returned.
const STUCK: Duration = Duration::from_millis(20);

/// How often the lane is looked at while it is in use.
const LOOK: Duration = Duration::from_millis(20);

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

    /// Returns `true` if calls are kept out of the lane. Counts nothing.
    fn is_out(&self) -> bool {
        self.out.load(Ordering::Relaxed) > 0
    }

    fn keep_out(&self) {
        self.out.store(OUT, Ordering::Relaxed);
    }
}

/// A call that the lane runs or hands over.
pub(super) trait Runs: Send + 'static {
    /// Takes a slot, or joins the line for one. The lane calls this once for each call, in the order
    /// of their arrival, before it calls one of the other methods.
    fn line_up(&mut self);

    /// Returns the future that runs the call.
    fn run(self) -> BoxFuture<'static, ()>;

    /// Spawns that future where the call belongs if the lane does not run it.
    fn hand_over(self);
}

/// A call that waits for its turn in the lane.
struct Call<R> {
    /// `None`: the call does not run in the lane. It waits here only to keep the order.
    standing: Option<Standing>,
    call: R,
}

impl<R: Runs> Call<R> {
    fn leave(mut self) {
        self.call.line_up();
        self.call.hand_over();
    }
}

/// The lane. Clones are handles of one lane.
pub(super) struct Lane<R> {
    tasks: Handle,
    state: Arc<Mutex<State<R>>>,
    opened: Arc<Notify>,
}

impl<R> Clone for Lane<R> {
    fn clone(&self) -> Self {
        Lane {
            tasks: self.tasks.clone(),
            state: Arc::clone(&self.state),
            opened: Arc::clone(&self.opened),
        }
    }
}

struct State<R> {
    waiting: VecDeque<Call<R>>,
    /// While the lane is open: when it was opened, or when the present poll began.
    since: Option<Instant>,
}

impl<R: Runs> Lane<R> {
    pub(super) fn new(tasks: Handle) -> Self {
        Lane {
            tasks,
            state: Arc::new(Mutex::new(State {
                waiting: VecDeque::new(),
                since: None,
            })),
            opened: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<R>> {
        // No locked section can panic between two changes.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        self.lock().since.is_some()
    }

    /// Watches the lane without end: gives the tasks behind one that does not return to the
    /// runtime. It must run where no task can block it.
    pub(super) async fn watch(self) {
        loop {
            self.opened.notified().await;
            while self.is_open() {
                tokio::time::sleep(LOOK).await;
                let mut state = self.lock();
                if state.is_stuck(Instant::now()) {
                    state.empty();
                }
            }
        }
    }

    /// Runs a call in the lane, after those that wait already.
    pub(super) fn run(&self, standing: &Standing, call: R) {
        let standing = Some(standing.clone());
        let now = Instant::now();
        let mut state = self.lock();
        if state.is_stuck(now) {
            state.empty();
            return Call { standing, call }.leave();
        }
        state.waiting.push_back(Call { standing, call });
        if state.since.is_none() {
            state.since = Some(now);
            drop(state);
            let lane = self.clone();
            self.tasks.spawn_blocking(move || lane.drain());
            self.opened.notify_one();
        }
    }

    /// Hands a call over that is not for the lane, after those that wait already.
    pub(super) fn pass(&self, call: R) {
        let standing = None;
        let mut state = self.lock();
        if state.is_stuck(Instant::now()) {
            state.empty();
        }
        if state.waiting.is_empty() {
            // The call that is being polled, if any, has its slot or stands in the line.
            Call { standing, call }.leave();
        } else {
            state.waiting.push_back(Call { standing, call });
        }
    }

    /// Runs the waiting calls until there are none.
    fn drain(self) {
        let closing = Closing(&self);
        let mut began = Instant::now();
        while let Some(Call { standing, call }) = self.next(began) {
            let Some(standing) = standing.filter(|standing| !standing.is_out()) else {
                call.hand_over();
                continue;
            };
            let mut run = call.run();
            let polled = self.poll_once(&mut run);
            let ended = Instant::now();
            if polled.is_pending() || ended > began + SHORT {
                standing.keep_out();
            }
            if polled.is_pending() {
                // The runtime polls it again at once, with a waker that works.
                self.tasks.spawn(run);
            }
            if ended > began + LONG {
                self.lock().empty();
            }
            began = ended;
        }
        std::mem::forget(closing);
    }

    /// Polls a call once. The code of a task does not panic here; a bug of the worker ends this call
    /// alone.
    ///
    /// The call gets tokio's budget, as on the runtime: a task whose resources are always ready
    /// returns after some of them, so that a stop and a revocation reach it.
    fn poll_once(&self, run: &mut BoxFuture<'static, ()>) -> Poll<()> {
        let once = std::future::poll_fn(|_| {
            let mut context = Context::from_waker(Waker::noop());
            Poll::Ready(run.as_mut().poll(&mut context))
        });
        let poll = AssertUnwindSafe(|| self.tasks.block_on(once));
        std::panic::catch_unwind(poll).unwrap_or(Poll::Ready(()))
    }

    /// Returns the next call, whose turn it is and whose poll begins now. If there is none, the lane
    /// is closed.
    fn next(&self, now: Instant) -> Option<Call<R>> {
        let mut state = self.lock();
        let mut next = state.waiting.pop_front();
        if let Some(next) = &mut next {
            next.call.line_up();
        }
        state.since = next.is_some().then_some(now);
        next
    }
}

/// Closes the lane if its thread ends by a panic, such as that of a destructor.
struct Closing<'l, R: Runs>(&'l Lane<R>);

impl<R: Runs> Drop for Closing<'_, R> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.empty();
        state.since = None;
    }
}

impl<R: Runs> State<R> {
    /// Returns `true` if the task that is being polled does not return, or if the runtime has not
    /// given the lane a thread.
    fn is_stuck(&self, now: Instant) -> bool {
        let since = self.since;
        since.is_some_and(|since| now.saturating_duration_since(since) > STUCK)
    }

    /// Hands all waiting calls over.
    fn empty(&mut self) {
        for call in self.waiting.drain(..) {
            call.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Future = BoxFuture<'static, ()>;

    impl Runs for Future {
        fn line_up(&mut self) {}

        fn run(self) -> Future {
            self
        }

        fn hand_over(self) {
            tokio::spawn(self);
        }
    }

    /// Waits until a condition holds.
    async fn until(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_watch_alone_frees_what_waits_behind_a_task_that_does_not_return() {
        let lane: Lane<Future> = Lane::new(Handle::current());
        let watch = tokio::spawn(lane.clone().watch());
        // The lane may have been used before.
        for _ in 0..3 {
            let (release, released) = std::sync::mpsc::channel::<()>();
            let (begins, begun) = std::sync::mpsc::channel();
            let blocks = async move {
                begins.send(()).unwrap();
                let _ = released.recv();
            };
            lane.run(&Standing::default(), Box::pin(blocks));
            tokio::task::spawn_blocking(move || begun.recv().unwrap())
                .await
                .unwrap();
            let (done, ended) = tokio::sync::oneshot::channel();
            let short = async move { done.send(()).unwrap() };
            lane.run(&Standing::default(), Box::pin(short));
            tokio::time::timeout(Duration::from_secs(30), ended)
                .await
                .expect("the task behind it runs")
                .unwrap();
            drop(release);
            until("the lane closes", || !lane.is_open()).await;
        }
        watch.abort();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_task_whose_resources_are_always_ready_leaves_the_lane() {
        let lane: Lane<Future> = Lane::new(Handle::current());
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (stopped, free) = (Arc::clone(&stop), tokio::sync::Semaphore::new(1));
        let (done, ended) = tokio::sync::oneshot::channel();
        let endless = async move {
            while !stopped.load(Ordering::Relaxed) {
                drop(free.acquire().await);
            }
            done.send(()).unwrap();
        };
        lane.run(&Standing::default(), Box::pin(endless));
        until("the lane closes while the task goes on", || !lane.is_open()).await;
        stop.store(true, Ordering::Relaxed);
        ended.await.unwrap();
    }

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
