//! An asynchronous connection to a RabbitMQ.
//!
//! Its owner waits in [`Connection::event`]. That future writes what is to be sent, reads, sends
//! heartbeats, and notices a silent server. Writing never waits without reading: a server that
//! cannot get rid of its answers reads no more. The future may be dropped at any time: the number
//! of written bytes and everything that was read stay in the connection.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use celery_protocol::amqp::{Close, Event, Heartbeats, Method, Pulse, Reply, Session};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout_at};

use super::failure::{Failure, in_words};
use crate::transport::Transport;

/// The most events that are kept while the owner waits for something else, before messages that need no
/// acknowledgement are dropped. An event is about a kilobyte.
const MOST_PUT_OFF: usize = 10_000;

/// The options for opening a connection and for waiting for its answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Limit for opening: from looking up the name to the open connection.
    pub connect_timeout: Duration,
    /// Limit for each answer.
    pub response_timeout: Duration,
    /// How long a publication waits while the server reads from no publisher. `None`: without a limit.
    pub blocked_timeout: Option<Duration>,
    /// Name shown by `rabbitmqctl list_connections`.
    pub name: String,
    /// The interval of heartbeats in seconds that is proposed if the URL names none. 0: there are
    /// none, whatever the URL says. An owner that does not always wait for events sends none.
    pub heartbeat: u16,
    /// The highest number of a channel.
    pub channel_max: u16,
    /// The largest body to accept. A larger one ends the connection.
    pub max_body: usize,
}

impl ConnectOptions {
    /// Returns the defaults for a connection of this name: 5 s to connect, 30 s for an answer
    /// except during an alarm of the server, no heartbeats, 16 channels, bodies up to the limit of a session.
    ///
    /// A server that stores many messages may answer late. An answer that counts as missing makes
    /// the worker publish again, so the limit is long.
    pub fn new(name: impl Into<String>) -> Self {
        ConnectOptions {
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(30),
            blocked_timeout: None,
            name: name.into(),
            heartbeat: 0,
            channel_max: 16,
            max_body: celery_protocol::amqp::limits::MAX_BODY,
        }
    }
}

/// An open connection. Dropping it closes its socket without a farewell.
pub struct Connection {
    pub(super) transport: Transport,
    pub(super) session: Session,
    /// The bytes that are being written, and how many of them are.
    output: Vec<u8>,
    written: usize,
    /// The number of bytes that were ever written.
    sent: u64,
    /// The consumers whose messages need no acknowledgement: their channels and names.
    unacknowledged: BTreeSet<(u16, Vec<u8>)>,
    /// What has happened while the owner waited for something else.
    pub(super) put_off: VecDeque<Event>,
    /// The heartbeats, if client and server have agreed on some, and the beginning of their time.
    pub(super) beats: Option<(Heartbeats, Instant)>,
    blocked: Option<String>,
    response_timeout: Duration,
    blocked_timeout: Option<Duration>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn new(transport: Transport, session: Session, options: &ConnectOptions) -> Self {
        Connection {
            transport,
            session,
            output: Vec::new(),
            written: 0,
            sent: 0,
            unacknowledged: BTreeSet::new(),
            put_off: VecDeque::new(),
            beats: None,
            blocked: None,
            response_timeout: options.response_timeout,
            blocked_timeout: options.blocked_timeout,
        }
    }

    /// Returns the reason for which the server reads from no publisher, if it does not.
    pub fn blocked(&self) -> Option<&str> {
        self.blocked.as_deref()
    }

    /// Returns `true` if the channel is open.
    pub fn is_channel_open(&self, channel: u16) -> bool {
        self.session.is_channel_open(channel)
    }

    /// Returns the number of bytes that wait to be sent.
    pub fn unsent(&mut self) -> usize {
        self.output.len() - self.written + self.session.output().len()
    }

