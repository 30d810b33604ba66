//! The two directions of a connection: packed commands out, answers in, in order.
//!
//! It knows no command. In RESP3, *pushes* arrive among the answers: messages of channels, and the
//! confirmations of subscriptions. A call that waits for an answer skips them. After a failure in the middle of an exchange it is *broken*, and no further
//! command may be sent on it. Dropping it sends nothing, not even a QUIT: after a fork the
//! connection belongs to the parent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, PushKind, Value};

use crate::blocking::not_open::NotOpen;
use crate::blocking::socket::Peek;
use crate::blocking::stream::{Broken, Stream};
use crate::blocking::{Wait, resolve};
use crate::endpoint::Address;
use crate::error::{ClientError, ServerError, TlsProblem};
use crate::redis::RedisEndpoint;
use crate::redis::blocking::outgoing::{Frame, Outgoing, write_length};
use crate::redis::blocking::reply::{ReplyReader, Shape, unread};
use crate::redis::inquiry::Lead;
use crate::tls;

/// Size above which the memory of the write buffer is released after use.
const LARGE: usize = 256 << 10;

/// An answer of Redis: a value, or a refusal.
pub(crate) type Answer = Result<Value, ServerError>;

/// What arrives on a connection.
pub(crate) enum Arrival {
    /// The answer to the oldest command without one.
    Answer(Answer),
    /// A push of RESP3.
    Push(Push),
}

/// A push of RESP3: it answers no command, except for a confirmation.
pub(crate) enum Push {
    /// A message of a channel.
    Message { channel: Vec<u8>, payload: Vec<u8> },
    /// The confirmation of a subscription to one channel or pattern.
    Subscribed,
    /// Anything else, such as the end of a subscription.
    Other,
}

impl Push {
    fn new(kind: &PushKind, data: Vec<Value>) -> Self {
        let mut parts = data.into_iter();
        if *kind == PushKind::PMessage {
            // The pattern comes first.
            parts.next();
        }
        match (kind, parts.next(), parts.next()) {
            (
                PushKind::Message | PushKind::PMessage,
                Some(Value::BulkString(channel)),
                Some(Value::BulkString(payload)),
            ) => Self::Message { channel, payload },
            (PushKind::Subscribe | PushKind::PSubscribe, ..) => Self::Subscribed,
            _ => Self::Other,
        }
    }
}

/// A stream to a Redis with its buffers.
pub(crate) struct Wire {
    endpoint: Arc<RedisEndpoint>,
    /// The endpoint as the caller has it, and how it led to this server, unless the address is fixed.
    lead: Option<(Arc<RedisEndpoint>, Lead)>,
    stream: Stream,
    replies: ReplyReader,
    /// Packed commands that are not written yet.
    out: Vec<u8>,
    /// Where the last message begins in `out`, with the line of its length.
    last_message: usize,
    /// Number of bytes that may have been sent so far.
    sent: u64,
    /// Number of packed commands without an answer, and of channels without a confirmation. It
    /// limits what may arrive unread. A message of a channel decreases the number, too, although it
    /// answers no command; the number stops at 0.
    questions: usize,
    /// The largest result to accept.
    max_reply: usize,
    /// Whether the stream gathers small writes, as it does while posts are pipelined.
    gathering: bool,
    protocol: Protocol,
    /// Whether the connection has ever subscribed, so that pushes may arrive.
    hears: bool,
    /// Whether packed commands may stay unsent until the next command.
    defers: bool,
    /// The number of answers that no call waits for. They come before all others.
    unawaited: usize,
    /// The time at which bytes last arrived, once the connection has subscribed.
    heard: Instant,
    standing: Standing,
}

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Resp2,
    /// It can listen and answer commands at once.
    Resp3,
}

/// What may still be done with a connection.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The next command may be sent.
    Whole,
    /// An answer showed that another connection may do better. Owed answers will still come.
    Retired,
    /// An exchange failed in the middle, perhaps because of a disagreement about TLS.
    Broken(Option<TlsProblem>),
}

