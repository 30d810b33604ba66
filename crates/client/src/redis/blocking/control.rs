//! Remote control of workers, limited to what clients need: revoking tasks.
//!
//! A request is a broadcast to the exchange `celery.pidbox`, which on Redis is a published message.
//! A worker that is not connected does not receive it; Celery itself guarantees no more.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::Value;
use serde_json::json;

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
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys().pidbox_channel(self.endpoint().database()))
            .arg(request(revoke));
        match self.ask(&publish, Shape::Short, wait, "revoking")? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Err(ClientError::Protocol(
                "PUBLISH was answered with something that is not a number".to_owned(),
            )),
        }
    }
}

/// Returns the request in the form of kombu's mailbox.
fn request(revoke: &Revoke<'_>) -> String {
    // A single id is sent as a text and several as a list, as Celery does and older workers expect.
    let task_id = match revoke.task_ids {
        [one] => json!(one),
        many => json!(many),
    };
    let body = json!({
        "method": "revoke",
        "arguments": {"task_id": task_id, "terminate": revoke.terminate, "signal": revoke.signal},
        "destination": null,
        "pattern": null,
        "matcher": null,
    });
    json!({
        "body": BASE64_STANDARD.encode(body.to_string()),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        // The client keeps no logical clock; 0 never advances a worker's clock. The request does
        // not expire.
        "headers": {"clock": 0, "expires": 0},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": uuid::Uuid::new_v4().to_string(),
        },
    })
    .to_string()
}