    /// Returns what has happened next, waiting for it. The future may be dropped without loss.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn event(&mut self) -> Result<Event, Failure> {
        match self.put_off.pop_front() {
            Some(event) => Ok(event),
            None => self.new_event().await,
        }
    }

    /// Returns what has happened next if it is known already.
    ///
    /// # Errors
    /// Like [`event`](Self::event).
    pub fn event_at_hand(&mut self) -> Result<Option<Event>, Failure> {
        match self.put_off.pop_front() {
            Some(event) => Ok(Some(event)),
            None => self.parse(),
        }
    }

    /// Like [`event`](Self::event), for what has not arrived yet.
    pub(super) async fn new_event(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.parse()? {
                return Ok(event);
            }
            self.step().await?;
        }
    }

    /// Returns the next event whose bytes have arrived.
    fn parse(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            match self.session.next_event() {
                Ok(Some(Event::Blocked(reason))) => self.blocked = Some(reason),
                Ok(Some(Event::Unblocked)) => self.blocked = None,
                Ok(Some(Event::Closed(close))) => return Err(Failure::Closed(close)),
                Ok(event) => return Ok(event),
                Err(error) => return Err(Failure::odd(&error)),
            }
        }
    }

    /// Writes and reads until something has arrived or a heartbeat was due.
    async fn step(&mut self) -> Result<(), Failure> {
        let pulse = self
            .beats
            .as_ref()
            .map(|(beats, start)| beats.at(start.elapsed()));
        match pulse {
            None => poll_fn(|cx| self.poll(cx)).await,
            Some(Pulse::Dead) => Err(Failure::Lost("the server sent no heartbeat".to_owned())),
            Some(Pulse::Send) => {
                self.session.beat();
                // The server may read nothing: then the heartbeat waits, and counts as sent.
                self.note(Heartbeats::sent);
                Ok(())
            }
            Some(Pulse::Wait(time)) => {
                let read = poll_fn(|cx| self.poll(cx));
                // Only the time until the next heartbeat may pass.
                tokio::time::timeout(time, read).await.unwrap_or(Ok(()))
            }
        }
    }

    fn note(&mut self, what: fn(&mut Heartbeats, Duration)) {
        if let Some((beats, start)) = &mut self.beats {
            what(beats, start.elapsed());
        }
    }

    /// Writes as much as the server takes, then reads once. Ready when something has arrived.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.poll_write(cx)?;
        let mut room = ReadBuf::new(self.session.room());
        let read = Pin::new(&mut self.transport).poll_read(cx, &mut room);
        let count = room.filled().len();
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Lost(in_words(&error)))),
            Poll::Ready(Ok(())) if count == 0 => {
                let reason = "the server closed the connection".to_owned();
                Poll::Ready(Err(Failure::Lost(reason)))
            }
            Poll::Ready(Ok(())) => {
                self.session.filled(count);
                self.note(Heartbeats::received);
                Poll::Ready(Ok(()))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        loop {
            if self.written == self.output.len() {
                self.output.clear();
                self.written = 0;
                std::mem::swap(&mut self.output, self.session.output());
            }
            let lost = |error: std::io::Error| Failure::Lost(in_words(&error));
            let rest = self.output.get(self.written..).unwrap_or_default();
            let transport = Pin::new(&mut self.transport);
            if rest.is_empty() {
                // TLS keeps bytes that were written.
                let _ = transport.poll_flush(cx).map_err(lost)?;
                return Ok(());
            }
            match transport.poll_write(cx, rest).map_err(lost)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(0) => {
                    return Err(Failure::Lost("nothing more can be written".to_owned()));
                }
                Poll::Ready(count) => {
                    self.written += count;
                    self.sent = self.sent.wrapping_add(count as u64);
                    self.note(Heartbeats::sent);
                }
            }
        }
    }

    /// Sends as much of the output as the server takes at once. The rest follows while the owner
    /// waits for events.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn send(&mut self) -> Result<(), Failure> {
        poll_fn(|cx| Poll::Ready(self.poll_write(cx))).await
    }

    /// Opens a channel. If the server has closed it before, [`event`](Self::event) reports nothing
    /// more of that time: the tags of its deliveries would mean other messages.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn open_channel(&mut self, channel: u16) -> Result<(), Failure> {
        let opened = self.session.open_channel(channel);
        opened.map_err(Failure::Unsendable)?;
        self.put_off.retain(|event| channel_of(event) != channel);
        self.unacknowledged.retain(|(of, _)| *of != channel);
        let is_it = |event: &Event| matches!(event, Event::ChannelOpened(of) if *of == channel);
        self.wait_for("a new channel", is_it).await.map(drop)
    }

    /// Closes a channel. The server puts back what was delivered on it and not acknowledged.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn end_channel(&mut self, channel: u16) -> Result<(), Failure> {
        let ended = self.session.close_channel(channel);
        ended.map_err(Failure::Unsendable)?;
        let is_it = |event: &Event| matches!(event, Event::ChannelEnded(of) if *of == channel);
        self.wait_for("the end of a channel", is_it).await.map(drop)
    }

    /// Sends a request that needs no answer, or whose answer the owner gets by
    /// [`event`](Self::event). It is written while the owner waits for events.
    ///
    /// # Errors
    /// [`Failure::Unsendable`]: nothing was sent, and the connection is still good.
    pub fn tell(&mut self, channel: u16, method: &Method<'_>) -> Result<(), Failure> {
        let sent = self.session.request(channel, method);
        if let Method::BasicConsume {
            consumer_tag,
            no_ack: true,
            ..
        } = method
        {
            let consumer = consumer_tag.bytes().to_vec();
            self.unacknowledged.insert((channel, consumer));
        }
        sent.map_err(Failure::Unsendable)
    }

    /// Sends a request and waits for its answer. No other request may be open on the channel. The
    /// inner error is a refusal, which has closed the channel. Other events stay for
    /// [`event`](Self::event).
    ///
    /// # Errors
    /// [`Failure::Unsendable`] if nothing was sent. Any other [`Failure`] ends the connection.
    pub async fn ask(
        &mut self,
        channel: u16,
        method: &Method<'_>,
    ) -> Result<Result<Reply, Close>, Failure> {
        self.tell(channel, method)?;
        self.answer(channel, method.name()).await
    }

    /// Waits for the answer to the only open request of a channel. The inner error is a refusal, which
    /// has closed the channel.
    ///
    /// # Errors
    /// Any [`Failure`] ends the connection.
    pub async fn answer(
        &mut self,
        channel: u16,
        what: &'static str,
    ) -> Result<Result<Reply, Close>, Failure> {
        let is_it = |event: &Event| match event {
            Event::Replied(of, _) | Event::ChannelClosed(of, _) => *of == channel,
            _ => false,
        };
        Ok(match self.wait_for(what, is_it).await? {
            Event::Replied(_, reply) => Ok(reply),
            Event::ChannelClosed(_, close) => Err(close),
            // `is_it` accepts nothing else.
            _ => return Err(Failure::late(what)),
        })
    }

    /// Waits for an event, unless it was put off before, and puts the others off.
    pub(super) async fn wait_for(
        &mut self,
        what: &str,
        is_it: impl Fn(&Event) -> bool,
    ) -> Result<Event, Failure> {
        let before = self.put_off.iter().position(&is_it);
        if let Some(event) = before.and_then(|place| self.put_off.remove(place)) {
            return Ok(event);
        }
        let deadline = Instant::now() + self.response_timeout;
        loop {
            let event = timeout_at(deadline, self.new_event()).await;
            let event = event.map_err(|_| Failure::late(what))??;
            if is_it(&event) {
                return Ok(event);
            }
            self.put_off(event);
        }
    }

    /// Keeps an event for [`event`](Self::event). The server sends messages that need an
    /// acknowledgement up to the prefetch only. Of the others the oldest is dropped if there are too
    /// many: the server has forgotten them, as if the connection had been lost.
    pub(super) fn put_off(&mut self, event: Event) {
        self.put_off.push_back(event);
        if self.put_off.len() <= MOST_PUT_OFF || self.unacknowledged.is_empty() {
            return;
        }
        let unacknowledged = |event: &Event| match event {
            Event::Delivered {
                channel, consumer, ..
            } => {
                let consumer = (*channel, consumer.as_bytes().to_vec());
                self.unacknowledged.contains(&consumer)
            }
            _ => false,
        };
        if let Some(oldest) = self.put_off.iter().position(unacknowledged) {
            self.put_off.remove(oldest);
        }
    }

    /// Returns the number of bytes that were ever written.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Returns the time limit of an answer.
    pub(super) fn response_timeout(&self) -> Duration {
        self.response_timeout
    }

    /// Returns how long a publication waits while the server reads from no publisher.
    pub(super) fn blocked_timeout(&self) -> Option<Duration> {
        self.blocked_timeout
    }

    /// Ends the connection in order: the server has then carried out everything that was sent, and
    /// put back everything that was not acknowledged.
    ///
    /// # Errors
    /// Any [`Failure`]: the server puts the messages back once it notices the end.
    pub async fn close(mut self) -> Result<(), Failure> {
        self.session.close().map_err(Failure::Unsendable)?;
        let ended = |event: &Event| *event == Event::Ended;
        self.wait_for("the end of the connection", ended)
            .await
            .map(drop)
    }
}

/// Returns the channel that an event belongs to; 0 for the connection itself.
fn channel_of(event: &Event) -> u16 {
    match event {
        Event::ChannelOpened(channel)
        | Event::ChannelClosed(channel, _)
        | Event::ChannelEnded(channel)
        | Event::Returned(channel, _)
        | Event::Replied(channel, _)
        | Event::ConsumerCancelled(channel, _)
        | Event::Confirmed { channel, .. }
        | Event::Delivered { channel, .. } => *channel,
        _ => 0,
    }
}
