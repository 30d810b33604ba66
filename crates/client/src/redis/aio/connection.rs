//! An asynchronous connection to a Redis server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, RedisConnectionInfo,
    RedisError, Value,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::endpoint::Address;
use crate::error::ServerError;
use crate::redis::inquiry::Lead;
use crate::redis::{RedisEndpoint, Script, mode};
use crate::secret::Secret;
use crate::transport::Transport;

/// The options for opening a connection and for waiting for its answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// Limit for opening: from looking up the name to the first answer.
    pub connect_timeout: Duration,
    /// Limit for each answer. It is always set: without it, a connection whose peer vanished would
    /// keep its role waiting without limit.
    pub response_timeout: Duration,
    /// Name shown by `CLIENT LIST`, so that operators and tests can identify the connection.
    pub name: String,
}

impl ConnectOptions {
    /// Returns the defaults for a connection of this name: 2 s to connect
    /// (`celery.connect_timeout`), 5 s for an answer.
    pub fn new(name: impl Into<String>) -> Self {
        ConnectOptions {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            name: name.into(),
        }
    }
}

/// The reason why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server could not be reached, or accepts no more connections now. Nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The server is reachable but rejects us: it wants other credentials, has no such database, or
    /// is a node of a Redis Cluster behind a URL of a single server. Nothing was executed.
    #[error("{0}")]
    Denied(String),
    /// The connection broke. It is unknown whether the command was executed.
    #[error("{0}")]
    Lost(String),
    /// No answer came in time. It is unknown whether the command was executed.
    #[error("{0}")]
    Silent(String),
    /// The server refused the command. It executed nothing, except what a script did before its
    /// error.
    #[error("{0}")]
    Refused(ServerError),
    /// The answer does not have the shape that this command returns.
    #[error("unexpected answer to {0}")]
    Answer(&'static str),
}

impl Failure {
    /// Returns `true` if the command may have been executed although no answer came.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Failure::Lost(_) | Failure::Silent(_) | Failure::Answer(_)
        )
    }

    /// Returns `true` if the server refused with this code.
    pub fn is_refusal(&self, wanted: &str) -> bool {
        matches!(self, Failure::Refused(answer) if answer.code() == wanted)
    }

    /// Returns `true` if the server would refuse a repeated call, too: its reason does not pass by
    /// itself, such as `WRONGTYPE` or `NOPERM`.
    ///
    /// Refused credentials do not count, because they are rotated.
    pub fn is_lasting(&self) -> bool {
        match self {
            // The script is loaded before the next attempt.
            Failure::Refused(answer) if answer.code() == "NOSCRIPT" => false,
            Failure::Refused(answer) => !answer.is_transient() && !answer.is_auth(),
            _ => false,
        }
    }
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some(code) => refused(ServerError::new(code, error.detail().unwrap_or_default())),
            None if error.is_timeout() => Failure::Silent(error.to_string()),
            None => Failure::Lost(error.to_string()),
        }
    }
}

/// A message that a server sends without a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Push {
    /// A tracked key changed.
    Invalidated,
    /// A message was published on a channel that the connection has subscribed to, by its name or
    /// by a pattern.
    Message(Vec<u8>),
    /// The connection was closed.
    Disconnected,
}

/// What is known about `CLIENT TRACKING` on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tracking {
    /// It was not asked for yet.
    #[default]
    Untried,
    /// The server reports changes of keys.
    On,
    /// The server refuses to report them.
    Refused,
}

