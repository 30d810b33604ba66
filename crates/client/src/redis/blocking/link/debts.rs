//! The answers that a link still expects (*owed* answers). It keeps two lists: the pipelined posts
//! without an answer, in order, and the accepted posts that no Redis `WAIT` has covered yet.

use std::collections::VecDeque;

use super::owed::Owed;
use super::{Answer, Link};
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::blocking::reply::Shape;

impl Link {
    /// Lets the kernel gather the posts of a loop into few packets (Nagle's algorithm). A post
    /// waits at most until the answer to an earlier post has arrived.
    pub(in crate::redis::blocking) fn gather(&mut self, on: bool) {
        if self.gathering != on {
            self.gathering = on;
            self.stream.gather(on);
        }
    }

    pub(in crate::redis::blocking) fn owe(&mut self, owed: Owed) {
        self.owed_posts += owed.posts();
        self.owed_bytes += owed.bytes();
        self.owed.push_back(owed);
    }

    pub(in crate::redis::blocking) fn owed(&self) -> &VecDeque<Owed> {
        &self.owed
    }

    pub(in crate::redis::blocking) fn owed_bytes(&self) -> usize {
        self.owed_bytes
    }

    /// Returns the number of pipelined posts without an answer, or without the WAIT that they need.
    pub(in crate::redis::blocking) fn open_posts(&self) -> usize {
        self.owed_posts + self.accepted.len()
    }

    /// Notes a post that was accepted and that a later WAIT must cover.
    pub(in crate::redis::blocking) fn accepted(&mut self, task_id: String) {
        self.accepted.push(task_id);
    }

    /// Takes the accepted posts that no WAIT has covered yet.
    pub(in crate::redis::blocking) fn take_accepted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted)
    }

    /// Takes the tasks of all open posts, when no further answers can come.
    pub(in crate::redis::blocking) fn take_open_posts(&mut self) -> impl Iterator<Item = String> {
        (self.owed_posts, self.owed_bytes) = (0, 0);
        let owed = std::mem::take(&mut self.owed).into_iter();
        let owed = owed.filter_map(|owed| match owed {
            Owed::Post { task_id, .. } => Some(task_id),
            Owed::Binding | Owed::Replicas => None,
        });
        self.take_accepted().into_iter().chain(owed)
    }

    /// Waits for the oldest owed answer and returns it.
    pub(in crate::redis::blocking) fn next_owed(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.owed.is_empty() {
            return Ok(None);
        }
        let answer = self.answer(Shape::Short, wait, "the answers to pipelined posts")?;
        Ok(self.pay(answer))
    }

    /// Returns the oldest owed answer if it has arrived. Reads at most once.
    pub(in crate::redis::blocking) fn next_owed_at_hand(
        &mut self,
    ) -> Result<Option<(Owed, Answer)>, ClientError> {
        if self.owed.is_empty() {
            return Ok(None);
        }
        let mut answer = self.answer_at_hand(Shape::Short)?;
        if answer.is_none() {
            let read = self.stream.read_available(&mut self.replies);
            read.map_err(|broken| self.lost(broken))?;
            answer = self.answer_at_hand(Shape::Short)?;
        }
        Ok(answer.and_then(|answer| self.pay(answer)))
    }

    fn pay(&mut self, answer: Answer) -> Option<(Owed, Answer)> {
        let owed = self.owed.pop_front()?;
        self.owed_posts -= owed.posts();
        self.owed_bytes -= owed.bytes();
        Some((owed, answer))
    }
}
