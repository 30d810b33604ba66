//! One connection to a Redis: commands out, answers in, in order.
//!
//! Invariants. A link that failed in the middle of anything is `broken` and never used again. What is `owed` – answers
//! to pipelined posts – stands before everything asked later. A link that listened to a channel says so until Redis
//! has confirmed that it left. Nothing is sent when a link is dropped, not even a farewell: after a fork the
//! connection is the parent's.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use redis::{Cmd, Value};

use super::client::ClientOptions;
use super::reply::ReplyReader;
use super::socket::Peek;
use super::stream::{Broken, NotOpen, Stream};
use super::wait::Wait;
use crate::endpoint::Endpoint;
use crate::error::{ClientError, ConfigError, ServerError};
use crate::secret::Secret;

/// Queues whose binding a link remembers having written. Writing one again does no harm.
const MAX_DECLARED: usize = 1024;
/// A write buffer larger than this is given back after use.
const LARGE: usize = 256 << 10;
/// What a part of a command takes beside its bytes: its length in digits, and two ends of lines.
const FRAME: usize = 25;

/// A connection, and what is still unanswered on it.
pub struct Link {
    endpoint: Arc<Endpoint>,
    stream: Stream,
    replies: ReplyReader,
    /// Packed, and not yet written.
    out: Vec<u8>,
    /// Bytes packed so far; the end of a command is the count after it.
    packed: u64,
    /// Bytes that may have left so far.
    sent: u64,
    /// Pipelined posts without an answer, the oldest first.
    owed: VecDeque<Owed>,
    /// How many of these are posts.
    owed_posts: usize,
    /// Bytes of the messages of these posts.
    owed_bytes: usize,
    /// Pipelined posts that were accepted, and that no replica was asked about yet.
    accepted: Vec<String>,
    listening: Listening,
    /// Whether the stream gathers small writes: so it is while posts are pipelined.
    gathering: bool,
    /// Queues whose bindings were written over this link.
    declared: HashSet<Box<str>>,
    last_used: Instant,
    broken: bool,
    /// Whether an answer said that another connection may do better.
    retired: bool,
}

/// An answer that a pipelined post left open.
#[derive(Debug)]
pub(super) enum Owed {
    /// Of the writing of a binding.
    Binding,
    /// Of the post of this task.
    Post { task_id: String, bytes: usize },
    /// Of the question how many replicas have the posts before it.
    Replicas,
}

impl Owed {
    fn posts(&self) -> usize {
        usize::from(matches!(self, Self::Post { .. }))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Binding | Self::Replicas => 0,
            Self::Post { bytes, .. } => *bytes,
        }
    }
}

/// What Redis answered: a value, or a refusal.
pub(super) type Answer = Result<Value, ServerError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    Yes,
    /// `UNSUBSCRIBE` was sent; messages may still stand before its answer.
    Leaving,
}

impl Link {
    /// Opens a connection and enters: AUTH, SELECT and a PING in one round trip, so that a server that accepts
    /// connections and answers nothing is found out before anything depends on it.
    pub(super) fn open(
        endpoint: &Arc<Endpoint>,
        options: &ClientOptions,
        wait: &mut Wait<'_>,
    ) -> Result<Self, NotOpen> {
        let mut link = Self {
            endpoint: endpoint.clone(),
            stream: Stream::open(endpoint, wait)?,
            replies: ReplyReader::new(options.max_reply),
            out: Vec::new(),
            packed: 0,
            sent: 0,
            owed: VecDeque::new(),
            owed_posts: 0,
            owed_bytes: 0,
            accepted: Vec::new(),
            listening: Listening::No,
            gathering: false,
            declared: HashSet::new(),
            last_used: Instant::now(),
            broken: false,
            retired: false,
        };
        link.enter(wait).map_err(|error| match error {
            // Nothing was asked for yet: it is the connection that failed.
            ClientError::Disconnected { endpoint, reason } => NotOpen {
                error: ClientError::Connect { endpoint, reason },
                again: true,
            },
            error => NotOpen {
                again: error.is_retryable(),
                error,
            },
        })?;
        Ok(link)
    }

