//! One connection to one server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, ErrorKind, Pipeline, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisError, Value,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::transport::Transport;
use crate::endpoint::Endpoint;
use crate::error::ServerError;
use crate::redis::{Script, mode};
use crate::secret::Secret;

/// How a connection is opened and how long it may stay silent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// For everything from looking up the name to the first answer.
    pub connect_timeout: Duration,
    /// For each command. Never unset: a link whose peer vanished would otherwise hold its role for ever.
    pub response_timeout: Duration,
    /// Shown by `CLIENT LIST`; tells operators, and tests, which connection is which.
    pub name: String,
}

impl ConnectOptions {
    /// The defaults for a connection of this name: 2 s to connect (`celery.connect_timeout`), 5 s for an answer.
    pub fn new(name: impl Into<String>) -> Self {
        ConnectOptions {
            connect_timeout: Duration::from_secs(2),
            response_timeout: Duration::from_secs(5),
            name: name.into(),
        }
    }
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server could not be reached, or has no place for us now. Nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The server is there and does not let us in: it wants other credentials, has no such database, or
    /// is a node of a Redis Cluster. Nothing was executed.
    #[error("{0}")]
    Denied(String),
    /// The connection broke: whether the command was executed is unknown.
    #[error("{0}")]
    Lost(String),
    /// No answer came in time: whether the command was executed is unknown.
    #[error("{0}")]
    Silent(String),
    /// The server refused: nothing was executed, but for what a script did before its error.
    #[error("{0}")]
    Refused(ServerError),
    /// The answer is not what the command answers.
    #[error("unexpected answer to {0}")]
    Answer(&'static str),
}

impl Failure {
    /// True if the command may have been executed although no answer came.
    pub fn outcome_unknown(&self) -> bool {
        matches!(
            self,
            Failure::Lost(_) | Failure::Silent(_) | Failure::Answer(_)
        )
    }

    /// True if the server refused with this code.
    pub fn is_refusal(&self, wanted: &str) -> bool {
        matches!(self, Failure::Refused(answer) if answer.code() == wanted)
    }

