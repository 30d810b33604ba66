//! A connection to a RabbitMQ: its stream, its session, and its heartbeats.
//!
//! Dropping it sends nothing: after a fork the connection belongs to the parent. After an error in
//! the middle of an exchange it is broken and must be dropped. The module `login` opens it.

mod login;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use celery_protocol::amqp::{AmqpError, Close, Event, Heartbeats, Method, Pulse, Reply, Session};

use super::announcing::Announcing;
use crate::amqp::AmqpEndpoint;
use crate::blocking::Wait;
use crate::blocking::socket::Peek;
use crate::blocking::stream::{Broken, Inbox, Server, Stream};
use crate::endpoint::{Address, TlsOptions};
use crate::error::{ClientError, TlsProblem};

/// The channel for posts, which has confirms.
pub(super) const POSTS: u16 = 1;
/// The channel for everything else. The server may close it because of a wrong request, which must
/// not touch posts.
pub(super) const OTHERS: u16 = 2;
/// The channel for events of posts, which has no confirms. The server may close it, which must touch
/// nothing else.
pub(super) const EVENTS: u16 = 3;
/// Limit for bytes that arrive while the client writes, in addition to all that it has written: the
/// server may return each message. The confirms of a hundred thousand posts are fewer.
const UNREAD: usize = 4 << 20;

impl Server for AmqpEndpoint {
    fn address(&self) -> &Address {
        self.address()
    }

    fn place(&self) -> String {
        let places: Vec<String> = self
            .hosts()
            .map(|host| host.address().to_string())
            .collect();
        places.join(";")
    }

    fn tls(&self) -> Option<&TlsOptions> {
        self.tls()
    }

    fn display_url(&self) -> String {
        self.display_url()
    }
}

/// Lets the stream read into a session.
struct Incoming<'s> {
    session: &'s mut Session,
    /// Limit for bytes that wait unread.
    limit: usize,
}

impl<'s> Incoming<'s> {
    fn new(session: &'s mut Session, sent: u64) -> Self {
        let sent = usize::try_from(sent).unwrap_or(usize::MAX);
        let limit = sent.saturating_add(UNREAD);
        Self { session, limit }
    }
}

impl Inbox for Incoming<'_> {
    fn room(&mut self) -> &mut [u8] {
        self.session.room()
    }

    fn filled(&mut self, count: usize) {
        self.session.filled(count);
    }

    fn is_overfull(&self) -> bool {
        self.session.unread() > self.limit
    }
}

/// An open connection.
pub(super) struct Link {
    /// The masked URL, for errors.
    shown: String,
    stream: Stream,
    pub(super) session: Session,
    /// The number of bytes that may have been sent.
    sent: u64,
    /// The reason for which the server reads from no publisher, if it does not.
    blocked: Option<String>,
    broken: bool,
    /// The disagreement about TLS that ended the connection.
    tls_problem: Option<TlsProblem>,
    is_plain: bool,
    /// Whether the server has sent anything.
    heard: bool,
    /// The named exchanges that exist, as far as this connection has asked.
    pub(super) exchanges: BTreeSet<String>,
    /// The state of the channel for events of posts.
    pub(super) announcing: Announcing,
    /// The heartbeats, if client and server have agreed on some, and the beginning of their time.
    beats: Option<(Heartbeats, Instant)>,
    pub(super) last_used: Instant,
}

impl Link {
    /// Returns the position behind all output, for [`has_sent`](Self::has_sent).
    pub(super) fn end(&mut self) -> u64 {
        self.sent + self.session.output().len() as u64
    }

    /// Returns `true` if everything up to a position may have been sent.
    pub(super) fn has_sent(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// Returns the error of a wait that ended at its deadline. An alarm of the server says more than
    /// the time.
    pub(super) fn explained(&self, error: ClientError) -> ClientError {
        match (error, &self.blocked) {
            (ClientError::Timeout { .. }, Some(reason)) => ClientError::Blocked {
                endpoint: self.shown.clone(),
                reason: reason.clone(),
            },
            (error, _) => error,
        }
    }

    /// Makes the end of the connection a reset. Messages that the server has not read are then
    /// thrown away; after an orderly end it would read them once it reads again.
    pub(super) fn reset_on_drop(&self) {
        self.stream.reset_on_drop();
    }

    /// Sends all output.
    pub(super) fn flush(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let output = std::mem::take(self.session.output());
        if output.is_empty() {
            return Ok(());
        }
        let all = self.sent + output.len() as u64;
        let inbox = &mut Incoming::new(&mut self.session, all);
        let written = self.stream.write(&output, &mut self.sent, inbox, wait);
        written.map_err(|broken| self.lost(broken))?;
        if let Some((beats, start)) = &mut self.beats {
            beats.sent(start.elapsed());
        }
        Ok(())
    }

    /// Returns what has happened next, waiting for it.
    pub(super) fn event(
        &mut self,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.event_at_hand()? {
                return Ok(event);
            }
            self.step(wait, what)?;
        }
    }

