//! Waits for the results of one or many tasks over one subscription, for the API for new code.

use std::rc::Rc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, NeverInterrupt, Wait};
use celery_client::redis::blocking::{Awaiting, Stored};

use crate::connection::Connection;
use crate::errors;
use crate::ffi::throw::Thrown;
use crate::pool::{self, Limits, PhpInterrupt};

/// The time for writing the end of a subscription.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a wait brought.
pub(crate) enum News {
    /// A state of a task.
    Stored(Stored),
    /// Every task has ended.
    Done,
    /// The deadline has passed.
    TooLate,
}

/// A wait for results. PHP code may run between two results, and may fork, throw, or wait itself.
pub(crate) struct Gather {
    backend: Rc<Connection>,
    deadline: Deadline,
    /// `None` only while the value is dropped.
    awaiting: Option<Awaiting>,
}

impl Gather {
    /// Starts to wait. Nothing is sent yet.
    pub(crate) fn start(
        backend: Rc<Connection>,
        limits: Limits,
        ids: Vec<String>,
        timeout: Duration,
        interval: Duration,
    ) -> Result<Self, Thrown> {
        let endpoint = backend.results()?;
        let take = || pool::take_with(endpoint, limits);
        // The first one taken has an idle connection, if there is any. On RESP3, it needs no other.
        let (reader, listener) = (take(), take());
        Ok(Gather {
            deadline: Deadline::after(timeout),
            awaiting: Some(Awaiting::new(reader, listener, ids, interval)),
            backend,
        })
    }

    /// Reports the states that are not final, too.
    pub(crate) fn with_every_state(mut self) -> Self {
        self.awaiting = self.awaiting.take().map(Awaiting::with_every_state);
        self
    }

    /// Waits for the next state. PHP's signals and time limits are served meanwhile.
    pub(crate) fn next(&mut self) -> Result<News, Thrown> {
        let Some(awaiting) = &mut self.awaiting else {
            return Ok(News::Done);
        };
        match awaiting.next(&mut Wait::until(self.deadline, &mut PhpInterrupt)) {
            Ok(Some(stored)) => Ok(News::Stored(stored)),
            Ok(None) => Ok(News::Done),
            Err(ClientError::Timeout { .. }) if self.deadline.has_passed() => Ok(News::TooLate),
            Err(error) => Err(errors::command("wait for the result", &self.backend, error)),
        }
    }

    /// Returns the ids of the tasks that have not ended.
    pub(crate) fn pending(&self) -> Vec<String> {
        let awaiting = self.awaiting.iter();
        awaiting
            .flat_map(|awaiting| awaiting.pending().map(str::to_owned))
            .collect()
    }
}

/// Ends the subscription, and gives the connections back.
impl Drop for Gather {
    fn drop(&mut self) {
        if let Some(awaiting) = self.awaiting.take() {
            let mut never = NeverInterrupt;
            let mut wait = Wait::new(GOODBYE, &mut never);
            let (reader, listener) = awaiting.finish(&mut wait);
            pool::put(listener);
            pool::put(reader);
        }
    }
}
