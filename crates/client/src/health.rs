//! Whether the roles of a worker have their server, for all async drivers.
//!
//! Roles share a [`Health`], which limits the log to two lines for each outage. The first role that
//! loses its server logs one. The last role that regains it logs the other.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// The number of roles without their server, shared by these roles.
#[derive(Debug, Default)]
pub struct Health {
    down: AtomicUsize,
    /// Whether the present outage has been logged.
    told: AtomicBool,
    reconnects: AtomicU64,
    changed: tokio::sync::Notify,
}

impl Health {
    /// Returns `true` if every role has its server, as far as it knows.
    pub fn is_up(&self) -> bool {
        self.down.load(Ordering::Acquire) == 0
    }

    /// Returns how often a role regained a server that it had lost.
    pub fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Waits until every role has its server.
    pub async fn up(&self) {
        loop {
            let changed = self.changed.notified();
            if self.is_up() {
                return;
            }
            changed.await;
        }
    }

    /// Logs that a role has lost its server, unless another role has logged the outage.
    fn lost(&self, server: &str, problem: &Problem<'_>) {
        if self.told.swap(true, Ordering::AcqRel) {
            return;
        }
        match problem {
            Problem::Refused(answer) => {
                tracing::error!("consumer: {server} refuses: {answer}. Trying again...");
            }
            Problem::Away(failure) => {
                tracing::error!("consumer: Cannot connect to {server}: {failure}. Trying again...");
            }
        }
    }

    fn back(&self, server: &str) {
        if self.down.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.told.store(false, Ordering::Release);
            tracing::info!("Connected to {server}");
        }
        self.changed.notify_waiters();
    }
}

/// Why a role is without its server, for the log.
pub enum Problem<'f> {
    /// The server answers, but refuses the role.
    Refused(&'f dyn fmt::Display),
    /// The server cannot be reached, or the connection broke.
    Away(&'f dyn fmt::Display),
}

/// The state of one role in the [`Health`] of its server.
pub struct Standing {
    health: Arc<Health>,
    down: bool,
    /// Whether a failure caused `down`; `false` if the role has not begun yet.
    lost: bool,
}

impl Standing {
    /// Returns the state of a role that has not begun yet.
    ///
    /// Until it has, the role counts as without its server, so that a start can wait for
    /// [`Health::up`].
    pub fn new(health: Arc<Health>) -> Self {
        health.down.fetch_add(1, Ordering::AcqRel);
        Standing {
            health,
            down: true,
            lost: false,
        }
    }

    /// Marks a role that has nothing to do at first: it counts as without its server only after a
    /// failure.
    #[must_use]
    pub fn at_need(mut self) -> Self {
        if self.down {
            self.down = false;
            self.health.down.fetch_sub(1, Ordering::AcqRel);
        }
        self
    }

    /// Notes that the role is without its server.
    pub fn failed(&mut self, server: &str, problem: &Problem<'_>) {
        self.lost = true;
        if !self.down {
            self.down = true;
            self.health.down.fetch_add(1, Ordering::AcqRel);
        }
        self.health.lost(server, problem);
    }

    /// Notes that the server has answered the role.
    pub fn worked(&mut self, server: impl FnOnce() -> String) {
        if std::mem::take(&mut self.lost) {
            self.health.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if self.down {
            self.down = false;
            self.health.back(&server());
        }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if self.down {
            self.health.down.fetch_sub(1, Ordering::AcqRel);
            self.health.changed.notify_waiters();
        }
    }
}
