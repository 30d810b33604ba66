//! Telling a forked child from its parent.
//!
//! A child has copies of its parent's sockets and must not use them. Asking the system each time which process this is
//! costs a system call; a program that is told of forks (`pthread_atfork`) passes the news on and spares it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

static REPORTED: AtomicBool = AtomicBool::new(false);
static FORKS: AtomicU32 = AtomicU32::new(0);

/// A process, as one of a parent and its forks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(u32);

impl Process {
    /// The process that asks: by its number, or without a system call by the forks that were reported.
    pub fn current() -> Self {
        if REPORTED.load(Ordering::Relaxed) {
            Self(FORKS.load(Ordering::Relaxed))
        } else {
            Self(std::process::id())
        }
    }

    /// Promises that [`forked`](Self::forked) is called in every child from now on. Call it before anything connects.
    pub fn forks_are_reported() {
        REPORTED.store(true, Ordering::Relaxed);
    }

    /// This process has just been forked from another. Does nothing that a signal handler may not do.
    pub fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn another() -> Self {
        Self(Self::current().0.wrapping_add(1))
    }
}
