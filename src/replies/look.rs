//! What has arrived, without waiting for more.

use celery_client::ClientError;
use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::blocking::Known;
use celery_client::blocking::Deadline;

use super::letterbox::{State, deliver, with_letterbox};
use super::queues;
use super::source::{NOT_FOUND, Source, dropped, elsewhere, failed, kind, refused};
use crate::ffi::throw::{self, Thrown};
use crate::pool;
use crate::settings::{self, ReplyQueue};

/// The newest state of each task, if one has arrived.
type Found = Vec<Option<Vec<u8>>>;

/// Returns the newest state of each task that has arrived.
pub(crate) fn look(
    source: Source<'_>,
    ids: &[String],
    deadline: Deadline,
) -> Result<Found, Thrown> {
    try_look(source, ids, deadline)?
        .map_err(|error| failed(source, "read the replies of workers", error))
}

/// Like [`look`]. The outer error is one that PHP code sees.
pub(super) fn try_look(
    source: Source<'_>,
    ids: &[String],
    deadline: Deadline,
) -> Result<Result<Found, ClientError>, Thrown> {
    let states = with_letterbox(source.endpoint, |letterbox| {
        let states = ids.iter().map(|id| letterbox.state(id));
        states.collect::<Vec<_>>()
    });
    if states.contains(&State::Open)
        && let Err(error) = drain(source, deadline)
    {
        return Ok(Err(error));
    }
    let mut found = Vec::with_capacity(ids.len());
    for (id, state) in ids.iter().zip(states) {
        found.push(match state {
            State::Elsewhere => match of_task(source, id, deadline)? {
                Ok(found) => found,
                Err(error) => return Ok(Err(error)),
            },
            _ => kept(source.endpoint, id)?,
        });
    }
    unless_pending()?;
    Ok(Ok(found))
}

/// Returns what has arrived for a task in its own queue. A queue that does not exist has nothing.
fn of_task(
    source: Source<'_>,
    id: &str,
    deadline: Deadline,
) -> Result<Result<Option<Vec<u8>>, ClientError>, Thrown> {
    if kind()? == ReplyQueue::Process {
        return Err(elsewhere(id));
    }
    let queue = queues::of_task(id);
    let newest = pool::with_limits(source.endpoint, source.limits, deadline, |client, wait| {
        client.newest(&queue, wait)
    });
    Ok(match newest {
        Ok(Some(newest)) if newest.content.is_left_out() => return Err(dropped(id)),
        Ok(newest) => Ok(newest.map(|delivery| delivery.content.body)),
        Err(ClientError::Broker(close)) if close.code == NOT_FOUND => Ok(None),
        Err(error) => Err(error),
    })
}

/// Returns what is kept for a task that this request posted.
fn kept(endpoint: &AmqpEndpoint, id: &str) -> Result<Option<Vec<u8>>, Thrown> {
    with_letterbox(endpoint, |letterbox| {
        if let Some(why) = &letterbox.refused {
            return Err(refused(id, why));
        }
        match letterbox.replies.get(id) {
            Known::Arrived(arrived) => Ok(Some(arrived.document.to_vec())),
            Known::Awaited => Ok(None),
            Known::Dropped => Err(dropped(id)),
            Known::Nothing => Err(elsewhere(id)),
        }
    })
}

/// Takes what is ready out of the queue of the process.
fn drain(source: Source<'_>, deadline: Deadline) -> Result<(), ClientError> {
    let Some(queue) = with_letterbox(source.endpoint, |letterbox| letterbox.usable()) else {
        return Ok(());
    };
    let (endpoint, limits) = (source.endpoint, source.limits);
    pool::with_limits(endpoint, limits, deadline, |client, wait| {
        client.take_ready(&queue, wait, deliver)
    })
}

/// Forgets the replies to tasks, those that come later included if each task has its own queue.
pub(crate) fn forget(
    source: Source<'_>,
    ids: &[String],
    deadline: Deadline,
) -> Result<(), ClientError> {
    let own: Vec<&String> = with_letterbox(source.endpoint, |letterbox| {
        let own = ids
            .iter()
            .filter(|id| letterbox.replies.get(id) == Known::Nothing);
        let own = own.collect();
        for id in ids {
            letterbox.replies.forget(id);
        }
        own
    });
    if own.is_empty() || settings::current().reply_queue != Ok(ReplyQueue::Task) {
        return Ok(());
    }
    pool::with_limits(source.endpoint, source.limits, deadline, |client, wait| {
        own.iter().try_for_each(|id| {
            let deleted = client.delete_queue(&queues::of_task(id), wait);
            deleted.map(drop)
        })
    })
}

fn unless_pending() -> Result<(), Thrown> {
    if throw::is_pending() {
        Err(Thrown::Pending)
    } else {
        Ok(())
    }
}
