//! The connection of one role, for ever.
//!
//! Whoever plays the role asks for [`Supervised::connection`] before each command, and reports [`Supervised::failed`]
//! or [`Supervised::worked`] after it. A connection that failed is closed – whatever the server said. That is the
//! right answer to a lost link, but also to `READONLY` after a failover (the name may lead elsewhere now), to `NOAUTH`
//! after a password change, and to `LOADING`, where a pause is all that is needed.
//!
//! Roles share a [`Health`]: the log has one line when the first of them loses its server and one when the last has it
//! back, not one a try and not one a role.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::backoff::{Backoff, random};
use super::connection::{ConnectOptions, Connection, Failure, Heard, Push};
use crate::endpoint::Endpoint;

/// How many roles are without their server.
#[derive(Debug, Default)]
pub struct Health {
    down: AtomicUsize,
    /// Whether the log has told of the present outage.
    told: AtomicBool,
    reconnects: AtomicU64,
    changed: tokio::sync::Notify,
}

impl Health {
    /// True if every role has its server, as far as they know.
    pub fn is_up(&self) -> bool {
        self.down.load(Ordering::Acquire) == 0
    }

    /// How often a role had lost its server and has it back.
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

/// A connection that is opened again whenever it was lost.
pub struct Supervised {
    endpoint: Arc<Endpoint>,
    options: ConnectOptions,
    heard: Option<Heard>,
    turned: Option<Box<dyn Fn() + Send + Sync>>,
    health: Arc<Health>,
    open: Option<Connection>,
    backoff: Backoff,
    pause: Option<Duration>,
    /// How often in a row an answer did not come in time. Each time the next one is given twice as long: a call too large
    /// for its time would otherwise be sent again for ever. The first answer sets the time back.
    unanswered: u32,
    down: bool,
    /// Whether it is down because something failed, not because it has not begun.
    lost: bool,
}

/// After so many the time for an answer does not grow any more: 16 times what it was.
const MOST_DOUBLINGS: u32 = 4;

impl Supervised {
    /// The connection of a role; opened when it is first asked for. Until then the role counts as without its server,
    /// so that [`Health::up`] can be waited for at the start.
    pub fn new(endpoint: Arc<Endpoint>, options: ConnectOptions, health: Arc<Health>) -> Self {
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

    /// For a role that has nothing to do at first: it counts as without its server only once it has failed.
    #[must_use]
    pub fn at_need(mut self) -> Self {
        if self.down {
            self.down = false;
            self.health.down.fetch_sub(1, Ordering::AcqRel);
        }
        self
    }

    /// Listens to what the server pushes, on this connection and those that follow it.
    #[must_use]
    pub fn listening(mut self, heard: impl Fn(Push) + Send + Sync + 'static) -> Self {
        self.heard = Some(Arc::new(heard));
        self
    }

    /// Is told of every answer and every failed try, so that somebody can see that the role lives even while its server
    /// is away.
    #[must_use]
    pub fn watched(mut self, turned: impl Fn() + Send + Sync + 'static) -> Self {
        self.turned = Some(Box::new(turned));
        self
    }

    /// True if a connection is open, as far as known.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The connection, opened if need be, however long that takes. May be dropped at any time without loss.
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

    /// A command failed: the connection is closed, and the next one opened after a pause.
    pub fn failed(&mut self, failure: &Failure) {
        self.turned();
        self.lost = true;
        self.open = None;
        if matches!(failure, Failure::Silent(_)) {
            self.unanswered = (self.unanswered + 1).min(MOST_DOUBLINGS);
        }
        self.pause = Some(self.backoff.failed(random()));
        tracing::debug!(role = %self.options.name, "{failure}");
        if !self.down {
            self.down = true;
            self.health.down.fetch_add(1, Ordering::AcqRel);
        }
        self.health.lost(&self.endpoint.display_url(), failure);
    }

    /// A command was answered as it should be.
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