    /// True if the server refused for a reason that does not pass by itself, such as `WRONGTYPE` or `NOPERM`: the same call
    /// would be refused again. Credentials are not among them: they are rotated.
    pub fn is_lasting(&self) -> bool {
        match self {
            // Its script is loaded before the next try.
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

/// What a server says without being asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Push {
    /// A tracked key changed.
    Invalidated,
    /// The connection is gone.
    Disconnected,
}

/// A connection. Dropping it closes it.
pub struct Connection {
    inner: MultiplexedConnection,
    driver: JoinHandle<()>,
    hears: bool,
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
    /// Connects, authenticates and selects the database, all before one deadline.
    ///
    /// # Errors
    ///
    /// [`Failure::Denied`] if the server rejects the login, has no such database, or is a node of a
    /// Redis Cluster; [`Failure::Connect`] for everything else, including the deadline.
    pub async fn open(endpoint: &Endpoint, options: &ConnectOptions) -> Result<Self, Failure> {
        Self::open_with(
            endpoint,
            options,
            ProtocolVersion::RESP2,
            AsyncConnectionConfig::new(),
        )
        .await
    }

    /// The same, with a hand for what the server pushes. That needs RESP3; where it is not spoken (some proxies), the
    /// connection is a deaf one.
    ///
    /// # Errors
    ///
    /// Like [`open`](Self::open).
    pub async fn open_listening(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        heard: impl Fn(Push) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let sender = move |push: PushInfo| -> Result<(), ()> {
            match push.kind {
                PushKind::Invalidate => heard(Push::Invalidated),
                PushKind::Disconnection => heard(Push::Disconnected),
                _ => {}
            }
            Ok(())
        };
        let config = AsyncConnectionConfig::new().set_push_sender(sender);
        match Self::open_with(endpoint, options, ProtocolVersion::RESP3, config).await {
            Err(Failure::Connect(why)) if why.starts_with(NO_RESP3) => {
                Self::open(endpoint, options).await
            }
            other => other,
        }
    }

    /// Whether what the server pushes is heard.
    pub fn hears(&self) -> bool {
        self.hears
    }

    async fn open_with(
        endpoint: &Endpoint,
        options: &ConnectOptions,
        protocol: ProtocolVersion,
        config: AsyncConnectionConfig,
    ) -> Result<Self, Failure> {
        let mut info = RedisConnectionInfo::default()
            .set_protocol(protocol)
            .set_db(endpoint.database().into())
            .set_lib_name("celery-native", env!("CARGO_PKG_VERSION"));
        if let Some(user) = endpoint.username() {
            info = info.set_username(user);
        }
        if let Some(password) = endpoint.password() {
            info = info.set_password(password.reveal());
        }
        let config = config.set_response_timeout(Some(options.response_timeout));
        let deadline = Instant::now() + options.connect_timeout;
        let opening = async {
            let stream = Transport::open(endpoint, deadline)
                .await
                .map_err(|e| Failure::Connect(e.to_string()))?;
            let (inner, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
                .await
                .map_err(|error| not_let_in(error, endpoint))?;
            let mut connection = Connection {
                hears: matches!(protocol, ProtocolVersion::RESP3),
                inner,
                driver: tokio::spawn(driver),
            };
            // One round trip. The name is a courtesy; a server that forbids it can be worked with.
            let mut greeting = Pipeline::new();
            greeting.cmd("CLIENT").arg("SETNAME").arg(&options.name);
            greeting.cmd("HELLO");
            let sent = connection.inner.send_packed_commands(&greeting, 0, 2);
            let answers = sent.await.map_err(Failure::from)?;
            if let Some(kind) = answers.last().and_then(mode::unsupported) {
                return Err(Failure::Denied(format!("it is {kind}")));
            }
            // A server with a password lets a client without one connect, and refuses each of its commands.
            match answers.into_iter().next_back().map(checked) {
                Some(Err(Failure::Refused(answer))) if answer.is_auth() => Err(Failure::Denied(
                    format!("it asks for a password ({answer})"),
                )),
                _ => Ok(connection),
            }
        };
        tokio::time::timeout_at(deadline, opening)
            .await
            .unwrap_or_else(|_| Err(Failure::Connect("timed out while connecting".into())))
    }

    /// From the next command on, an answer may take so long.
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

    /// Sends commands in one piece; the answers come in their order. One that is refused fails the call, but the others
    /// are executed all the same.
    ///
    /// # Errors
    ///
    /// The first refusal, or the loss of the connection. See [`query`](Self::query).
    pub async fn pipeline(&mut self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let answers = self
            .inner
            .send_packed_commands(commands, 0, commands.len())
            .await?;
        answers.into_iter().map(checked).collect()
    }

    /// Calls a script. `call` was made for this script by [`scripts::call`](super::scripts::call). A server that does not know the script (it was
    /// restarted, or its scripts were flushed) executed nothing; it is taught and asked again.
    ///
    /// # Errors
    ///
    /// Like [`query`](Self::query).
    pub async fn run(&mut self, script: &Script, call: &Cmd) -> Result<Value, Failure> {
        match self.query(call).await {
            Err(failure) if failure.is_refusal("NOSCRIPT") => {
                let mut load = Cmd::new();
                load.arg("SCRIPT").arg("LOAD").arg(script.source());
                self.query(&load).await?;
                self.query(call).await
            }
            other => other,
        }
    }
}

/// Answers to a greeting that have no code of their own; the first is how redis-rs puts `NOAUTH`.
const DENIALS: [&str; 2] = ["Authentication required.", "DB index is out of range"];

/// How the failure of a server that speaks only RESP2 begins.
const NO_RESP3: &str = "RESP3 is not spoken";

/// Whatever goes wrong before the first command means that nothing was executed. Says how the server put it, without
/// the password, which some repeat.
fn not_let_in(error: RedisError, endpoint: &Endpoint) -> Failure {
    if error.kind() == ErrorKind::RESP3NotSupported {
        return Failure::Connect(format!("{NO_RESP3}: {error}"));
    }
    let denied = error.kind() == ErrorKind::AuthenticationFailed;
    let answer = match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => ServerError::new(code, detail),
        (_, Some(detail)) => ServerError::new(format!("{}:", error.category()), detail),
        (_, None) if denied => return Failure::Denied(error.to_string()),
        (_, None) => return Failure::Connect(error.to_string()),
    };
    let denied = denied || answer.is_auth() || DENIALS.contains(&answer.message());
    let secret = endpoint.password().map_or("", Secret::reveal);
    let said = answer.without(secret).to_string();
    if denied {
        Failure::Denied(said)
    } else {
        Failure::Connect(said)
    }
}

fn checked(value: Value) -> Result<Value, Failure> {
    match value {
        Value::ServerError(error) => Err(refused(ServerError::new(
            error.code(),
            error.details().unwrap_or_default(),
        ))),
        value => Ok(value),
    }
}

/// A refusal. What only a cluster answers is named by that: no repeat would help.
fn refused(answer: ServerError) -> Failure {
    if answer.is_cluster() {
        Failure::Denied(format!("it is {} ({answer})", mode::CLUSTER))
    } else {
        Failure::Refused(answer)
    }
}

/// Shares a push handler between connections that follow one another.
pub(super) type Heard = Arc<dyn Fn(Push) + Send + Sync>;
