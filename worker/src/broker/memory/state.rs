//! The state of a server in memory. Every function is one step.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chords::Chords;
use crate::broker::held::{Envelope, Held};
use crate::broker::inbound::Claimed;
use crate::broker::outbound::{Begin, Begun};
use crate::broker::settlement::{
    Document, Fate, Letter, Outgoing, Redelivery, ResultStep, Settlement, Step,
};
use crate::broker::tag::Tag;

/// A message, as a queue has it.
#[derive(Clone, Debug)]
struct Message {
    envelope: Envelope,
    /// The number of its redeliveries that have begun.
    begun: u64,
    /// `true` if a connection that held it has ended, and it has not been counted since.
    is_redelivered: bool,
}

/// A message that a worker holds.
#[derive(Debug)]
struct Taken {
    queue: Arc<str>,
    message: Message,
    worker: u64,
}

/// The number of messages of a queue that wait, and of those that a worker holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Depth {
    /// Messages that wait for a worker.
    pub ready: usize,
    /// Messages that a worker holds.
    pub unacknowledged: usize,
}

/// A dead letter without its message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dead {
    /// The queue that it came from.
    pub queue: String,
    /// The id of its task, or nothing.
    pub id: String,
    /// The name of its task, or nothing.
    pub task: String,
    /// The reason why it is a dead letter.
    pub cause: String,
}

/// Messages by priority, each list in the order in which it is consumed. As on Redis, the smallest
/// number comes first.
type Queue = BTreeMap<u8, VecDeque<Message>>;

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) is_down: bool,
    pub(super) is_frozen: bool,
    /// `true` if the server keeps messages until they are due.
    pub(super) delays: bool,
    pub(super) dead: Vec<Dead>,
    pub(super) results: HashMap<String, Vec<u8>>,
    pub(super) chords: Chords,
    /// How many times all connections have ended. Tags from before the last end are lost.
    pub(super) cuts: u64,
    workers: u64,
    queues: HashMap<Arc<str>, Queue>,
    taken: BTreeMap<Tag, Taken>,
    delayed: Vec<(Instant, Arc<str>, Message)>,
    /// The number of the last message that a worker has taken.
    last: u64,
    /// Decides which queue goes first.
    turn: usize,
}

impl State {
    /// Returns `true` if workers get answers.
    pub(super) fn answers(&self) -> bool {
        !self.is_down && !self.is_frozen
    }

    /// Returns the number of a new worker.
    pub(super) fn join(&mut self) -> u64 {
        self.workers += 1;
        self.workers
    }

    /// Ends the connection of a worker: its messages go back.
    pub(super) fn leave(&mut self, worker: u64) {
        self.put_back_where(|taken| taken.worker == worker);
    }

    /// Ends all connections.
    pub(super) fn cut(&mut self) {
        self.cuts += 1;
        self.put_back_where(|_| true);
    }

    fn put_back_where(&mut self, ended: impl Fn(&Taken) -> bool) {
        let gone = self.taken.extract_if(.., |_, taken| ended(taken));
        let gone: Vec<(Tag, Taken)> = gone.collect();
        // The message that was taken first comes first again.
        for (_, taken) in gone.into_iter().rev() {
            self.redeliver(taken, true);
        }
    }

    /// Puts a message back and marks it as redelivered. A message that goes to the end of its queue
    /// counts as a new one: its next start is not counted.
    fn redeliver(&mut self, taken: Taken, front: bool) {
        let Taken { queue, message, .. } = taken;
        // A malformed message has no place for the mark.
        let marked = message.envelope.marked();
        let envelope = marked.map_or(message.envelope, |marked| Envelope(marked.raw));
        let message = Message {
            envelope,
            begun: message.begun,
            is_redelivered: front,
        };
        self.put(&queue, message, front);
    }

    pub(super) fn push(&mut self, queue: &str, message: Vec<u8>) {
        let message = Message {
            envelope: Envelope(message),
            begun: 0,
            is_redelivered: false,
        };
        self.put(&Arc::from(queue), message, false);
    }