    /// Returns what has happened next, waiting at most `time` for it, or `None` if nothing has. The
    /// connection can be used afterwards, also at the deadline.
    pub(super) fn event_within(
        &mut self,
        time: Duration,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Option<Event>, ClientError> {
        // Nothing is half written when the time is over.
        self.flush(wait)?;
        match self.event(&mut wait.within(time), what) {
            Ok(event) => Ok(Some(event)),
            Err(ClientError::Timeout { .. }) if self.session.output().is_empty() => {
                self.broken = false;
                if wait.deadline().has_passed() {
                    return Err(wait.timeout(what));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Waits until the server reads from publishers, if it has said that it does not.
    pub(super) fn wait_until_unblocked(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        loop {
            if let Some(event) = self.event_at_hand()? {
                return Err(unexpected(&event));
            }
            if self.blocked.is_none() {
                return Ok(());
            }
            self.step(wait, "the end of the alarm")?;
        }
    }

    /// Sends what is to be sent, and waits until something arrives or a heartbeat is due.
    fn step(&mut self, wait: &mut Wait<'_>, what: &'static str) -> Result<(), ClientError> {
        self.flush(wait)?;
        match self
            .beats
            .as_ref()
            .map(|(beats, start)| beats.at(start.elapsed()))
        {
            None => self.read(wait, what),
            Some(Pulse::Send) => {
                self.session.beat();
                self.flush(wait)
            }
            Some(Pulse::Dead) => {
                let reason = "the server sent no heartbeat".to_owned();
                Err(self.lost(Broken::Lost(reason)))
            }
            Some(Pulse::Wait(time)) => match self.read(&mut wait.within(time), what) {
                // Only the time until the next heartbeat has passed.
                Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {
                    self.broken = false;
                    Ok(())
                }
                Err(ClientError::Timeout { .. }) => Err(wait.timeout(what)),
                read => read,
            },
        }
    }

    /// Returns what has happened next if it has arrived.
    pub(super) fn event_at_hand(&mut self) -> Result<Option<Event>, ClientError> {
        loop {
            match self.session.next_event() {
                Ok(Some(Event::Blocked(reason))) => self.blocked = Some(reason),
                Ok(Some(Event::Unblocked)) => self.blocked = None,
                Ok(Some(Event::ChannelOpened(EVENTS) | Event::Replied(EVENTS, _))) => {}
                Ok(Some(Event::ChannelClosed(EVENTS, close))) => self.announcing.refused(close),
                Ok(Some(Event::Closed(close))) => {
                    self.broken = true;
                    return Err(ClientError::Broker(close));
                }
                Ok(event) => return Ok(event),
                Err(error) => {
                    self.broken = true;
                    return Err(odd(error));
                }
            }
        }
    }

    /// Waits for the answer to the only open request of a channel.
    pub(super) fn wait_for_reply(
        &mut self,
        channel: u16,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Result<Reply, Close>, ClientError> {
        self.flush(wait)?;
        loop {
            match self.event(wait, what)? {
                Event::ChannelOpened(opened) if opened == channel => {}
                Event::Replied(of, reply) if of == channel => return Ok(Ok(reply)),
                Event::ChannelClosed(of, close) if of == channel => return Ok(Err(close)),
                other => return Err(unexpected(&other)),
            }
        }
    }

    /// Sends a request on the channel for everything else, which it opens if it must, and returns
    /// the answer. The inner error is a refusal, which has closed that channel.
    pub(super) fn ask(
        &mut self,
        request: &Method<'_>,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Result<Reply, Close>, ClientError> {
        self.open_others()?;
        self.session
            .request(OTHERS, request)
            .map_err(ClientError::Unsendable)?;
        self.wait_for_reply(OTHERS, wait, what)
    }

    /// Opens the channel for everything else unless it is open. The answer comes before that to the
    /// next request.
    pub(super) fn open_others(&mut self) -> Result<(), ClientError> {
        if self.session.is_channel_open(OTHERS) {
            return Ok(());
        }
        self.session.open_channel(OTHERS).map_err(odd)
    }

    /// Ends the connection in order.
    pub(super) fn close(mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.session.close().map_err(odd)?;
        self.flush(wait)?;
        while self.event(wait, "the end of the connection")? != Event::Ended {}
        Ok(())
    }

    /// Returns `true` if the connection is open as far as it shows without waiting. Alarms that
    /// have arrived are noted.
    pub(super) fn is_alive(&mut self) -> bool {
        if self.broken || !self.session.is_open() || !self.session.is_channel_open(POSTS) {
            return false;
        }
        if self.stream.peek() == Peek::Closed {
            return false;
        }
        let read = self
            .stream
            .read_available(&mut Incoming::new(&mut self.session, self.sent));
        // Between two calls, nothing but alarms and heartbeats may come.
        read.is_ok() && matches!(self.event_at_hand(), Ok(None))
    }

    /// Reads what has arrived, without waiting.
    pub(super) fn read_at_hand(&mut self) -> Result<(), ClientError> {
        let inbox = &mut Incoming::new(&mut self.session, self.sent);
        match self.stream.read_available(inbox) {
            Ok(_) => Ok(()),
            Err(broken) => Err(self.lost(broken)),
        }
    }

    /// Returns `true` if the server has said that it reads from no publisher.
    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Returns `true` if a post to an exchange needs no question first.
    pub(super) fn knows_exchange(&self, name: &str) -> bool {
        name.is_empty() || self.exchanges.contains(name)
    }

    /// Notes that a call has ended well.
    pub(super) fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Sets whether the wait for an answer may look for it before it sleeps.
    pub(super) fn spin(&mut self, on: bool) {
        self.stream.spin(on);
    }

    fn read(&mut self, wait: &mut Wait<'_>, what: &'static str) -> Result<(), ClientError> {
        let inbox = &mut Incoming::new(&mut self.session, self.sent);
        let read = self.stream.read_soon(inbox, wait, what);
        read.map_err(|broken| self.lost(broken))?;
        self.heard = true;
        if let Some((beats, start)) = &mut self.beats {
            beats.received(start.elapsed());
        }
        Ok(())
    }

    /// Notes that the connection failed, and returns the error for it.
    fn lost(&mut self, broken: Broken) -> ClientError {
        self.broken = true;
        let reason = match broken {
            Broken::Ended(error) => return error,
            Broken::Lost(reason) => reason,
            Broken::Tls(problem) => {
                let reason = problem.named_for(&self.shown);
                self.tls_problem = Some(problem);
                reason
            }
        };
        ClientError::Disconnected {
            endpoint: self.shown.clone(),
            reason,
        }
    }
}

/// Returns the error of bytes that no server may send.
pub(super) fn odd(error: AmqpError) -> ClientError {
    ClientError::Amqp(error)
}

/// Returns the error of an event that has no place here.
pub(super) fn unexpected(event: &Event) -> ClientError {
    let (what, channel) = match event {
        Event::Tuned | Event::Opened => ("login", 0),
        Event::ChannelOpened(channel)
        | Event::ChannelEnded(channel)
        | Event::ChannelClosed(channel, _) => ("end or begin of a channel", *channel),
        Event::Confirmed { channel, .. } => ("confirm", *channel),
        Event::Returned(channel, _) => ("return", *channel),
        Event::Replied(channel, _) => ("answer", *channel),
        Event::Delivered { channel, .. } | Event::ConsumerCancelled(channel, _) => {
            ("delivery", *channel)
        }
        _ => ("method", 0),
    };
    ClientError::Amqp(AmqpError::Unexpected { what, channel })
}

/// Returns the error of an answer that its request cannot have.
pub(super) fn unexpected_reply(reply: &Reply) -> ClientError {
    let what = match reply {
        Reply::Queue { .. } => "queue.declare-ok",
        Reply::Removed(_) => "queue.delete-ok",
        Reply::Consuming(_) => "basic.consume-ok",
        Reply::Cancelled(_) => "basic.cancel-ok",
        Reply::Empty => "basic.get-empty",
        Reply::Got(..) => "basic.get-ok",
        _ => "answer",
    };
    let channel = OTHERS;
    ClientError::Amqp(AmqpError::Unexpected { what, channel })
}
