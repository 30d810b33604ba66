//! Pipelined posts: written at once, answered later.
//!
//! What is owed is bounded: when the window is full, all of it is awaited. A post that was refused, or whose connection
//! broke before its answer, is kept in the client until it is collected; it is never repeated, since its message is gone.
//! Where replicas are to confirm, they are asked once a window, and once when the posts are collected.

use redis::Value;

use super::client::Backoff;
use super::link::{Link, Owed};
use super::publish::{may_repeat, odd_answer};
use super::{Client, Post, Publish, Wait, replicas};
use crate::error::{ClientError, PublishError, ServerError};

/// Pipelined posts between two looks at what has been answered.
const LOOK_EVERY: usize = 64;

impl Client {
    /// Writes one task and leaves its answer for later: for the next call on this client, or
    /// [`collect`](Self::collect).
    ///
    /// # Errors
    /// [`PublishError`] of this task, if it could not be written. Failures found of earlier tasks are kept for `collect`.
    pub fn publish_later(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), PublishError> {
        let mut backoff = Backoff::new();
        loop {
            let (error, sent) = match self.write_later(post, wait) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if !may_repeat(&error, sent, Publish::Confirmed) || backoff.pause(wait).is_err() {
                return Err(PublishError::new(&*post.task_id, sent, error));
            }
        }
    }

    /// The error, and whether the task may have been queued.
    fn write_later(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), (ClientError, bool)> {
        let mut link = self.roomy_link(wait).map_err(|error| (error, false))?;
        if self.pack_binding(&mut link, &post.queue) {
            link.owe(Owed::Binding);
            link.owe(Owed::Binding);
        }
        let end = self.pack_post(&mut link, post, Publish::Confirmed, false);
        link.gather(true);
        match link.flush(wait) {
            Ok(()) => {
                link.owe(Owed::Post {
                    task_id: post.task_id.clone(),
                    bytes: post.envelope.len(),
                });
                self.keep(link);
                Ok(())
            }
            Err(error) => {
                let sent = link.has_sent(end);
                self.abandon(link, || error.clone());
                Err((error, sent))
            }
        }
    }

    /// A connection with room for one more open post.
    fn roomy_link(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        let mut link = self.link(wait)?;
        let mut prepared = link.await_departure(wait);
        if prepared.is_ok() && self.is_window_full(&link) {
            prepared = self.settle(&mut link, wait);
        } else if prepared.is_ok() && link.owed().len() % LOOK_EVERY == LOOK_EVERY - 1 {
            prepared = self.settle_at_hand(&mut link);
        }
        self.unless_retired(link, prepared, wait)
    }

    fn is_window_full(&self, link: &Link) -> bool {
        link.open_posts() >= self.options.window_posts
            || link.owed_bytes() >= self.options.window_bytes
    }

    /// Waits for all outstanding answers and returns the tasks that were not confirmed.
    pub fn collect(&mut self, wait: &mut Wait<'_>) -> Vec<PublishError> {
        if self.outstanding() > 0
            && let Some(mut link) = self.take_link()
        {
            match self.settle(&mut link, wait) {
                Ok(()) => self.keep(link),
                Err(error) => self.abandon(link, || error.clone()),
            }
        }
        std::mem::take(&mut self.late)
    }

    /// Reads everything that a connection owes, the answer of the replicas included.
    pub(super) fn settle(
        &mut self,
        link: &mut Link,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        if link.open_posts() > 0
            && let Some(question) = replicas::question(self.options.replicas, wait)
        {
            link.pack(&question);
            link.owe(Owed::Replicas);
            link.flush(wait)?;
        }
        while let Some((owed, answer)) = link.next_owed(wait)? {
            self.account(link, owed, answer)?;
        }
        // Accepted while replicas were to be asked, which is no longer so.
        link.take_accepted();
        Ok(())
    }

    /// Reads what has been answered so far.
    pub(super) fn settle_at_hand(&mut self, link: &mut Link) -> Result<(), ClientError> {
        while let Some((owed, answer)) = link.next_owed_at_hand()? {
            self.account(link, owed, answer)?;
        }
        Ok(())
    }

    fn account(
        &mut self,
        link: &mut Link,
        owed: Owed,
        answer: Result<Value, ServerError>,
    ) -> Result<(), ClientError> {
        match (owed, answer) {
            (Owed::Binding, Ok(_)) => {}
            (Owed::Post { task_id, .. }, Ok(Value::Int(_))) => {
                if self.options.replicas > 0 {
                    link.accepted(task_id);
                }
            }
            (Owed::Replicas, answer) => {
                let accepted = link.take_accepted();
                if let Err(cause) = replicas::check(link, self.options.replicas, answer) {
                    let unconfirmed = accepted.into_iter();
                    let unconfirmed =
                        unconfirmed.map(|id| PublishError::new(id, true, cause.clone()));
                    self.late.extend(unconfirmed);
                }
            }
            (Owed::Binding, Err(_)) => link.undeclare_all(),
            (Owed::Post { task_id, .. }, Err(answer)) => {
                let cause = self.endpoint().refused(answer);
                self.late.push(PublishError::new(task_id, false, cause));
            }
            (Owed::Post { task_id, .. }, Ok(_)) => {
                link.give_up();
                let cause = odd_answer();
                self.late
                    .push(PublishError::new(task_id, true, cause.clone()));
                return Err(cause);
            }
        }
        Ok(())
    }
}