    fn put(&mut self, queue: &Arc<str>, message: Message, front: bool) {
        let priority = message.envelope.priority().unwrap_or(0);
        let lists = self.queues.entry(Arc::clone(queue)).or_default();
        let list = lists.entry(priority).or_default();
        if front {
            list.push_front(message);
        } else {
            list.push_back(message);
        }
    }

    pub(super) fn depth(&mut self, queue: &str) -> Depth {
        self.release_due();
        let lists = self.queues.get(queue).into_iter().flatten();
        Depth {
            ready: lists.map(|(_, list)| list.len()).sum(),
            unacknowledged: self.taken.len(),
        }
    }

    pub(super) fn delayed(&mut self) -> usize {
        self.release_due();
        self.delayed.len()
    }

    /// Returns when the next delayed message is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.delayed.iter().map(|(due, ..)| *due).min()
    }

    /// Moves the delayed messages that are due to their queues. Returns when the next one is due.
    pub(super) fn release_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.delayed.extract_if(.., |(due, ..)| *due <= now);
        for (_, queue, message) in due.collect::<Vec<_>>() {
            self.put(&queue, message, false);
        }
        self.next_due()
    }

    /// Returns `true` if one of these queues has a message.
    pub(super) fn has_any(&self, queues: &[Arc<str>]) -> bool {
        let lists = queues.iter().filter_map(|queue| self.queues.get(queue));
        lists.flatten().any(|(_, list)| !list.is_empty())
    }

    /// Deletes the messages that wait in these queues, and returns their number.
    pub(super) fn purge(&mut self, queues: &[Arc<str>]) -> usize {
        let purged = queues.iter().filter_map(|queue| self.queues.remove(queue));
        purged.flatten().map(|(_, list)| list.len()).sum()
    }

    /// Takes up to `room` messages for a worker. Returns them, and how many became dead letters.
    pub(super) fn take(
        &mut self,
        worker: u64,
        queues: &[Arc<str>],
        room: usize,
    ) -> (Vec<Claimed<Envelope>>, usize) {
        let (mut messages, mut dead) = (Vec::new(), 0);
        self.turn = self.turn.wrapping_add(1);
        while messages.len() < room {
            let turns = (0..queues.len()).map(|n| &queues[(self.turn + n) % queues.len()]);
            let mut turns = turns.cloned();
            let Some((queue, message)) = turns.find_map(|queue| {
                let lists = self.queues.get_mut(&queue)?;
                let message = lists.values_mut().find_map(VecDeque::pop_front)?;
                Some((queue, message))
            }) else {
                break;
            };
            if !message.envelope.0.starts_with(b"{") {
                self.bury(&Letter::unread(&queue, "not-an-object"));
                dead += 1;
                continue;
            }
            self.last += 1;
            let tag = Tag {
                call: self.cuts,
                index: self.last,
            };
            messages.push(Claimed {
                tag,
                queue: Arc::clone(&queue),
                message: message.envelope.clone(),
            });
            let taken = Taken {
                queue,
                message,
                worker,
            };
            self.taken.insert(tag, taken);
        }
        (messages, dead)
    }

    /// Acknowledges messages. Returns those that were lost.
    pub(super) fn acknowledge(&mut self, tags: &[Tag]) -> Vec<Tag> {
        let lost = tags.iter().filter(|tag| self.taken.remove(tag).is_none());
        lost.copied().collect()
    }

    /// Returns the tags that are not held.
    pub(super) fn lost(&self, tags: &[Tag]) -> Vec<Tag> {
        let lost = tags.iter().filter(|tag| !self.taken.contains_key(tag));
        lost.copied().collect()
    }

    /// Counts that a message begins. The message carries its count, so that the count outlasts the
    /// worker. The message is put back with the new count.
    pub(super) fn begin(&mut self, begun: &Begun<'_>) -> Begin {
        let Begun { tag, limit, .. } = *begun;
        let Some(taken) = self.taken.get_mut(&tag) else {
            return Begin::Run;
        };
        // A message that has a count was put back with it.
        let is_counted = taken.message.begun > 0 || !begun.from_first;
        if !taken.message.is_redelivered && is_counted {
            return Begin::Run;
        }
        let count = taken.message.begun + 1;
        if count > limit {
            return Begin::Poison(count);
        }
        if let Some(Taken { queue, message, .. }) = self.taken.remove(&tag) {
            let counted = Message {
                begun: count,
                is_redelivered: false,
                ..message
            };
            self.put(&queue, counted, true);
        }
        Begin::Again
    }

    /// Keeps messages until they are due, if the server does that. Returns the tags of messages
    /// that their worker holds no longer.
    pub(super) fn park(&mut self, messages: &[(Tag, i64)]) -> Vec<Tag> {
        let mut gone = Vec::new();
        for (tag, wait) in messages {
            if !self.delays {
                gone.extend(self.lost(&[*tag]));
                continue;
            }
            gone.push(*tag);
            if let Some(Taken { queue, message, .. }) = self.taken.remove(tag) {
                let wait = Duration::from_micros(u64::try_from(*wait).unwrap_or(0));
                // For a time that no clock reaches, an hour stands for "never".
                let due = Instant::now().checked_add(wait);
                let due = due.unwrap_or_else(|| Instant::now() + Duration::from_hours(1));
                self.delayed.push((due, queue, message));
            }
        }
        gone
    }

    /// Puts held messages back, marked as redelivered, and returns their number. Does nothing while
    /// the server answers no worker.
    pub(super) fn give_back(&mut self, tags: &[Tag]) -> usize {
        if !self.answers() {
            return 0;
        }
        let held = tags.iter().rev().filter_map(|tag| self.taken.remove(tag));
        let held: Vec<Taken> = held.collect();
        let count = held.len();
        for taken in held {
            self.redeliver(taken, true);
        }
        count
    }

    /// Returns held messages.
    pub(super) fn held(&self, tags: &[Tag]) -> Vec<Option<(Arc<str>, Envelope)>> {
        let held = |tag: &Tag| {
            let taken = self.taken.get(tag)?;
            Some((Arc::clone(&taken.queue), taken.message.envelope.clone()))
        };
        tags.iter().map(held).collect()
    }

    /// Settles a delivery. Returns `false` if its worker does not hold it.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> bool {
        let Some(taken) = self.taken.remove(&settlement.tag) else {
            return false;
        };
        match &settlement.fate {
            Fate::Ack => {}
            Fate::Return { .. } => self.put(&taken.queue, taken.message, true),
            Fate::Redeliver(redelivery) => self.put_back(taken, redelivery),
            Fate::Dead(letter) => self.bury(letter),
        }
        self.follow(&settlement.steps);
        true
    }

    fn put_back(&mut self, mut taken: Taken, redelivery: &Redelivery) {
        let Redelivery { front, clear, .. } = redelivery;
        if clear.is_some() {
            taken.message.begun = 0;
        }
        self.redeliver(taken, *front);
    }

    fn follow(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Publish(Outgoing { queue, message, .. }) => {
                    self.push(queue, message.clone());
                }
                Step::Note(letter, _) => self.bury(letter),
                Step::Result(ResultStep::Store(document)) => self.store(document),
                Step::Result(ResultStep::Chord(chord)) => {
                    let saved = chord.saved.clone();
                    self.chords.begin(&chord.group, chord.size, saved);
                }
                Step::Result(ResultStep::Join(join)) => {
                    if self.chords.end(join) {
                        self.follow(&join.steps);
                    }
                }
                // The members of chords were counted before, and there are no locks.
                Step::Result(ResultStep::Count(_)) | Step::Unlock(..) => {}
            }
        }
    }

    /// Stores a document unless a SUCCESS is stored.
    pub(super) fn store(&mut self, document: &Document) {
        let Document { id, json, .. } = document;
        let stored = self.results.get(id).map(Vec::as_slice).unwrap_or_default();
        let stored = serde_json::from_slice::<serde_json::Value>(stored).unwrap_or_default();
        if stored["status"] != "SUCCESS" {
            self.results.insert(id.clone(), json.clone());
        }
    }

    fn bury(&mut self, letter: &Letter) {
        self.dead.push(Dead {
            queue: letter.queue.to_string(),
            id: letter.id.clone(),
            task: letter.task.clone(),
            cause: letter.cause.clone(),
        });
    }
}
