//! Reading, awaiting and forgetting results.
//!
//! A result is returned as the bytes that were stored. The client decodes them only to see whether
//! the result is final.
//!
//! To wait for a final result, it subscribes to the result's channel on a second connection
//! *before* it reads the key. So it cannot miss a state between the two. Only the states that
//! Celery calls ready end a wait.

use std::time::Duration;

use celery_protocol::result::ResultDoc;
use redis::Value;

use super::Client;
use super::acquire::Need;
use super::client::backoff;
use super::link::{Listening, Owed};
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::{DELETE_UNCHANGED, sha1};

/// The interval at which the key is read while its channel is silent. A message can be lost with a
/// connection that died unnoticed.
const REREAD: Duration = Duration::from_secs(5);
/// The pause before the second read if subscribing is not permitted. It doubles up to the caller's
/// interval.
const FIRST_POLL: Duration = Duration::from_millis(10);

/// The state that the bytes of a result hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// `SUCCESS`, `FAILURE` or `REVOKED`.
    Final,
    /// Any other state.
    Underway,
    /// The client cannot decode the result. A wait ends here, too, because waiting would not change
    /// it.
    Unreadable,
}

fn standing(bytes: &[u8]) -> Standing {
    match ResultDoc::decode_any(bytes) {
        Ok(result) if result.status.ready() => Standing::Final,
        Ok(_) => Standing::Underway,
        Err(_) => Standing::Unreadable,
    }
}

