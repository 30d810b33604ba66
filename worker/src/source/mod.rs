//! Where messages come from, in batches: claim some, renew what is held, settle what is done.
//!
//! The consumer is written against [`Source`], so that another broker can stand beneath it. A source moves messages and
//! knows nothing of tasks: it does not decode a message, and what a verdict means has been worked out before it is
//! told. Every instance has a connection of its own; the consumer takes one for each of its roles.

mod options;
pub(crate) mod redis;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use celery_protocol::message::Task;
use celery_protocol::result::State;
use serde_json::value::RawValue;

pub use self::options::{QueueOrder, Results};

/// Names one claim of one message. Never reused by this worker, and never the message's own delivery tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The number of the claim.
    pub(crate) call: u64,
    /// The position in it, from 1.
    pub(crate) index: u16,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}", self.call, self.index)
    }
}

/// A message as it was claimed.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) raw: Vec<u8>,
}

/// What one claim brought.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) messages: Vec<Claimed>,
    /// Acknowledged deliveries that were no longer ours. After a claim that had to be repeated they are only unknown.
    pub(crate) lost: Vec<Tag>,
    /// Messages that were no objects and are dead letters now.
    pub(crate) dead: usize,
    /// Whether there may be more: everything asked for was found.
    pub(crate) filled: bool,
}

/// One thing to do for a delivery before it is acknowledged. All of them and the acknowledgement are one step for the
/// broker, done only while the delivery is still ours.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Store and publish a result, unless a SUCCESS is stored already.
    Result { id: String, document: Vec<u8> },
    /// Put a message at the end of a queue.
    Push {
        queue: Arc<str>,
        priority: u8,
        message: Vec<u8>,
    },
    /// Put a message where it is consumed next.
    Front {
        queue: Arc<str>,
        priority: u8,
        message: Vec<u8>,
    },
    /// Put the held message itself, unchanged, where it is consumed next.
    Return { queue: Arc<str>, priority: u8 },
    /// Put the held message itself to the dead letters.
    Dead(Letter),
    /// Put something else to the dead letters.
    Note(Letter, Vec<u8>),
    /// Begin a chord: `size` is the number of members of its header, and its results have the shape of the saved group.
    Chord {
        group: String,
        size: usize,
        saved: Option<Vec<u8>>,
    },
    /// Count a member of a chord's header. Done before the other steps, and taken out of them.
    Count(Box<Part>),
    /// Forget a chord, and take these steps – unless the claim on its body is no longer ours. Of a chord
    /// that failed only the size is forgotten: as in Celery, the results of its members stay until they expire.
    Join {
        group: String,
        word: String,
        failed: bool,
        steps: Vec<Step>,
    },
}

/// A member of a chord's header that has ended.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) group: String,
    /// Its place in the header.
    pub(crate) index: Option<i64>,
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) result: Box<RawValue>,
    /// The signature to be called with all results.
    pub(crate) body: Box<RawValue>,
    /// The task whose end this is, the parent of the body.
    pub(crate) task: Arc<Task>,
    /// What that task has published, as results name it.
    pub(crate) children: Vec<Box<RawValue>>,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        (&self.group, self.index, &self.id) == (&other.group, other.index, &other.id)
    }
}

impl Part {
    /// What the claim on the body is called if this member was the last.
    pub(crate) fn word(&self) -> String {
        let index = self
            .index
            .map_or_else(String::new, |index| index.to_string());
        format!("rs:{}:{index}", self.id)
    }
}

/// A chord whose last member was counted, and whose body is to be published here.
#[derive(Debug)]
pub(crate) struct Complete {
    /// The saved result of the group, if its members are no plain tasks.
    pub(crate) saved: Option<Vec<u8>>,
    /// Each as `[1, id, state, result]`, in the order of the header.
    pub(crate) members: Vec<Vec<u8>>,
}

/// What a dead letter says beside the message.
#[derive(Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) queue: Arc<str>,
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) cause: String,
}

impl Letter {
    /// About a message of which nothing is known.
    pub(crate) fn unread(queue: &Arc<str>, cause: &str) -> Self {
        Letter {
            queue: Arc::clone(queue),
            id: String::new(),
            task: String::new(),
            cause: cause.to_owned(),
        }
    }
}

/// The end of one delivery.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) tag: Tag,
    /// In this order. Empty: only acknowledged.
    pub(crate) steps: Vec<Step>,
}

impl Settlement {
    /// Takes out the members of chords that are to be counted.
    pub(crate) fn take_parts(&mut self) -> Vec<Part> {
        let counted = |step: &mut Step| matches!(step, Step::Count(_));
        let parts = self.steps.extract_if(.., counted);
        parts
            .filter_map(|step| match step {
                Step::Count(part) => Some(*part),
                _ => None,
            })
            .collect()
    }

    /// About how many bytes it takes to tell the broker.
    pub(crate) fn size(&self) -> usize {
        self.steps.iter().map(Step::size).sum()
    }
}

impl Step {
    /// The bytes that are carried to the broker.
    pub(crate) fn size(&self) -> usize {
        match self {
            Step::Result {
                document: bytes, ..
            }
            | Step::Push { message: bytes, .. }
            | Step::Front { message: bytes, .. }
            | Step::Note(_, bytes) => bytes.len(),
            Step::Count(part) => part.result.get().len(),
            Step::Join { steps, .. } => steps.iter().map(Step::size).sum(),
            Step::Chord { saved, .. } => saved.as_ref().map_or(0, Vec::len),
            Step::Return { .. } | Step::Dead(_) => 0,
        }
    }
}

/// How a batch of settlements went. Positions count from 0.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// No longer ours: nothing was done.
    pub(crate) lost: Vec<usize>,
    /// Refused, and why: still held.
    pub(crate) failed: Vec<(usize, String)>,
    /// Whether the batch had to be sent again, so that "lost" may mean "done by the first try".
    pub(crate) repeated: bool,
}

/// A broker, over one connection.
///
/// Every call lasts until the broker has answered: a lost connection is opened again and the call repeated where that is
/// safe. All futures may be dropped at any time; a claim whose answer is dropped with it is recovered by the next claim.
pub(crate) trait Source: Send + 'static {
    /// Waits until the connection stands. Roles that may have nothing to do for long begin with it, so that a worker that
    /// says it is ready is.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Acknowledges `acks` and claims up to `want` messages, in one step.
    fn claim(&mut self, want: usize, acks: &[Tag]) -> impl Future<Output = Claim> + Send;

    /// Renews the leases of what is held; gives back the tags that are gone.
    fn renew(&mut self, tags: &[Tag]) -> impl Future<Output = Vec<Tag>> + Send;

    /// Settles a batch, each delivery as one step.
    fn settle(&mut self, batch: &[Settlement]) -> impl Future<Output = Settled> + Send;
}