    fn enter(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let endpoint = self.endpoint.clone();
        let auth = endpoint.password().map(|password| {
            let mut auth = redis::cmd("AUTH");
            if let Some(user) = endpoint.username() {
                auth.arg(user);
            }
            auth.arg(password.reveal());
            auth
        });
        let select = (endpoint.database() > 0).then(|| {
            let mut select = redis::cmd("SELECT");
            select.arg(endpoint.database());
            select
        });
        for cmd in [auth.as_ref(), select.as_ref(), Some(&redis::cmd("PING"))]
            .into_iter()
            .flatten()
        {
            self.pack(cmd);
        }
        self.flush(wait)?;
        if auth.is_some() {
            let answer = self.answer(wait, "the answer to AUTH")?;
            let secret = endpoint.password().map_or("", Secret::reveal);
            answer.map_err(|answer| endpoint.refused(answer.without(secret)))?;
        }
        if select.is_some() {
            match self.answer(wait, "the answer to SELECT")? {
                Ok(_) => {}
                Err(answer) if answer.is_auth() || answer.is_transient() => {
                    return Err(endpoint.refused(answer));
                }
                Err(_) => {
                    return Err(ClientError::Config(ConfigError::Value {
                        name: "database",
                        reason: "the server has none of this number",
                    }));
                }
            }
        }
        match self.answer(wait, "the answer to PING")? {
            // A user may lack the permission to PING: that is an answer, too.
            Err(answer) if answer.is_auth() || answer.is_transient() => {
                Err(endpoint.refused(answer))
            }
            _ => Ok(()),
        }
    }

    /// Where it leads.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Packs a command; it leaves with the next [`flush`](Self::flush). Returns where it ends, for
    /// [`has_sent`](Self::has_sent).
    pub(super) fn pack(&mut self, cmd: &Cmd) -> u64 {
        let before = self.out.len();
        cmd.write_packed_command(&mut self.out);
        self.packed += (self.out.len() - before) as u64;
        self.packed
    }

    /// The same for a command in parts, which are copied once.
    pub(super) fn pack_parts<const N: usize>(&mut self, parts: [&[u8]; N]) -> u64 {
        let before = self.out.len();
        let bytes: usize = parts.iter().map(|part| part.len() + FRAME).sum();
        self.out.reserve(bytes + FRAME);
        write_length(&mut self.out, b'*', N);
        for part in parts {
            write_length(&mut self.out, b'$', part.len());
            self.out.extend_from_slice(part);
            self.out.extend_from_slice(b"\r\n");
        }
        self.packed += (self.out.len() - before) as u64;
        self.packed
    }