/// An open connection. Dropping it closes it.
pub struct Connection {
    pub(super) inner: MultiplexedConnection,
    driver: JoinHandle<()>,
    hears: bool,
    /// How it came to its server, unless the server's address is fixed.
    lead: Option<Lead>,
    /// What the owner of the connection has found out about tracking.
    pub tracking: Tracking,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Connection {
    /// Returns `true` if the connection receives what the server pushes.
    pub fn hears(&self) -> bool {
        self.hears
    }

    /// Notes how the connection came to its server.
    pub(super) fn led_by(mut self, lead: Option<Lead>) -> Self {
        self.lead = lead;
        self
    }

    /// Returns how the connection came to its server, unless the server's address is fixed.
    pub(super) fn lead(&self) -> Option<&Lead> {
        self.lead.as_ref()
    }

    /// Opens a connection to a Sentinel or to a node of a cluster, to ask where the server is.
    pub(super) async fn to_ask(
        endpoint: &RedisEndpoint,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let config = AsyncConnectionConfig::new();
        Self::log_in(endpoint, ProtocolVersion::RESP2, config, deadline).await
    }

    /// Opens a connection to this server itself and authenticates.
    pub(super) async fn log_in(
        endpoint: &RedisEndpoint,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_lib_name("celery-native", env!("CARGO_PKG_VERSION"));
        if let Some(user) = endpoint.username() {
            info = info.set_username(user);
        }
        if let Some(password) = endpoint.password() {
            info = info.set_password(password.reveal());
        }
        let stream = Transport::open(endpoint.address(), endpoint.tls(), deadline)
            .await
            .map_err(|e| Failure::Connect(e.to_string()))?;
        let (inner, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|error| not_let_in(error, endpoint))?;
        Ok(Connection {
            hears: matches!(protocol, ProtocolVersion::RESP3),
            lead: None,
            tracking: Tracking::default(),
            inner,
            driver: tokio::spawn(driver),
        })
    }

    /// Sets the time limit of the answers to all later commands.
    pub fn set_response_timeout(&mut self, timeout: Duration) {
        self.inner.set_response_timeout(timeout);
    }

    /// Sends one command, once.
    ///
    /// # Errors
    ///
    /// [`Failure::Refused`] with the answer of a server that refuses the command, or a lost
    /// connection. [`Failure::outcome_unknown`] says whether the command may have been executed.
    pub async fn query(&mut self, cmd: &Cmd) -> Result<Value, Failure> {
        checked(self.inner.send_packed_command(cmd).await?)
    }

    /// Sends commands in one piece and returns their answers in the same order.
    ///
    /// If the server refuses one of them, the call fails, but the server still executes the others.
    ///
    /// # Errors
    ///
    /// The first refusal, or the loss of the connection. See [`query`](Self::query).
    pub async fn pipeline(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        self.each(commands).await?.into_iter().collect()
    }

    /// Sends commands in one piece and returns the answer to each, or its refusal.
    ///
    /// # Errors
    ///
    /// The loss of the connection. See [`query`](Self::query).
    pub async fn each(
        &mut self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let answers = self
            .inner
            .send_packed_commands(commands, 0, commands.len())
            .await?;
        Ok(answers.into_iter().map(checked).collect())
    }

    /// Sends commands as one transaction (`MULTI` … `EXEC`) and returns the answer to each, or its
    /// refusal.
    ///
    /// A command that is refused while it is carried out does not stop the others.
    ///
    /// # Errors
    ///
    /// The reason why the server carried out nothing, or the loss of the connection. A server that
    /// refuses `MULTI` itself carries out the commands one by one.
    pub async fn transaction(
        &mut self,
        commands: impl IntoIterator<Item = Cmd>,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("MULTI");
        for command in commands {
            pipeline.add_command(command);
        }
        pipeline.cmd("EXEC");
        let mut answers = self.each(&pipeline).await?;
        let executed = answers.pop();
        // The refusal of a command is the reason; that of EXEC only says that there was one.
        if let Some(refused) = answers.into_iter().find_map(Result::err) {
            return Err(refused);
        }
        match executed {
            Some(Ok(Value::Array(answers))) => Ok(answers.into_iter().map(checked).collect()),
            Some(Err(refused)) => Err(refused),
            _ => Err(Failure::Answer("EXEC")),
        }
    }

    /// Calls a script; `call` must come from [`scripts::call`](super::scripts::call) for the same
    /// script.
    ///
    /// A server that was restarted or whose scripts were flushed does not know the script and
    /// executes nothing. Then the script is loaded and called again.
    ///
    /// # Errors
    ///
    /// Like [`query`](Self::query).
    pub async fn run(&mut self, script: &Script, call: &Cmd) -> Result<Value, Failure> {
        match self.query(call).await {
            Err(failure) if failure.is_refusal("NOSCRIPT") => {
                self.load(script).await?;
                self.query(call).await
            }
            other => other,
        }
    }

    /// Sends commands like [`each`](Self::each). The first one calls a script, as for
    /// [`run`](Self::run).
    ///
    /// If the server does not know the script, all commands are sent a second time. The others must
    /// be safe to repeat.
    ///
    /// # Errors
    ///
    /// Like [`each`](Self::each).
    pub async fn run_first(
        &mut self,
        script: &Script,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let answers = self.each(commands).await?;
        match answers.first() {
            Some(Err(failure)) if failure.is_refusal("NOSCRIPT") => {
                self.load(script).await?;
                self.each(commands).await
            }
            _ => Ok(answers),
        }
    }

    async fn load(&mut self, script: &Script) -> Result<(), Failure> {
        let mut load = Cmd::new();
        load.arg("SCRIPT").arg("LOAD").arg(script.source());
        self.query(&load).await.map(drop)
    }
}

/// Answers that reject the greeting (the first commands of a connection) and have no error code of
/// their own. The first is the wording of redis-rs for `NOAUTH`.
const DENIALS: [&str; 2] = ["Authentication required.", "DB index is out of range"];

/// The start of the failure that reports a server without RESP3.
pub(super) const NO_RESP3: &str = "the server does not speak RESP3";

/// Returns the failure of a connection that did not open, so that nothing was executed.
///
/// The failure quotes the server's answer without the password, because some servers repeat it.
fn not_let_in(error: RedisError, endpoint: &RedisEndpoint) -> Failure {
    if error.kind() == ErrorKind::RESP3NotSupported {
        return Failure::Connect(format!("{NO_RESP3}: {error}"));
    }
    let denied = error.kind() == ErrorKind::AuthenticationFailed;
    let answer = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => ServerError::new(code, detail),
        (_, Some(detail)) => ServerError::new(format!("{}:", error.category()), detail),
        (_, None) if denied => return Failure::Denied(error.to_string()),
        (_, None) => return Failure::Connect(in_words(&error, endpoint)),
    };
    let secret = endpoint.password().map_or("", Secret::reveal);
    not_entered(answer.without(secret), denied)
}

