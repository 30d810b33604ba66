//! A wait for the replies to one or many tasks.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use celery_client::ClientError;
use celery_client::amqp::blocking::{Arrived, Flow, Known, Remains};
use celery_client::blocking::Deadline;
use celery_protocol::result::ResultDoc;

use super::letterbox::{State, deliver, with_letterbox};
use super::look::try_look;
use super::queues;
use super::source::{NOT_FOUND, Source, dropped, elsewhere, failed, kind, no_queue, refused};
use crate::ffi::interrupt;
use crate::ffi::throw::{self, Thrown};
use crate::news::{News, Stored};
use crate::pool;
use crate::settings::ReplyQueue;

/// What the wait does, for errors.
const WHAT: &str = "wait for the result";
/// The first pause between two looks, or before another connection is tried.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before another connection is tried.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A wait for replies. PHP code may run between two of them. It holds no connection.
pub(crate) struct Awaiting {
    /// The tasks without a last state, in the order given.
    order: Vec<String>,
    /// The last document of each that was found in its own queue.
    open: HashMap<String, Vec<u8>>,
    /// States that were found and not returned yet.
    found: VecDeque<Stored>,
    every_state: bool,
    interval: Duration,
    /// The number of the last arrival that was looked at.
    since: u64,
    pause: Duration,
    /// Why the last connection was lost, until another one has been opened.
    lost: Option<ClientError>,
}

impl Awaiting {
    pub(crate) fn new(ids: Vec<String>, interval: Duration) -> Self {
        Awaiting {
            open: ids.iter().map(|id| (id.clone(), Vec::new())).collect(),
            order: ids,
            found: VecDeque::new(),
            every_state: false,
            interval,
            since: 0,
            pause: FIRST_PAUSE,
            lost: None,
        }
    }

    /// Reports the states that are not final, too.
    pub(crate) fn report_every_state(&mut self) {
        self.every_state = true;
    }

    /// Returns the ids of the tasks that have not ended.
    pub(crate) fn pending(&self) -> Vec<String> {
        let open = self.order.iter().filter(|id| self.open.contains_key(*id));
        open.cloned().collect()
    }

    /// Waits for the next state. A connection that was lost is replaced, unless another one fails
    /// until the deadline.
    pub(crate) fn next(&mut self, source: Source<'_>, deadline: Deadline) -> Result<News, Thrown> {
        self.lost = None;
        loop {
            if self.open.is_empty() {
                return Ok(News::Done);
            }
            if let Some(stored) = self.arrived(source)? {
                return Ok(News::Stored(stored));
            }
            if deadline.has_passed() {
                return match self.lost.take() {
                    Some(error) => Err(failed(source, WHAT, error)),
                    None => Ok(News::TooLate),
                };
            }
            let waited = self.wait(source, deadline)?;
            if throw::is_pending() {
                return Err(Thrown::Pending);
            }
            match waited {
                Ok(()) => self.lost = None,
                Err(ClientError::Timeout { .. }) if deadline.has_passed() => {}
                Err(error @ (ClientError::Disconnected { .. } | ClientError::Connect { .. })) => {
                    self.lost = Some(error);
                    self.pause(LONGEST_PAUSE, deadline)?;
                }
                Err(error) => return Err(failed(source, WHAT, error)),
            }
        }
    }

    /// Returns the next state that has arrived.
    fn arrived(&mut self, source: Source<'_>) -> Result<Option<Stored>, Thrown> {
        let next = match self.found.pop_front() {
            None => self.arrived_here(source)?,
            found => found,
        };
        if let Some(stored) = &next
            && stored.is_last
        {
            self.open.remove(&stored.task_id);
        }
        Ok(next)
    }

    /// Returns the next state that has arrived in the queue of the process.
    fn arrived_here(&mut self, source: Source<'_>) -> Result<Option<Stored>, Thrown> {
        with_letterbox(source.endpoint, |letterbox| {
            let first = self.order.first();
            if let (Some(why), Some(id)) = (&letterbox.refused, first) {
                return Err(refused(id, why));
            }
            for reply in letterbox.replies.since(self.since) {
                self.since = reply.number;
                if self.wants(&reply) {
                    return Ok(Some(Stored {
                        task_id: reply.task_id.to_owned(),
                        document: reply.document.to_vec(),
                        is_last: reply.is_last,
                    }));
                }
            }
            Ok(None)
        })
    }

    /// Returns `true` for a state that the caller wants.
    fn wants(&self, reply: &Arrived<'_>) -> bool {
        self.open.contains_key(reply.task_id) && (reply.is_last || self.every_state)
    }

