//! What can go wrong, in families.
//!
//! * [`ConfigError`]: an endpoint that cannot be meant; found before anything is opened.
//! * [`ClientError`]: what most callers meet – no connection, no answer in time, a refusal by the server.
//! * [`PublishError`]: a task that was not confirmed, and whether it may have arrived nevertheless.
//!
//! No message repeats a password: endpoints are shown by their masked URL.

use std::fmt;
use std::time::Duration;

use celery_protocol::priorities::PriorityError;

use crate::secret::MASK;

/// What to write instead of a character that has a meaning in URLs.
pub const PERCENT_ENCODED: &str =
    "a password in a URL must be percent-encoded (%23 for #, %2F for /, %3F for ?, %40 for @)";

/// An endpoint, or an option of one, that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text has no scheme, or cannot be read as a URL at all.
    #[error(
        "this is not a URL of a Redis server, such as redis://:password@host:6379/0; {PERCENT_ENCODED}"
    )]
    NotAUrl,
    /// An `@` stands behind the first `/`, `?` or `#`: the login ends before its end.
    #[error("there is an @ behind the first /, ? or # of the URL; {PERCENT_ENCODED}")]
    NotEncoded,
    /// The text stands in quotes, as an environment file may leave them.
    #[error("the URL stands in quotes: write it without them")]
    Quoted,
    /// Several servers, as kombu takes them for its failover.
    #[error("a list of brokers is not supported: name one server")]
    SeveralServers,
    /// The scheme is not one of Redis'.
    #[error("the scheme `{scheme}` is not supported: use redis, rediss or redis+socket")]
    Scheme {
        /// The scheme as given.
        scheme: String,
    },
    /// One part has an impossible value.
    #[error("the {name} cannot be used: {reason}")]
    Value {
        /// Which part.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// An option should be true or false.
    #[error("the option `{name}` is neither true nor false")]
    NotATruthValue {
        /// The option's name.
        name: String,
    },
    /// An option nobody knows.
    #[error("unknown option `{name}`")]
    UnknownOption {
        /// The option's name.
        name: String,
    },
    /// Two options that cannot both be meant.
    #[error("contradicting options: {what}")]
    Contradiction {
        /// Which ones.
        what: &'static str,
    },
    /// kombu's `priority_steps` or `sep`.
    #[error(transparent)]
    Priorities(#[from] PriorityError),
    /// A file that TLS needs.
    #[error("cannot use {path}: {reason}")]
    File {
        /// The file.
        path: String,
        /// Why.
        reason: String,
    },
}

/// What stands before the arguments that Redis quotes when it knows no such command (it may be renamed).
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers hear answers")
)]
const QUOTED_ARGUMENTS: &str = ", with args beginning with";

/// An error that Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    code: String,
    message: String,
}

impl ServerError {
    /// From the code (the first word of the answer) and the rest. What ended a script is what counts, also where a server
    /// before Redis 7 puts words of its own before it.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        let (code, message) = (code.into(), message.into());
        match end_of_script(&code, &message) {
            Some((code, message)) => Self {
                code: code.to_owned(),
                message: message.to_owned(),
            },
            None => Self { code, message },
        }
    }

    /// The same without what must not be repeated: what the server quotes of the command, and `secret` wherever it stands.
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

    /// The first word of the answer: `OOM`, `READONLY`, `ERR`, ….
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The answer without its first word.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the server refused for a reason that passes by itself: a failover, a start, a full memory.
    /// Redis refuses before it executes, so a command answered like this can be repeated.
    pub fn is_transient(&self) -> bool {
        match self.code.as_str() {
            "LOADING" | "READONLY" | "MASTERDOWN" | "OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" => {
                true
            }
            // The farewell to a connection beyond `maxclients`; it has no code of its own.
            "ERR" => self.message.starts_with("max number of clients"),
            _ => false,
        }
    }

    /// Whether another connection may do better: the server is no longer the right one, or did not take this one.
    pub fn wants_new_connection(&self) -> bool {
        matches!(self.code.as_str(), "READONLY" | "MASTERDOWN")
            || (self.code == "ERR" && self.message.starts_with("max number of clients"))
    }

    /// Returns `true` if only a node of a Redis Cluster answers so.
    pub fn is_cluster(&self) -> bool {
        matches!(
            self.code.as_str(),
            "MOVED" | "ASK" | "CROSSSLOT" | "CLUSTERDOWN" | "TRYAGAIN"
        )
    }

    /// Whether credentials were wanted or refused.
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

/// The code and the rest of the error that ended a script, out of
/// `ERR Error running script (call to f_…): @user_script:9: @user_script: 9: -OOM command not allowed …`: so Redis 6.2 has
/// it. Redis 7 answers the error itself.
fn end_of_script<'m>(code: &str, message: &'m str) -> Option<(&'m str, &'m str)> {
    let told = message
        .strip_prefix("Error running script")
        .filter(|_| code == "ERR")?;
    let (_, error) = told.rsplit_once("user_script")?;
    // The line's number, and the minus of an error reply.
    let error = error.trim_start_matches(|c: char| c.is_ascii_digit() || ": -".contains(c));
    let (code, message) = error.split_once(' ')?;
    let is_code = !code.is_empty() && code.bytes().all(|byte| byte.is_ascii_uppercase());
    is_code.then_some((code, message))
}

