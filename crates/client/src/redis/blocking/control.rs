//! Remote control of workers, limited to what clients need: revoking tasks.
//!
//! A request is a broadcast to the exchange `celery.pidbox`, which on Redis is a published message.
//! A worker that is not connected does not receive it; Celery itself guarantees no more.

use celery_protocol::control::Request;
use redis::Value;

use super::Client;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;

/// The tasks to revoke, and how.
#[derive(Clone, Debug)]
pub struct Revoke<'a> {
    /// The ids of the tasks.
    pub task_ids: &'a [&'a str],
    /// Whether workers also terminate tasks that are already running.
    pub terminate: bool,
    /// The signal for the termination, by its name in Celery: `SIGTERM`.
    pub signal: &'a str,
}

impl Client {
    /// Asks all workers to skip tasks, as `app.control.revoke` does. Returns the number of
    /// listeners that received the request.
    ///
    /// # Errors
    /// [`ClientError`] if the request could not be published.
    pub fn revoke(&mut self, revoke: &Revoke<'_>, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let request = Request::revoke(revoke.task_ids, revoke.terminate, revoke.signal);
        let delivery_tag = uuid::Uuid::new_v4().to_string();
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys().pidbox_channel(self.endpoint().database()))
            .arg(request.encode_redis(&delivery_tag));
        match self.ask(&publish, Shape::Short, wait, "revoking")? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Err(ClientError::Protocol(
                "PUBLISH was answered with something that is not a number".to_owned(),
            )),
        }
    }
}
