//! Calls to a result backend: reading, awaiting and forgetting results.

use std::sync::Arc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::amqp::AmqpEndpoint;
use celery_client::blocking::Deadline;
use celery_client::redis::RedisEndpoint;

use crate::connection::{Connection, Store};
use crate::errors;
use crate::ffi::throw::{self, Thrown};
use crate::messages::Document;
use crate::news::News;
use crate::pool::Limits;
use crate::{pool, replies, settings};

/// The time for writing the deletion of a result that came at the very end of a wait.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// What to do with a final result that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// Delete the result, as celery-php does.
    Consume,
    /// Leave the result in the backend.
    Keep,
}

/// Reads a result once. Returns `None` if nothing is stored. An intermediate state always stays
/// stored.
///
/// `hand_over` converts the document to a PHP value. The result is deleted only after that. If the
/// value does not fit into PHP's memory, the result is still stored when the script has ended.
pub(crate) fn read<T>(
    backend: &Connection,
    id: &str,
    reading: Reading,
    hand_over: impl FnOnce(Document) -> Result<T, Thrown>,
) -> Result<Option<T>, Thrown> {
    let deadline = Deadline::after(settings::current().command_timeout);
    let stored = self::stored(backend, Limits::default(), deadline, id)?;
    unless_pending()?;
    let Some(stored) = stored else {
        return Ok(None);
    };
    let document = Document::read(id, &stored)?;
    let is_final = document.is_final();
    let taken = hand_over(document)?;
    if is_final && reading == Reading::Consume {
        remove(backend, id, &stored, deadline)?;
    }
    Ok(Some(taken))
}

/// Waits for a final result and hands it over like [`read`]. Returns `None` if there is none after
/// `timeout`.
///
/// PHP's signals and time limits are served meanwhile. After the result has come, no connection is
/// needed: it may be closed before PHP code sees the result.
pub(crate) fn wait<T>(
    backend: &Connection,
    id: &str,
    timeout: Duration,
    interval: Duration,
    reading: Reading,
    hand_over: impl FnOnce(Document) -> Result<T, Thrown>,
) -> Result<Option<T>, Thrown> {
    let deadline = Deadline::after(timeout);
    let awaited = match backend.store() {
        Store::Redis(endpoint) => await_stored(endpoint, id, deadline, interval, reading)
            .map_err(|error| errors::command("wait for the result", backend, error))?,
        Store::Replies(endpoint) => {
            let source = source(backend, endpoint, Limits::default());
            let mut awaiting = replies::Awaiting::new(vec![id.to_owned()], interval);
            match awaiting.next(source, deadline)? {
                News::Stored(stored) => Some(stored.document),
                News::Done | News::TooLate => None,
            }
        }
    };
    let Some(stored) = awaited else {
        return Ok(None);
    };
    let taken = hand_over(Document::read(id, &stored)?)?;
    if reading == Reading::Consume {
        let deadline = Deadline::after(deadline.remaining().max(LAST_MOMENT));
        remove(backend, id, &stored, deadline)?;
    }
    Ok(Some(taken))
}

/// Waits for a final result in Redis. Returns `None` if the deadline comes first.
fn await_stored(
    endpoint: &Arc<RedisEndpoint>,
    id: &str,
    deadline: Deadline,
    interval: Duration,
    reading: Reading,
) -> Result<Option<Vec<u8>>, ClientError> {
    let awaited = pool::with_listener(endpoint, deadline, |client, listener, wait| {
        let stored = client.wait_result(listener, id, interval, wait);
        // Otherwise the deletion brings the end of the subscription. A connection that fails here
        // is dropped.
        if reading == Reading::Keep || stored.is_err() {
            let _ = client.leave_channels(wait);
        }
        stored
    });
    match awaited {
        Err(ClientError::Timeout { .. }) if deadline.has_passed() => Ok(None),
        awaited => awaited.map(Some),
    }
}

/// Deletes a result that was handed over, unless it has changed since. The answer is not awaited.
fn remove(backend: &Connection, id: &str, stored: &[u8], deadline: Deadline) -> Result<(), Thrown> {
    // The caller has its result. If the deletion fails, the result expires by itself.
    let _ = match backend.store() {
        Store::Redis(endpoint) => pool::with(endpoint, deadline, |client, wait| {
            client.remove_result_later(id, stored, wait)
        }),
        Store::Replies(endpoint) => {
            let source = source(backend, endpoint, Limits::default());
            replies::forget(source, &[id.to_owned()], deadline)
        }
    };
    unless_pending()
}

/// Ends the call if PHP code has thrown meanwhile. A failed deletion alone is not an error.
fn unless_pending() -> Result<(), Thrown> {
    if throw::is_pending() {
        Err(Thrown::Pending)
    } else {
        Ok(())
    }
}

/// Deletes a result, whatever its state.
pub(crate) fn forget(backend: &Connection, id: &str) -> Result<(), Thrown> {
    let deadline = Deadline::after(settings::current().command_timeout);
    forget_all(backend, Limits::default(), deadline, &[id.to_owned()])
}

/// Deletes results, whatever their state.
pub(crate) fn forget_all(
    backend: &Connection,
    limits: Limits,
    deadline: Deadline,
    ids: &[String],
) -> Result<(), Thrown> {
    let forgotten = match backend.store() {
        Store::Redis(endpoint) => pool::with_limits(endpoint, limits, deadline, |client, wait| {
            client.forget_all(ids, wait).map(drop)
        }),
        Store::Replies(endpoint) => {
            replies::forget(source(backend, endpoint, limits), ids, deadline)
        }
    };
    forgotten.map_err(|error| errors::command("forget the result", backend, error))
}

/// Returns the document that is stored for a task.
pub(crate) fn stored(
    backend: &Connection,
    limits: Limits,
    deadline: Deadline,
    id: &str,
) -> Result<Option<Vec<u8>>, Thrown> {
    match backend.store() {
        Store::Redis(endpoint) => pool::with_limits(endpoint, limits, deadline, |client, wait| {
            client.get_result(id, wait)
        })
        .map_err(|error| errors::command("read the result", backend, error)),
        Store::Replies(endpoint) => {
            let source = source(backend, endpoint, limits);
            let mut found = replies::look(source, &[id.to_owned()], deadline)?;
            Ok(found.pop().flatten())
        }
    }
}

/// Hands over the documents that are stored for tasks, with the indices of the tasks.
pub(crate) fn all_stored(
    backend: &Connection,
    limits: Limits,
    deadline: Deadline,
    ids: &[String],
    mut each: impl FnMut(usize, Vec<u8>),
) -> Result<(), Thrown> {
    match backend.store() {
        Store::Redis(endpoint) => pool::with_limits(endpoint, limits, deadline, |client, wait| {
            client.get_results(
                ids,
                |index, stored| {
                    if let Some(stored) = stored {
                        each(index, stored);
                    }
                },
                wait,
            )
        })
        .map_err(|error| errors::command("read the results", backend, error)),
        Store::Replies(endpoint) => {
            let found = replies::look(source(backend, endpoint, limits), ids, deadline)?;
            for (index, document) in found.into_iter().enumerate() {
                if let Some(document) = document {
                    each(index, document);
                }
            }
            Ok(())
        }
    }
}

fn source<'a>(
    connection: &'a Connection,
    endpoint: &'a Arc<AmqpEndpoint>,
    limits: Limits,
) -> replies::Source<'a> {
    replies::Source {
        connection,
        endpoint,
        limits,
    }
}