/// A call that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The endpoint cannot be used as it is configured.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No connection: unknown name, refused, TLS not agreed, ….
    #[error("cannot connect to {endpoint}: {reason}")]
    Connect {
        /// The masked URL.
        endpoint: String,
        /// What the system, the resolver or TLS said.
        reason: String,
    },
    /// No connection, because the two ends disagree about TLS.
    #[error("cannot connect to {endpoint}: {problem}")]
    Tls {
        /// The masked URL.
        endpoint: String,
        /// What they disagree about.
        problem: TlsProblem,
    },
    /// The server is of a kind that this client cannot use, such as a node of a Redis Cluster.
    #[error("{endpoint} is {kind}")]
    Unsupported {
        /// The masked URL.
        endpoint: String,
        /// What it is, and what to use instead.
        kind: &'static str,
    },
    /// The server wants credentials, or others.
    #[error("{endpoint} refused the credentials: {answer}")]
    Auth {
        /// The masked URL.
        endpoint: String,
        /// The server's answer.
        answer: ServerError,
    },
    /// The deadline passed.
    #[error("no end of {what} within {after:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// The whole time that was allowed.
        after: Duration,
    },
    /// The connection broke while an answer was outstanding.
    #[error("lost the connection to {endpoint}: {reason}")]
    Disconnected {
        /// The masked URL.
        endpoint: String,
        /// What was seen.
        reason: String,
    },
    /// The server answered with an error.
    #[error("Redis answered: {0}")]
    Server(ServerError),
    /// A task was queued, and too few replicas said that they have it: a failover now may lose it.
    #[error("{confirmed} of {wanted} replicas confirmed it")]
    Replicas {
        /// How many were asked for.
        wanted: u32,
        /// How many answered in time.
        confirmed: u32,
    },
    /// What came back is not an answer that the question allows.
    #[error("unexpected answer from Redis: {0}")]
    Protocol(String),
    /// The caller's own interrupt (a signal, PHP's time limit) ended the wait.
    #[error("interrupted")]
    Interrupted,
    /// The process was forked while it waited, and this is the child: the call goes on in the parent.
    #[error("the process was forked in the middle of the call")]
    Forked,
    /// A task was not confirmed.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ClientError {
    /// Whether the same call may succeed a moment later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Disconnected { .. }
            | Self::Replicas { .. } => true,
            Self::Server(error) => error.is_transient(),
            Self::Publish(error) => error.cause.is_retryable(),
            Self::Config(_)
            | Self::Tls { .. }
            | Self::Unsupported { .. }
            | Self::Auth { .. }
            | Self::Protocol(_)
            | Self::Interrupted
            | Self::Forked => false,
        }
    }

    /// Whether a task may have been queued although its post failed.
    pub fn outcome_unknown(&self) -> bool {
        matches!(self, Self::Publish(error) if error.outcome_unknown)
    }
}

impl From<ServerError> for ClientError {
    fn from(error: ServerError) -> Self {
        Self::Server(error)
    }
}

/// A disagreement about TLS, and what to write instead. Found while connecting; nothing was sent.
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
    /// TLS was spoken to a server that answers in plain text.
    #[error("the server does not speak TLS on this port: use redis:// there, or the port for TLS")]
    NotSpoken,
    /// TLS was spoken, and the server said nothing, as one that expects plain text may.
    #[error(
        "no answer to the TLS handshake: if the server does not speak TLS on this port, use redis://"
    )]
    Silent,
    /// Plain text was sent to a server that speaks TLS.
    #[error("the server speaks TLS on this port: use rediss://")]
    Spoken,
    /// The server wants a certificate of the client.
    #[error(
        "the server wants a certificate of the client: name its files, in a URL with ?ssl_certfile= and ?ssl_keyfile="
    )]
    ClientCertificate,
    /// Anything else that the two ends do not agree on.
    #[error("TLS: {0}")]
    Other(String),
}

/// A task whose post was not confirmed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("task {task_id} {}: {cause}", if *.outcome_unknown { "may or may not have been queued" } else { "was not queued" })]
#[non_exhaustive]
pub struct PublishError {
    /// The task.
    pub task_id: String,
    /// True if it may have been queued: everything was written, and then no answer came, or too few replicas confirmed it.
    /// A repeat by the caller may queue it twice.
    pub outcome_unknown: bool,
    /// What happened.
    pub cause: Box<ClientError>,
}

impl PublishError {
    /// A failed post of `task_id`.
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
    fn refusals_that_pass() {
        for code in ["LOADING", "READONLY", "OOM", "MISCONF"] {
            assert!(ServerError::new(code, "x").is_transient(), "{code}");
        }
        for code in ["MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN", "TRYAGAIN"] {
            let answer = ServerError::new(code, "x");
            assert!(answer.is_cluster() && !answer.is_transient(), "{code}");
            assert!(!answer.wants_new_connection(), "{code}");
        }
        for code in ["WRONGTYPE", "NOPERM", "NOAUTH", "ERR", "NOSCRIPT"] {
            assert!(!ServerError::new(code, "x").is_transient(), "{code}");
        }
        assert!(ServerError::new("ERR", "max number of clients reached").is_transient());
    }

    #[test]
    fn what_ended_a_script_counts() {
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
    fn what_a_server_repeats_is_not_passed_on() {
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
    fn an_unknown_outcome_is_said() {
        let cause = ClientError::Timeout {
            what: "the post",
            after: Duration::from_secs(5),
        };
        let error = ClientError::from(PublishError::new("id-1", true, cause.clone()));
        assert!(error.outcome_unknown() && error.is_retryable());
        assert_eq!(
            error.to_string(),
            "task id-1 may or may not have been queued: no end of the post within 5s"
        );
        assert!(!ClientError::from(PublishError::new("id-1", false, cause)).outcome_unknown());
    }
}
