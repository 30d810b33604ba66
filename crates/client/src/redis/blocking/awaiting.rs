//! Results of many tasks, taken one after the other as they come.

use std::time::Duration;

use super::Client;
use super::watch::{Stored, Watch};
use crate::blocking::Wait;
use crate::error::ClientError;

/// A wait for the results of many tasks over one subscription, from which the caller takes one state
/// after the other.
///
/// The caller may take its time between two states. If the server closes the connection meanwhile,
/// or if the process is forked, the next call subscribes and reads anew; no result is missed.
/// Dropping the value closes its connections. [`finish`](Self::finish) returns them.
///
/// ```no_run
/// # use std::{sync::Arc, time::Duration};
/// # use celery_client::blocking::{NeverInterrupt, Wait};
/// # use celery_client::redis::blocking::*;
/// # use celery_client::redis::RedisEndpoint;
/// # fn main() -> Result<(), celery_client::ClientError> {
/// let endpoint = Arc::new(RedisEndpoint::from_url("redis://localhost")?);
/// let client = || Client::new(Arc::clone(&endpoint), ClientOptions::default());
/// let ids = ["id-1".to_owned(), "id-2".to_owned()];
/// let mut awaiting = Awaiting::new(client(), client(), ids, Duration::from_millis(500));
/// let mut never = NeverInterrupt;
/// let mut wait = Wait::new(Duration::from_secs(60), &mut never);
/// while let Some(stored) = awaiting.next(&mut wait)? {
///     println!("{}: {} bytes", stored.task_id, stored.document.len());
/// }
/// # Ok(()) }
/// ```
pub struct Awaiting {
    reader: Client,
    listener: Client,
    watch: Watch,
}

impl Awaiting {
    /// Starts to wait for the final results of these tasks. Each id counts once.
    ///
    /// Both clients are of one endpoint. The second one connects only where the server does not
    /// speak RESP3. If subscribing is not permitted, the keys are read at intervals of at most
    /// `interval`.
    pub fn new(
        reader: Client,
        listener: Client,
        task_ids: impl IntoIterator<Item = String>,
        interval: Duration,
    ) -> Self {
        let watch = Watch::new(&reader, task_ids, interval);
        Self {
            reader,
            listener,
            watch,
        }
    }

    /// Also returns the states that are not final.
    #[must_use]
    pub fn with_every_state(mut self) -> Self {
        self.watch.report_every_state();
        self
    }

    /// Returns the ids of the tasks without a final state, in the order given.
    pub fn pending(&self) -> impl Iterator<Item = &str> {
        self.watch.open()
    }

    /// Waits for the next state. Returns `None` when every task has ended.
    ///
    /// # Errors
    /// [`ClientError::Timeout`] at the deadline: a later call may go on. Otherwise the error that
    /// prevented the wait.
    pub fn next(&mut self, wait: &mut Wait<'_>) -> Result<Option<Stored>, ClientError> {
        if !self.reader.is_own() {
            // The connections belong to the parent of this process.
            self.watch.abandon();
            self.reader = self.reader.another();
            self.listener = self.listener.another();
        }
        self.watch.next(&mut self.reader, &mut self.listener, wait)
    }

    /// Ends the subscription and returns the clients, for a pool.
    pub fn finish(mut self, wait: &mut Wait<'_>) -> (Client, Client) {
        if self.reader.is_own() {
            self.watch.leave(&mut self.reader, &mut self.listener, wait);
            // A connection that fails here is dropped.
            let _ = self.reader.leave_channels(wait);
        }
        (self.reader, self.listener)
    }
}
