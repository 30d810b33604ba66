//! Reading, awaiting and forgetting results.
//!
//! A result is returned as the bytes that were stored. The client decodes them only to see whether
//! the result is final.
//!
//! The module `watch` waits for results. Only the states that Celery calls ready end a wait.

use std::time::Duration;

use redis::Value;

use super::Client;
use super::link::Resting;
use super::reply::Shape;
use super::stored::{Standing, standing, text};
use super::watch::Watch;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::{DELETE_UNCHANGED, sha1};

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
        let digest = sha1(read);
        let call = (&[key.as_str()] as &[_], &[digest.as_bytes()] as &[_]);
        let answer = self.run_script(
            &DELETE_UNCHANGED,
            call,
            Shape::Short,
            wait,
            "deleting the result",
        )?;
        Ok(matches!(answer, Value::Int(1)))
    }

    /// Deletes a result like [`remove_result`](Self::remove_result), without waiting for the answer.
    /// The next call on this client skips it, so the calls of a client keep their order. An
    /// UNSUBSCRIBE that a wait has left goes out in the same write.
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
        link.wire.expect_unawaited(1);
        self.keep(link);
        Ok(())
    }

    /// Waits for a final result and returns it.
    ///
    /// On a server that speaks RESP3, one connection listens and reads. It stays subscribed until
    /// its next command, or until [`leave_channels`](Self::leave_channels). Otherwise `listener`,
    /// another client of the same endpoint, subscribes to the result's channel. If subscribing is
    /// not permitted, the key is read at intervals of at most `interval`.
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
        let mut watch = Watch::new(self, [task_id.to_owned()], interval);
        let stored = watch.next(self, listener, wait);
        watch.leave(self, listener, wait);
        match stored? {
            Some(stored) => Ok(stored.document),
            None => Err(wait.timeout("the result")),
        }
    }

    /// Sends the UNSUBSCRIBE that a wait has left for the next command. Its answer is not awaited.
    ///
    /// # Errors
    /// [`ClientError`] if it could not be written; the connection is dropped then.
    pub fn leave_channels(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        match self.kept.take() {
            Some(Resting::Ready(mut link)) if link.wire.defers() => match link.wire.flush(wait) {
                Ok(()) => self.keep(link),
                Err(error) => {
                    self.abandon(link, &error);
                    return Err(error);
                }
            },
            kept => self.kept = kept,
        }
        Ok(())
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