/// Returns the failure for an answer that rejects the greeting. `is_denied` is `true` if no repeat
/// would help, whatever the answer is.
pub(super) fn not_entered(answer: ServerError, is_denied: bool) -> Failure {
    let is_denied = is_denied || answer.is_auth() || DENIALS.contains(&answer.message());
    if answer.is_cluster() {
        return refused(answer);
    }
    let said = answer.to_string();
    if is_denied {
        Failure::Denied(said)
    } else {
        Failure::Connect(said)
    }
}

/// Returns the failure of a greeting that was not answered.
pub(super) fn closed(error: RedisError, endpoint: &RedisEndpoint) -> Failure {
    match Failure::from(error.clone()) {
        Failure::Lost(_) => Failure::Lost(in_words(&error, endpoint)),
        other => other,
    }
}

/// Describes why a connection did not open. A server that expects TLS may close it without an
/// alert, or its reset may arrive before the alert.
fn in_words(error: &RedisError, endpoint: &RedisEndpoint) -> String {
    let is_plain = endpoint.tls().is_none() && matches!(endpoint.address(), Address::Tcp { .. });
    let said = error.to_string();
    if is_plain && error.is_connection_dropped() && !said.contains("rediss://") {
        format!("{said}; if the server speaks TLS on this port, use rediss://")
    } else {
        said
    }
}

pub(super) fn checked(value: Value) -> Result<Value, Failure> {
    match value {
        Value::ServerError(error) => Err(refused(ServerError::new(
            error.code(),
            error.details().unwrap_or_default(),
        ))),
        value => Ok(value),
    }
}

/// Returns the failure for a refusal. An answer that only a cluster gives, and that does not pass by
/// itself, becomes [`Failure::Denied`], because no repeat would help.
fn refused(answer: ServerError) -> Failure {
    if answer.is_cluster() && !answer.is_transient() {
        Failure::Denied(format!("it is {} ({answer})", mode::CLUSTER))
    } else {
        Failure::Refused(answer)
    }
}

/// A push handler that consecutive connections share.
pub(super) type Heard = Arc<dyn Fn(Push) + Send + Sync>;
