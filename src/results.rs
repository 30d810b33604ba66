//! Calls to a result backend: reading, awaiting and forgetting results.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::Deadline;

use crate::connection::Connection;
use crate::errors;
use crate::ffi::throw::{self, Thrown};
use crate::messages::Document;
use crate::{pool, settings};

/// What the deletion of a result may take that came at the very end of a wait.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// What becomes of a final result that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is deleted, as celery-php does.
    Consume,
    /// It stays.
    Keep,
}

/// Reads a result once; `None` if nothing is stored. What is not final always stays.
///
/// `hand_over` makes PHP's own of the document. Only what it has taken is deleted: where a result does not fit into
/// PHP's memory, it is still stored when the script has ended.
pub(crate) fn read<T>(
    backend: &Connection,
    id: &str,
    reading: Reading,
    hand_over: impl FnOnce(Document) -> Result<T, Thrown>,
) -> Result<Option<T>, Thrown> {
    let deadline = Deadline::after(settings::current().command_timeout);
    let stored = pool::with(&backend.endpoint, deadline, |client, wait| {
        client.get_result(id, wait)
    })
    .map_err(|error| errors::command("read the result", &backend.endpoint, error))?;
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

/// Waits for a final result and hands it over as [`read`] does; `None` if there is none at the end of `timeout`.
///
/// PHP's signals and time limits are served meanwhile. No connection is needed after the result has come: it may be
/// gone by the time PHP code sees it.
pub(crate) fn wait<T>(
    backend: &Connection,
    id: &str,
    timeout: Duration,
    interval: Duration,
    reading: Reading,
    hand_over: impl FnOnce(Document) -> Result<T, Thrown>,
) -> Result<Option<T>, Thrown> {
    let deadline = Deadline::after(timeout);
    let awaited = pool::with_listener(&backend.endpoint, deadline, |client, listener, wait| {
        client.wait_result(listener, id, interval, wait)
    });
    let stored = match awaited {
        Ok(stored) => stored,
        Err(ClientError::Timeout { .. }) if deadline.has_passed() => return Ok(None),
        Err(error) => {
            return Err(errors::command(
                "wait for the result",
                &backend.endpoint,
                error,
            ));
        }
    };
    let taken = hand_over(Document::read(id, &stored)?)?;
    if reading == Reading::Consume {
        let deadline = Deadline::after(deadline.remaining().max(LAST_MOMENT));
        remove(backend, id, &stored, deadline)?;
    }
    Ok(Some(taken))
}

/// Deletes what was handed over, unless it has changed since.
fn remove(backend: &Connection, id: &str, stored: &[u8], deadline: Deadline) -> Result<(), Thrown> {
    // The caller has its result; if it cannot be deleted now, it expires by itself.
    let _ = pool::with(&backend.endpoint, deadline, |client, wait| {
        client.remove_result(id, stored, wait)
    });
    unless_pending()
}

/// A deletion's failure is nobody's concern, but for what PHP code did meanwhile.
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
    pool::with(&backend.endpoint, deadline, |client, wait| {
        client.forget(id, wait)
    })
    .map(|_| ())
    .map_err(|error| errors::command("forget the result", &backend.endpoint, error))
}
