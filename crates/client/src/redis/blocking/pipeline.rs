//! Pipelined posts: written at once, answered later.
//!
//! The number of owed answers is limited (the *window*). When the window is full, the next post
//! waits for all of them. The client keeps the error of a post that was refused, or whose
//! connection broke before its answer, until the errors are collected. If replicas must confirm, a
//! `WAIT` follows each full window, and another one follows the last posts.
//!
//! The client keeps the messages of the window. A post that was refused for a reason that passes,
//! for example because the slot of its list moves, is not queued. So the next call that posts or
//! collects repeats it until its own deadline. It may then come after posts that were made later.

use std::sync::Arc;

use redis::Value;

use super::acquire::Need;
use super::attempt::{Open, Publish, may_repeat};
use super::client::backoff;
use super::link::{Link, Owed};
use super::outgoing::{Outgoing, Post};
use super::post::{odd_answer, pack, pack_binding};
use super::{Client, replicas};
use crate::blocking::Wait;
use crate::error::{ClientError, PublishError, ServerError};

/// Number of pipelined posts between two checks for answers that have arrived.
const LOOK_EVERY: usize = 64;

impl Client {
    /// Writes a task without waiting for its answer, which the next call on this client or
    /// [`collect`](Self::collect) reads.
    ///
    /// # Errors
    /// [`PublishError`] of this task if it could not be written. Failures of earlier tasks are kept
    /// for `collect`.
    pub fn publish_later(
        &mut self,
        post: &impl Outgoing,
        wait: &mut Wait<'_>,
    ) -> Result<(), PublishError> {
        self.repeat_refused(wait);
        let mut backoff = backoff();
        loop {
            let (error, sent) = match self.write_later(post, wait) {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            if !may_repeat(&error, sent, Publish::Confirmed) || wait.back_off(&mut backoff).is_err()
            {
                return Err(PublishError::new(post.task_id(), sent, error));
            }
        }
    }

    /// Writes a post once. The error comes with `true` if the task may have been queued.
    fn write_later(
        &mut self,
        post: &impl Outgoing,
        wait: &mut Wait<'_>,
    ) -> Result<(), (ClientError, bool)> {
        let acquired = self.acquire(Need::Room, wait);
        let ready = acquired.and_then(|resting| resting.ready(wait));
        let mut link = ready.map_err(|error| (error, false))?;
        if pack_binding(&mut link, self.keys(), post.queue()) {
            link.debts.owe(Owed::Binding);
            link.debts.owe(Owed::Binding);
        }
        let end = pack(post, &mut link.wire, self.keys(), Publish::Confirmed, false);
        let owed = Owed::Post(Post {
            queue: Arc::clone(post.queue()),
            priority: post.priority(),
            task_id: post.task_id().to_owned(),
            envelope: link.wire.last_message().unwrap_or_default().to_owned(),
        });
        let event = self.announcement(post);
        if let Some(event) = &event {
            link.wire.pack(event);
        }
        link.wire.gather(true);
        match link.wire.flush(wait) {
            Ok(()) => {
                link.debts.owe(owed);
                if event.is_some() {
                    link.debts.owe(Owed::Event);
                }
                self.keep(link);
                Ok(())
            }
            Err(error) => {
                let sent = link.wire.has_sent(end);
                self.abandon(link, &error);
                Err((error, sent))
            }
        }
    }

    /// Makes room in the window of a connection for another open post.
    pub(super) fn make_room(
        &mut self,
        link: &mut Link,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        if self.is_window_full(link) {
            self.settle(link, wait)
        } else if link.debts.len() % LOOK_EVERY == LOOK_EVERY - 1 {
            self.settle_at_hand(link)
        } else {
            Ok(())
        }
    }

    fn is_window_full(&self, link: &Link) -> bool {
        link.debts.open_posts() >= self.options.window_posts
            || link.debts.bytes() >= self.options.window_bytes
    }

    /// Waits for all outstanding answers and returns the errors of tasks that were not confirmed.
    pub fn collect(&mut self, wait: &mut Wait<'_>) -> Vec<PublishError> {
        if let Some(mut link) = self.take_owing() {
            match self.settle(&mut link, wait) {
                Ok(()) => self.keep(link),
                Err(error) => self.abandon(link, &error),
            }
        }
        self.repeat_refused(wait);
        std::mem::take(&mut self.late)
    }

    /// Repeats the posts that were refused for a reason that passes, until the deadline. Their events
    /// have been sent already.
    fn repeat_refused(&mut self, wait: &mut Wait<'_>) {
        let refused = std::mem::take(&mut self.refused).into_iter();
        let (posts, open): (Vec<_>, Vec<_>) = refused
            .map(|(post, cause)| (post, Open::refused(cause)))
            .unzip();
        if posts.is_empty() {
            return;
        }
        let sent_events = self.options.sent_events.take();
        let outcomes = self.publish_open(&posts, open, Publish::Confirmed, wait);
        self.options.sent_events = sent_events;
        self.late
            .extend(outcomes.into_iter().filter_map(Result::err));
    }

    /// Reads all owed answers of a connection, including the confirmation by the replicas.
    pub(super) fn settle(
        &mut self,
        link: &mut Link,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        if link.debts.open_posts() > 0
            && let Some(question) =
                replicas::question(self.options.replicas, wait, Publish::Confirmed)
        {
            link.wire.pack(&question);
            link.debts.owe(Owed::Replicas);
            link.wire.flush(wait)?;
        }
        while let Some((owed, answer)) = link.next_owed(wait)? {
            self.account(link, owed, answer)?;
        }
        // Posts remain here if the replicas were required when they were accepted and are not
        // required now.
        link.debts.take_accepted();
        Ok(())
    }

    /// Reads the answers that have arrived so far.
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
            (Owed::Binding, Ok(_)) | (Owed::Event, _) => {}
            (Owed::Post(post), Ok(Value::Int(_))) => {
                if self.options.replicas > 0 {
                    link.debts.accepted(post.task_id);
                }
            }
            (Owed::Replicas, answer) => {
                let accepted = link.debts.take_accepted();
                if let Err(cause) = replicas::check(link, self.options.replicas, answer) {
                    let unconfirmed = accepted.into_iter();
                    let unconfirmed =
                        unconfirmed.map(|id| PublishError::new(id, true, cause.clone()));
                    self.late.extend(unconfirmed);
                }
            }
            (Owed::Binding, Err(_)) => link.undeclare_all(),
            (Owed::Post(post), Err(answer)) => {
                let cause = self.endpoint().refused(answer);
                if may_repeat(&cause, false, Publish::Confirmed) {
                    self.refused.push((post, cause));
                } else {
                    self.late
                        .push(PublishError::new(post.task_id, false, cause));
                }
            }
            (Owed::Post(post), Ok(_)) => {
                link.wire.give_up();
                let cause = odd_answer();
                let failure = PublishError::new(post.task_id, true, cause.clone());
                self.late.push(failure);
                return Err(cause);
            }
        }
        Ok(())
    }
}
