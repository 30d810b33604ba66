//! What can go wrong with a connection.

use std::io;

use celery_protocol::amqp::{AmqpError, Close};

use crate::error::TlsProblem;
use crate::health::Problem;

/// The reason why a connection has ended, or did not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The server could not be reached. Nothing was sent.
    #[error("{0}")]
    Connect(String),
    /// The server is reachable but rejects us: it wants other credentials, or has no such virtual
    /// host. Nothing was executed.
    #[error("{0}")]
    Denied(String),
    /// The connection broke. It is unknown whether the last requests were executed.
    #[error("{0}")]
    Lost(String),
    /// No answer came in time. It is unknown whether the last requests were executed.
    #[error("{0}")]
    Silent(String),
    /// The server ended the connection. It is unknown whether the last requests were executed.
    #[error("the server closed the connection: {0}")]
    Closed(Close),
    /// A request cannot be written in AMQP. Nothing was sent.
    #[error("{0}")]
    Unsendable(AmqpError),
}

impl Failure {
    /// Returns `true` if the server answered, but does not let this client in.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Failure::Denied(_))
    }

    /// Returns what the log says of it: a refusal, or a server that is away.
    pub fn problem(&self) -> Problem<'_> {
        if self.is_refusal() {
            Problem::Refused(self)
        } else {
            Problem::Away(self)
        }
    }

    /// Returns the failure of bytes that no server may send.
    pub(super) fn odd(error: &AmqpError) -> Self {
        Failure::Lost(format!("the server sent something unexpected: {error}"))
    }

    /// Returns the failure of an answer that did not come within its time.
    pub(super) fn late(what: &str) -> Self {
        Failure::Silent(format!("no answer in time: {what}"))
    }
}

/// Describes an error of the stream. An error about TLS names the schemes of RabbitMQ.
pub(super) fn in_words(error: &io::Error) -> String {
    let problem = error.get_ref().and_then(|inner| inner.downcast_ref());
    match problem {
        Some(problem) => TlsProblem::named_for(problem, "amqp://"),
        None => error.to_string(),
    }
}
