//! The errors of the client, in families. * [`ConfigError`]: an endpoint that is certainly wrong;
//! found before a connection is opened.
//! * [`ClientError`]: the error that most callers meet: no connection, no answer in time, a refusal
//!   by the server.
//! * [`PublishError`]: a task that was not confirmed, and whether it may have arrived nevertheless.
//!
//! No message repeats a password: endpoints appear as their masked URL.

use std::fmt;
use std::time::{Duration, SystemTime};

use celery_protocol::amqp::{AmqpError, Close};
use celery_protocol::priorities::PriorityError;

#[cfg(feature = "blocking")]
use crate::endpoint::address::Address;
use crate::secret::MASK;

/// Advice for a password with characters that have a meaning in URLs.
pub const PERCENT_ENCODED: &str =
    "a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)";

/// An endpoint, or an option of one, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text has no scheme, or cannot be read as a URL.
    #[error(
        "this is not a URL of a Redis server, such as redis://:password@host:6379/0; {PERCENT_ENCODED}"
    )]
    NotAUrl,
    /// An `@` follows the first `/`, `?` or `#`, so that the login would be cut short.
    #[error("the URL has an @ after the first /, ? or #; {PERCENT_ENCODED}")]
    NotEncoded,
    /// The text is in quotes, as an environment file may leave them.
    #[error("the URL is in quotes: write it without them")]
    Quoted,
    /// The text names several servers, as kombu accepts them for its failover.
    #[error("a list of brokers is not supported: name one server")]
    SeveralServers,
    /// The text names several servers as result backends.
    #[error("a list of result backends is not supported: name one server")]
    SeveralBackends,
    /// The scheme is not one that the program can use.
    #[error(
        "the scheme `{scheme}` is not supported: use redis, rediss, redis+socket, redis+cluster or sentinel, or in PHP for RabbitMQ amqp or amqps"
    )]
    Scheme {
        /// The scheme as given.
        scheme: String,
    },
    /// Sentinels are given without the name of the group of servers that they watch.
    #[error(
        "a URL of Sentinels needs the name of their master: add ?master_name=NAME, or set master_name"
    )]
    NoMasterName,
    /// The keys of a Redis Cluster have no prefix that puts all of them into one slot.
    #[error(
        "a Redis Cluster needs a prefix of all keys that has a hash tag: add ?prefix={{celery}}: to the URL, or set the key prefix"
    )]
    NoHashTag,
    /// A part has an impossible value.
    #[error("the {name} cannot be used: {reason}")]
    Value {
        /// The name of the part.
        name: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// An option that must be true or false has another value.
    #[error("the option `{name}` is neither true nor false")]
    NotATruthValue {
        /// The option's name.
        name: String,
    },
    /// No option has this name.
    #[error("unknown option `{name}`")]
    UnknownOption {
        /// The option's name.
        name: String,
    },
    /// Two options contradict each other.
    #[error("contradicting options: {what}")]
    Contradiction {
        /// The two options.
        what: &'static str,
    },
    /// The `priority_steps` or the `sep` of kombu cannot be used.
    #[error(transparent)]
    Priorities(#[from] PriorityError),
    /// A file for TLS cannot be used.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The path of the file.
        path: String,
        /// The reason.
        reason: String,
    },
}

impl ConfigError {
    /// Converts an error about the URL of a broker to one about the URL of a result backend.
    #[must_use]
    pub fn of_result_backend(self) -> Self {
        match self {
            ConfigError::SeveralServers => ConfigError::SeveralBackends,
            other => other,
        }
    }
}

/// The text before the arguments that Redis quotes when it does not know a command (which may be
/// renamed).
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers hear answers")
)]
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

/// An error in an answer of Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    code: String,
    message: String,
}

