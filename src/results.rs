//! Calls to a result backend: reading, awaiting and forgetting results.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::Deadline;

use crate::connection::Connection;
use crate::errors;
use crate::ffi::throw::{self, Thrown};
use crate::messages::Document;
use crate::{pool, settings};

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
    let stored = pool::with(backend.results()?, deadline, |client, wait| {
        client.get_result(id, wait)
    })
    .map_err(|error| errors::command("read the result", backend, error))?;
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
    let awaited = pool::with_listener(backend.results()?, deadline, |client, listener, wait| {
        let stored = client.wait_result(listener, id, interval, wait);
        // Otherwise the deletion brings the end of the subscription. A connection that fails here
        // is dropped.
        if reading == Reading::Keep || stored.is_err() {
            let _ = client.leave_channels(wait);
        }
        stored
    });
    let stored = match awaited {
        Ok(stored) => stored,
        Err(ClientError::Timeout { .. }) if deadline.has_passed() => return Ok(None),
        Err(error) => {
            return Err(errors::command("wait for the result", backend, error));
        }
    };
    let taken = hand_over(Document::read(id, &stored)?)?;
    if reading == Reading::Consume {
        let deadline = Deadline::after(deadline.remaining().max(LAST_MOMENT));
        remove(backend, id, &stored, deadline)?;
    }
    Ok(Some(taken))
}

/// Deletes a result that was handed over, unless it has changed since. The answer is not awaited.
fn remove(backend: &Connection, id: &str, stored: &[u8], deadline: Deadline) -> Result<(), Thrown> {
    // The caller has its result. If the deletion fails, the result expires by itself.
    let _ = pool::with(backend.results()?, deadline, |client, wait| {
        client.remove_result_later(id, stored, wait)
    });
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
    pool::with(backend.results()?, deadline, |client, wait| {
        client.forget(id, wait)
    })
    .map(|_| ())
    .map_err(|error| errors::command("forget the result", backend, error))
}
