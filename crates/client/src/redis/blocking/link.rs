//! A connection to a Redis: commands out, answers in, in order.
//!
//! Invariants:
//!
//! * A link that failed in the middle of an exchange is `broken` and never used again.
//! * The answers that are `owed` to pipelined posts come before the answers to all later commands.
//! * A link that listened to a channel keeps that state until Redis has confirmed that it left.
//! * Dropping a link sends nothing, not even a QUIT: after a fork the connection belongs to the
//!   parent.
//!
//! Layout: `owed` (pipelined posts), `channel` (listening).

mod channel;
mod debts;
mod owed;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use redis::{Cmd, Value};

use super::reply::{ReplyReader, Shape, unread};
use super::stream::{Broken, NotOpen, Stream};
use crate::blocking::Wait;
use crate::blocking::socket::Peek;
use crate::endpoint::Address;
use crate::error::{ClientError, ConfigError, ServerError, TlsProblem};
use crate::redis::RedisEndpoint;
use crate::redis::mode;
use crate::secret::Secret;
use crate::tls;

pub(super) use owed::Owed;

/// Limit for the queues whose bindings a link remembers having written. Writing a binding again
/// does no harm.
const MAX_DECLARED: usize = 1024;
/// Size above which the memory of the write buffer is released after use.
const LARGE: usize = 256 << 10;
/// Bytes that frame an argument of a command: its length in digits, and two line ends.
const FRAME: usize = 25;

/// A connection and the state of its unanswered commands.
pub struct Link {
    endpoint: Arc<RedisEndpoint>,
    stream: Stream,
    replies: ReplyReader,
    /// Packed commands that are not written yet.
    out: Vec<u8>,
    /// Number of bytes packed so far. Its value after a command marks the end of that command.
    packed: u64,
    /// Number of bytes that may have been sent so far.
    sent: u64,
    /// Number of packed commands without an answer, which limits the answers that may arrive
    /// unread.
    questions: usize,
    /// The largest result to accept.
    max_reply: usize,
    /// The owed answers to pipelined posts, the oldest first.
    owed: VecDeque<Owed>,
    /// The number of owed answers that belong to posts.
    owed_posts: usize,
    /// Bytes of the messages of the pipelined posts whose answers are owed.
    owed_bytes: usize,
    /// Task ids of pipelined posts that Redis accepted and that no WAIT has covered yet.
    accepted: Vec<String>,
    listening: Listening,
    /// Whether the stream gathers small writes, as it does while posts are pipelined.
    gathering: bool,
    /// Queues whose bindings were written on this link.
    declared: HashSet<Box<str>>,
    last_used: Instant,
    broken: bool,
    /// Whether an answer showed that another connection may do better.
    retired: bool,
    /// A disagreement about TLS that ended the link.
    problem: Option<TlsProblem>,
}

/// An answer of Redis: a value, or a refusal.
pub(super) type Answer = Result<Value, ServerError>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    No,
    Yes,
    /// `UNSUBSCRIBE` was sent. Messages of the channel may still precede its answer.
    Leaving,
}