    /// Bytes that wait for a flush.
    pub(super) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Whether a command may have left completely. An incomplete one is never executed.
    pub(super) fn has_sent(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// Writes everything packed.
    pub(super) fn flush(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let mut out = std::mem::take(&mut self.out);
        let written = self
            .stream
            .write(&out, &mut self.sent, &mut self.replies, wait);
        out.clear();
        if out.capacity() <= LARGE {
            self.out = out;
        }
        written.map_err(|broken| self.lost(broken))
    }

    /// The next answer; what Redis refused is the inner error.
    pub(super) fn answer(
        &mut self,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        loop {
            if let Some(answer) = self.answer_at_hand()? {
                return Ok(answer);
            }
            // What is waited for must have left.
            self.gather(false);
            let read = self.stream.read(&mut self.replies, wait, what);
            read.map_err(|broken| self.lost(broken))?;
        }
    }

    /// The next answer, if it has arrived.
    fn answer_at_hand(&mut self) -> Result<Option<Answer>, ClientError> {
        match self.replies.next() {
            Ok(Some(Value::ServerError(error))) => {
                let code = error.code().to_owned();
                let answer = ServerError::new(code, error.details().unwrap_or_default());
                self.retired |= answer.wants_new_connection();
                // The arguments of a command are a task's, or a password.
                Ok(Some(Err(answer.without(""))))
            }
            Ok(Some(value)) => Ok(Some(Ok(value))),
            Ok(None) => Ok(None),
            Err(reason) => {
                self.broken = true;
                Err(ClientError::Protocol(reason))
            }
        }
    }

    /// One command, one answer. Nothing may be owed.
    pub(super) fn call(
        &mut self,
        cmd: &Cmd,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        self.pack(cmd);
        self.flush(wait)?;
        let answer = self.answer(wait, what);
        self.last_used = Instant::now();
        answer
    }

    fn lost(&mut self, broken: Broken) -> ClientError {
        self.broken = true;
        match broken {
            Broken::Lost(reason) => ClientError::Disconnected {
                endpoint: self.endpoint.display_url(),
                reason,
            },
            Broken::Ended(error) => error,
        }
    }

    /// Gives the link up: an answer made no sense.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Whether the next command should go over another connection. What is owed will still be answered on this one.
    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Whether it may be used again.
    pub(super) fn is_whole(&self) -> bool {
        !self.broken && self.out.is_empty() && self.listening != Listening::Yes
    }

    /// Looks, without waiting, whether the other end is still there and has nothing to say that nobody asked for.
    pub(super) fn is_alive(&mut self) -> bool {
        if !self.expects_something() && !self.replies.is_empty() {
            // Whatever was read beyond the last answer is the answer to nothing.
            return false;
        }
        match self.stream.peek() {
            Peek::Quiet => true,
            Peek::Closed => false,
            Peek::Data if self.expects_something() => true,
            // TLS sends tickets of its own; anything else unasked is a farewell.
            Peek::Data => {
                self.stream.is_tls()
                    && self.stream.read_available(&mut self.replies).is_ok()
                    && self.replies.is_empty()
            }
        }
    }

    fn expects_something(&self) -> bool {
        !self.owed.is_empty() || self.listening == Listening::Leaving
    }

    /// When it was last used.
    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// It was just used.
    pub(super) fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    // Bindings.

    /// Remembers that a queue's binding is being written; true if it was not before.
    pub(super) fn declare(&mut self, queue: &str) -> bool {
        if self.declared.contains(queue) {
            return false;
        }
        if self.declared.len() >= MAX_DECLARED {
            self.declared.clear();
        }
        self.declared.insert(queue.into())
    }

    /// The binding was refused, or its fate is unknown: it is written again before the next post.
    pub(super) fn undeclare_all(&mut self) {
        self.declared.clear();
    }

    // Pipelined posts.

    /// Lets the system send the posts of a loop in few packets. None waits for more than the answer to an earlier one.
    pub(super) fn gather(&mut self, on: bool) {
        if self.gathering != on {
            self.gathering = on;
            self.stream.gather(on);
        }
    }

    pub(super) fn owe(&mut self, owed: Owed) {
        self.owed_posts += owed.posts();
        self.owed_bytes += owed.bytes();
        self.owed.push_back(owed);
    }

    pub(super) fn owed(&self) -> &VecDeque<Owed> {
        &self.owed
    }

    pub(super) fn owed_bytes(&self) -> usize {
        self.owed_bytes
    }

    /// Pipelined posts that are not answered, or whose replicas were not asked.
    pub(super) fn open_posts(&self) -> usize {
        self.owed_posts + self.accepted.len()
    }

    /// A post was accepted, and its replicas will be asked.
    pub(super) fn accepted(&mut self, task_id: String) {
        self.accepted.push(task_id);
    }

    /// The posts whose replicas were to be asked.
    pub(super) fn take_accepted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted)
    }

    /// The tasks of all open posts: there will be no answers any more.
    pub(super) fn take_open_posts(&mut self) -> impl Iterator<Item = String> {
        (self.owed_posts, self.owed_bytes) = (0, 0);
        let owed = std::mem::take(&mut self.owed).into_iter();
        let owed = owed.filter_map(|owed| match owed {
            Owed::Post { task_id, .. } => Some(task_id),
            Owed::Binding | Owed::Replicas => None,
        });
        self.take_accepted().into_iter().chain(owed)
    }

    /// Waits for the oldest owed answer.
    pub(super) fn next_owed(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.owed.is_empty() {
            return Ok(None);
        }
        let answer = self.answer(wait, "the answers to pipelined posts")?;
        Ok(self.pay(answer))
    }

    /// The oldest owed answer, if it has arrived; reads at most once.
    pub(super) fn next_owed_at_hand(&mut self) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.owed.is_empty() {
            return Ok(None);
        }
        let mut answer = self.answer_at_hand()?;
        if answer.is_none() {
            let read = self.stream.read_available(&mut self.replies);
            read.map_err(|broken| self.lost(broken))?;
            answer = self.answer_at_hand()?;
        }
        Ok(answer.and_then(|answer| self.pay(answer)))
    }

    fn pay(&mut self, answer: Answer) -> Option<(Owed, Answer)> {
        let owed = self.owed.pop_front()?;
        self.owed_posts -= owed.posts();
        self.owed_bytes -= owed.bytes();
        Some((owed, answer))
    }

    // Listening.

    /// Subscribes to a channel; what Redis refused is the inner error. Nothing may be owed.
    pub(super) fn subscribe(
        &mut self,
        channel: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Result<(), ServerError>, ClientError> {
        self.pack(redis::cmd("SUBSCRIBE").arg(channel));
        self.flush(wait)?;
        let was_leaving = self.listening == Listening::Leaving;
        if was_leaving {
            self.await_departure(wait)?;
        }
        self.listening = Listening::Yes;
        match self.answer(wait, "the answer to SUBSCRIBE")? {
            Ok(Value::Array(parts)) if is_text(parts.first(), b"subscribe") => Ok(Ok(())),
            Ok(_) => {
                self.broken = true;
                Err(ClientError::Protocol(
                    "SUBSCRIBE was answered with something else".to_owned(),
                ))
            }
            Err(refused) => {
                self.listening = Listening::No;
                Ok(Err(refused))
            }
        }
    }

    /// The next message on the channel.
    pub(super) fn message(&mut self, wait: &mut Wait<'_>) -> Result<Vec<u8>, ClientError> {
        loop {
            let Ok(Value::Array(mut parts)) = self.answer(wait, "the result")? else {
                self.broken = true;
                return Err(ClientError::Protocol(
                    "a channel brought something that is no message".to_owned(),
                ));
            };
            if let (true, Some(Value::BulkString(payload))) =
                (is_text(parts.first(), b"message"), parts.pop())
            {
                return Ok(payload);
            }
        }
    }

    /// Takes back that the link broke: only the time for the next message was over.
    pub(super) fn still_whole(&mut self) {
        self.broken = false;
    }

    /// Leaves the channel without waiting for the answer: the next user reads up to it.
    pub(super) fn unsubscribe(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.listening = Listening::Leaving;
        self.pack(&redis::cmd("UNSUBSCRIBE"));
        self.flush(wait)
    }

    /// Makes sure that the link is in the state in which commands are answered.
    pub(super) fn await_departure(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        while self.listening == Listening::Leaving {
            if let Ok(Value::Array(parts)) = self.answer(wait, "the answer to UNSUBSCRIBE")?
                && is_text(parts.first(), b"unsubscribe")
            {
                self.listening = Listening::No;
            }
        }
        Ok(())
    }
}

/// A line of the protocol that announces a length.
fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), length);
    while at == digits.len() || rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

fn is_text(value: Option<&Value>, text: &[u8]) -> bool {
    matches!(value, Some(Value::BulkString(bytes)) if bytes == text)
}
