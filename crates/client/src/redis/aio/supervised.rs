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
//! Roles share a [`Health`], which limits the log to two lines for each outage.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{ConnectOptions, Connection, Failure, Heard, Push};
use crate::backoff::Backoff;
use crate::health::{Health, Problem, Standing};
use crate::redis::RedisEndpoint;

/// A connection that reopens whenever it is lost.
pub struct Supervised {
    endpoint: Arc<RedisEndpoint>,
    options: ConnectOptions,
    heard: Option<Heard>,
    turned: Option<Box<dyn Fn() + Send + Sync>>,
    standing: Standing,
    open: Option<Connection>,
    backoff: Backoff,
    pause: Option<Duration>,
    /// The number of consecutive answers that did not come in time. Each doubles the time limit of
    /// the next one: a call that needs longer than its limit would otherwise be repeated without
    /// end. The first answer resets it.
    unanswered: u32,
}

/// The time limit of an answer is doubled at most this often, to 16 times its first value.
const MOST_DOUBLINGS: u32 = 4;

impl Supervised {
    /// Returns the connection of a role, which opens when it is first asked for.
    ///
    /// Until then the role counts as without its server, so that a start can wait for
    /// [`Health::up`].
    pub fn new(endpoint: Arc<RedisEndpoint>, options: ConnectOptions, health: Arc<Health>) -> Self {
        Supervised {
            endpoint,
            options,
            heard: None,
            turned: None,
            standing: Standing::new(health),
            open: None,
            backoff: Backoff::new(),
            pause: None,
            unanswered: 0,
        }
    }

    /// Marks a role that has nothing to do at first: it counts as without its server only after a
    /// failure.
    #[must_use]
    pub fn at_need(mut self) -> Self {
        self.standing = self.standing.at_need();
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
        let closed = self.open.take();
        if let (Some(lead), Failure::Refused(answer)) =
            (closed.as_ref().and_then(Connection::lead), failure)
        {
            self.endpoint.refused_by(lead, answer);
        }
        if matches!(failure, Failure::Silent(_)) {
            self.unanswered = (self.unanswered + 1).min(MOST_DOUBLINGS);
        }
        self.pause = Some(self.backoff.pause());
        tracing::debug!(role = %self.options.name, "{failure}");
        let problem = match failure {
            Failure::Refused(answer) => Problem::Refused(answer),
            _ => Problem::Away(failure),
        };
        let server = self.endpoint.display_url();
        self.standing.failed(&server, &problem);
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
        let endpoint = &self.endpoint;
        self.standing.worked(|| endpoint.display_url());
    }
}

impl Supervised {
    fn turned(&self) {
        if let Some(turned) = &self.turned {
            turned();
        }
    }
}
