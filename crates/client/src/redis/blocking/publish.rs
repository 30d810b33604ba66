//! Posting tasks: a single one, or a batch in one round trip. Pipelined posts are in `pipeline`.
//!
//! # When a post is repeated
//!
//! * The command was not written completely: it was not executed. The post is repeated until the
//!   deadline.
//! * The server answered with an error: the command was not executed. The post is repeated until
//!   the deadline if the error passes by itself (`LOADING`, `READONLY`, `OOM`, …). Otherwise the
//!   error is reported.
//! * The whole command was written and no answer came: the outcome is unknown. The error reports it
//!   with the task's id. With [`Publish::Once`], a script guarded by that id posts the task, so the
//!   post is repeated until the deadline. Each step then gets only a share of the time, so that one
//!   silent connection does not use up all of it.
//! * Too few replicas confirmed the post: the outcome is as unknown as without an answer.
//!
//! The first post to a queue on a connection also writes the queue's binding, in the same pipeline.
//! A Python worker that restores a task needs the binding. A refused binding does not prevent the
//! post.

use std::time::Duration;

use redis::Value;

use super::client::backoff;
use super::link::Link;
use super::reply::Shape;
use super::{Client, replicas};
use crate::blocking::Wait;
use crate::error::{ClientError, PublishError, ServerError};
use crate::redis::{PUBLISH_ONCE, PUBLISH_ONCE_GUARD};

/// Packed bytes after which a batch begins to be written. Redis then works on the first tasks while
/// the last are packed.
const CHUNK: usize = 64 << 10;
/// A step of [`Publish::Once`] (writing, or waiting for an answer) gets this fraction of the time
/// left, so that two more connections can be tried.
const SHARES: u32 = 3;
/// The shortest share of a step. Within less time, a busy server cannot be told from a dead one.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// An encoded message and the queue that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The queue; `celery_protocol::names::check_queue_name` has checked its name.
    pub queue: String,
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

/// The treatment of an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// The outcome is reported, and the post is not repeated.
    #[default]
    Confirmed,
    /// A script guarded by the task's id makes the post, which is repeated until the deadline.
    Once,
}

/// The outcome of an attempt to post a task.
enum Try {
    Done,
    Refused(ServerError),
    /// The command was not written completely.
    NotSent(ClientError),
    /// The command was written completely, but no answer came, or too few replicas confirmed it.
    Unconfirmed(ClientError),
}

/// A task of a batch whose outcome is still open.
struct Open {
    index: usize,
    /// Whether an earlier attempt may have queued the task.
    maybe: bool,
    cause: Option<ClientError>,
}

impl Open {
    fn failed(&self, posts: &[impl AsRef<Post>], cause: ClientError) -> PublishError {
        PublishError::new(&*posts[self.index].as_ref().task_id, self.maybe, cause)
    }
}

impl Publish {
    /// Returns the time for a step: writing the packed commands, or waiting for an answer.
    fn step<'w>(self, wait: &'w mut Wait<'_>) -> Wait<'w> {
        match self {
            Self::Confirmed => wait.whole(),
            Self::Once => wait.share(SHARES, LEAST_SHARE),
        }
    }
}

impl Client {
    /// Posts a task and waits for the answer.
    ///
    /// # Errors
    /// [`PublishError`], whose `outcome_unknown` says whether the task may be in the queue
    /// nevertheless.
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

    /// Posts tasks in one round trip. Returns an outcome for each task, in their order.
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
        let mut backoff = backoff();
        let mut script_missing = false;
        while !open.is_empty() {
            let tries = match self.acquire_quiet(wait) {
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
                    // An earlier answer with the number of replicas says more than a missing
                    // answer.
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
            if again && let Err(ended) = wait.back_off(&mut backoff) {
                for mut task in open.drain(..) {
                    let cause = match (task.cause.take(), &ended) {
                        // The error must name the time of the whole call, not that of one step.
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
        mut link: Box<Link>,
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
            // The first EVAL loads the script for the tasks after it.
            ends.push(self.pack_post(&mut link, post, mode, eval && nth == 0));
            if link.wire.unsent() >= CHUNK
                && let Err(error) = link.wire.flush(&mut mode.step(wait))
            {
                failure = Some(error);
                break;
            }
        }
        let wanted = self.options.replicas;
        let question = replicas::question(wanted, &mode.step(wait));
        if let Some(question) = &question {
            link.wire.pack(question);
        }
        if failure.is_none() {
            failure = link.wire.flush(&mut mode.step(wait)).err();
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
                tries.push(if link.wire.has_sent(*end) {
                    Try::Unconfirmed(error.clone())
                } else {
                    Try::NotSent(error.clone())
                });
            }
        }
        if failure.is_none() && question.is_some() {
            let answer = link.wire.answer(
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
            // Tasks after a failed write were not even packed.
            tries.resize_with(open.len(), || Try::NotSent(error.clone()));
        } else {
            self.keep(link);
        }
        tries
    }

    /// Packs the commands that write a queue's own binding, unless this connection has done it
    /// before. Returns `true` if it packed them.
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
            link.wire.pack(redis::cmd("SADD").arg(set).arg(&member));
        }
        true
    }

    /// Packs a post and returns the position of its end.
    pub(super) fn pack_post(&self, link: &mut Link, post: &Post, mode: Publish, eval: bool) -> u64 {
        let list = self.keys().queue(&post.queue, post.priority);
        match mode {
            Publish::Confirmed => link
                .wire
                .pack_parts([b"LPUSH", list.as_bytes(), &post.envelope]),
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
                link.wire.pack(&cmd)
            }
        }
    }
}

/// Reads the answer to a post, after the answers to its binding.
fn read_answer(link: &mut Link, bound: bool, wait: &mut Wait<'_>) -> Result<Try, ClientError> {
    if bound {
        for _ in 0..2 {
            if link
                .wire
                .answer(Shape::Short, wait, "the answer to SADD")?
                .is_err()
            {
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

pub(super) fn odd_answer() -> ClientError {
    ClientError::Protocol("a post was answered with something that is not a number".to_owned())
}

/// Returns `true` if a task may be posted again after this error.
pub(super) fn may_repeat(cause: &ClientError, maybe: bool, mode: Publish) -> bool {
    match (maybe, mode) {
        (true, Publish::Confirmed) => false,
        // Only a repeat can find out whether the task was queued, so it is worth waiting for the
        // server until the deadline.
        (true, Publish::Once) => cause.is_retryable(),
        // Connecting has attempts and a timeout of its own.
        (false, _) => cause.is_retryable() && !matches!(cause, ClientError::Connect { .. }),
    }
}

/// Returns the outcome of a task when no connection could be opened, so that nothing was executed.
fn not_connected(error: &ClientError) -> Try {
    match error {
        ClientError::Server(answer) => Try::Refused(answer.clone()),
        other => Try::NotSent(other.clone()),
    }
}
