//! A client of one Redis: it connects when needed and repeats what may be repeated.
//!
//! Commands that do not change a queue (a read, a deletion, a broadcast to workers) are repeated
//! once after a lost connection. If the answer means "not now", they are repeated until the
//! deadline. Posts follow the rules in `attempt`.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::events::Sender;
use celery_protocol::redis_keys::Keys;
use redis::{Cmd, Value};

use super::link::Resting;
use super::outgoing::Post;
use super::reply::Shape;
use crate::backoff::Backoff;
use crate::blocking::{CircuitOptions, Process, Wait};
use crate::error::{ClientError, PublishError};
use crate::redis::{RedisEndpoint, Script};

/// The limits and timeouts of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Limit for everything up to an accepted connection: name, TCP, TLS, AUTH, SELECT. The
    /// deadline of the call applies as well.
    pub connect_timeout: Duration,
    /// When a server that could not be reached is not asked again for a while. By default, every
    /// call asks.
    pub circuit: CircuitOptions,
    /// Limit for one step of a wait for a result: subscribing, or reading the key.
    ///
    /// A connection that takes longer is dropped as dead. The wait continues on a new one, whose
    /// limit is twice as long.
    pub command_timeout: Duration,
    /// Number of replicas that must confirm a post (`WAIT`); 0: no replica is asked.
    pub replicas: u32,
    /// The sender of `task-sent` events; `None`: no events are sent.
    pub sent_events: Option<Arc<Sender>>,
    /// Idle time after which a connection is checked by a PING before it is used.
    pub idle_check: Duration,
    /// Whether a wait for an answer first looks for the answer without sleeping, for up to 50 µs.
    /// It does so only on a connection whose last answers came about as fast.
    pub spin: bool,
    /// The largest result to accept, in bytes. Answers to other commands have a small limit of
    /// their own.
    pub max_reply: usize,
    /// Limit for open pipelined posts: not answered yet, or answered but not confirmed by the
    /// replicas.
    pub window_posts: usize,
    /// Limit for the bytes of pipelined posts whose answers are outstanding.
    pub window_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            circuit: CircuitOptions::default(),
            command_timeout: Duration::from_secs(5),
            replicas: 0,
            sent_events: None,
            idle_check: Duration::from_secs(30),
            spin: true,
            // Redis' limit for one value, plus room for the length and the line ends around it.
            max_reply: (512 << 20) + 1024,
            window_posts: 1000,
            window_bytes: 4 << 20,
        }
    }
}

/// A client of one server, with at most one connection. Its calls are in `publish`, `results` and
/// `control`.
pub struct Client {
    pub(super) endpoint: Arc<RedisEndpoint>,
    keys: Keys,
    pub(super) options: ClientOptions,
    /// The connection, between two calls.
    pub(super) kept: Option<Resting>,
    /// The process that made this client. In a fork of it, the connection belongs to the parent.
    owner: Process,
    /// Failures of pipelined posts that other calls have found.
    pub(super) late: Vec<PublishError>,
    /// Pipelined posts that were refused for a reason that passes, with the refusal. The next call
    /// that posts or collects repeats them.
    pub(super) refused: Vec<(Post, ClientError)>,
}

impl Client {
    /// Creates a client that has not connected yet.
    pub fn new(endpoint: Arc<RedisEndpoint>, options: ClientOptions) -> Self {
        let keys = endpoint.keys();
        Self {
            endpoint,
            keys,
            options,
            kept: None,
            owner: Process::current(),
            late: Vec::new(),
            refused: Vec::new(),
        }
    }

    /// Returns a client of the same endpoint that has not connected yet.
    pub(super) fn another(&self) -> Self {
        Self::new(Arc::clone(&self.endpoint), self.options.clone())
    }

    /// Returns `true` in the process that made this client, and `false` in a fork of it.
    pub(super) fn is_own(&self) -> bool {
        self.owner == Process::current()
    }

    /// Makes the client look like one that the parent of this process made.
    #[cfg(test)]
    pub(super) fn pretend_fork(&mut self) {
        self.owner = Process::another();
    }

    /// Returns the endpoint that the client connects to.
    pub fn endpoint(&self) -> &Arc<RedisEndpoint> {
        &self.endpoint
    }

    /// Sets the options of all later calls.
    pub fn set_options(&mut self, options: ClientOptions) {
        self.options = options;
    }

    /// Returns the names of the keys and channels that the client uses.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents the answer `PONG`.
    pub fn ping(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.ask(
            &redis::cmd("PING"),
            Shape::Short,
            wait,
            "the answer to PING",
        )
        .map(drop)
    }

    /// Returns `true` if no answer is outstanding and no failure remains to be reported.
    pub(super) fn is_settled(&self) -> bool {
        self.late.is_empty() && self.outstanding() == 0
    }

    /// Returns `true` if the client has a connection that can be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.kept
            .as_ref()
            .is_some_and(|kept| kept.link().wire.is_whole())
    }

    /// Returns the number of pipelined posts that are not confirmed yet.
    pub fn outstanding(&self) -> usize {
        let owed = self.kept.as_ref();
        owed.map_or(0, |kept| kept.link().debts.open_posts()) + self.refused.len()
    }

    /// Sends a command that may be repeated, and returns its answer.
    pub(super) fn ask(
        &mut self,
        cmd: &Cmd,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Value, ClientError> {
        self.repeated(wait, |client, wait| {
            let mut link = client.acquire_quiet(wait)?;
            let answer = link.call(cmd, shape, wait, what)?;
            client.keep(link);
            answer.map_err(|answer| client.endpoint.refused(answer))
        })
    }

    /// Makes a call that may be repeated: once after a lost connection, and until the deadline if
    /// the server refuses for a reason that passes.
    pub(super) fn repeated<T>(
        &mut self,
        wait: &mut Wait<'_>,
        mut call: impl FnMut(&mut Self, &mut Wait<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut backoff = backoff();
        let mut lost_before = false;
        loop {
            match call(self, wait) {
                Err(ClientError::Disconnected { .. }) if !lost_before => lost_before = true,
                // The wait for leaving a channel has used its share of the time. The command was
                // not sent yet.
                Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {}
                Err(ClientError::Server(answer)) if answer.is_transient() => {
                    if wait.back_off(&mut backoff).is_err() {
                        return Err(ClientError::Server(answer));
                    }
                }
                other => return other,
            }
        }
    }
}

impl Client {
    /// Runs a script that may be repeated with these keys and arguments, and returns its answer.
    pub(super) fn run_script(
        &mut self,
        script: &Script,
        (keys, arguments): (&[&str], &[&[u8]]),
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Value, ClientError> {
        let mut call = script.evalsha(keys);
        match self.ask(call.arg(arguments), shape, wait, what) {
            Err(ClientError::Server(refused)) if refused.code() == "NOSCRIPT" => {
                self.ask(script.eval(keys).arg(arguments), shape, wait, what)
            }
            answer => answer,
        }
    }
}

/// The first pause before a server that cannot answer yet is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a server that cannot answer yet is asked again: `interval_max` of
/// Celery's `task_publish_retry_policy`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the pauses before a server that cannot answer yet is asked again.
pub(super) fn backoff() -> Backoff {
    Backoff::between(FIRST_PAUSE, LONGEST_PAUSE)
}
