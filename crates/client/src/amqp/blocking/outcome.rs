//! What the answers to posts mean.
//!
//! * The broker took the message: the task is queued.
//! * It returned the message, refused it by a nack, or closed the channel because of it: the task
//!   is not queued.
//! * The message was not written completely: it is not queued.
//! * It was written, and no answer came: the outcome is unknown.

use std::borrow::Borrow;
use std::collections::BTreeMap;

use celery_protocol::amqp::{Event, Short};

use super::link::{POSTS, unexpected};
use super::post::Post;
use crate::error::ClientError;

/// The numbers of `basic.publish`.
const PUBLISH: (u16, u16) = (60, 40);

/// The outcome of an attempt to post a task.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The task is queued.
    Done,
    /// The task is not queued.
    Not(ClientError),
    /// The task may be queued.
    Unknown(ClientError),
}

/// A post without an answer.
struct Open {
    index: usize,
    /// The position behind its bytes.
    end: u64,
    /// The reason for which the broker returned it. Its confirm follows and says nothing more.
    returned: Option<ClientError>,
}

/// The posts that were written together on a connection, and their outcomes.
pub(super) struct Round<P> {
    posts: Vec<P>,
    outcomes: Vec<Option<Outcome>>,
    /// The posts without an answer by their numbers.
    open: BTreeMap<u64, Open>,
}

impl<P: Borrow<Post>> Round<P> {
    pub(super) fn new(posts: Vec<P>) -> Self {
        Self {
            outcomes: vec![None; posts.len()],
            posts,
            open: BTreeMap::new(),
        }
    }

    /// Returns the number of posts.
    pub(super) fn len(&self) -> usize {
        self.posts.len()
    }

    /// Adds a post, like [`published`](Self::published).
    pub(super) fn published_next(&mut self, post: P, number: u64, end: u64) {
        let index = self.posts.len();
        self.posts.push(post);
        self.outcomes.push(None);
        self.published(index, number, end);
    }

    /// Notes that a post has its number, and that its bytes end at `end`.
    pub(super) fn published(&mut self, index: usize, number: u64, end: u64) {
        let returned = None;
        self.open.insert(
            number,
            Open {
                index,
                end,
                returned,
            },
        );
    }

    /// Notes the outcome of a post.
    pub(super) fn decide(&mut self, index: usize, outcome: Outcome) {
        if let Some(place) = self.outcomes.get_mut(index) {
            *place = Some(outcome);
        }
    }

    /// Returns `true` if each written post has an answer.
    pub(super) fn is_answered(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes what the server said.
    ///
    /// # Errors
    /// The error that ends the connection for all posts without an answer.
    pub(super) fn take(&mut self, event: Event) -> Result<(), ClientError> {
        match event {
            Event::Confirmed {
                channel: POSTS,
                numbers,
                accepted,
            } => {
                for number in numbers {
                    self.confirmed(number, accepted);
                }
                Ok(())
            }
            Event::Returned(POSTS, returned) => {
                let properties = returned.content.properties().map_err(ClientError::Amqp)?;
                let id = properties
                    .correlation_id
                    .map(Short::bytes)
                    .unwrap_or_default();
                let posts = &self.posts;
                let is_it = |open: &&mut Open| {
                    let post = posts.get(open.index).map(Borrow::<Post>::borrow);
                    open.returned.is_none()
                        && post.is_some_and(|post| {
                            post.message.correlation_id.as_bytes() == id
                                && post.exchange == returned.exchange
                                && post.routing_key == returned.routing_key
                        })
                };
                match self.open.values_mut().find(is_it) {
                    Some(open) => {
                        open.returned = Some(ClientError::Unroutable {
                            routing_key: returned.routing_key,
                            exchange: returned.exchange,
                            reason: format!("{} {}", returned.code, returned.text),
                        });
                        Ok(())
                    }
                    None => Err(unexpected(&Event::Returned(POSTS, returned))),
                }
            }
            Event::ChannelClosed(POSTS, close) => {
                // With a single post without an answer, it is the one at fault.
                if close.method == PUBLISH
                    && self.open.len() == 1
                    && let Some((_, open)) = self.open.pop_first()
                {
                    self.decide(open.index, Outcome::Not(ClientError::Broker(close.clone())));
                }
                Err(ClientError::Broker(close))
            }
            other => Err(unexpected(&other)),
        }
    }

    fn confirmed(&mut self, number: u64, accepted: bool) {
        // A number of an earlier call cannot be open: a connection is kept only without any.
        let Some(open) = self.open.remove(&number) else {
            return;
        };
        let outcome = match open.returned {
            Some(error) => Outcome::Not(error),
            None if accepted => Outcome::Done,
            None => Outcome::Not(ClientError::NotTaken),
        };
        self.decide(open.index, outcome);
    }

    /// Returns `true` if a post that was written completely has no answer.
    pub(super) fn is_in_doubt(&self, has_sent: impl Fn(u64) -> bool) -> bool {
        self.open.values().any(|open| has_sent(open.end))
    }

    /// Returns each post with its outcome. Those without an answer have the error that ended the
    /// round.
    pub(super) fn end(
        mut self,
        error: Option<ClientError>,
        has_sent: impl Fn(u64) -> bool,
    ) -> Vec<(P, Outcome)> {
        let error = error.unwrap_or(ClientError::NotTaken);
        for open in std::mem::take(&mut self.open).into_values() {
            let outcome = match open.returned {
                Some(returned) => Outcome::Not(returned),
                None if has_sent(open.end) => Outcome::Unknown(error.clone()),
                None => Outcome::Not(error.clone()),
            };
            self.decide(open.index, outcome);
        }
        let outcomes = self.outcomes.into_iter();
        let outcomes =
            outcomes.map(|outcome| outcome.unwrap_or_else(|| Outcome::Not(error.clone())));
        self.posts.into_iter().zip(outcomes).collect()
    }
}
