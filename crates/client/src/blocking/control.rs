//! Remote control of workers, as far as clients need it: revoking.
//!
//! A request is a broadcast to the exchange `celery.pidbox`, which on Redis is a published message: a worker that is
//! not connected does not hear it. That is Celery's own guarantee.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use redis::Value;
use serde_json::json;

use super::reply::Shape;
use super::{Client, Wait};
use crate::error::ClientError;

/// What is to be revoked, and how.
#[derive(Clone, Debug)]
pub struct Revoke<'a> {
    /// The tasks.
    pub task_ids: &'a [&'a str],
    /// Whether a task that runs already is ended, too.
    pub terminate: bool,
    /// The signal for that, as Celery names it: `SIGTERM`.
    pub signal: &'a str,
}

impl Client {
    /// Tells all workers to skip tasks, as `app.control.revoke` does. Returns how many listeners Redis told.
    ///
    /// # Errors
    /// [`ClientError`], if the server could not be asked.
    pub fn revoke(&mut self, revoke: &Revoke<'_>, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys().pidbox_channel(self.endpoint().database()))
            .arg(request(revoke));
        match self.ask(&publish, Shape::Short, wait, "revoking")? {
            Value::Int(count) => Ok(u64::try_from(count).unwrap_or_default()),
            _ => Err(ClientError::Protocol(
                "PUBLISH was answered with something that is no number".to_owned(),
            )),
        }
    }
}

/// The request as kombu's mailbox writes it.
fn request(revoke: &Revoke<'_>) -> String {
    // One id is sent as a text, several as a list: as Celery does, and older workers expect.
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
        // No logical clock is kept here: 0 never moves a worker's. Nor does a broadcast without an answer expire.
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
