//! The server from which replies are read, and the exceptions if they cannot be read.

use std::sync::Arc;

use celery_client::ClientError;
use celery_client::amqp::AmqpEndpoint;

use super::letterbox;
use crate::connection::Connection;
use crate::errors;
use crate::ffi::throw::{self, Thrown};
use crate::pool::Limits;
use crate::settings::{self, ReplyQueue};

/// RabbitMQ's code for a queue that does not exist.
pub(super) const NOT_FOUND: u16 = 404;

/// The RabbitMQ from which replies are read.
#[derive(Clone, Copy)]
pub(crate) struct Source<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) endpoint: &'a Arc<AmqpEndpoint>,
    pub(crate) limits: Limits,
}

/// Returns `celery.reply_queue`.
pub(super) fn kind() -> Result<ReplyQueue, Thrown> {
    settings::current()
        .reply_queue
        .clone()
        .map_err(Thrown::celery)
}

/// Returns the exception of a call that failed.
pub(super) fn failed(source: Source<'_>, what: &str, error: ClientError) -> Thrown {
    match error {
        ClientError::Broker(close) if close.code == NOT_FOUND => gone(source.endpoint),
        error => errors::command(what, source.connection, error),
    }
}

/// Returns the exception of a queue that is gone. The next post declares it again.
pub(super) fn gone(endpoint: &AmqpEndpoint) -> Thrown {
    letterbox::lost();
    if throw::is_pending() {
        return Thrown::Pending;
    }
    Thrown::celery(format!(
        "The queue for the replies of workers to this process is gone from {endpoint}: it was deleted, or was not used \
         for longer than celery.reply_expires. The results of tasks that were posted before are lost. Results in Redis \
         (celery.result_backend) are kept."
    ))
}

pub(super) fn elsewhere(id: &str) -> Thrown {
    Thrown::celery(format!(
        "The result of task {id} is not known here. With RabbitMQ as result backend, results go to the process that \
         posted the task, and only the request that posted it can read them. For results that any process can read, use \
         Redis (celery.result_backend), or set celery.reply_queue=task, before the task is posted."
    ))
}

pub(super) fn dropped(id: &str) -> Thrown {
    Thrown::celery(format!(
        "The result of task {id} has arrived, and was dropped: it was larger than PHP's memory_limit allows, or too \
         many results were waiting to be read (more than 10,000, or than 16 MiB). Read results as they come \
         (Celery\\ResultSet), or keep them in Redis (celery.result_backend)."
    ))
}

pub(super) fn refused(id: &str, why: &str) -> Thrown {
    Thrown::celery(format!(
        "The result of task {id} cannot be read: the user may not declare a queue for the replies of workers ({why}). \
         Grant the right to configure it, or keep results in Redis (celery.result_backend)."
    ))
}

pub(super) fn no_queue(id: &str) -> Thrown {
    Thrown::celery(format!(
        "No reply to task {id} can come: it has no queue for replies. It was posted without a wish for its result or \
         without celery.reply_queue=task, or its result was read already, or has expired (celery.reply_expires)."
    ))
}
