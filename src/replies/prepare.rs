//! The queues for replies, which exist before a task is posted.

use celery_client::ClientError;
use celery_client::blocking::Deadline;

use super::letterbox::{self, Must, with_letterbox};
use super::queues;
use super::source::{Source, kind};
use crate::ffi::throw::Thrown;
use crate::pool;
use crate::settings::{self, ReplyQueue};

/// RabbitMQ's code for a missing right.
const ACCESS_REFUSED: u16 = 403;

/// The tasks of a post whose replies are wanted.
#[derive(Default)]
pub(crate) struct Wanted {
    ids: Vec<String>,
    kind: ReplyQueue,
}

impl Wanted {
    /// Returns the tasks with these ids, as php.ini says.
    pub(crate) fn of(ids: Vec<String>) -> Result<Self, Thrown> {
        if ids.is_empty() {
            return Ok(Wanted::default());
        }
        let kind = kind()?;
        Ok(Wanted { ids, kind })
    }
}

/// Returns the address for the replies to a task, if each task has its own.
pub(crate) fn address(task_id: &str) -> Option<String> {
    let kind = &settings::current().reply_queue;
    (*kind == Ok(ReplyQueue::Task)).then(|| queues::of_task(task_id))
}

/// Makes sure that the queues for replies exist, before the tasks are posted.
///
/// If the user may not declare the queue of the process, the tasks are posted nevertheless, and the
/// reading of a result says why it fails.
pub(crate) fn prepare(
    source: Source<'_>,
    wanted: &Wanted,
    deadline: Deadline,
) -> Result<(), ClientError> {
    if wanted.ids.is_empty() {
        return Ok(());
    }
    let Source {
        connection,
        endpoint,
        limits,
    } = source;
    let expires = connection.reply_expires;
    let expires = expires.unwrap_or_else(|| settings::current().reply_expires);
    if wanted.kind == ReplyQueue::Task {
        let names: Vec<String> = wanted.ids.iter().map(|id| queues::of_task(id)).collect();
        let queues = names.iter().map(|name| queues::task(name, expires));
        let queues: Vec<_> = queues.collect::<Result<_, _>>()?;
        return pool::with_limits(endpoint, limits, deadline, |client, wait| {
            client.declare_queues(&queues, wait)
        });
    }
    let must = letterbox::must(endpoint, expires);
    let (queue, expires) = with_letterbox(endpoint, |letterbox| {
        (letterbox.queue.clone(), letterbox.expires)
    });
    let done = match must {
        Must::Nothing => Ok(()),
        Must::Purge | Must::Declare => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                let is_there = must == Must::Purge && client.purge_queue(&queue, wait)?.is_some();
                if is_there {
                    return Ok(());
                }
                client.declare_queues(&[queues::process(&queue, expires)?], wait)
            })
        }
    };
    let refused = match done {
        Ok(()) => None,
        Err(ClientError::Broker(close)) if close.code == ACCESS_REFUSED => Some(close.text),
        Err(error) => return Err(error),
    };
    with_letterbox(endpoint, |letterbox| {
        letterbox.expect(&wanted.ids, must, refused);
    });
    Ok(())
}
