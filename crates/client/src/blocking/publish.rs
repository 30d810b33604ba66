//! Posting tasks: one, many in one round trip, or pipelined.

use super::{Client, Wait};
use crate::error::{ClientError, PublishError};

/// A finished message on its way to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The queue, checked by `celery_protocol::keys::check_queue_name`.
    pub queue: String,
    /// 0 to 9; 0 is the highest on Redis.
    pub priority: u8,
    /// The task's id: for messages, and for the guard of [`Publish::Once`].
    pub task_id: String,
    /// What `Task::encode_redis` made.
    pub envelope: Vec<u8>,
}

/// What a post does about an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// It is reported, and the post not repeated.
    #[default]
    Confirmed,
    /// The post goes through a script guarded by the task's id, and is repeated until the deadline.
    Once,
}

impl Client {
    /// Posts one task and waits for the answer.
    ///
    /// # Errors
    /// [`PublishError`], whose `outcome_unknown` says whether the task may be in the queue nevertheless.
    pub fn publish(
        &mut self,
        post: &Post,
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Result<(), PublishError> {
        let _ = (post, mode, wait);
        todo!()
    }

    /// Posts many tasks in one round trip; one outcome a task, in their order.
    pub fn publish_batch(
        &mut self,
        posts: &[Post],
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let _ = (posts, mode, wait);
        todo!()
    }

    /// Writes one task and leaves its answer for later: for the next call that needs room, or [`collect`](Self::collect).
    ///
    /// # Errors
    /// [`PublishError`] of this task, if it could not be written. Failures found of earlier tasks are kept for `collect`.
    pub fn publish_later(&mut self, post: &Post, wait: &mut Wait<'_>) -> Result<(), PublishError> {
        let _ = (post, wait);
        todo!()
    }

    /// Waits for all outstanding answers and returns the tasks that were not accepted.
    pub fn collect(&mut self, wait: &mut Wait<'_>) -> Vec<PublishError> {
        let _ = wait;
        todo!()
    }

    /// Pipelined posts that are not answered yet.
    pub fn outstanding(&self) -> usize {
        todo!()
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// Whatever keeps it from answering `PONG`.
    pub fn ping(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let _ = wait;
        todo!()
    }
}
