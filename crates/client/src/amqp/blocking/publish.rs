//! Posting tasks, one or many, each confirmed by the broker.
//!
//! A post is repeated until the deadline while it is certain that it is not queued and the reason
//! passes by itself. After an unknown outcome it is never repeated.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::time::Duration;

use celery_protocol::amqp::{Route, Short};

use super::client::Client;
use super::link::{Link, POSTS};
use super::outcome::{Outcome, Round};
use super::post::Post;
use crate::amqp::declaration::NOT_FOUND;
use crate::backoff::Backoff;
use crate::blocking::Wait;
use crate::error::{ClientError, PublishError};

/// Bytes after which the posts of a batch are written. The broker then works on the first ones
/// while the last are encoded.
pub(super) const CHUNK: usize = 64 << 10;
/// The first pause before a post is repeated.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a post is repeated: `interval_max` of Celery's
/// `task_publish_retry_policy`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A post without a final outcome.
struct Pending {
    index: usize,
    /// The error of the last attempt.
    cause: Option<ClientError>,
    /// Whether its queue was created after it was returned.
    created: bool,
}

impl Client {
    /// Posts a task and waits for the confirm.
    ///
    /// # Errors
    /// [`PublishError`], whose `outcome_unknown` says whether the task may be in the queue
    /// nevertheless.
    pub fn publish(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), PublishError> {
        let mut outcomes = self.publish_batch(std::slice::from_ref(post), wait);
        outcomes.pop().unwrap_or(Ok(()))
    }

    /// Posts tasks without waiting between them. Returns an outcome for each task, in their order.
    pub fn publish_batch(
        &mut self,
        posts: &[impl Borrow<Post>],
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let mut results: Vec<Result<(), PublishError>> = posts.iter().map(|_| Ok(())).collect();
        let mut pending: Vec<Pending> = (0..posts.len())
            .map(|index| Pending {
                index,
                cause: None,
                created: false,
            })
            .collect();
        let mut backoff = backoff();
        let mut fail = |index: usize, unknown, cause| {
            results[index] = Err(PublishError::new(
                &*posts[index].borrow().task_id,
                unknown,
                cause,
            ));
        };
        while !pending.is_empty() {
            let now: Vec<&Post> = pending
                .iter()
                .map(|one| posts[one.index].borrow())
                .collect();
            let outcomes = self.try_posts(&now, wait);
            let mut missing = BTreeSet::new();
            let mut again = Vec::new();
            for (mut one, outcome) in pending.into_iter().zip(outcomes) {
                match outcome {
                    Outcome::Done => {}
                    Outcome::Unknown(cause) => fail(one.index, true, cause),
                    Outcome::Not(cause @ ClientError::Unroutable { .. }) => {
                        let post = posts[one.index].borrow();
                        let may_create = !one.created && self.options.create_missing.is_some();
                        if let Some(home) = post.home().filter(|_| may_create) {
                            one.created = true;
                            one.cause = Some(cause);
                            missing.insert(home);
                            again.push(one);
                        } else {
                            fail(one.index, false, cause);
                        }
                    }
                    // The exchange existed when this connection looked. The next one looks again.
                    Outcome::Not(cause)
                        if !one.created
                            && is_missing(&cause)
                            && posts[one.index].borrow().home().is_some() =>
                    {
                        one.created = true;
                        one.cause = Some(cause);
                        again.push(one);
                    }
                    Outcome::Not(cause) if may_repeat(&cause) => {
                        one.cause = Some(cause);
                        again.push(one);
                    }
                    Outcome::Not(cause) => fail(one.index, false, cause),
                }
            }
            pending = again;
            let ended = if missing.is_empty() && !pending.is_empty() {
                wait.back_off(&mut backoff).err()
            } else {
                let mut missing = missing.into_iter();
                missing.find_map(|home| self.create_missing(home, wait).err())
            };
            if let Some(ended) = ended {
                for one in std::mem::take(&mut pending) {
                    let cause = match (one.cause, &ended) {
                        // What the broker said says more than that the time is over.
                        (Some(cause), ClientError::Timeout { .. }) => cause,
                        (_, ended) => ended.clone(),
                    };
                    fail(one.index, false, cause);
                }
            }
        }
        results
    }

