//! The end of a delivery. It says what happens to the held message, which messages are published,
//! and how the results change.
//!
//! A broker that keeps results itself carries a settlement out as one atomic step. Where the
//! results are elsewhere, the consumer takes the [`ResultStep`]s out and gives them to a
//! [`Backend`](super::Backend) first.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::message::Task;
use celery_protocol::result::{ResultDoc, State};
use serde_json::value::RawValue;

use super::{Lock, Tag};
use crate::trace::Produced;

/// The end of one delivery.
#[derive(Debug, PartialEq)]
pub(crate) struct Settlement {
    pub(crate) tag: Tag,
    /// What happens to the held message. In each case the message is no longer held afterwards.
    pub(crate) fate: Fate,
    /// What else is done, in this order, and only while this worker holds the message.
    pub(crate) steps: Vec<Step>,
}

/// What happens to the held message itself.
#[derive(Debug, PartialEq)]
pub(crate) enum Fate {
    /// It is removed: its task has ended.
    Ack,
    /// It is put back as it came, where it is consumed next: its task has not begun.
    Return { queue: Arc<str>, priority: u8 },
    /// It is put back and marked as redelivered.
    Redeliver(Box<Redelivery>),
    /// It is moved to the dead letters.
    Dead(Letter),
}

/// A held message that is put back and marked as redelivered.
#[derive(Debug, PartialEq)]
pub(crate) struct Redelivery {
    pub(crate) queue: Arc<str>,
    pub(crate) id: String,
    pub(crate) task: String,
    /// `true`: it is consumed next; `false`: it goes to the end of its queue.
    pub(crate) front: bool,
    /// The name of the count of its redeliveries, if that count is cleared.
    pub(crate) clear: Option<String>,
    /// The size of the message in bytes, as it was claimed.
    pub(crate) size: usize,
}

/// A step that is taken with the end of a delivery.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    /// Publish a message.
    Publish(Outgoing),
    /// Add a text that is not the held message to the dead letters.
    Note(Letter, Vec<u8>),
    /// Change the results.
    Result(ResultStep),
    /// Free the lock of a unique task, unless it is live for a time in any case. It is then still
    /// live for at least this time.
    Unlock(Lock, Duration),
}

/// A message to be published, written in the form of the broker.
#[derive(Debug, PartialEq)]
pub(crate) struct Outgoing {
    pub(crate) queue: Arc<str>,
    pub(crate) priority: u8,
    pub(crate) message: Vec<u8>,
    /// Its span, if it has one.
    pub(crate) span: Option<Box<Produced>>,
}

/// A step that changes the results.
#[derive(Debug, PartialEq)]
pub(crate) enum ResultStep {
    /// Store and publish a document.
    Store(Document),
    /// Begin a chord.
    Chord(Chord),
    /// Count a member of a chord's header. The consumer takes this step out of a settlement, and
    /// does it before the others.
    Count(Box<Part>),
    /// End a chord.
    Join(Join),
}

/// A result or a state. It is not stored if a SUCCESS is stored already.
#[derive(Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) json: Vec<u8>,
    /// `true` if the state is FAILURE. Failures can live for a time of their own.
    pub(crate) failed: bool,
    /// Where it goes if results are replies. `None`: nowhere.
    pub(crate) reply: Option<Box<Reply>>,
}

impl Document {
    /// Encodes a document. `reply` is its address if results are replies.
    pub(crate) fn new(doc: &ResultDoc, reply: Option<Box<Reply>>) -> Self {
        Document {
            id: doc.task_id.clone(),
            json: doc.encode(),
            failed: doc.status == State::Failure,
            reply,
        }
    }
}

/// The address of the replies to a task, from its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The queue in which the sender waits.
    pub(crate) queue: String,
    /// The id by which the sender knows the task.
    pub(crate) correlation_id: String,
}

/// A chord that begins.
#[derive(Debug, PartialEq)]
pub(crate) struct Chord {
    pub(crate) group: String,
    /// The number of members in its header.
    pub(crate) size: usize,
    /// The saved result of the group, if its members are not plain tasks.
    pub(crate) saved: Option<Vec<u8>>,
}

/// A chord that ends: it is forgotten, and then these steps are taken. Nothing happens if this
/// worker has lost the claim on the chord's body.
#[derive(Debug, PartialEq)]
pub(crate) struct Join {
    pub(crate) group: String,
    /// The word of the claim; see [`Part::word`].
    pub(crate) word: String,
    /// `true` if only the size of the chord is forgotten: as in Celery, the results of the members
    /// of a failed chord stay until they expire.
    pub(crate) failed: bool,
    pub(crate) steps: Vec<Step>,
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
    /// The number of members that this member has added to the header.
    pub(crate) added: usize,
    /// `false` if the member has not ended: it only adds others.
    pub(crate) has_ended: bool,
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