impl ServerError {
    /// Creates the error from its code (the first word of the answer) and the rest.
    ///
    /// For an error that ended a script or a transaction, the code is that of the inner error. Redis
    /// puts words of its own before it.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        match end_of_script(&code, &message).or_else(|| end_of_transaction(&code, &message)) {
            Some((code, message)) => Self {
                code: code.to_owned(),
                message: message.to_owned(),
            },
            None => Self { code, message },
        }
    }

    /// Removes text that must not be repeated: the arguments that the server quotes, and `secret`
    /// wherever it occurs.
    #[cfg_attr(
        not(any(feature = "blocking", feature = "aio")),
        allow(dead_code, reason = "only the drivers hear answers")
    )]
    pub(crate) fn without(mut self, secret: &str) -> Self {
        if let Some(end) = self.message.find(QUOTED_ARGUMENTS) {
            self.message.truncate(end);
        }
        if !secret.is_empty() {
            self.code = self.code.replace(secret, MASK);
            self.message = self.message.replace(secret, MASK);
        }
        self
    }

    /// Returns the first word of the answer: `OOM`, `READONLY`, `ERR`, ….
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the answer without its first word.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Adds which of several nodes said it.
    #[cfg(feature = "blocking")]
    pub(crate) fn said_by(mut self, node: &Address) -> Self {
        let message = self.message.trim_end_matches('.');
        self.message = format!("{message}, says {node}");
        self
    }

    /// Returns `true` if the server refused for a reason that passes by itself: a failover, a
    /// start, a full memory, a slot of a cluster that moves.
    ///
    /// Redis gives these answers before it executes a command, so the command can be repeated. Only
    /// a script may have done a part of its work: see `is_of_moving_slot`.
    pub fn is_transient(&self) -> bool {
        match self.code.as_str() {
            "LOADING" | "READONLY" | "MASTERDOWN" | "OOM" | "MISCONF" | "NOREPLICAS" | "BUSY"
            | "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" | "UNBLOCKED" => true,
            // The answer to a connection beyond `maxclients` has no code of its own.
            "ERR" => self.message.starts_with("max number of clients") || self.is_of_moving_slot(),
            _ => false,
        }
    }

    /// Returns `true` if a script used a key that its node does not have, while the slot of the key
    /// moves away. All keys of the scripts are in one slot, so nothing else causes this.
    ///
    /// Redis starts a script only if the node has all keys of the call, so the script has removed
    /// the key itself. The scripts take effect once although they are repeated.
    fn is_of_moving_slot(&self) -> bool {
        self.message.contains("attempted to access a non local key")
    }

    /// Returns `true` if another connection may do better: the server is no longer the right one
    /// (after a failover, or because the slot of the keys has moved), or accepts no more clients.
    ///
    /// A server whose role changes ends blocking calls with `UNBLOCKED`. A master that a failover has
    /// replaced, and that does not know it yet, has no replicas, or
    /// sees no other node of its cluster. As a replica it loads the data of the new one. While a
    /// slot moves (`ASK`, `TRYAGAIN`), its old node is the right one.
    pub fn wants_new_connection(&self) -> bool {
        matches!(
            self.code.as_str(),
            "READONLY"
                | "LOADING"
                | "MASTERDOWN"
                | "NOREPLICAS"
                | "MOVED"
                | "CLUSTERDOWN"
                | "UNBLOCKED"
        ) || (self.code == "ERR" && self.message.starts_with("max number of clients"))
    }

    /// Returns `true` if only a node of a Redis Cluster gives this answer.
    pub fn is_cluster(&self) -> bool {
        matches!(
            self.code.as_str(),
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN"
        ) || self.message.ends_with("not allowed in cluster mode")
    }

    /// Returns `true` if the server rejects this login, or a command of its user.
    #[cfg_attr(
        not(any(feature = "blocking", feature = "aio")),
        allow(dead_code, reason = "only the drivers hear answers")
    )]
    pub(crate) fn is_rejection(&self) -> bool {
        self.is_auth() || self.code == "NOPERM"
    }

    /// Returns `true` if the server asked for credentials or refused them.
    pub fn is_auth(&self) -> bool {
        matches!(self.code.as_str(), "NOAUTH" | "WRONGPASS")
            || (self.code == "ERR"
                && (self.message.starts_with("AUTH ")
                    || self.message.starts_with("invalid password")))
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, self.message)
    }
}

/// Returns the code and the rest of the error that ended a script.
///
/// Redis 6.2 wraps it: `ERR Error running script (call to f_…): @user_script:9: @user_script: 9:
/// -OOM command not allowed …`. Redis 7 answers with the error itself.
fn end_of_script<'m>(code: &str, message: &'m str) -> Option<(&'m str, &'m str)> {
    let told = message
        .strip_prefix("Error running script")
        .filter(|_| code == "ERR")?;
    let (_, error) = told.rsplit_once("user_script")?;
    // Skips the line number and the minus of an error reply.
    let error = error.trim_start_matches(|c: char| c.is_ascii_digit() || ": -".contains(c));
    coded(error)
}