    /// Writes these posts once and waits for their answers.
    fn try_posts(&mut self, posts: &[&Post], wait: &mut Wait<'_>) -> Vec<Outcome> {
        let mut link = match self.acquire(wait) {
            Ok(link) => link,
            Err(error) => return vec![Outcome::Not(error); posts.len()],
        };
        if let Err(error) = self.find_exchanges(&mut link, posts, wait) {
            let error = link.explained(error);
            if matches!(error, ClientError::Broker(_)) && link.is_alive() {
                self.keep(link);
            }
            return vec![Outcome::Not(error); posts.len()];
        }
        let mut round = Round::new(posts.to_vec());
        let outcomes = |ended: Vec<(&Post, Outcome)>| ended.into_iter().map(|(_, it)| it).collect();
        match write_and_wait(&mut link, posts, &mut round, wait) {
            Ok(()) => {
                let ended = round.end(None, |_| true);
                self.announce(&mut link, &ended, wait);
                self.keep(link);
                outcomes(ended)
            }
            Err(error) => {
                let error = link.explained(error);
                let sent = |end| link.has_sent(end);
                if round.is_in_doubt(sent) && error != ClientError::Forked {
                    link.reset_on_drop();
                }
                outcomes(round.end(Some(error), sent))
            }
        }
    }
}

/// Writes posts and waits until each has its answer.
pub(super) fn write_and_wait(
    link: &mut Link,
    posts: &[&Post],
    round: &mut Round<&Post>,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    link.wait_until_unblocked(wait)?;
    for (index, post) in posts.iter().enumerate() {
        match pack(link, post) {
            Ok(number) => round.published(index, number, link.end()),
            Err(error) => round.decide(index, Outcome::Not(error)),
        }
        if link.session.output().len() >= CHUNK {
            link.flush(wait)?;
            while let Some(event) = link.event_at_hand()? {
                round.take(event)?;
            }
        }
    }
    link.flush(wait)?;
    while !round.is_answered() {
        let event = link.event(wait, "the confirm of the post")?;
        round.take(event)?;
    }
    Ok(())
}

/// Returns `true` for the refusal of a post to an exchange that does not exist.
fn is_missing(cause: &ClientError) -> bool {
    matches!(cause, ClientError::Broker(close) if close.code == NOT_FOUND)
}

/// Returns the pauses before a post is repeated.
pub(super) fn backoff() -> Backoff {
    Backoff::between(FIRST_PAUSE, LONGEST_PAUSE)
}

/// Packs a post. Returns its number on the channel.
pub(super) fn pack(link: &mut Link, post: &Post) -> Result<u64, ClientError> {
    let route = |exchange, routing_key| Route {
        exchange,
        routing_key,
        mandatory: true,
    };
    let exchange = Short::new(&post.exchange);
    let key = Short::new(&post.routing_key);
    let packed = exchange.and_then(|exchange| {
        let (route, message) = (route(exchange, key?), &post.message);
        let properties = message.properties()?;
        link.session
            .publish(POSTS, &route, &properties, &message.body)
    });
    packed.map_err(ClientError::Unsendable)
}

/// Returns `true` if a post that is not queued may be repeated after this error. Connecting has
/// attempts and a timeout of its own, and an alarm has lasted until the deadline.
pub(super) fn may_repeat(cause: &ClientError) -> bool {
    let is_final = matches!(
        cause,
        ClientError::Connect { .. } | ClientError::CircuitOpen { .. } | ClientError::Blocked { .. }
    );
    cause.is_retryable() && !is_final
}
