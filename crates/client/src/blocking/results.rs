//! Reading, awaiting and forgetting results.

use std::time::Duration;

use super::{Client, Wait};
use crate::error::ClientError;

impl Client {
    /// The stored result of a task, as it was written; `None` while there is none.
    ///
    /// # Errors
    /// [`ClientError`], if it could not be read.
    pub fn get_result(
        &mut self,
        task_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let _ = (task_id, wait);
        todo!()
    }

    /// The stored results of many tasks, in their order, in one round trip.
    ///
    /// # Errors
    /// [`ClientError`], if they could not be read.
    pub fn get_results(
        &mut self,
        task_ids: &[&str],
        wait: &mut Wait<'_>,
    ) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        let _ = (task_ids, wait);
        todo!()
    }

    /// Reads a result and deletes it if it is final; what is intermediate stays.
    ///
    /// # Errors
    /// [`ClientError`], if it could not be read. Once it was read it is returned, even if it could not be deleted.
    pub fn take_result(
        &mut self,
        task_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let _ = (task_id, wait);
        todo!()
    }

    /// Deletes a result that was read, if it has not changed since; true if it did.
    ///
    /// # Errors
    /// [`ClientError`], if the server could not be asked.
    pub fn remove_result(
        &mut self,
        task_id: &str,
        read: &[u8],
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let _ = (task_id, read, wait);
        todo!()
    }

    /// Waits for a final result and returns it. `listener` is another client of the same endpoint: it subscribes to the
    /// result's channel. Where subscribing is not permitted, the key is read every `interval` at most.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline; else what kept it from being read.
    pub fn wait_result(
        &mut self,
        listener: &mut Client,
        task_id: &str,
        interval: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<u8>, ClientError> {
        let _ = (listener, task_id, interval, wait);
        todo!()
    }

    /// Deletes the result of a task, final or not; true if there was one.
    ///
    /// # Errors
    /// [`ClientError`], if the server could not be asked.
    pub fn forget(&mut self, task_id: &str, wait: &mut Wait<'_>) -> Result<bool, ClientError> {
        let _ = (task_id, wait);
        todo!()
    }
}