/// Returns the code and the rest of the error for which the server refused `EXEC` itself, for
/// example because it became a replica after `MULTI`: `EXECABORT Transaction discarded because of:
/// READONLY You can't write …`.
fn end_of_transaction<'m>(code: &str, message: &'m str) -> Option<(&'m str, &'m str)> {
    let error = message
        .strip_prefix("Transaction discarded because of: ")
        .filter(|_| code == "EXECABORT")?;
    coded(error)
}

/// Divides an error into its code and the rest.
fn coded(error: &str) -> Option<(&str, &str)> {
    let (code, message) = error.split_once(' ')?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some((code, message))
}

/// RabbitMQ's codes for reasons that pass by themselves: a forced end of the connection, a lack of
/// resources, an internal error.
const PASSING: [u16; 3] = [320, 506, 541];

/// The error of a call that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The endpoint cannot be used as it is configured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection could be opened: unknown name, refused, ….
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// The masked URL.
        endpoint: String,
        /// The reason, as the system, the resolver or TLS gives it.
        reason: String,
    },
    /// The server could not be reached moments ago, and is not asked again yet.
    #[error(
        "{endpoint} is not asked again yet: it was not reached {failures} times in a row ({reason})"
    )]
    CircuitOpen {
        /// The masked URL.
        endpoint: String,
        /// The number of calls in a row that failed to connect.
        failures: u32,
        /// The time of the first of these failures.
        since: SystemTime,
        /// The reason of the last failure.
        reason: String,
        /// The time until the server is asked again.
        retry_after: Duration,
    },
    /// No connection could be opened, because the two ends disagree about TLS.
    #[error("cannot connect to {endpoint}: {}", problem.named_for(endpoint))]
    Tls {
        /// The masked URL.
        endpoint: String,
        /// The disagreement.
        problem: TlsProblem,
    },
    /// The server is of a kind that this client cannot use, such as a node of a Redis Cluster.
    #[error("{endpoint} is {kind}")]
    Unsupported {
        /// The masked URL.
        endpoint: String,
        /// The kind of the server, and what to use instead.
        kind: &'static str,
    },
    /// The server refused the credentials, or asked for some.
    #[error("{endpoint} refused the credentials: {answer}")]
    Auth {
        /// The masked URL.
        endpoint: String,
        /// The server's answer.
        answer: ServerError,
    },
    /// The deadline passed.
    #[error("{what} took longer than {after:?}")]
    Timeout {
        /// What the call waited for.
        what: &'static str,
        /// The total time that was allowed.
        after: Duration,
    },
    /// The connection broke while an answer was outstanding.
    #[error("lost the connection to {endpoint}: {reason}")]
    Disconnected {
        /// The masked URL.
        endpoint: String,
        /// The reason.
        reason: String,
    },
    /// The server answered with an error.
    #[error("Redis answered: {0}")]
    Server(ServerError),
    /// A task was queued, but too few replicas confirmed it. A failover now may lose it.
    #[error("{confirmed} of {wanted} replicas confirmed it")]
    Replicas {
        /// The number of replicas that must confirm.
        wanted: u32,
        /// The number of replicas that confirmed in time.
        confirmed: u32,
    },
    /// The server sent an answer that the command cannot have.
    #[error("unexpected answer from Redis: {0}")]
    Protocol(String),
    /// RabbitMQ refused a request, or ended the connection.
    #[error("RabbitMQ answered: {0}")]
    Broker(Close),
    /// RabbitMQ reads from no publisher, because it is short of memory or disk space.
    #[error("{endpoint} blocks publishers: {reason}")]
    Blocked {
        /// The masked URL.
        endpoint: String,
        /// The reason, in the words of the server.
        reason: String,
    },
    /// RabbitMQ has no queue for a message.
    #[error(
        "no queue is bound for the routing key `{routing_key}` of the exchange `{exchange}` ({reason})"
    )]
    Unroutable {
        /// The exchange; empty if the routing key is the name of a queue.
        exchange: String,
        /// The routing key.
        routing_key: String,
        /// The server's code and words.
        reason: String,
    },
    /// RabbitMQ did not take a message, mostly because its queue is full.
    #[error("RabbitMQ did not take the message: the queue may be full")]
    NotTaken,
    /// The queue of dead letters has more messages than this client takes out to read them.
    #[error(
        "{count} messages are in celery.dead, and at most {most} are read at a time; `celery-worker dead` reads all"
    )]
    TooManyLetters {
        /// The number of letters.
        count: u32,
        /// The limit.
        most: u32,
    },
    /// A message or a name has no form in AMQP.
    #[error("it cannot be sent to RabbitMQ: {0}")]
    Unsendable(AmqpError),
    /// RabbitMQ sent something that has no place there.
    #[error("unexpected answer from RabbitMQ: {0}")]
    Amqp(AmqpError),
    /// The caller's own interrupt (a signal, PHP's time limit) ended the wait.
    #[error("interrupted")]
    Interrupted,
    /// The process was forked during the wait, and this is the child. The call continues in the
    /// parent.
    #[error("the process was forked in the middle of the call")]
    Forked,
    /// A task was not confirmed.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ClientError {
    /// Returns `true` if the same call may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::CircuitOpen { .. }
            | Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::Blocked { .. }
            | Self::NotTaken
            | Self::Replicas { .. } => true,
            Self::Broker(close) => PASSING.contains(&close.code),
            Self::Server(error) => error.is_transient(),
            Self::Publish(error) => error.cause.is_retryable(),
            Self::Config(_)
            | Self::Tls { .. }
            | Self::Unsupported { .. }
            | Self::Auth { .. }
            | Self::Protocol(_)
            | Self::Unroutable { .. }
            | Self::Unsendable(_)
            | Self::Amqp(_)
            | Self::Interrupted
            | Self::TooManyLetters { .. }
            | Self::Forked => false,
        }
    }

    /// Returns `true` if the whole call must end: its caller wants the thread back, or the process
    /// is a fork of the one that called.
    #[cfg(feature = "blocking")]
    pub(crate) fn ends_call(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Forked)
    }

    /// Returns `true` if a task may have been queued although its post failed.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Publish(error) if error.outcome_unknown)
    }
}

