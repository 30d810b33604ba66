//! Pipelined posts: written at once, confirmed later.
//!
//! The number and the bytes of the posts without a collected outcome are limited (the *window*). When
//! the window is full, the next post waits for all confirms. A post that the broker returned or
//! refused is then posted again as by `publish`, which creates a missing queue. Errors are kept
//! until they are collected.

use super::client::Client;
use super::outcome::{Outcome, Round};
use super::owing::Owing;
use super::post::Post;
use super::publish::{backoff, may_repeat, pack};
use crate::blocking::Wait;
use crate::error::{ClientError, PublishError};

impl Client {
    /// Writes a task without waiting for its confirm, which [`collect`](Self::collect) reads. Until
    /// then, other calls use another connection.
    ///
    /// # Errors
    /// [`PublishError`] of this task if it could not be written. Failures of earlier tasks are kept
    /// for `collect`.
    pub fn publish_later(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), PublishError> {
        let mut backoff = backoff();
        loop {
            let (error, sent) = match self.write_later(post, wait) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if sent || !may_repeat(&error) || wait.back_off(&mut backoff).is_err() {
                return Err(PublishError::new(&*post.task_id, sent, error));
            }
        }
    }

    /// Returns the number of pipelined posts whose outcomes were not collected.
    pub fn outstanding(&self) -> usize {
        self.owing.as_ref().map_or(0, |owing| owing.round.len())
    }

    /// Waits for all outstanding confirms and returns the errors of tasks that are not confirmed.
    pub fn collect(&mut self, wait: &mut Wait<'_>) -> Vec<PublishError> {
        self.check_owner();
        self.settle(wait);
        std::mem::take(&mut self.late)
    }

    /// Writes a post once. The error comes with `true` if the task may have been queued.
    fn write_later(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), (ClientError, bool)> {
        self.check_owner();
        if self.must_settle(post) {
            self.settle(wait);
        }
        let mut owing = match self.owing.take() {
            Some(owing) => owing,
            None => self.begin(post, wait).map_err(|error| (error, false))?,
        };
        if let Err(error) = owing.look() {
            self.give_up(owing, error.clone(), wait);
            return Err((error, false));
        }
        let number = match pack(&mut owing.link, post) {
            Ok(number) => number,
            Err(error) => {
                self.owing = Some(owing);
                return Err((error, false));
            }
        };
        let end = owing.link.end();
        match owing.link.flush(wait) {
            Ok(()) => {
                owing.bytes += post.size();
                owing.round.published_next(post.clone(), number, end);
                self.owing = Some(owing);
                Ok(())
            }
            Err(error) => {
                let sent = owing.link.has_sent(end);
                self.give_up(owing, error.clone(), wait);
                Err((error, sent))
            }
        }
    }

    /// Returns `true` if the open posts must have their outcomes before this post is written:
    /// because the window is full, or because the connection is needed for a question or a wait.
    fn must_settle(&self, post: &Post) -> bool {
        self.owing.as_ref().is_some_and(|owing| {
            owing.round.len() >= self.options.window_posts
                || owing.bytes >= self.options.window_bytes
                || owing.link.is_blocked()
                || !owing.link.knows_exchange(&post.exchange)
        })
    }

    /// Takes the connection for pipelined posts.
    fn begin(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<Owing, ClientError> {
        let mut link = self.acquire(wait)?;
        let ready = self
            .find_exchanges(&mut link, &[post], wait)
            .and_then(|()| link.wait_until_unblocked(wait));
        if let Err(error) = ready {
            return Err(link.explained(error));
        }
        Ok(Owing {
            link,
            round: Round::new(Vec::new()),
            bytes: 0,
        })
    }

    /// Waits for the outcomes of all open posts.
    fn settle(&mut self, wait: &mut Wait<'_>) {
        let Some(mut owing) = self.owing.take() else {
            return;
        };
        match owing.wait_for_answers(wait) {
            Ok(()) => {
                let outcomes = owing.round.end(None, |_| true);
                self.announce(&mut owing.link, &outcomes, wait);
                self.keep(owing.link);
                self.account(outcomes, wait);
            }
            Err(error) => self.give_up(owing, error, wait),
        }
    }

    /// Ends a connection that failed, and keeps the outcomes of its posts.
    fn give_up(&mut self, owing: Owing, error: ClientError, wait: &mut Wait<'_>) {
        let Owing { link, round, .. } = owing;
        let error = link.explained(error);
        let sent = |end| link.has_sent(end);
        if round.is_in_doubt(sent) && error != ClientError::Forked {
            link.reset_on_drop();
        }
        let outcomes = round.end(Some(error), sent);
        drop(link);
        self.account(outcomes, wait);
    }

    /// Posts again what is certainly not queued and may be repeated, and keeps the other failures.
    fn account(&mut self, outcomes: Vec<(Post, Outcome)>, wait: &mut Wait<'_>) {
        let mut again = Vec::new();
        for (post, outcome) in outcomes {
            match outcome {
                Outcome::Done => {}
                Outcome::Not(cause)
                    if may_repeat(&cause) || matches!(cause, ClientError::Unroutable { .. }) =>
                {
                    again.push(post);
                }
                Outcome::Not(cause) => {
                    self.late
                        .push(PublishError::new(post.task_id, false, cause));
                }
                Outcome::Unknown(cause) => {
                    self.late.push(PublishError::new(post.task_id, true, cause));
                }
            }
        }
        if !again.is_empty() {
            let repeated = self.publish_batch(&again, wait);
            self.late
                .extend(repeated.into_iter().filter_map(Result::err));
        }
    }
}
