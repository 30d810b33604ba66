//! A connection that answers commands, and what it has written before.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use redis::Cmd;

use super::debts::{Debts, Owed};
use super::wire::{Answer, Wire};
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::blocking::reply::Shape;

/// Limit for the queues whose bindings a link remembers having written. Writing a binding again
/// does no harm.
const MAX_DECLARED: usize = 1024;

/// A connection that answers commands. The answers that it owes to pipelined posts come before
/// those to all later commands. In RESP3, it may listen to channels meanwhile.
pub(crate) struct Link {
    pub(crate) wire: Wire,
    /// The answers owed to pipelined posts.
    pub(crate) debts: Debts,
    /// Queues whose bindings were written on this link.
    declared: HashSet<Arc<str>>,
    /// The queue of the last post, whose binding was written. Most posts are to one queue, and
    /// share its name.
    last_declared: Option<Arc<str>>,
    last_used: Instant,
}

impl Link {
    /// Makes a link of a connection that has just logged in.
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            debts: Debts::default(),
            declared: HashSet::new(),
            last_declared: None,
            last_used: Instant::now(),
        }
    }

    /// Sends a command and returns its answer. The link must not owe any answer.
    pub(crate) fn call(
        &mut self,
        cmd: &Cmd,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Answer, ClientError> {
        self.wire.pack(cmd);
        self.wire.flush(wait)?;
        self.wire.answer(shape, wait, what)
    }

    /// Waits for the oldest owed answer and returns it, or `None` if none is owed.
    pub(crate) fn next_owed(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.debts.is_empty() {
            return Ok(None);
        }
        let what = "the answers to pipelined posts";
        let answer = self.wire.answer(Shape::Short, wait, what)?;
        Ok(self.debts.pay().map(|owed| (owed, answer)))
    }

    /// Returns the oldest owed answer if it has arrived. Reads at most once.
    pub(crate) fn next_owed_at_hand(&mut self) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.debts.is_empty() {
            return Ok(None);
        }
        let mut answer = self.wire.answer_at_hand(Shape::Short)?;
        if answer.is_none() {
            self.wire.read_at_hand()?;
            answer = self.wire.answer_at_hand(Shape::Short)?;
        }
        let Some(answer) = answer else {
            return Ok(None);
        };
        Ok(self.debts.pay().map(|owed| (owed, answer)))
    }

    /// Returns `true` if the connection is still open and holds no unexpected data. It does not
    /// wait.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.wire.is_alive(!self.debts.is_empty())
    }

    /// Returns the time of the last use.
    pub(crate) fn last_used(&self) -> Instant {
        self.last_used
    }

    /// Sets the time of the last use to now.
    pub(crate) fn touch(&mut self) {
        self.last_used = Instant::now();
    }

    /// Remembers that the binding of a queue is being written. Returns `true` if it was not
    /// remembered before.
    pub(crate) fn declare(&mut self, queue: &Arc<str>) -> bool {
        let last = self.last_declared.as_ref();
        if last.is_some_and(|last| Arc::ptr_eq(last, queue)) {
            return false;
        }
        self.last_declared = Some(Arc::clone(queue));
        if self.declared.contains(queue) {
            return false;
        }
        if self.declared.len() >= MAX_DECLARED {
            self.declared.clear();
        }
        self.declared.insert(Arc::clone(queue))
    }

    /// Forgets all bindings, so that the next posts write them again: one was refused, or its
    /// outcome is unknown.
    pub(crate) fn undeclare_all(&mut self) {
        self.declared.clear();
        self.last_declared = None;
    }
}