    /// Returns the name of the run that added members. The members of a run are added once, however
    /// often the run is repeated after a crash. It cannot be the entry of a counted member, which
    /// ends with its place or `+inf`.
    pub(crate) fn run(&self) -> String {
        let task = &self.task;
        let (retries, nesting) = (task.retries, task.replaced_task_nesting);
        format!("rs+{}:{retries}:{nesting}:", task.id)
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
#[derive(Clone, Debug, PartialEq)]
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

/// The outcome of a batch of settlements. Positions count from 0.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// Settlements that did nothing, because this worker no longer held the delivery.
    pub(crate) lost: Vec<usize>,
    /// Settlements that the broker refused, and why. Their deliveries are still held.
    pub(crate) failed: Vec<(usize, String)>,
    /// Settlements that the broker did not carry out for a reason that the log names already. Their
    /// deliveries come again.
    pub(crate) put_off: Vec<usize>,
    /// `true` if the batch was sent again, so that "lost" may mean "done by the first try".
    pub(crate) repeated: bool,
}

impl Settled {
    /// Returns `true` if this settlement was carried out.
    pub(crate) fn has(&self, at: usize) -> bool {
        let has_failed = self.failed.iter().any(|(failed, _)| *failed == at);
        !has_failed && !self.put_off.contains(&at) && !self.lost.contains(&at)
    }
}

impl Settlement {
    /// Returns `true` if the message is only acknowledged.
    pub(crate) fn is_ack(&self) -> bool {
        self.fate == Fate::Ack && self.steps.is_empty()
    }

    /// Removes the steps that count members of chords, and returns their members.
    pub(crate) fn take_parts(&mut self) -> Vec<Part> {
        let counted = |step: &mut Step| matches!(step, Step::Result(ResultStep::Count(_)));
        let parts = self.steps.extract_if(.., counted);
        parts
            .filter_map(|step| match step {
                Step::Result(ResultStep::Count(part)) => Some(*part),
                _ => None,
            })
            .collect()
    }

    /// Returns about how many bytes a call to the broker takes for this settlement.
    pub(crate) fn size(&self) -> usize {
        let steps: usize = self.steps.iter().map(Step::size).sum();
        match &self.fate {
            Fate::Redeliver(redelivery) => redelivery.size + steps,
            Fate::Ack | Fate::Return { .. } | Fate::Dead(_) => steps,
        }
    }

    /// Returns the messages that this settlement publishes, with those that end a chord.
    pub(crate) fn published(&self) -> Vec<&Outgoing> {
        let mut found = Vec::new();
        published(&self.steps, &mut found);
        found
    }

    /// Returns the dead letters that this settlement writes, but not those that depend on a chord.
    pub(crate) fn letters(&self) -> impl Iterator<Item = &Letter> {
        let own = match &self.fate {
            Fate::Dead(letter) => Some(letter),
            _ => None,
        };
        let notes = self.steps.iter().filter_map(|step| match step {
            Step::Note(letter, _) => Some(letter),
            _ => None,
        });
        own.into_iter().chain(notes)
    }
}

fn published<'s>(steps: &'s [Step], found: &mut Vec<&'s Outgoing>) {
    for step in steps {
        match step {
            Step::Publish(outgoing) => found.push(outgoing),
            Step::Result(ResultStep::Join(join)) => published(&join.steps, found),
            Step::Note(..) | Step::Unlock(..) | Step::Result(_) => {}
        }
    }
}

impl Step {
    /// Makes the step that stores a document, and sends it to an address if results are replies.
    pub(crate) fn store(doc: &ResultDoc, reply: Option<Box<Reply>>) -> Step {
        Step::Result(ResultStep::Store(Document::new(doc, reply)))
    }

    /// Returns how many bytes of this step travel to the broker.
    pub(crate) fn size(&self) -> usize {
        match self {
            Step::Publish(outgoing) => outgoing.message.len(),
            Step::Note(_, bytes) => bytes.len(),
            Step::Unlock(..) => 0,
            Step::Result(ResultStep::Store(document)) => document.json.len(),
            Step::Result(ResultStep::Count(part)) => part.result.get().len(),
            Step::Result(ResultStep::Join(join)) => join.steps.iter().map(Step::size).sum(),
            Step::Result(ResultStep::Chord(chord)) => chord.saved.as_ref().map_or(0, Vec::len),
        }
    }
}
