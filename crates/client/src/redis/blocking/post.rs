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
use super::outgoing::Outgoing;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::{PUBLISH_ONCE, PUBLISH_ONCE_GUARD};

/// Packs posts to one list as one command, and returns the position of its end. Redis executes the
/// command as a whole or not at all.
pub(super) fn pack_pushes(wire: &mut Wire, keys: &Keys, posts: &[&impl Outgoing]) -> u64 {
    let list = posts
        .first()
        .map(|first| keys.queue(first.queue(), first.priority()));
    let list = list.unwrap_or_default();
    wire.pack_messages(&[b"LPUSH", list.as_bytes()], posts, &[])
}

/// Packs a post and returns the position of its end. With `load`, [`Publish::Once`] sends the text
/// of its script.
pub(super) fn pack(
    post: &impl Outgoing,
    wire: &mut Wire,
    keys: &Keys,
    mode: Publish,
    load: bool,
) -> u64 {
    match mode {
        Publish::Confirmed => pack_pushes(wire, keys, &[post]),
        Publish::Once => {
            let list = keys.queue(post.queue(), post.priority());
            let guard = keys.published(post.task_id());
            let (command, script): (&[u8], _) = if load {
                (b"EVAL", PUBLISH_ONCE.source())
            } else {
                (b"EVALSHA", PUBLISH_ONCE.sha())
            };
            let head = [
                command,
                script.as_bytes(),
                b"2",
                list.as_bytes(),
                guard.as_bytes(),
            ];
            let seconds = PUBLISH_ONCE_GUARD.as_secs().to_string();
            wire.pack_messages(&head, &[post], &[seconds.as_bytes()])
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
