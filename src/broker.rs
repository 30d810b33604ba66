//! Calls to a broker: posting a task or a batch, posting without waiting, and revoking.

use celery_client::blocking::Deadline;
use celery_client::redis::blocking::{Outgoing, Publish, Revoke};
use celery_client::{ClientError, PublishError};

use crate::connection::Connection;
use crate::ffi::throw::{self, Thrown};
use crate::post::Message;
use crate::{errors, pipeline, pool, settings};

/// Posts a message and waits for the broker's answer, within `celery.post_timeout`.
pub(crate) fn publish(broker: &Connection, message: &Message) -> Result<(), Thrown> {
    nothing_pending()?;
    let settings = settings::current();
    let mode = settings.publish.clone().map_err(Thrown::celery)?;
    let deadline = Deadline::after(settings.post_timeout);
    let Some(mode) = confirmed(mode) else {
        return pipeline::post(&broker.endpoint, message, deadline).map_err(|error| {
            errors::publish(
                message.task_id(),
                &broker.endpoint,
                ClientError::from(error),
            )
        });
    };
    pool::with(&broker.endpoint, deadline, |client, wait| {
        client
            .publish(message, mode, wait)
            .map_err(ClientError::from)
    })
    .map_err(|error| errors::publish(message.task_id(), &broker.endpoint, error))
}

/// Posts messages to a broker in one round trip, within `celery.post_timeout`.
///
/// `reserve` holds the PHP memory that an exception with the ids of all tasks needs. It is dropped
/// before such an exception is made. After success it is returned.
pub(crate) fn publish_batch<R>(
    broker: &Connection,
    messages: &[Message],
    reserve: R,
) -> Result<R, Thrown> {
    nothing_pending()?;
    let settings = settings::current();
    let mode = settings.publish.clone().map_err(Thrown::celery)?;
    let deadline = Deadline::after(settings.post_timeout);
    let outcomes = pool::with(&broker.endpoint, deadline, |client, wait| {
        Ok(client.publish_batch(
            messages,
            confirmed(mode).unwrap_or(Publish::Confirmed),
            wait,
        ))
    })
    .map_err(|error| errors::command("post the tasks", &broker.endpoint, error))?;
    let failures: Vec<PublishError> = outcomes.into_iter().filter_map(Result::err).collect();
    nothing_pending()?;
    if failures.is_empty() {
        return Ok(reserve);
    }
    drop(reserve);
    Err(if failures.len() == messages.len() {
        errors::none_confirmed(&broker.endpoint, failures)
    } else {
        errors::unconfirmed(&broker.endpoint, failures)
    })
}

/// Ends the call if PHP code has thrown, or if a fatal error has been deferred.
///
/// Each call checks this before it sends anything. Otherwise the fatal error would end the script,
/// and the caller would not know what was sent.
fn nothing_pending() -> Result<(), Thrown> {
    if throw::is_pending() {
        Err(Thrown::Pending)
    } else {
        Ok(())
    }
}

/// Reads the answers of pipelined posts, within `celery.post_timeout`.
pub(crate) fn flush(broker: &Connection) -> Result<(), Thrown> {
    let failures = pipeline::flush(
        &broker.endpoint,
        Deadline::after(settings::current().post_timeout),
    );
    nothing_pending()?;
    if failures.is_empty() {
        Ok(())
    } else {
        Err(errors::unconfirmed(&broker.endpoint, failures))
    }
}

/// Returns how to wait for an answer, or `None` if the post is pipelined.
fn confirmed(mode: settings::Publish) -> Option<Publish> {
    match mode {
        settings::Publish::Confirmed => Some(Publish::Confirmed),
        settings::Publish::Once => Some(Publish::Once),
        settings::Publish::Pipelined => None,
    }
}

/// Asks all workers to skip a task.
pub(crate) fn revoke(broker: &Connection, task_id: &str) -> Result<(), Thrown> {
    let deadline = Deadline::after(settings::current().command_timeout);
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
