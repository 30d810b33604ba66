//! A post: its message, its commands and their answers.
//!
//! The first post to a queue on a connection also writes the queue's binding, in the same pipeline.
//! A Python worker that restores a task needs the binding. A refused binding does not prevent the
//! post.

use std::sync::Arc;

use celery_protocol::redis_keys::Keys;
use redis::Value;

use super::attempt::{Publish, Try};
use super::link::{Link, Wire};
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::{PUBLISH_ONCE, PUBLISH_ONCE_GUARD};

/// An encoded message and the queue that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The queue; `celery_protocol::names::check_queue_name` has checked its name.
    pub queue: Arc<str>,
    /// The priority, 0 to 9; on Redis, 0 is the highest.
    pub priority: u8,
    /// The task's id, for error messages and for the guard of [`Publish::Once`].
    pub task_id: String,
    /// The message that `Task::encode_redis` returned.
    pub envelope: Vec<u8>,
}

impl AsRef<Post> for Post {
    fn as_ref(&self) -> &Post {
        self
    }
}

impl Post {
    /// Packs the post and returns the position of its end. With `load`, [`Publish::Once`] sends the
    /// text of its script.
    pub(super) fn pack(&self, wire: &mut Wire, keys: &Keys, mode: Publish, load: bool) -> u64 {
        match mode {
            Publish::Confirmed => {
                let list = keys.queue_parts(&self.queue, self.priority);
                wire.pack_push(&list, &self.envelope)
            }
            Publish::Once => {
                let list = keys.queue(&self.queue, self.priority);
                let guard = keys.published(&self.task_id);
                let keys = [list.as_str(), guard.as_str()];
                let mut cmd = if load {
                    PUBLISH_ONCE.eval(&keys)
                } else {
                    PUBLISH_ONCE.evalsha(&keys)
                };
                cmd.arg(self.envelope.as_slice())
                    .arg(PUBLISH_ONCE_GUARD.as_secs());
                wire.pack(&cmd)
            }
        }
    }
}

/// Packs the commands that write a queue's own binding, unless this connection has done it before.
/// Returns `true` if it packed them.
pub(super) fn pack_binding(link: &mut Link, keys: &Keys, queue: &Arc<str>) -> bool {
    if !link.declare(queue) {
        return false;
    }
    // Celery declares a queue together with a direct exchange of the same name.
    let member = keys.own_binding_member(queue);
    for set in [keys.binding(queue), keys.binding_permanent(queue)] {
        link.wire.pack(redis::cmd("SADD").arg(set).arg(&member));
    }
    true
}

/// Reads the answer to a post, after the answers to its binding.
pub(super) fn read_answer(
    link: &mut Link,
    bound: bool,
    wait: &mut Wait<'_>,
) -> Result<Try, ClientError> {
    if bound {
        for _ in 0..2 {
            let what = "the answer to SADD";
            if link.wire.answer(Shape::Short, wait, what)?.is_err() {
                link.undeclare_all();
            }
        }
    }
    match link.wire.answer(Shape::Short, wait, "the post")? {
        Ok(Value::Int(_)) => Ok(Try::Done),
        Ok(_) => {
            link.wire.give_up();
            Err(odd_answer())
        }
        Err(refused) => Ok(Try::Refused(refused)),
    }
}

/// Returns the error for an answer that no post has.
pub(super) fn odd_answer() -> ClientError {
    ClientError::Protocol("a post was answered with something that is not a number".to_owned())
}
