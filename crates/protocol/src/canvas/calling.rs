//! What a call of signatures depends on, and what comes out of it.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::CanvasError;
use super::load::Load;
use super::options::Value;
use super::outcome::{Outcome, Outcomes};
use super::signature::Signature;
use crate::message::{EncodeError, Task};
use crate::time::Timestamp;

/// The program that calls signatures: its settings, and the task that it runs if it is a worker.
///
/// `M` is the message as its broker carries it. On Redis that is text.
pub trait Caller<M = Vec<u8>> {
    /// Returns a new UUID.
    fn new_id(&self) -> String;

    /// Returns the address for replies, which signatures keep.
    fn reply_to(&self) -> &str;

    /// Returns the address for the replies to this task, if each task has its own.
    fn reply_to_task(&self, _task_id: &str) -> Cow<'_, str> {
        Cow::Borrowed(self.reply_to())
    }

    /// Returns `true` if results are stored, without which there are no chords.
    fn has_results(&self) -> bool;

    /// Returns the task that calls: the parent of the called tasks, unless their options name
    /// another. A client has none.
    fn parent(&self) -> Option<&Task> {
        None
    }

    /// Returns the queue of a task whose options name none.
    fn queue_of(&self, task: &str) -> Arc<str>;

    /// Writes a task as a message for a queue.
    ///
    /// # Errors
    /// [`EncodeError`] if the task cannot be written.
    fn encode(&self, task: &Task, queue: &str) -> Result<M, EncodeError>;

    /// Returns `true` if messages have protocol 1 unless an option says otherwise. That has no place
    /// for a chain: each task is a callback of the one before it.
    fn links_chains(&self) -> bool {
        false
    }

    /// Completes the options of a single task before its message is made, e.g. by those of its
    /// route.
    ///
    /// # Errors
    /// [`CanvasError`] if an option cannot be used.
    fn complete(&self, _task: &mut Signature) -> Result<(), CanvasError> {
        Ok(())
    }

    /// Completes the headers of a message that the caller sends.
    fn carry(&self, _message: &mut Task) {}

    /// Reports a header that is left out because its name belongs to the protocol.
    fn left_out(&self, _header: &str) {}
}

/// One thing that a call does, in the order in which it must be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Call<M = Vec<u8>> {
    /// Publish a message.
    Publish(Outgoing<M>),
    /// Begin a chord. The messages of its members follow.
    Begin(NewChord),
}

/// A message to be published, written in the form of the broker.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outgoing<M = Vec<u8>> {
    /// The id of the task.
    pub id: String,
    /// The name of the task.
    pub task: String,
    /// The queue.
    pub queue: Arc<str>,
    /// The exchange that the options name together with a routing key, which is then in `queue`.
    /// Brokers that have exchanges publish to it.
    pub exchange: Option<String>,
    /// The priority from 0 to 9.
    pub priority: u8,
    /// The message.
    pub message: M,
    /// Its header `traceparent`, if that is a text.
    pub traceparent: Option<String>,
}

/// A chord that begins.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewChord {
    /// The id of the header's group.
    pub group: String,
    /// The number of results that the body waits for.
    pub size: usize,
    /// The saved result of the group, if its members are not plain tasks.
    pub saved: Option<Vec<u8>>,
}

/// The calls of signatures by one caller.
pub struct Calling<'a, M = Vec<u8>> {
    /// The caller.
    pub(super) caller: &'a dyn Caller<M>,
    pub(super) now: Timestamp,
    /// The limits.
    pub load: Load,
    /// The results that the called tasks will have.
    pub outcomes: Outcomes,
    /// What is to be done.
    pub calls: Vec<Call<M>>,
    /// The results that belong to the task that calls.
    pub children: Vec<Outcome>,
}

impl<'a, M> Calling<'a, M> {
    /// Returns calls that have not begun.
    pub fn new(caller: &'a dyn Caller<M>, now: Timestamp, load: Load) -> Self {
        Calling {
            caller,
            now,
            load,
            outcomes: Outcomes::default(),
            calls: Vec::new(),
            children: Vec::new(),
        }
    }

    /// Does either all of a call or nothing: a header that lacks a member would never be complete.
    ///
    /// # Errors
    /// The error of the call; what it has done before is undone.
    pub fn whole<T>(
        &mut self,
        call: impl FnOnce(&mut Self) -> Result<T, CanvasError>,
    ) -> Result<T, CanvasError> {
        let (calls, children) = (self.calls.len(), self.children.len());
        let bytes = self.load.bytes();
        call(self).inspect_err(|_| {
            self.calls.truncate(calls);
            self.children.truncate(children);
            self.load.put_back(bytes);
        })
    }
}

/// The place of a signature in its workflow, given when it gets its id.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'p> {
    /// The id of the task, unless it has one. A group takes none.
    pub id: Option<&'p str>,
    /// The id of the first task of the workflow.
    pub root: Option<&'p str>,
    /// The id of the group that the task belongs to.
    pub group: Option<&'p str>,
    /// The position in this group.
    pub index: Option<usize>,
    /// The body of the chord, if the group is its header.
    pub chord: Option<&'p Value>,
}

/// The arguments that the first step of a chain gets before its own.
#[derive(Clone, Copy, Default)]
pub(super) struct Given<'g> {
    pub(super) args: &'g [Value],
    pub(super) kwargs: Option<&'g Value>,
}