impl From<ServerError> for ClientError {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

/// A disagreement about TLS, with what to write instead. It is found while connecting, before
/// anything is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsProblem {
    /// The server's certificate does not lead to a trusted authority.
    #[error(
        "its certificate is not signed by a trusted authority ({0}): name the authority's file, in a URL with ?ssl_ca_certs="
    )]
    UnknownAuthority(String),
    /// The certificate names other hosts.
    #[error("its certificate is for another host ({0}): use the host's name in the certificate")]
    OtherHost(String),
    /// The certificate is not valid at this time, or cannot be used for another reason.
    #[error("its certificate cannot be used: {0}")]
    Certificate(String),
    /// The client began TLS, but the server answers in plain text.
    #[error("the server does not speak TLS on this port: use redis:// there, or the port for TLS")]
    NotSpoken,
    /// The client began TLS, but the server sent nothing. A server that expects plain text may wait
    /// like that.
    #[error(
        "no answer to the TLS handshake: if the server does not speak TLS on this port, use redis://"
    )]
    Silent,
    /// The client sent plain text to a server that speaks TLS.
    #[error("the server speaks TLS on this port: use rediss://")]
    Spoken,
    /// The server wants a certificate of the client.
    #[error(
        "the server wants a certificate of the client: name its files, in a URL with ?ssl_certfile= and ?ssl_keyfile="
    )]
    ClientCertificate,
    /// Any other disagreement about TLS.
    #[error("TLS: {0}")]
    Other(String),
}

impl TlsProblem {
    /// Describes the problem with the schemes of the server's URL. `Display` names those of Redis.
    pub fn named_for(&self, url: &str) -> String {
        let words = self.to_string();
        if url.starts_with("amqp") {
            words.replace("redis", "amqp")
        } else {
            words
        }
    }
}

/// A task whose post was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task_id} {}: {cause}", if *.outcome_unknown { "may or may not have been queued" } else { "was not queued" })]
#[non_exhaustive]
pub struct PublishError {
    /// The task's id.
    pub task_id: String,
    /// `true` if the task may have been queued: the whole command was written, but no answer came,
    /// or too few replicas confirmed it. A repeat by the caller may queue it twice.
    pub outcome_unknown: bool,
    /// The error that prevented the confirmation.
    pub cause: Box<ClientError>,
}

