//! Posting tasks: one, or many in one round trip. Pipelined posts are in `pipeline`.
//!
//! # When a post is repeated
//!
//! * Nothing, or not all of the command, was written: it was not executed. Repeated until the deadline.
//! * The server answered with an error: it was not executed. Repeated until the deadline if the error passes by
//!   itself (`LOADING`, `READONLY`, `OOM`, …), else reported.
//! * All of it was written and no answer came: the outcome is unknown. Reported with the task's id – unless the post
//!   goes through the script guarded by that id ([`Publish::Once`]), which is repeated until the deadline. Such a post
//!   does not wait for one silent connection until then: it gives each step a share of the time.
//!
//! * Too few replicas confirmed it, where some were asked: the outcome is as unknown as without an answer.
//!
//! The first post to a queue on a connection takes the queue's binding with it, in the same pipeline: a Python worker
//! that restores a task looks for it. A binding that is refused does not keep a post from being made.

use std::time::Duration;

use redis::Value;

use super::client::Backoff;
use super::link::Link;
use super::reply::Shape;
use super::{Client, Wait, replicas};
use crate::error::{ClientError, PublishError, ServerError};
use crate::redis::{PUBLISH_ONCE, PUBLISH_ONCE_GUARD};

/// Packed bytes after which a batch begins to be written: Redis then works on the first tasks while the last are packed.
const CHUNK: usize = 64 << 10;
/// A step of [`Publish::Once`] – writing, or the wait for one answer – has one part in so many of the time that is left:
/// there is time for two more connections.
const SHARES: u32 = 3;
/// The shortest such share. Shorter than this, a busy server is not a dead one.
const LEAST_SHARE: Duration = Duration::from_secs(1);

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

impl AsRef<Post> for Post {
    fn as_ref(&self) -> &Post {
        self
    }
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

/// What became of one task in one try.
enum Try {
    Done,
    Refused(ServerError),
    /// Not all of it was written.
    NotSent(ClientError),
    /// All of it was written, and the answer did not come, or was that too few replicas have it.
    Unconfirmed(ClientError),
}

/// A task of a batch that has no outcome yet.
struct Open {
    index: usize,
    /// An earlier try may have queued it.
    maybe: bool,
    cause: Option<ClientError>,
}

impl Open {
    fn failed(&self, posts: &[impl AsRef<Post>], cause: ClientError) -> PublishError {
        PublishError::new(&*posts[self.index].as_ref().task_id, self.maybe, cause)
    }
}

impl Publish {
    /// The time for one step: writing what is packed, or one answer.
    fn step<'w>(self, wait: &'w mut Wait<'_>) -> Wait<'w> {
        match self {
            Self::Confirmed => wait.whole(),
            Self::Once => wait.share(SHARES, LEAST_SHARE),
        }
    }
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
        self.publish_batch(std::slice::from_ref(post), mode, wait)
            .pop()
            .unwrap_or(Ok(()))
    }

    /// Posts many tasks in one round trip; one outcome a task, in their order.
    pub fn publish_batch(
        &mut self,
        posts: &[impl AsRef<Post>],
        mode: Publish,
        wait: &mut Wait<'_>,
    ) -> Vec<Result<(), PublishError>> {
        let mut outcomes: Vec<Result<(), PublishError>> = posts.iter().map(|_| Ok(())).collect();
        let mut open: Vec<Open> = (0..posts.len())
            .map(|index| Open {
                index,
                maybe: false,
                cause: None,
            })
            .collect();
        let mut backoff = Backoff::new();
        let mut script_missing = false;
        while !open.is_empty() {
            let tries = match self.quiet_link(wait) {
                Ok(link) => self.try_all(link, posts, &open, mode, script_missing, wait),
                Err(error) => open.iter().map(|_| not_connected(&error)).collect(),
            };
            let mut again = false;
            script_missing = false;
            let mut still_open = Vec::new();
            for (mut task, tried) in open.drain(..).zip(tries) {
                let cause = match tried {
                    Try::Done => continue,
                    Try::Refused(answer)
                        if mode == Publish::Once && answer.code() == "NOSCRIPT" =>
                    {
                        script_missing = true;
                        still_open.push(task);
                        continue;
                    }
                    Try::Refused(answer) => self.endpoint().refused(answer),
                    Try::NotSent(cause) => cause,
                    Try::Unconfirmed(cause) => {
                        task.maybe = true;
                        cause
                    }
                };
                if may_repeat(&cause, task.maybe, mode) {
                    again = true;
                    // No answer says less than how many replicas there were before.
                    if !matches!(
                        (&task.cause, &cause),
                        (
                            Some(ClientError::Replicas { .. }),
                            ClientError::Timeout { .. }
                        )
                    ) {
                        task.cause = Some(cause);
                    }
                    still_open.push(task);
                } else {
                    outcomes[task.index] = Err(task.failed(posts, cause));
                }
            }
            open = still_open;
            if again && let Err(ended) = backoff.pause(wait) {
                for mut task in open.drain(..) {
                    let cause = match (task.cause.take(), &ended) {
                        // Not of one step.
                        (Some(ClientError::Timeout { what, .. }), ClientError::Timeout { .. }) => {
                            wait.timeout(what)
                        }
                        (Some(cause), _) => cause,
                        (None, ended) => ended.clone(),
                    };
                    outcomes[task.index] = Err(task.failed(posts, cause));
                }
            }
        }
        outcomes
    }

