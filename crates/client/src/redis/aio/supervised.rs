//! The connection of one role, which reopens whenever it is lost.
//!
//! The role asks for [`Supervised::connection`] before each command and reports
//! [`Supervised::failed`] or [`Supervised::worked`] after it.
//!
//! Every failure closes the connection, whatever the server answered. That is right for a lost
//! connection, and also for these answers:
//!
//! * `READONLY` after a failover: the name may now lead to another server;
//! * `NOAUTH` after a change of the password;
//! * `LOADING`: a pause is all that is needed.
//!
//! Roles share a [`Health`], which limits the log to two lines for each outage. The first role that
//! loses its server logs one. The last role that regains it logs the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::connection::{ConnectOptions, Connection, Failure, Heard, Push};
use crate::backoff::Backoff;
use crate::redis::RedisEndpoint;

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

    fn lost(&self, server: &str, failure: &Failure) {
        if self.told.swap(true, Ordering::AcqRel) {
            return;
        }
        match failure {
            Failure::Refused(answer) => {
                tracing::error!("consumer: {server} refuses: {answer}. Trying again...");
            }
            _ => {
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

/// A connection that reopens whenever it is lost.
pub struct Supervised {
    endpoint: Arc<RedisEndpoint>,
    options: ConnectOptions,
    heard: Option<Heard>,
    turned: Option<Box<dyn Fn() + Send + Sync>>,
    health: Arc<Health>,
    open: Option<Connection>,
    backoff: Backoff,
    pause: Option<Duration>,
    /// The number of consecutive answers that did not come in time. Each doubles the time limit of
    /// the next one: a call that needs longer than its limit would otherwise be repeated without
    /// end. The first answer resets it.
    unanswered: u32,
    down: bool,
    /// Whether a failure caused `down`; `false` if the role has not begun yet.
    lost: bool,
}

/// The time limit of an answer is doubled at most this often, to 16 times its first value.
const MOST_DOUBLINGS: u32 = 4;

impl Supervised {
    /// Returns the connection of a role, which opens when it is first asked for.
    ///
    /// Until then the role counts as without its server, so that a start can wait for
    /// [`Health::up`].
    pub fn new(endpoint: Arc<RedisEndpoint>, options: ConnectOptions, health: Arc<Health>) -> Self {
        health.down.fetch_add(1, Ordering::AcqRel);
        Supervised {
            endpoint,
            options,
            heard: None,
            turned: None,
            health,
            open: None,
            backoff: Backoff::new(),
            pause: None,
            unanswered: 0,
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

    /// Passes the server's pushes to `heard`, on this connection and on those that replace it.
    #[must_use]
    pub fn listening(mut self, heard: impl Fn(Push) + Send + Sync + 'static) -> Self {
        self.heard = Some(Arc::new(heard));
        self
    }

    /// Calls `turned` after each answer and each failed attempt. The calls show that the role is
    /// alive even while its server is away.
    #[must_use]
    pub fn watched(mut self, turned: impl Fn() + Send + Sync + 'static) -> Self {
        self.turned = Some(Box::new(turned));
        self
    }

    /// Returns `true` if a connection is open, as far as known.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Returns the connection and opens it first if needed, however long that takes. The future may
    /// be dropped at any time without loss.
    pub async fn connection(&mut self) -> &mut Connection {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => self.reopen().await,
        };
        self.open.insert(connection)
    }

    async fn reopen(&mut self) -> Connection {
        loop {
            if let Some(pause) = self.pause {
                tokio::time::sleep(pause).await;
                self.pause = None;
            }
            match self.try_open().await {
                Ok(connection) => return connection,
                Err(failure) => self.failed(&failure),
            }
        }
    }

    async fn try_open(&self) -> Result<Connection, Failure> {
        let mut options = self.options.clone();
        options.response_timeout *= 1 << self.unanswered;
        match &self.heard {
            None => Connection::open(&self.endpoint, &options).await,
            Some(heard) => {
                let heard = Arc::clone(heard);
                Connection::open_listening(&self.endpoint, &options, move |push| heard(push)).await
            }
        }
    }

    /// Notes that a command failed: closes the connection, so that the next one opens after a
    /// pause.
    pub fn failed(&mut self, failure: &Failure) {
        self.turned();
        self.lost = true;
        self.open = None;
        if matches!(failure, Failure::Silent(_)) {
            self.unanswered = (self.unanswered + 1).min(MOST_DOUBLINGS);
        }
        self.pause = Some(self.backoff.pause());
        tracing::debug!(role = %self.options.name, "{failure}");
        if !self.down {
            self.down = true;
            self.health.down.fetch_add(1, Ordering::AcqRel);
        }
        self.health.lost(&self.endpoint.display_url(), failure);
    }

    /// Notes that a command was answered as expected.
    pub fn worked(&mut self) {
        self.turned();
        self.backoff.worked();
        if std::mem::take(&mut self.unanswered) > 0
            && let Some(connection) = &mut self.open
        {
            connection.set_response_timeout(self.options.response_timeout);
        }
        if std::mem::take(&mut self.lost) {
            self.health.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        if self.down {
            self.down = false;
            self.health.back(&self.endpoint.display_url());
        }
    }
}

impl Supervised {
    fn turned(&self) {
        if let Some(turned) = &self.turned {
            turned();
        }
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if self.down {
            self.health.down.fetch_sub(1, Ordering::AcqRel);
            self.health.changed.notify_waiters();
        }
    }
}