impl Wire {
    /// Opens a stream to the endpoint.
    pub(super) fn open(
        endpoint: &Arc<RedisEndpoint>,
        max_reply: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Self, NotOpen> {
        Ok(Self {
            endpoint: endpoint.clone(),
            lead: None,
            stream: Stream::open(&**endpoint, wait)?,
            replies: ReplyReader::new(max_reply),
            out: Vec::new(),
            last_message: 0,
            sent: 0,
            questions: 0,
            max_reply,
            gathering: false,
            protocol: Protocol::Resp2,
            hears: false,
            defers: false,
            unawaited: 0,
            heard: Instant::now(),
            standing: Standing::Whole,
        })
    }

    /// Notes how the connection came to its server.
    pub(super) fn led_by(mut self, lead: Option<(Arc<RedisEndpoint>, Lead)>) -> Self {
        self.lead = lead;
        self
    }

    /// Notes that the server has agreed to speak RESP3.
    pub(super) fn agree_on_resp3(&mut self) {
        self.protocol = Protocol::Resp3;
    }

    /// Returns `true` if the connection can listen to channels and answer commands at once.
    pub(crate) fn speaks_resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    /// Packs a subscription to these channels. In RESP3, a push confirms each of them; only a
    /// refusal is an answer.
    pub(crate) fn pack_subscribe<'c>(&mut self, channels: impl IntoIterator<Item = &'c str>) {
        let mut subscribe = redis::cmd("SUBSCRIBE");
        for channel in channels {
            subscribe.arg(channel);
            // Each channel is confirmed.
            self.questions += 1;
        }
        self.pack(&subscribe);
        self.hears = true;
    }

    /// Packs a subscription to all channels of a pattern, which is confirmed once.
    pub(super) fn pack_subscribe_to_pattern(&mut self, pattern: &str) {
        self.pack(redis::cmd("PSUBSCRIBE").arg(pattern));
        self.hears = true;
    }

    /// Packs a command of RESP3 that is confirmed by pushes. It is sent together with the next
    /// command.
    pub(crate) fn pack_for_later(&mut self, cmd: &Cmd) {
        self.pack(cmd);
        self.defers = true;
    }

    /// Returns `true` if a packed command waits for the next one.
    pub(crate) fn defers(&self) -> bool {
        self.defers
    }

    /// Notes that no call will wait for the next `count` answers. All answers before them must have
    /// been read.
    pub(crate) fn expect_unawaited(&mut self, count: usize) {
        self.unawaited += count;
    }

    /// Returns `true` if answers are missing that no call waits for.
    pub(crate) fn lacks_unawaited(&self) -> bool {
        self.unawaited > 0
    }

    /// Returns `true` if bytes have arrived within this time, so that the connection has not died
    /// long ago.
    pub(crate) fn heard_within(&self, time: Duration) -> bool {
        self.heard.elapsed() < time
    }

    /// Returns the disagreement about TLS that ended the connection, if any.
    pub(super) fn tls_problem(&self) -> Option<TlsProblem> {
        match &self.standing {
            _ if tls::is_alert(self.replies.rest()) => Some(TlsProblem::Spoken),
            Standing::Broken(problem) => problem.clone(),
            Standing::Whole | Standing::Retired => None,
        }
    }

    /// Returns `true` if the server has sent nothing yet and may have expected TLS.
    pub(super) fn may_be_tls(&self) -> bool {
        !self.stream.is_tls()
            && self.replies.is_empty()
            && matches!(self.endpoint.address(), Address::Tcp { .. })
    }

    /// Packs a command, which the next [`flush`](Self::flush) sends. Returns the position of its
    /// end, for [`has_sent`](Self::has_sent).
    pub(crate) fn pack(&mut self, cmd: &Cmd) -> u64 {
        cmd.write_packed_command(&mut self.out);
        self.packed()
    }

    /// Packs a command like [`pack`](Self::pack), with messages among its arguments. They are written
    /// straight into the buffer.
    pub(crate) fn pack_messages(
        &mut self,
        head: &[&[u8]],
        messages: &[&impl Outgoing],
        tail: &[&[u8]],
    ) -> u64 {
        let out = &mut self.out;
        write_length(out, b'*', head.len() + messages.len() + tail.len());
        for argument in head {
            write_argument(out, argument);
        }
        for message in messages {
            self.last_message = out.len();
            message.write(Frame::new(out));
            out.extend_from_slice(b"\r\n");
        }
        for argument in tail {
            write_argument(out, argument);
        }
        self.packed()
    }

    /// Returns the last message of the command that was packed last, if the message ends it.
    pub(crate) fn last_message(&self) -> Option<&[u8]> {
        let framed = self.out.get(self.last_message..)?.strip_suffix(b"\r\n")?;
        let start = framed.iter().position(|byte| *byte == b'\n')? + 1;
        framed.get(start..)
    }

    /// Counts a packed command and returns the position of its end.
    fn packed(&mut self) -> u64 {
        self.questions += 1;
        self.sent + self.out.len() as u64
    }