impl PublishError {
    /// Creates the error of a failed post of `task_id`.
    pub fn new(task_id: impl Into<String>, outcome_unknown: bool, cause: ClientError) -> Self {
        Self {
            task_id: task_id.into(),
            outcome_unknown,
            cause: Box::new(cause),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_refusals_are_transient() {
        for code in ["LOADING", "READONLY", "OOM", "MISCONF"] {
            assert!(ServerError::new(code, "x").is_transient(), "{code}");
        }
        for (code, wants_new_connection) in [
            ("MOVED", true),
            ("CLUSTERDOWN", true),
            ("ASK", false),
            ("TRYAGAIN", false),
        ] {
            let answer = ServerError::new(code, "x");
            assert!(answer.is_cluster() && answer.is_transient(), "{code}");
            assert_eq!(
                answer.wants_new_connection(),
                wants_new_connection,
                "{code}"
            );
        }
        let bug = ServerError::new("CROSSSLOT", "x");
        assert!(bug.is_cluster() && !bug.is_transient() && !bug.wants_new_connection());
        let unblocked = ServerError::new("UNBLOCKED", "force unblock, instance state changed");
        assert!(unblocked.is_transient() && unblocked.wants_new_connection());
        // The words of Redis 6.2 and of Redis 7.
        for message in [
            "Error running script (call to f_0a1b): @user_script:1: @user_script: 1: \
             Lua script attempted to access a non local key in a cluster node",
            "Script attempted to access a non local key in a cluster node script: 0a1b, on \
             @user_script:1.",
        ] {
            let moving = ServerError::new("ERR", message);
            assert!(
                moving.is_transient() && !moving.wants_new_connection(),
                "{moving}"
            );
        }
        for code in ["WRONGTYPE", "NOPERM", "NOAUTH", "ERR", "NOSCRIPT"] {
            assert!(!ServerError::new(code, "x").is_transient(), "{code}");
        }
        assert!(ServerError::new("ERR", "max number of clients reached").is_transient());
    }

    #[test]
    fn the_inner_error_of_a_script_counts() {
        let of_script = |error: &str| {
            let message = format!("Error running script (call to f_0a1b): @user_script:9: {error}");
            ServerError::new("ERR", message)
        };
        for (told, answer) in [
            (
                "@user_script: 9: -OOM command not allowed when used memory > 'maxmemory'.",
                "OOM command not allowed when used memory > 'maxmemory'.",
            ),
            (
                "@user_script: 9: -READONLY You can't write against a read only replica.",
                "READONLY You can't write against a read only replica.",
            ),
            ("WRONGTYPE Operation against", "WRONGTYPE Operation against"),
        ] {
            let error = of_script(told);
            assert_eq!(error.to_string(), answer);
            assert_eq!(error.is_transient(), !told.starts_with("WRONGTYPE"));
        }
        let bug = of_script("attempt to compare nil with number");
        assert_eq!(bug.code(), "ERR");
        assert!(bug.message().starts_with("Error running script"), "{bug}");
    }

    #[test]
    fn the_inner_error_of_a_transaction_counts() {
        let of_exec = |why: &str| {
            let message = format!("Transaction discarded because of{why}");
            ServerError::new("EXECABORT", message)
        };
        for (why, code, passes) in [
            (
                ": READONLY You can't write against a read only replica.",
                "READONLY",
                true,
            ),
            (
                ": OOM command not allowed when used memory > 'maxmemory'.",
                "OOM",
                true,
            ),
            (
                ": LOADING Redis is loading the dataset in memory",
                "LOADING",
                true,
            ),
            (": NOPERM this user has no permissions", "NOPERM", false),
            (" previous errors.", "EXECABORT", false),
            (": what has no code", "EXECABORT", false),
        ] {
            let error = of_exec(why);
            assert_eq!(
                (error.code(), error.is_transient()),
                (code, passes),
                "{why}"
            );
        }
        let other = "Transaction discarded because of: READONLY x";
        assert_eq!(ServerError::new("ERR", other).code(), "ERR");
    }

    #[test]
    fn secrets_that_a_server_repeats_are_removed() {
        let answer = |message| {
            ServerError::new("ERR", message)
                .without("hunter2")
                .to_string()
        };
        assert_eq!(
            answer("unknown command 'AUTH', with args beginning with: 'me' 'hunter2' "),
            "ERR unknown command 'AUTH'"
        );
        assert_eq!(answer("what is hunter2?"), "ERR what is ********?");
        assert_eq!(
            ServerError::new("ERR", "as it was").without("").to_string(),
            "ERR as it was"
        );
    }

    #[test]
    fn the_message_names_an_unknown_outcome() {
        let cause = ClientError::Timeout {
            what: "the post",
            after: Duration::from_secs(5),
        };
        let error = ClientError::from(PublishError::new("id-1", true, cause.clone()));
        assert!(error.outcome_unknown() && error.is_retryable());
        assert_eq!(
            error.to_string(),
            "task id-1 may or may not have been queued: the post took longer than 5s"
        );
        assert!(!ClientError::from(PublishError::new("id-1", false, cause)).outcome_unknown());
    }
}
