//! Defines what a broker does for the worker: it claims messages in batches, renews what is held, and
//! settles what is done.
//!
//! The consumer uses the trait [`Source`], so that another broker can implement it. A broker
//! moves messages and does not know about tasks. It does not decode a message, and it receives a
//! verdict as finished steps. Every instance has a connection of its own; the consumer takes one
//! for each of its roles.

mod options;
pub(crate) mod redis;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use celery_protocol::message::Task;
use celery_protocol::result::State;
use serde_json::value::RawValue;

pub use self::options::{QueueOrder, Results};

/// The name of one claim of one message. The worker never reuses it, and it is never the message's
/// own delivery tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// The number of the claim.
    pub(crate) call: u64,
    /// The message's position in the claim, from 1.
    pub(crate) index: u16,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}", self.call, self.index)
    }
}

/// A message as the broker stores it, with the tag of its claim.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) tag: Tag,
    pub(crate) queue: Arc<str>,
    pub(crate) raw: Vec<u8>,
}

/// The result of one claim.
#[derive(Debug, Default)]
pub(crate) struct Claim {
    pub(crate) messages: Vec<Claimed>,
    /// Acknowledged deliveries that this worker no longer held. After a repeated claim, the first
    /// try may have acknowledged them.
    pub(crate) lost: Vec<Tag>,
    /// The number of messages that were not JSON objects and became dead letters.
    pub(crate) dead: usize,
    /// `true` if there may be more messages: the claim found everything that it asked for.
    pub(crate) filled: bool,
}

/// A step to take for a delivery before it is acknowledged. For the broker, all steps and the
/// acknowledgement are one atomic step. It happens only while this worker holds the delivery.
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
    /// Move the held message itself to the dead letters.
    Dead(Letter),
    /// Add another text to the dead letters.
    Note(Letter, Vec<u8>),
    /// Begin a chord. `size` is the number of members in its header, and its results have the shape
    /// of the saved group.
    Chord {
        group: String,
        size: usize,
        saved: Option<Vec<u8>>,
    },
    /// Count a member of a chord's header. This happens before the other steps, from which it is
    /// removed first.
    Count(Box<Part>),
    /// Forget a chord and take these steps, unless this worker has lost the claim on the chord's
    /// body. If the chord failed, only its size is forgotten: as in Celery, the results of its
    /// members stay until they expire.
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
    /// The member's place in the header.
    pub(crate) index: Option<i64>,
    pub(crate) id: String,
    pub(crate) state: State,
    pub(crate) result: Box<RawValue>,
    /// The signature of the task that is called with all results.
    pub(crate) body: Box<RawValue>,
    /// The task that has ended; it becomes the parent of the body.
    pub(crate) task: Arc<Task>,
    /// The tasks that it has published, in the form that results use.
    pub(crate) children: Vec<Box<RawValue>>,
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        (&self.group, self.index, &self.id) == (&other.group, other.index, &other.id)
    }
}

impl Part {
    /// Returns the word with which this member claims the body if it is the last one.
    pub(crate) fn word(&self) -> String {
        let index = self
            .index
            .map_or_else(String::new, |index| index.to_string());
        format!("rs:{}:{index}", self.id)
    }
}

/// A chord whose last member was counted, so that this worker publishes its body.
#[derive(Debug)]
pub(crate) struct Complete {
    /// The saved result of the group, if its members are not plain tasks.
    pub(crate) saved: Option<Vec<u8>>,
    /// The results of the members, each as `[1, id, state, result]`, in the order of the header.
    pub(crate) members: Vec<Vec<u8>>,
}

/// The fields of a dead letter besides the message.
#[derive(Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) queue: Arc<str>,
    pub(crate) id: String,
    pub(crate) task: String,
    pub(crate) cause: String,
}

impl Letter {
    /// Describes a message that could not be read.
    pub(crate) fn unread(queue: &Arc<str>, cause: &str) -> Self {
        Letter {
            queue: Arc::clone(queue),
            id: String::new(),
            task: String::new(),
            cause: cause.to_owned(),
        }
    }
}

/// The steps that end one delivery.
#[derive(Debug)]
pub(crate) struct Settlement {
    pub(crate) tag: Tag,
    /// Taken in this order. If empty, the delivery is only acknowledged.
    pub(crate) steps: Vec<Step>,
}

impl Settlement {
    /// Removes the steps that count members of chords, and returns their members.
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

    /// Returns about how many bytes a call to the broker takes for this settlement.
    pub(crate) fn size(&self) -> usize {
        self.steps.iter().map(Step::size).sum()
    }
}

impl Step {
    /// Returns how many bytes of this step travel to the broker.
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

/// The outcome of a batch of settlements. Positions count from 0.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Settlements that did nothing, because this worker no longer held the delivery.
    pub(crate) lost: Vec<usize>,
    /// Settlements that the broker refused, and why. Their deliveries are still held.
    pub(crate) failed: Vec<(usize, String)>,
    /// `true` if the batch was sent again, so that "lost" may mean "done by the first try".
    pub(crate) repeated: bool,
}

/// A broker, reached over one connection.
///
/// Every call lasts until the broker has answered. A lost connection is opened again, and the call
/// is repeated where that is safe. All futures may be dropped at any time. A claim whose answer is
/// dropped with its future is recovered by the next claim.
pub(crate) trait Source: Send + 'static {
    /// Waits until the connection is open. Roles that may be idle for long call it first, so that a
    /// worker reports ready only when every connection is open.
    fn ready(&mut self) -> impl Future<Output = ()> + Send;

    /// Acknowledges `acks` and claims up to `want` messages, in one step.
    fn claim(&mut self, want: usize, acks: &[Tag]) -> impl Future<Output = Claim> + Send;

    /// Renews the leases of held deliveries. Returns the tags that the broker no longer knows.
    fn renew(&mut self, tags: &[Tag]) -> impl Future<Output = Vec<Tag>> + Send;

    /// Settles a batch, each delivery as one step.
    fn settle(&mut self, batch: &[Settlement]) -> impl Future<Output = Settled> + Send;
}