    /// Returns the number of packed bytes that are not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Returns `true` if the whole command may have been sent. Redis never executes an incomplete
    /// one.
    pub(crate) fn has_sent(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// Lets the kernel gather the posts of a loop into few packets (Nagle's algorithm). A post
    /// waits at most until the answer to an earlier post has arrived.
    pub(crate) fn gather(&mut self, on: bool) {
        if self.gathering != on {
            self.gathering = on;
            self.stream.gather(on);
        }
    }

    /// Writes all packed commands.
    pub(crate) fn flush(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.write(false, wait)
    }

    /// Writes all packed commands while messages of a channel may arrive.
    pub(super) fn flush_on_channel(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.write(true, wait)
    }

    fn write(&mut self, on_channel: bool, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let mut out = std::mem::take(&mut self.out);
        let listens = on_channel || self.hears;
        self.replies
            .allow_unread(unread(self.questions, listens, self.max_reply));
        self.defers = false;
        let written = self
            .stream
            .write(&out, &mut self.sent, &mut self.replies, wait);
        out.clear();
        if out.capacity() <= LARGE {
            self.out = out;
        }
        written.map_err(|broken| self.lost(broken))
    }

    /// Returns the next answer, which must have the shape of its command. A refusal of Redis is the
    /// inner error.
    pub(crate) fn answer(
        &mut self,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        loop {
            if let Arrival::Answer(answer) = self.arrival(shape, wait, what)? {
                return Ok(answer);
            }
        }
    }

    /// Returns the next answer or push. A message, of a channel or of RESP3, comes when a task has
    /// ended: the wait for it sleeps at once.
    pub(crate) fn arrival(
        &mut self,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Arrival, ClientError> {
        // The rest of a large answer is on its way already.
        let mut is_soon = shape != Shape::Message;
        loop {
            if let Some(arrival) = self.arrival_at_hand(shape)? {
                return Ok(arrival);
            }
            // The command to be answered must have been sent.
            self.gather(false);
            let read = if std::mem::take(&mut is_soon) {
                self.stream.read_soon(&mut self.replies, wait, what)
            } else {
                self.stream.read(&mut self.replies, wait, what)
            };
            read.map_err(|broken| self.lost(broken))?;
            if self.hears {
                self.heard = Instant::now();
            }
        }
    }

    /// Returns the next answer if it has arrived.
    pub(super) fn answer_at_hand(&mut self, shape: Shape) -> Result<Option<Answer>, ClientError> {
        loop {
            match self.arrival_at_hand(shape)? {
                Some(Arrival::Answer(answer)) => return Ok(Some(answer)),
                Some(Arrival::Push(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Returns the next answer or push if it has arrived. Answers that no call waits for are
    /// dropped.
    fn arrival_at_hand(&mut self, shape: Shape) -> Result<Option<Arrival>, ClientError> {
        loop {
            // An answer that no call waits for may be a stored result.
            let unawaited = self.unawaited > 0;
            let shape = if unawaited { Shape::Text } else { shape };
            match self.next_at_hand(shape)? {
                Some(Arrival::Answer(_)) if unawaited => {}
                arrival => return Ok(arrival),
            }
        }
    }

    /// Returns the next answer or push if it has arrived, also an answer that no call waits for.
    fn next_at_hand(&mut self, shape: Shape) -> Result<Option<Arrival>, ClientError> {
        match self.replies.next(shape) {
            Ok(Some(Value::Push { kind, data })) if self.speaks_resp3() => {
                self.questions = self.questions.saturating_sub(1);
                Ok(Some(Arrival::Push(Push::new(&kind, data))))
            }
            Ok(Some(Value::Push { .. })) => {
                self.give_up();
                Err(ClientError::Protocol(
                    "a push on a connection that speaks RESP2".to_owned(),
                ))
            }
            Ok(Some(value)) => {
                self.unawaited = self.unawaited.saturating_sub(1);
                Ok(Some(Arrival::Answer(self.received(value))))
            }
            Ok(None) => Ok(None),
            Err(reason) => {
                self.give_up();
                Err(ClientError::Protocol(reason))
            }
        }
    }

    /// Counts an answer, and returns a refusal as an error.
    fn received(&mut self, value: Value) -> Answer {
        self.questions = self.questions.saturating_sub(1);
        let Value::ServerError(error) = value else {
            return Ok(value);
        };
        let code = error.code().to_owned();
        let answer = ServerError::new(code, error.details().unwrap_or_default());
        if answer.wants_new_connection() && self.is_whole() {
            self.retire(&answer);
        }
        // The refusal may quote the command's arguments, such as a task or a password. They are
        // removed.
        Err(answer.without(""))
    }

    /// Notes that another connection may do better: the name may lead to another server now, and
    /// another node may name another one.
    fn retire(&mut self, answer: &ServerError) {
        self.standing = Standing::Retired;
        resolve::forget_address(self.endpoint.address());
        if let Some((sought, lead)) = &self.lead {
            sought.refused_by(lead, answer);
        }
    }

    /// Waits for the answers that no call has waited for.
    pub(crate) fn skip_unawaited(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        while self.unawaited > 0 {
            if self.next_at_hand(Shape::Text)?.is_none() {
                let what = "the answers to earlier commands";
                let read = self.stream.read_soon(&mut self.replies, wait, what);
                read.map_err(|broken| self.lost(broken))?;
                self.heard = Instant::now();
            }
        }
        Ok(())
    }

    /// Drops the pushes and the unawaited answers that have arrived. Returns `false` if anything
    /// else has arrived, or if the connection is closed.
    fn skip_at_hand(&mut self) -> bool {
        loop {
            match self.arrival_at_hand(Shape::Short) {
                Ok(Some(Arrival::Push(_))) => {}
                Ok(None) => match self.read_at_hand() {
                    Ok(true) => {}
                    // The rest of a push or of an unawaited answer is on its way.
                    Ok(false) => {
                        return self.replies.is_empty()
                            || self.unawaited > 0
                            || self.replies.rest().first() == Some(&b'>');
                    }
                    Err(_) => return false,
                },
                Ok(Some(Arrival::Answer(_))) | Err(_) => return false,
            }
        }
    }

    /// Reads the bytes that have arrived. Returns `false` if there are none.
    pub(super) fn read_at_hand(&mut self) -> Result<bool, ClientError> {
        let read = self.stream.read_available(&mut self.replies);
        let count = read.map_err(|broken| self.lost(broken))?;
        if count > 0 {
            self.heard = Instant::now();
        }
        Ok(count > 0)
    }

    /// Notes that an exchange failed in the middle, and returns the error for it.
    fn lost(&mut self, broken: Broken) -> ClientError {
        self.give_up();
        match broken {
            Broken::Lost(reason) => ClientError::Disconnected {
                endpoint: self.endpoint.display_url(),
                reason,
            },
            Broken::Tls(problem) => {
                let reason = problem.to_string();
                self.standing = Standing::Broken(Some(problem));
                ClientError::Disconnected {
                    endpoint: self.endpoint.display_url(),
                    reason,
                }
            }
            Broken::Ended(error) => error,
        }
    }

    /// Marks the connection as broken, for example because an answer made no sense.
    pub(crate) fn give_up(&mut self) {
        if self.standing == Standing::Whole {
            self.standing = Standing::Broken(None);
        }
    }

    /// Marks the connection as whole again after a timeout between two messages, which broke
    /// nothing.
    pub(crate) fn recover(&mut self) {
        if self.standing == Standing::Broken(None) {
            self.standing = Standing::Whole;
        }
    }

    /// Returns `true` if the next command may be sent.
    pub(crate) fn is_whole(&self) -> bool {
        self.standing == Standing::Whole && (self.out.is_empty() || self.defers)
    }

    /// Returns `true` if the next command should use another connection.
    pub(crate) fn is_retired(&self) -> bool {
        self.standing == Standing::Retired
    }

    /// Returns `true` if the connection is still open and holds no unexpected data. It does not
    /// wait.
    pub(super) fn is_alive(&mut self, expects_data: bool) -> bool {
        if !expects_data && (self.hears || self.unawaited > 0) {
            return self.skip_at_hand();
        }
        if !expects_data && !self.replies.is_empty() {
            // Data after the last answer does not answer any command.
            return false;
        }
        match self.stream.peek() {
            Peek::Quiet => true,
            Peek::Closed => false,
            Peek::Data if expects_data => true,
            // A server that speaks TLS may send session tickets. Any other unexpected data
            // announces a closed connection.
            Peek::Data => {
                self.stream.is_tls()
                    && self.stream.read_available(&mut self.replies).is_ok()
                    && self.replies.is_empty()
            }
        }
    }

    /// Sets whether the wait for an answer may look for it before it sleeps.
    pub(crate) fn spin(&mut self, on: bool) {
        self.stream.spin(on);
    }

    /// Sets the largest result to accept from now on.
    pub(crate) fn accept_up_to(&mut self, max_reply: usize) {
        self.max_reply = max_reply;
        self.replies.set_limit(max_reply);
    }
}

fn write_argument(out: &mut Vec<u8>, argument: &[u8]) {
    write_length(out, b'$', argument.len());
    out.extend_from_slice(argument);
    out.extend_from_slice(b"\r\n");
}
