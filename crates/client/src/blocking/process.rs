//! Distinguishes a forked child from its parent.
//!
//! A child has copies of its parent's sockets and must not use them. To ask the system for the
//! process id costs a system call each time. A program that learns of its forks (`pthread_atfork`)
//! can report them here and save that call.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static REPORTED: AtomicBool = AtomicBool::new(false);
static FORKS: AtomicU32 = AtomicU32::new(0);

/// The identity of a process, which differs from that of its parent and of its own forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// Returns the identity of the current process. Without reports it is the process id. With
    /// reports it is the number of forks, which needs no system call.
    pub fn current() -> Self {
        if REPORTED.load(Ordering::Relaxed) {
            Self(FORKS.load(Ordering::Relaxed))
        } else {
            Self(std::process::id())
        }
    }

    /// Promises that [`forked`](Self::forked) runs in every child from now on. Call it before the
    /// first connection.
    pub fn forks_are_reported() {
        REPORTED.store(true, Ordering::Relaxed);
    }

    /// Notes that this process has just been forked from another. It does only what a signal
    /// handler may do.
    pub fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn another() -> Self {
        Self(Self::current().0.wrapping_add(1))
    }
}