impl Link {
    /// Opens a connection and logs in: AUTH, SELECT and HELLO in one round trip.
    ///
    /// A server that accepts connections but does not answer is thereby found before any call
    /// depends on it. The answer to HELLO shows which kind of server it is.
    pub(super) fn open(
        endpoint: &Arc<RedisEndpoint>,
        max_reply: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Self, NotOpen> {
        let mut link = Self {
            endpoint: endpoint.clone(),
            stream: Stream::open(endpoint, wait)?,
            replies: ReplyReader::new(max_reply),
            out: Vec::new(),
            packed: 0,
            sent: 0,
            questions: 0,
            max_reply,
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
            // The server may speak TLS: its alert can be lost with the connection.
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
            // No command was sent yet, so only the connection failed.
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
        let selected = match select {
            Some(_) => self
                .answer(Shape::Short, wait, "the answer to SELECT")?
                .map(drop),
            None => Ok(()),
        };
        let hello = self.answer(Shape::Hello, wait, "the answer to HELLO")?;
        // A node of a cluster refuses SELECT, too; its kind says more than that.
        if let Some(kind) = hello.as_ref().ok().and_then(mode::unsupported) {
            return Err(endpoint.unsupported(kind));
        }
        match selected {
            Err(answer)
                if answer.code() == "ERR" && !answer.is_auth() && !answer.is_transient() =>
            {
                return Err(ClientError::Config(ConfigError::Value {
                    name: "database",
                    reason: "the server has no database with this number",
                }));
            }
            Err(answer) => return Err(endpoint.refused(answer)),
            Ok(()) => {}
        }
        match hello {
            // An old server does not know HELLO. Its error still shows that it answers.
            Err(answer) if answer.is_auth() || answer.is_transient() => {
                Err(endpoint.refused(answer))
            }
            _ => Ok(()),
        }
    }

    /// Returns `true` if the server has sent nothing yet and may have expected TLS.
    fn may_be_tls(&self) -> bool {
        !self.stream.is_tls()
            && self.replies.is_empty()
            && matches!(self.endpoint.address(), Address::Tcp { .. })
    }

    /// Returns the endpoint of the connection.
    pub fn endpoint(&self) -> &Arc<RedisEndpoint> {
        &self.endpoint
    }

    /// Packs a command, which the next [`flush`](Self::flush) sends. Returns the position of its
    /// end, for [`has_sent`](Self::has_sent).
    pub(super) fn pack(&mut self, cmd: &Cmd) -> u64 {
        let before = self.out.len();
        cmd.write_packed_command(&mut self.out);
        self.questions += 1;
        self.packed += (self.out.len() - before) as u64;
        self.packed
    }

    /// Packs a command like [`pack`](Self::pack), from parts that are copied only once.
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

    /// Returns the number of packed bytes that are not sent yet.
    pub(super) fn unsent(&self) -> usize {
        self.out.len()
    }

    /// Returns `true` if the whole command may have been sent. Redis never executes an incomplete
    /// one.
    pub(super) fn has_sent(&self, end: u64) -> bool {
        self.sent >= end
    }

    /// Writes all packed commands.
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

    /// Returns the next answer, which must have the shape of its command. A refusal of Redis is the
    /// inner error.
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
            // The command to be answered must have been sent.
            self.gather(false);
            let read = self.stream.read(&mut self.replies, wait, what);
            read.map_err(|broken| self.lost(broken))?;
        }
    }

    /// Returns the next answer if it has arrived.
    fn answer_at_hand(&mut self, shape: Shape) -> Result<Option<Answer>, ClientError> {
        let answer = self.replies.next(shape);
        if matches!(answer, Ok(Some(_))) {
            // A message of a channel decreases the count, too, although it answers no command; the
            // count stops at 0.
            self.questions = self.questions.saturating_sub(1);
        }
        match answer {
            Ok(Some(Value::ServerError(error))) => {
                let code = error.code().to_owned();
                let answer = ServerError::new(code, error.details().unwrap_or_default());
                self.retired |= answer.wants_new_connection();
                // The refusal may quote the command's arguments, such as a task or a password. They
                // are removed.
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

    /// Sends a command and returns its answer. The link must not owe any answer.
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

    /// Marks the link as broken because an answer made no sense.
    pub(super) fn give_up(&mut self) {
        self.broken = true;
    }

    /// Returns `true` if the next command should use another connection. Owed answers will still
    /// come on this one.
    pub(super) fn is_retired(&self) -> bool {
        self.retired
    }

    /// Returns `true` if the link may be used again.
    pub(super) fn is_whole(&self) -> bool {
        !self.broken && self.out.is_empty() && self.listening != Listening::Yes
    }

    /// Returns `true` if the connection is still open and holds no unexpected data. It does not
    /// wait.
    pub(super) fn is_alive(&mut self) -> bool {
        if self.owed.is_empty() && self.depart_at_hand().is_err() {
            return false;
        }
        if !self.expects_something() && !self.replies.is_empty() {
            // Data after the last answer does not answer any command.
            return false;
        }
        match self.stream.peek() {
            Peek::Quiet => true,
            Peek::Closed => false,
            Peek::Data if self.expects_something() => true,
            // A server that speaks TLS may send session tickets. Any other unexpected data
            // announces a closed connection.
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

    /// Sets the largest result to accept from now on.
    pub(super) fn accept_up_to(&mut self, max_reply: usize) {
        self.max_reply = max_reply;
        self.replies.set_limit(max_reply);
    }

    /// Returns the time of the last use.
    pub(super) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Sets the time of the last use to now.
    pub(super) fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Remembers that the binding of a queue is being written. Returns `true` if it was not
    /// remembered before.
    pub(super) fn declare(&mut self, queue: &str) -> bool {
        if self.declared.contains(queue) {
            return false;
        }
        if self.declared.len() >= MAX_DECLARED {
            self.declared.clear();
        }
        self.declared.insert(queue.into())
    }

    /// Forgets all bindings, so that the next posts write them again: one was refused, or its
    /// outcome is unknown.
    pub(super) fn undeclare_all(&mut self) {
        self.declared.clear();
    }
}

/// Writes a protocol line that announces a length.
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