    /// Waits a while for replies, by the way that fits the tasks. The outer error is one that PHP
    /// code sees.
    fn wait(
        &mut self,
        source: Source<'_>,
        deadline: Deadline,
    ) -> Result<Result<(), ClientError>, Thrown> {
        let pending = self.pending();
        let (mut here, mut others) = (0, 0);
        let mut lost = None;
        with_letterbox(source.endpoint, |letterbox| {
            for id in &pending {
                match letterbox.state(id) {
                    State::Elsewhere => others += 1,
                    State::Open | State::Ended => here += 1,
                }
                if letterbox.replies.get(id) == Known::Dropped {
                    lost = Some(id);
                }
            }
        });
        if let Some(id) = lost {
            return Err(dropped(id));
        }
        match (pending.first(), here, others) {
            (Some(first), _, 1..) if kind()? == ReplyQueue::Process => Err(elsewhere(first)),
            (Some(only), 0, 1) => self.follow_task(source, only, deadline),
            (_, _, 0) => Ok(self.follow_process(source, deadline)),
            _ => self.poll(source, &pending, deadline),
        }
    }

    /// Follows the queue of the process until a reply comes for one of the tasks.
    fn follow_process(
        &mut self,
        source: Source<'_>,
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        let Source {
            endpoint, limits, ..
        } = source;
        let queue = with_letterbox(endpoint, |letterbox| letterbox.queue.clone());
        let tick = self.interval;
        let mut reached = false;
        let followed = pool::with_limits(endpoint, limits, deadline, |client, wait| {
            client.follow(&queue, Remains::Nothing, tick, wait, |delivery| {
                reached = true;
                if let Some(delivery) = delivery {
                    deliver(delivery);
                }
                // A signal handler may have taken replies over another connection, so that this
                // wait looks at all that came since its last look.
                with_letterbox(endpoint, |letterbox| {
                    let mut later = letterbox.replies.since(self.since);
                    if later.any(|reply| self.wants(&reply)) {
                        Flow::Stop
                    } else {
                        Flow::More
                    }
                })
            })
        });
        if reached {
            self.lost = None;
        }
        followed
    }

    /// Follows the queue of a task until a state comes that the caller wants.
    fn follow_task(
        &mut self,
        source: Source<'_>,
        id: &str,
        deadline: Deadline,
    ) -> Result<Result<(), ClientError>, Thrown> {
        let queue = queues::of_task(id);
        let every_state = self.every_state;
        let old = self.open.get(id).cloned().unwrap_or_default();
        let (mut newest, mut is_left_out) = (None, false);
        let mut reached = false;
        let followed =
            pool::with_limits(source.endpoint, source.limits, deadline, |client, wait| {
                client.follow(&queue, Remains::Newest, self.interval, wait, |delivery| {
                    reached = true;
                    let Some(delivery) = delivery else {
                        return Flow::More;
                    };
                    is_left_out = delivery.content.is_left_out();
                    if is_left_out {
                        return Flow::Stop;
                    }
                    let body = delivery.content.body;
                    let wanted = body != old && (every_state || is_last(&body));
                    newest = Some(body);
                    if wanted { Flow::Stop } else { Flow::More }
                })
            });
        if reached {
            self.lost = None;
        }
        if is_left_out {
            return Err(dropped(id));
        }
        match (followed, newest) {
            (Err(ClientError::Broker(close)), _) if close.code == NOT_FOUND => Err(no_queue(id)),
            (Ok(()), Some(document)) => {
                self.note(id, document);
                Ok(Ok(()))
            }
            (followed, _) => Ok(followed),
        }
    }

    /// Looks for the replies to all tasks once, and pauses if there is nothing new.
    fn poll(
        &mut self,
        source: Source<'_>,
        ids: &[String],
        deadline: Deadline,
    ) -> Result<Result<(), ClientError>, Thrown> {
        let own =
            |id: &String| with_letterbox(source.endpoint, |it| it.state(id)) == State::Elsewhere;
        let (own, here): (Vec<String>, Vec<String>) = ids.iter().cloned().partition(own);
        let found = match try_look(source, &own, deadline)? {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        for (id, found) in own.iter().zip(found) {
            if let Some(document) = found
                && self.open.get(id).is_some_and(|old| *old != document)
                && (self.every_state || is_last(&document))
            {
                self.note(id, document);
            }
        }
        if let Err(error) = try_look(source, &here, deadline)? {
            return Ok(Err(error));
        }
        if self.found.is_empty() {
            self.pause(self.interval, deadline)?;
        } else {
            self.pause = FIRST_PAUSE;
        }
        Ok(Ok(()))
    }

    /// Keeps a state that was found in the queue of its task.
    fn note(&mut self, id: &str, document: Vec<u8>) {
        self.open.insert(id.to_owned(), document.clone());
        self.found.push_back(Stored {
            task_id: id.to_owned(),
            is_last: is_last(&document),
            document,
        });
    }

    /// Pauses, each time longer.
    fn pause(&mut self, most: Duration, deadline: Deadline) -> Result<(), Thrown> {
        let time = self.pause.min(most).min(deadline.remaining());
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        interrupt::pause(time).map_err(|interrupt::Raised| Thrown::Pending)
    }
}

/// Returns `true` if no other state follows.
fn is_last(document: &[u8]) -> bool {
    ResultDoc::decode_any(document).map_or(true, |doc| doc.status.ready())
}
