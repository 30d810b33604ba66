//! Stops the worker when its process reaches its limit of tasks or of memory.
//!
//! Celery replaces the child process that reaches `worker_max_tasks_per_child` or
//! `worker_max_memory_per_child`. This worker has one process: it stops warm, gives back what it
//! holds, and ends with an exit code at which a supervisor starts the program again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use crate::lifecycle::ALWAYS;
use crate::shutdown::Shutdown;

/// The time between two readings of the memory of the process. Tasks can allocate much memory
/// within seconds.
const LOOK: Duration = Duration::from_secs(1);

/// The limits of a process, and what it has used of them.
#[derive(Debug, Default)]
pub(crate) struct Recycling {
    /// The number of tasks after which the worker stops.
    tasks: Option<usize>,
    /// The resident memory at which the worker stops, in KiB.
    memory: Option<usize>,
    done: AtomicUsize,
    due: AtomicBool,
}

impl Recycling {
    pub(crate) fn new(tasks: Option<usize>, memory: Option<usize>) -> Self {
        Recycling {
            tasks,
            memory,
            ..Self::default()
        }
    }

    /// Returns `true` if the worker has stopped because of a limit and no stop was requested.
    pub(crate) fn is_due(&self, shutdown: &Shutdown) -> bool {
        self.due.load(Ordering::Acquire) && !shutdown.is_requested()
    }

    /// Counts a task that has run.
    pub(super) fn one_more(&self, shutdown: &Shutdown) {
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        if self.tasks == Some(done) {
            let cause = format!("{done} tasks have run (max_tasks_per_child)");
            self.end(shutdown, &cause);
        }
    }

    /// Reads the memory of the process until it reaches the limit. Returns at once if there is no
    /// limit.
    ///
    /// As in Celery, a process runs at least one task, so that a limit that is too small does not
    /// keep every task from running.
    pub(crate) async fn watch_memory(&self, shutdown: &Shutdown) {
        let Some(most) = self.memory else { return };
        let mut looks = tokio::time::interval(LOOK);
        loop {
            looks.tick().await;
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let resident = resident(&status).filter(|resident| *resident >= most);
            if let Some(resident) = resident
                && self.done.load(Ordering::Relaxed) > 0
            {
                let cause = format!("the process takes {resident} KiB (max_memory_per_child)");
                return self.end(shutdown, &cause);
            }
        }
    }

    /// Stops the worker. Does nothing if it drains or stops already, so that a requested stop is
    /// reported as requested.
    fn end(&self, shutdown: &Shutdown, cause: &str) {
        if !shutdown.is_running() {
            return;
        }
        tracing::info!(target: ALWAYS, "{cause}; giving back what is held and stopping");
        if shutdown.stop_of_itself() {
            self.due.store(true, Ordering::Release);
        }
    }
}

/// Returns the resident memory in KiB that `/proc/self/status` names.
fn resident(status: &str) -> Option<usize> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shutdown::Phase;

    #[test]
    fn the_limit_of_tasks_stops_the_worker_once() {
        let (recycling, shutdown) = (Recycling::new(Some(2), None), Shutdown::new());
        recycling.one_more(&shutdown);
        assert!(!recycling.is_due(&shutdown) && shutdown.is_running());
        recycling.one_more(&shutdown);
        assert!(recycling.is_due(&shutdown));
        assert_eq!(shutdown.phase(), Phase::Warm);
    }

    #[test]
    fn a_stop_that_was_requested_before_stays_one() {
        for phase in [Phase::Draining, Phase::Warm, Phase::Cold] {
            let (recycling, shutdown) = (Recycling::new(Some(1), None), Shutdown::new());
            shutdown.advance(phase);
            recycling.one_more(&shutdown);
            assert!(!recycling.is_due(&shutdown));
            assert_eq!(shutdown.phase(), phase);
        }
        let (unlimited, shutdown) = (Recycling::default(), Shutdown::new());
        unlimited.one_more(&shutdown);
        assert!(!unlimited.is_due(&shutdown));
    }

    #[test]
    fn a_stop_that_is_requested_later_takes_precedence() {
        let (recycling, shutdown) = (Recycling::new(Some(1), None), Shutdown::new());
        recycling.one_more(&shutdown);
        shutdown.advance(Phase::Draining);
        assert!(recycling.is_due(&shutdown));
        shutdown.advance(Phase::Warm);
        assert!(!recycling.is_due(&shutdown));
    }

    #[tokio::test]
    async fn the_limit_of_memory_stops_the_worker() {
        let (recycling, shutdown) = (Recycling::new(None, Some(1)), Shutdown::new());
        recycling.one_more(&shutdown);
        assert!(!recycling.is_due(&shutdown));
        recycling.watch_memory(&shutdown).await;
        assert!(recycling.is_due(&shutdown));
    }

    #[test]
    fn resident_memory_is_read_from_the_status_of_the_process() {
        assert_eq!(resident("VmPeak:\t9 kB\nVmRSS:\t    5120 kB\n"), Some(5120));
        for status in ["", "VmRSS:\t5120\n", "VmRSS: x kB"] {
            assert_eq!(resident(status), None, "{status}");
        }
    }
}
