//! The answers that a link still expects: Redis *owes* them, because their callers did not wait.

use std::collections::VecDeque;

use crate::redis::blocking::outgoing::{Outgoing, Post};

/// The answer to a command that was sent without waiting.
#[derive(Debug)]
pub(crate) enum Owed {
    /// The answer to the writing of a binding.
    Binding,
    /// The answer to this post, which is repeated if it is refused for a reason that passes.
    Post(Post),
    /// The answer to the event of a post.
    Event,
    /// The answer to `WAIT`: the number of replicas that have all posts sent before the `WAIT`.
    Replicas,
}

impl Owed {
    fn posts(&self) -> usize {
        usize::from(matches!(self, Self::Post(_)))
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Binding | Self::Event | Self::Replicas => 0,
            Self::Post(post) => post.size(),
        }
    }
}

/// The owed answers of a link, and the posts that were accepted but not confirmed by replicas.
#[derive(Debug, Default)]
pub(crate) struct Debts {
    /// The owed answers, the oldest first.
    owed: VecDeque<Owed>,
    /// The number of owed answers that belong to posts.
    posts: usize,
    /// Bytes of the messages of the posts whose answers are owed.
    bytes: usize,
    /// Task ids of posts that Redis accepted and that no `WAIT` has covered yet.
    accepted: Vec<String>,
}

impl Debts {
    /// Adds an answer that comes after all others.
    pub(crate) fn owe(&mut self, owed: Owed) {
        self.posts += owed.posts();
        self.bytes += owed.bytes();
        self.owed.push_back(owed);
    }

    /// Removes the oldest owed answer, which has now come, and returns what kind of answer it is.
    pub(super) fn pay(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.posts -= owed.posts();
        self.bytes -= owed.bytes();
        Some(owed)
    }

    /// Returns the number of owed answers.
    pub(crate) fn len(&self) -> usize {
        self.owed.len()
    }

    /// Returns `true` if no answer is owed. Accepted posts may still need a `WAIT`.
    pub(crate) fn is_empty(&self) -> bool {
        self.owed.is_empty()
    }

    /// Returns the bytes of the messages of the posts whose answers are owed.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the number of posts without an answer, or without the `WAIT` that they need.
    pub(crate) fn open_posts(&self) -> usize {
        self.posts + self.accepted.len()
    }

    /// Notes a post that was accepted and that a later `WAIT` must cover.
    pub(crate) fn accepted(&mut self, task_id: String) {
        self.accepted.push(task_id);
    }

    /// Takes the accepted posts that no `WAIT` has covered yet.
    pub(crate) fn take_accepted(&mut self) -> Vec<String> {
        std::mem::take(&mut self.accepted)
    }

    /// Returns the tasks of all open posts, when no further answers can come.
    pub(crate) fn into_open_posts(self) -> impl Iterator<Item = String> {
        let owed = self.owed.into_iter().filter_map(|owed| match owed {
            Owed::Post(post) => Some(post.task_id),
            Owed::Binding | Owed::Event | Owed::Replicas => None,
        });
        self.accepted.into_iter().chain(owed)
    }
}
