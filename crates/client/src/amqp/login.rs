//! The login to a RabbitMQ, for both drivers.

use celery_protocol::amqp::Login;

use super::AmqpEndpoint;

/// RabbitMQ's code for a refused login.
pub(crate) const ACCESS_REFUSED: u16 = 403;

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
