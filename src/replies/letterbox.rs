//! The queue for the replies to this process, and the replies that have arrived.
//!
//! There is one for each broker. Two of them may be one server under two names, or for two users, and
//! then they share the queue: a reply goes to the one that awaits it. A forked child has its own
//! queue: it never reads the replies of its parent. At the end of a request all replies are forgotten, so that a later request cannot depend
//! on the process that serves it.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use celery_client::amqp::AmqpEndpoint;
use celery_client::amqp::blocking::{Known, Replies};
use celery_client::blocking::Process;
use celery_protocol::amqp::Delivery;

use crate::process;

/// More brokers than a process sensibly has. The oldest are forgotten first.
const MOST: usize = 64;

thread_local! {
    static LETTERBOXES: RefCell<Vec<Letterbox>> = const { RefCell::new(Vec::new()) };
}

/// What is known of the replies from one broker.
pub(super) struct Letterbox {
    broker: String,
    process: Process,
    /// The queue: the address that this process writes into its messages.
    pub(super) queue: String,
    /// The time after which the queue is deleted if it is not used. It stays the same while the queue
    /// lives, because a queue cannot be declared again with another.
    pub(super) expires: Duration,
    /// The time of the last declaration, which counts as use.
    declared: Option<Instant>,
    /// Why the queue could not be declared.
    pub(super) refused: Option<String>,
    /// Whether the queue may have replies to tasks of earlier requests.
    has_old: bool,
    pub(super) replies: Replies,
}

/// What has to be done before a task is posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Must {
    Nothing,
    /// The queue exists, with replies to tasks of earlier requests.
    Purge,
    Declare,
}

/// What this process knows of a task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// This request posted it, and its last state has not arrived.
    Open,
    /// Its last state has arrived, or is lost.
    Ended,
    /// This request did not post it, or it has a queue of its own.
    Elsewhere,
}

/// Lends the letterboxes of this process.
fn with_letterboxes<T>(lent: impl FnOnce(&mut Vec<Letterbox>) -> T) -> T {
    LETTERBOXES.with_borrow_mut(|all| {
        let process = Process::current();
        all.retain(|one| one.process == process);
        lent(all)
    })
}

/// Lends the letterbox of a broker.
pub(super) fn with_letterbox<T>(
    endpoint: &AmqpEndpoint,
    lent: impl FnOnce(&mut Letterbox) -> T,
) -> T {
    let broker = endpoint.identity();
    with_letterboxes(|all| {
        let known = all.iter().position(|one| one.broker == broker);
        let index = known.unwrap_or_else(|| {
            if all.len() >= MOST {
                all.remove(0);
            }
            all.push(Letterbox::new(broker));
            all.len() - 1
        });
        lent(&mut all[index])
    })
}

/// Keeps a reply in the letterbox that awaits it.
pub(super) fn deliver(delivery: Delivery) {
    with_letterboxes(|all| {
        let mut left = Some(delivery);
        for letterbox in all {
            left = left.and_then(|delivery| letterbox.replies.take(delivery).err());
        }
    });
}

/// Returns what has to be done before the next post.
pub(super) fn must(endpoint: &AmqpEndpoint, expires: Duration) -> Must {
    let may_purge = with_letterboxes(|all| all.iter().all(|one| one.replies.is_empty()));
    with_letterbox(endpoint, |letterbox| letterbox.must(expires, may_purge))
}

/// Notes that a queue is gone.
pub(super) fn lost() {
    with_letterboxes(|all| {
        for letterbox in all {
            letterbox.declared = None;
        }
    });
}

/// Forgets the tasks and the replies of this request. The queues stay.
pub(crate) fn request_end() {
    LETTERBOXES.with_borrow_mut(|all| {
        for letterbox in all {
            letterbox.has_old |= !letterbox.replies.is_empty();
            letterbox.replies.clear();
            letterbox.refused = None;
        }
    });
}

impl Letterbox {
    fn new(broker: String) -> Self {
        Letterbox {
            broker,
            process: Process::current(),
            queue: process::sender().reply_to.clone(),
            expires: Duration::ZERO,
            declared: None,
            refused: None,
            has_old: false,
            replies: Replies::default(),
        }
    }

    fn must(&mut self, expires: Duration, may_purge: bool) -> Must {
        if self.declared.is_none() {
            self.expires = expires;
        }
        // A declaration in time keeps the queue from expiring, which posts alone do not.
        let is_there = self
            .declared
            .is_some_and(|declared| declared.elapsed() < self.expires / 3);
        match (is_there, &self.refused) {
            (false, None) => Must::Declare,
            (true, None) if self.has_old && may_purge => Must::Purge,
            (_, Some(_)) | (true, None) => Must::Nothing,
        }
    }

    /// Notes what was done, and the tasks that are posted next.
    pub(super) fn expect(&mut self, ids: &[String], done: Must, refused: Option<String>) {
        if done == Must::Declare {
            self.declared = Some(Instant::now());
        }
        if done == Must::Purge {
            self.has_old = false;
        }
        if let Some(why) = refused {
            self.declared = None;
            self.refused = Some(why);
        }
        for id in ids {
            self.replies.expect(id);
        }
    }

    /// Returns the queue if it may be read.
    pub(super) fn usable(&self) -> Option<String> {
        self.refused.is_none().then(|| self.queue.clone())
    }

    pub(super) fn state(&self, id: &str) -> State {
        match self.replies.get(id) {
            Known::Nothing => State::Elsewhere,
            Known::Awaited => State::Open,
            Known::Arrived(arrived) if !arrived.is_last => State::Open,
            Known::Arrived(_) | Known::Dropped => State::Ended,
        }
    }
}