    /// Writes all open tasks and reads their answers.
    fn try_all(
        &mut self,
        mut link: Link,
        posts: &[impl AsRef<Post>],
        open: &[Open],
        mode: Publish,
        eval: bool,
        wait: &mut Wait<'_>,
    ) -> Vec<Try> {
        let mut ends = Vec::with_capacity(open.len());
        let mut bindings = Vec::with_capacity(open.len());
        let mut failure = None;
        for (nth, task) in open.iter().enumerate() {
            let post = posts[task.index].as_ref();
            bindings.push(self.pack_binding(&mut link, &post.queue));
            // The first full script loads it for those behind it.
            ends.push(self.pack_post(&mut link, post, mode, eval && nth == 0));
            if link.unsent() >= CHUNK
                && let Err(error) = link.flush(&mut mode.step(wait))
            {
                failure = Some(error);
                break;
            }
        }
        let wanted = self.options.replicas;
        let question = replicas::question(wanted, &mode.step(wait));
        if let Some(question) = &question {
            link.pack(question);
        }
        if failure.is_none() {
            failure = link.flush(&mut mode.step(wait)).err();
        }
        let mut tries = Vec::with_capacity(open.len());
        for (end, bound) in ends.iter().zip(&bindings) {
            if failure.is_none() {
                match read_answer(&mut link, *bound, &mut mode.step(wait)) {
                    Ok(tried) => {
                        tries.push(tried);
                        continue;
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = &failure {
                tries.push(if link.has_sent(*end) {
                    Try::Unconfirmed(error.clone())
                } else {
                    Try::NotSent(error.clone())
                });
            }
        }
        if failure.is_none() && question.is_some() {
            let answer = link.answer(
                Shape::Short,
                &mut mode.step(wait),
                "the answer of the replicas",
            );
            let confirmed = match answer {
                Ok(answer) => replicas::check(&mut link, wanted, answer),
                Err(error) => {
                    failure = Some(error.clone());
                    Err(error)
                }
            };
            if let Err(error) = confirmed {
                for tried in tries.iter_mut().filter(|tried| matches!(tried, Try::Done)) {
                    *tried = Try::Unconfirmed(error.clone());
                }
            }
        }
        if let Some(error) = failure {
            // Tasks behind a failed write were not even packed.
            tries.resize_with(open.len(), || Try::NotSent(error.clone()));
        } else {
            self.keep(link);
        }
        tries
    }

    /// Packs the writing of a queue's own binding, if this connection has not done it yet. True if there will be answers.
    pub(super) fn pack_binding(&self, link: &mut Link, queue: &str) -> bool {
        if !link.declare(queue) {
            return false;
        }
        // Celery declares a queue together with a direct exchange of the same name.
        let member = self.keys().own_binding_member(queue);
        for set in [
            self.keys().binding(queue),
            self.keys().binding_permanent(queue),
        ] {
            link.pack(redis::cmd("SADD").arg(set).arg(&member));
        }
        true
    }

    /// Packs the post; gives where it ends.
    pub(super) fn pack_post(&self, link: &mut Link, post: &Post, mode: Publish, eval: bool) -> u64 {
        let list = self.keys().queue(&post.queue, post.priority);
        match mode {
            Publish::Confirmed => link.pack_parts([b"LPUSH", list.as_bytes(), &post.envelope]),
            Publish::Once => {
                let guard = self.keys().published(&post.task_id);
                let keys = [list.as_str(), guard.as_str()];
                let mut cmd = if eval {
                    PUBLISH_ONCE.eval(&keys)
                } else {
                    PUBLISH_ONCE.evalsha(&keys)
                };
                cmd.arg(post.envelope.as_slice())
                    .arg(PUBLISH_ONCE_GUARD.as_secs());
                link.pack(&cmd)
            }
        }
    }
}

/// Reads the answer to a post, and those to its binding before it.
fn read_answer(link: &mut Link, bound: bool, wait: &mut Wait<'_>) -> Result<Try, ClientError> {
    if bound {
        for _ in 0..2 {
            if link
                .answer(Shape::Short, wait, "the answer to SADD")?
                .is_err()
            {
                link.undeclare_all();
            }
        }
    }
    match link.answer(Shape::Short, wait, "the post")? {
        Ok(Value::Int(_)) => Ok(Try::Done),
        Ok(_) => {
            link.give_up();
            Err(odd_answer())
        }
        Err(refused) => Ok(Try::Refused(refused)),
    }
}

pub(super) fn odd_answer() -> ClientError {
    ClientError::Protocol("a post was answered with something that is no number".to_owned())
}

/// Whether a task is tried again after this.
pub(super) fn may_repeat(cause: &ClientError, maybe: bool, mode: Publish) -> bool {
    match (maybe, mode) {
        (true, Publish::Confirmed) => false,
        // Only a repeat finds out what became of the task: worth waiting for the server until the deadline.
        (true, Publish::Once) => cause.is_retryable(),
        // Connecting has repeats and a time-out of its own.
        (false, _) => cause.is_retryable() && !matches!(cause, ClientError::Connect { .. }),
    }
}

/// A server that refuses the connection has executed nothing.
fn not_connected(error: &ClientError) -> Try {
    match error {
        ClientError::Server(answer) => Try::Refused(answer.clone()),
        other => Try::NotSent(other.clone()),
    }
}