impl Client {
    /// Returns the stored result of a task as it was written, or `None` if there is none yet.
    ///
    /// # Errors
    /// [`ClientError`] if the result could not be read.
    pub fn get_result(
        &mut self,
        task_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys().result(task_id));
        text(self.ask(&get, Shape::Text, wait, "reading the result")?)
    }

    /// Reads a result and deletes it if it is final. An intermediate or undecodable result stays.
    ///
    /// # Errors
    /// [`ClientError`] if the result could not be read. A result that was read is returned even if
    /// it could not be deleted.
    pub fn take_result(
        &mut self,
        task_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let result = self.get_result(task_id, wait)?;
        if let Some(bytes) = &result
            && standing(bytes) == Standing::Final
        {
            // If the deletion fails, the result expires by itself, and the caller has what it asked
            // for.
            let _ = self.remove_result(task_id, bytes, wait);
        }
        Ok(result)
    }

    /// Deletes a result unless it has changed since it was read. Returns `true` if it was deleted.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn remove_result(
        &mut self,
        task_id: &str,
        read: &[u8],
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let key = self.keys().result(task_id);
        let keys = [key.as_str()];
        let digest = sha1(read);
        let what = "deleting the result";
        let answer = match self.ask(
            DELETE_UNCHANGED.evalsha(&keys).arg(&digest),
            Shape::Short,
            wait,
            what,
        ) {
            Err(ClientError::Server(refused)) if refused.code() == "NOSCRIPT" => self.ask(
                DELETE_UNCHANGED.eval(&keys).arg(&digest),
                Shape::Short,
                wait,
                what,
            ),
            other => other,
        };
        Ok(matches!(answer?, Value::Int(1)))
    }

    /// Deletes a result like [`remove_result`](Self::remove_result), without waiting for the answer.
    /// The next call on this client reads it first, so the calls of a client keep their order.
    ///
    /// # Errors
    /// [`ClientError`] if the command could not be written.
    pub fn remove_result_later(
        &mut self,
        task_id: &str,
        read: &[u8],
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        let mut link = self.acquire_quiet(wait)?;
        let key = self.keys().result(task_id);
        // The text is short, and the answer NOSCRIPT would come when the result is forgotten here.
        let mut eval = DELETE_UNCHANGED.eval(&[key.as_str()]);
        link.wire.pack(eval.arg(sha1(read)));
        link.wire.flush(wait)?;
        link.debts.owe(Owed::Deletion);
        self.keep(link);
        Ok(())
    }

    /// Waits for a final result and returns it.
    ///
    /// `listener` is another client of the same endpoint: it subscribes to the result's channel. If
    /// subscribing is not permitted, the key is read instead, at intervals of at most `interval`.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline, otherwise the error that prevented the read.
    pub fn wait_result(
        &mut self,
        listener: &mut Client,
        task_id: &str,
        interval: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        let channel = self.keys().result(task_id);
        let mut backoff = backoff();
        let mut may_listen = true;
        let mut step = self.options.command_timeout;
        loop {
            let heard = if may_listen {
                self.listen(listener, &channel, task_id, step, wait)
            } else {
                self.poll(task_id, interval, step, wait).map(Heard::Result)
            };
            match heard {
                Ok(Heard::Result(bytes)) => return Ok(bytes),
                Ok(Heard::NotPermitted) => may_listen = false,
                Err(error) if error.is_retryable() && !wait.deadline().has_passed() => {
                    if !matches!(error, ClientError::Server(_)) {
                        // A fault that broke one connection has most likely broken both.
                        self.doubt();
                        listener.doubt();
                    }
                    if matches!(error, ClientError::Timeout { .. }) {
                        // The connection may not be dead but slow, or the result large.
                        step = step.saturating_mul(2);
                    }
                    if let Err(ended) = wait.back_off(&mut backoff) {
                        // The error that prevented success says more than the timeout of the whole
                        // wait.
                        return Err(if matches!(ended, ClientError::Timeout { .. }) {
                            error
                        } else {
                            ended
                        });
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Subscribes, reads the key and listens, for as long as the listening connection lasts. Each
    /// command has the time of one `step`, so that a connection that died unnoticed does not use up
    /// the whole wait.
    fn listen(
        &mut self,
        listener: &mut Client,
        channel: &str,
        task_id: &str,
        step: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Heard, ClientError> {
        let mut entering = wait.within(step);
        let resting = listener.acquire(Need::Quiet, &mut entering)?;
        let mut listening = match resting.subscribe(channel, &mut entering)? {
            Ok(listening) => listening,
            Err((link, refused)) => {
                listener.keep(link);
                return match refused.code() {
                    "NOPERM" | "ERR" => Ok(Heard::NotPermitted),
                    _ => Err(listener.endpoint().refused(refused)),
                };
            }
        };
        let heard = loop {
            let read = self.get_result(task_id, &mut wait.within(step));
            if let Some(bytes) = read?.filter(|bytes| standing(bytes) != Standing::Underway) {
                break bytes;
            }
            if let Some(bytes) = next_final_message(&mut listening, wait)? {
                break bytes;
            }
        };
        if let Ok(leaving) = listening.unsubscribe(wait) {
            listener.keep(leaving);
        }
        Ok(Heard::Result(heard))
    }

    /// Reads the key at intervals until the result is final.
    fn poll(
        &mut self,
        task_id: &str,
        interval: Duration,
        step: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        let mut pause = FIRST_POLL;
        loop {
            let read = self.get_result(task_id, &mut wait.within(step));
            if let Some(bytes) = read?.filter(|bytes| standing(bytes) != Standing::Underway) {
                return Ok(bytes);
            }
            wait.pause(pause, "the result")?;
            pause = (pause * 2).min(interval.max(FIRST_POLL));
        }
    }

    /// Deletes the result of a task, final or not. Returns `true` if there was one.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn forget(&mut self, task_id: &str, wait: &mut Wait<'_>) -> Result<bool, ClientError> {
        let mut del = redis::cmd("DEL");
        del.arg(self.keys().result(task_id));
        Ok(matches!(
            self.ask(&del, Shape::Short, wait, "forgetting the result")?,
            Value::Int(1..)
        ))
    }
}

/// The outcome of listening.
enum Heard {
    Result(Vec<u8>),
    /// The user may not subscribe.
    NotPermitted,
}

/// Returns the next message with a final state, or `None` when it is time to read the key again.
fn next_final_message(
    listening: &mut Listening,
    wait: &mut Wait<'_>,
) -> Result<Option<Vec<u8>>, ClientError> {
    let mut part = wait.within(REREAD);
    loop {
        match listening.message(&mut part) {
            Ok(bytes) if standing(&bytes) != Standing::Underway => return Ok(Some(bytes)),
            Ok(_) => {}
            Err(ClientError::Timeout { what, .. }) => {
                return if wait.deadline().has_passed() {
                    Err(wait.timeout(what))
                } else {
                    Ok(None)
                };
            }
            Err(error) => return Err(error),
        }
    }
}

fn text(value: Value) -> Result<Option<Vec<u8>>, ClientError> {
    match value {
        Value::Nil => Ok(None),
        Value::BulkString(bytes) => Ok(Some(bytes)),
        _ => Err(ClientError::Protocol(
            "a result that is not a text".to_owned(),
        )),
    }
}
