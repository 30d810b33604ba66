//! Calls to a broker: posting and revoking.

use celery_client::ClientError;
use celery_client::blocking::{Deadline, Publish, Revoke};

use crate::connection::Connection;
use crate::ffi::throw::Thrown;
use crate::post::Message;
use crate::{errors, pool, settings};

/// Posts a message and waits for the broker's answer, all inside `celery.post_timeout`.
pub(crate) fn publish(broker: &Connection, message: &Message) -> Result<(), Thrown> {
    let mode = match settings::publish().map_err(Thrown::celery)? {
        settings::Publish::Confirmed => Publish::Confirmed,
        settings::Publish::Once => Publish::Once,
    };
    let deadline = Deadline::after(settings::post_timeout());
    pool::with(&broker.endpoint, deadline, |client, wait| {
        client
            .publish(&message.post, mode, wait)
            .map_err(ClientError::from)
    })
    .map_err(|error| errors::publish(&message.post.task_id, &broker.endpoint, error))
}

/// Tells all workers to skip a task.
pub(crate) fn revoke(broker: &Connection, task_id: &str) -> Result<(), Thrown> {
    let deadline = Deadline::after(settings::command_timeout());
    let revoke = Revoke {
        task_ids: &[task_id],
        terminate: false,
        signal: "SIGTERM",
    };
    pool::with(&broker.endpoint, deadline, |client, wait| {
        client.revoke(&revoke, wait)
    })
    .map(|_| ())
    .map_err(|error| errors::command("revoke the task", &broker.endpoint, error))
}
