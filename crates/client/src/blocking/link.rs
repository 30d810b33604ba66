//! One connection to a Redis: commands out, answers in, in order.
//!
//! Invariants. A link that failed in the middle of anything is `broken` and never used again. What is `owed` – answers
//! to pipelined posts – stands before everything asked later. A link that listened to a channel says so until Redis
//! has confirmed that it left. Nothing is sent when a link is dropped, not even a farewell: after a fork the
//! connection is the parent's.
//!
//! Layout: `owed` (pipelined posts), `channel` (listening).

mod channel;
mod owed;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use redis::{Cmd, Value};

use super::client::ClientOptions;
use super::reply::{ReplyReader, Shape, unread};
use super::socket::Peek;
use super::stream::{Broken, NotOpen, Stream};
use super::wait::Wait;
use crate::endpoint::{Address, Endpoint};
use crate::error::{ClientError, ConfigError, ServerError, TlsProblem};
use crate::redis::mode;
use crate::secret::Secret;
use crate::tls;

pub(super) use owed::Owed;

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
    /// Commands packed that were not answered yet, for what may wait unread.
    questions: usize,
    /// The largest result that is accepted.
    max_reply: usize,
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
    /// A disagreement about TLS that ended it.
    problem: Option<TlsProblem>,
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
    /// Opens a connection and enters: AUTH, SELECT and HELLO in one round trip, so that a server that accepts
    /// connections and answers nothing is found out before anything depends on it. The answer to HELLO
    /// says which kind of server it is.
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
            questions: 0,
            max_reply: options.max_reply,
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
            problem: None,
        };
        let entered = link.enter(wait);
        if tls::is_alert(link.replies.rest()) {
            link.problem = Some(TlsProblem::Spoken);
        }
        let problem = link.problem.take();
        entered.map_err(|error| match (error, problem) {
            (ClientError::Disconnected { endpoint, .. }, Some(problem)) => NotOpen {
                error: ClientError::Tls { endpoint, problem },
                again: false,
            },
            // The alert of a server that speaks TLS may be lost with the connection.
            (ClientError::Disconnected { endpoint, reason }, None) if link.may_be_tls() => {
                NotOpen {
                    error: ClientError::Connect {
                        endpoint,
                        reason: format!(
                            "{reason}; if the server speaks TLS on this port, use rediss://"
                        ),
                    },
                    again: true,
                }
            }
            // Nothing was asked for yet: it is the connection that failed.
            (ClientError::Disconnected { endpoint, reason }, None) => NotOpen {
                error: ClientError::Connect { endpoint, reason },
                again: true,
            },
            (error, _) => NotOpen {
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
        for cmd in [auth.as_ref(), select.as_ref(), Some(&redis::cmd("HELLO"))]
            .into_iter()
            .flatten()
        {
            self.pack(cmd);
        }
        self.flush(wait)?;
        if auth.is_some() {
            let answer = self.answer(Shape::Short, wait, "the answer to AUTH")?;
            let secret = endpoint.password().map_or("", Secret::reveal);
            answer.map_err(|answer| endpoint.refused(answer.without(secret)))?;
        }
        if select.is_some() {
            match self.answer(Shape::Short, wait, "the answer to SELECT")? {
                Ok(_) => {}
                Err(answer)
                    if answer.code() == "ERR" && !answer.is_auth() && !answer.is_transient() =>
                {
                    return Err(ClientError::Config(ConfigError::Value {
                        name: "database",
                        reason: "the server has none of this number",
                    }));
                }
                Err(answer) => return Err(endpoint.refused(answer)),
            }
        }
        match self.answer(Shape::Hello, wait, "the answer to HELLO")? {
            // An old server does not know the command: that is an answer, too.
            Err(answer) if answer.is_auth() || answer.is_transient() => {
                Err(endpoint.refused(answer))
            }
            Err(_) => Ok(()),
            Ok(hello) => match mode::unsupported(&hello) {
                Some(kind) => Err(endpoint.unsupported(kind)),
                None => Ok(()),
            },
        }
    }

    /// Returns `true` if a server that was not heard yet may have expected TLS.
    fn may_be_tls(&self) -> bool {
        !self.stream.is_tls()
            && self.replies.is_empty()
            && matches!(self.endpoint.address(), Address::Tcp { .. })
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
        self.questions += 1;
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
        self.questions += 1;
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
        let listens = self.listening != Listening::No;
        self.replies
            .allow_unread(unread(self.questions, listens, self.max_reply));
        let written = self
            .stream
            .write(&out, &mut self.sent, &mut self.replies, wait);
        out.clear();
        if out.capacity() <= LARGE {
            self.out = out;
        }
        written.map_err(|broken| self.lost(broken))
    }

    /// The next answer, of the shape that its command has; what Redis refused is the inner error.
    pub(super) fn answer(
        &mut self,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        loop {
            if let Some(answer) = self.answer_at_hand(shape)? {
                return Ok(answer);
            }
            // What is waited for must have left.
            self.gather(false);
            let read = self.stream.read(&mut self.replies, wait, what);
            read.map_err(|broken| self.lost(broken))?;
        }
    }

    /// The next answer, if it has arrived.
    fn answer_at_hand(&mut self, shape: Shape) -> Result<Option<Answer>, ClientError> {
        let answer = self.replies.next(shape);
        if matches!(answer, Ok(Some(_))) {
            // What a channel brings answers nothing.
            self.questions = self.questions.saturating_sub(1);
        }
        match answer {
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
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        self.pack(cmd);
        self.flush(wait)?;
        let answer = self.answer(shape, wait, what);
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
            Broken::Tls(problem) => {
                let reason = problem.to_string();
                self.problem = Some(problem);
                ClientError::Disconnected {
                    endpoint: self.endpoint.display_url(),
                    reason,
                }
            }
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
        if self.owed.is_empty() && self.depart_at_hand().is_err() {
            return false;
        }
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

    /// The largest result that is accepted from now on.
    pub(super) fn accept_up_to(&mut self, max_reply: usize) {
        self.max_reply = max_reply;
        self.replies.set_limit(max_reply);
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
}

/// A line of the protocol that announces a length.
#[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
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
