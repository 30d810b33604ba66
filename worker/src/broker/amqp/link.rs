//! The connection of a role. It opens when it is first needed, and again whenever it is lost.

use std::sync::Arc;
use std::time::Duration;

use celery_client::aio::Standing;
use celery_client::amqp::Temporary;
use celery_client::amqp::aio::{
    Confirm, ConnectOptions, Connection, Consumer, Failure, Publication,
};
use celery_client::backoff::Backoff;
use celery_protocol::amqp::{Close, Event, Method};

use super::shared::Shared;
use crate::monitor::Pulse;

/// The channel whose publications are confirmed.
pub(super) const CONFIRMING: u16 = 1;
/// The numbers of `basic.publish`.
const PUBLISH: (u16, u16) = (60, 40);

/// The connection of a role.
pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) pulse: Arc<Pulse>,
    options: ConnectOptions,
    open: Option<Connection>,
    /// How often it was opened.
    openings: u64,
    /// `true` while requests may be without an answer. If their call was dropped, later calls would
    /// take these answers for their own.
    is_asking: bool,
    standing: Standing,
    backoff: Backoff,
    pause: Option<Duration>,
}

impl Link {
    /// Returns the connection of a role that the worker does not need in order to be ready. It has
    /// no heartbeats.
    pub(super) fn new(shared: &Arc<Shared>, role: &'static str, pulse: &Arc<Pulse>) -> Self {
        Link {
            standing: Standing::new(Arc::clone(&shared.health)).at_need(),
            options: shared.connect_options(role),
            shared: Arc::clone(shared),
            pulse: Arc::clone(pulse),
            open: None,
            openings: 0,
            is_asking: false,
            backoff: Backoff::new(),
            pause: None,
        }
    }

    /// Adds heartbeats, for a role that always waits for events, and a limit for bodies.
    pub(super) fn listening(mut self, most_bytes: usize) -> Self {
        self.options.heartbeat = self.shared.options.heartbeat;
        self.options.max_body = most_bytes;
        self
    }

    /// Returns the number of the present connection. `None`: it is not open.
    pub(super) fn opening(&self) -> Option<u64> {
        self.open.as_ref().map(|_| self.openings)
    }

    /// Returns the connection, which it opens if needed, however long that takes.
    pub(super) async fn connection(&mut self) -> &mut Connection {
        let connection = match self.open.take() {
            Some(connection) => connection,
            None => self.reopen().await,
        };
        self.open.insert(connection)
    }

    async fn reopen(&mut self) -> Connection {
        loop {
            if let Some(pause) = self.pause.take() {
                tokio::time::sleep(pause).await;
            }
            let opened = Connection::open(self.shared.endpoint(), &self.options).await;
            let confirming = match opened {
                Ok(mut connection) => {
                    let confirming = connection.open_confirming(CONFIRMING).await;
                    confirming.map(|()| connection)
                }
                Err(failure) => Err(failure),
            };
            match confirming {
                Ok(connection) => {
                    self.openings += 1;
                    self.is_asking = false;
                    self.worked();
                    return connection;
                }
                Err(failure) => self.failed(&failure),
            }
        }
    }

    /// Returns the connection for requests with answers. [`answered`](Self::answered) follows the
    /// last answer. If the requests of the last call were dropped before that, this is a new
    /// connection.
    pub(super) async fn ask(&mut self) -> &mut Connection {
        if std::mem::take(&mut self.is_asking) {
            self.open = None;
        }
        self.connection().await;
        self.is_asking = true;
        self.connection().await
    }

    /// Notes that each request has its answer.
    pub(super) fn answered(&mut self) {
        self.is_asking = false;
        self.worked();
    }

    /// Returns `true` if the server reads from no publisher, by its own account.
    pub(super) fn is_blocked(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|connection| connection.blocked().is_some())
    }

    /// Declares a queue of this connection, and starts its consumer. The inner error is a refusal,
    /// which may have closed the channel.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub(super) async fn subscribe(
        &mut self,
        channel: u16,
        queue: &Temporary<'_>,
        consumer: &Consumer<'_>,
    ) -> Result<Result<(), Close>, Failure> {
        let connection = self.ask().await;
        let subscribed = match connection.declare_temporary(channel, queue).await? {
            Ok(()) => connection.consume(channel, consumer).await?,
            Err(close) => Err(close),
        };
        self.answered();
        Ok(subscribed)
    }

    /// Waits for the next event of the connection. Without one it never ends.
    pub(super) async fn event(&mut self) -> Result<Event, Failure> {
        match &mut self.open {
            Some(connection) => connection.event().await,
            None => std::future::pending().await,
        }
    }

    /// Sends a request that has no answer, with what is published or asked next, or while the owner
    /// waits for events.
    ///
    /// # Errors
    /// [`Failure`] if the connection or its channel is not open.
    pub(super) fn tell(&mut self, channel: u16, method: &Method<'_>) -> Result<(), Failure> {
        match &mut self.open {
            Some(connection) => connection.tell(channel, method),
            None => Err(Failure::Lost("the connection is not open".to_owned())),
        }
    }

    /// Publishes messages once. The inner error is a refusal, after which the other messages are lost.
    ///
    /// # Errors
    /// After any [`Failure`] it is unknown which messages were published.
    pub(super) async fn publish_once(
        &mut self,
        messages: &[Publication<'_>],
    ) -> Result<Result<(), Close>, Failure> {
        let connection = self.ask().await;
        if !connection.is_channel_open(CONFIRMING) {
            connection.open_confirming(CONFIRMING).await?;
        }
        // Confirms have numbers, so a call that is dropped from here on leaves nothing behind.
        self.answered();
        let connection = self.connection().await;
        let mut answers: Vec<Option<Confirm>> = vec![None; messages.len()];
        let published = connection
            .publish_all(CONFIRMING, messages, &mut answers)
            .await;
        let published = match published {
            Ok(()) => Ok(()),
            Err(failure) => Err(refusal(failure)?),
        };
        self.worked();
        Ok(published)
    }

    /// Notes a failure, which ends the connection. It is opened again after a pause.
    pub(super) fn failed(&mut self, failure: &Failure) {
        self.pulse.beat();
        self.open = None;
        self.pause = Some(self.backoff.pause());
        let server = self.shared.endpoint().display_url();
        self.standing.failed(&server, &failure.problem());
    }

    /// Notes that the server has answered.
    pub(super) fn worked(&mut self) {
        self.pulse.beat();
        self.backoff.worked();
        let shared = &self.shared;
        self.standing.worked(|| shared.endpoint().display_url());
    }

    /// Takes the connection out, if it is open.
    pub(super) fn take(&mut self) -> Option<Connection> {
        self.open.take()
    }
}

/// Returns the refusal of a publication, which has closed its channel only.
///
/// # Errors
/// Any other [`Failure`] ends the connection.
pub(super) fn refusal(failure: Failure) -> Result<Close, Failure> {
    match failure {
        Failure::Closed(close) if close.method == PUBLISH => Ok(close),
        failure => Err(failure),
    }
}
