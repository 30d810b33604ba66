//! The login to a RabbitMQ, and the words for what goes wrong there, for both drivers.

use celery_protocol::amqp::Login;

use super::AmqpEndpoint;
use crate::error::TlsProblem;

/// RabbitMQ's code for a refused login.
pub(crate) const ACCESS_REFUSED: u16 = 403;

/// What a server means that answers plain text with an alert of TLS.
pub(crate) const SPEAKS_TLS: &str = "the server speaks TLS on this port: use amqps://";

impl AmqpEndpoint {
    /// Returns the login.
    pub(super) fn login(&self) -> Login {
        if self.is_external() {
            Login::External
        } else {
            Login::Plain {
                user: self.username().to_owned(),
                password: self.password().reveal().to_owned(),
            }
        }
    }
}

/// Describes a problem with TLS whose words name a scheme, by the schemes of RabbitMQ.
pub(crate) fn tls_words(problem: &TlsProblem) -> Option<&'static str> {
    match problem {
        TlsProblem::NotSpoken => Some(
            "the server does not speak TLS on this port: use amqp:// there, or the port for TLS",
        ),
        TlsProblem::Silent => Some(
            "no answer to the TLS handshake: if the server does not speak TLS on this port, use \
             amqp://",
        ),
        TlsProblem::Spoken => Some(SPEAKS_TLS),
        _ => None,
    }
}
