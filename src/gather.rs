//! Waits for the results of one or many tasks, for the API for new code. On Redis, that is one
//! subscription.

use std::rc::Rc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Deadline, NeverInterrupt, Wait};
use celery_client::redis::blocking::Awaiting;

use crate::connection::{Connection, Store};
use crate::errors;
use crate::ffi::throw::Thrown;
use crate::news::{News, Stored};
use crate::pool::{self, Limits, PhpInterrupt};
use crate::replies;

/// The time for writing the end of a subscription.
const GOODBYE: Duration = Duration::from_millis(500);

/// A wait for results. PHP code may run between two results, and may fork, throw, or wait itself.
pub(crate) struct Gather {
    backend: Rc<Connection>,
    limits: Limits,
    deadline: Deadline,
    way: Way,
}

/// How results come.
enum Way {
    /// By a subscription. `None` only while the value is dropped.
    Redis(Option<Box<Awaiting>>),
    /// As replies.
    Replies(Box<replies::Awaiting>),
}

impl Gather {
    /// Starts to wait. Nothing is sent yet.
    pub(crate) fn start(
        backend: Rc<Connection>,
        limits: Limits,
        ids: Vec<String>,
        timeout: Duration,
        interval: Duration,
    ) -> Self {
        let way = match backend.store() {
            Store::Redis(endpoint) => {
                let take = || pool::take_with(endpoint, limits);
                // The first one taken has an idle connection, if there is any. On RESP3, it needs no
                // other.
                let (reader, listener) = (take(), take());
                let awaiting = Awaiting::new(*reader, *listener, ids, interval);
                Way::Redis(Some(Box::new(awaiting)))
            }
            Store::Replies(_) => Way::Replies(Box::new(replies::Awaiting::new(ids, interval))),
        };
        Gather {
            deadline: Deadline::after(timeout),
            limits,
            way,
            backend,
        }
    }

    /// Reports the states that are not final, too.
    pub(crate) fn with_every_state(mut self) -> Self {
        match &mut self.way {
            Way::Redis(awaiting) => {
                let changed = awaiting.take().map(|it| Box::new(it.with_every_state()));
                *awaiting = changed;
            }
            Way::Replies(awaiting) => awaiting.report_every_state(),
        }
        self
    }

    /// Waits for the next state. PHP's signals and time limits are served meanwhile.
    pub(crate) fn next(&mut self) -> Result<News, Thrown> {
        let awaiting = match (&mut self.way, self.backend.store()) {
            (Way::Replies(awaiting), Store::Replies(endpoint)) => {
                let source = replies::Source {
                    connection: &self.backend,
                    endpoint,
                    limits: self.limits,
                };
                return awaiting.next(source, self.deadline);
            }
            (Way::Redis(Some(awaiting)), _) => awaiting,
            _ => return Ok(News::Done),
        };
        match awaiting.next(&mut Wait::until(self.deadline, &mut PhpInterrupt)) {
            Ok(Some(stored)) => Ok(News::Stored(Stored {
                task_id: stored.task_id,
                document: stored.document,
                is_last: stored.is_last,
            })),
            Ok(None) => Ok(News::Done),
            Err(ClientError::Timeout { .. }) if self.deadline.has_passed() => Ok(News::TooLate),
            Err(error) => Err(errors::command("wait for the result", &self.backend, error)),
        }
    }

    /// Returns the ids of the tasks that have not ended.
    pub(crate) fn pending(&self) -> Vec<String> {
        match &self.way {
            Way::Redis(awaiting) => {
                let pending = awaiting.iter().flat_map(|it| it.pending());
                pending.map(str::to_owned).collect()
            }
            Way::Replies(awaiting) => awaiting.pending(),
        }
    }
}

/// Ends the subscription, and gives the connections back.
impl Drop for Gather {
    fn drop(&mut self) {
        if let Way::Redis(awaiting) = &mut self.way
            && let Some(awaiting) = awaiting.take()
        {
            let mut never = NeverInterrupt;
            let mut wait = Wait::new(GOODBYE, &mut never);
            let (reader, listener) = awaiting.finish(&mut wait);
            pool::put(Box::new(listener));
            pool::put(Box::new(reader));
        }
    }
}
