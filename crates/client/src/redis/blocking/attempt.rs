//! The outcome of an attempt to post a task, and whether the post is repeated.
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

use std::time::Duration;

use crate::blocking::Wait;
use crate::error::{ClientError, PublishError, ServerError};
use crate::redis::RedisEndpoint;

/// A step of [`Publish::Once`] (writing, or waiting for an answer) gets this fraction of the time
/// left, so that two more connections can be tried.
const SHARES: u32 = 3;
/// The shortest share of a step. Within less time, a busy server cannot be told from a dead one.
const LEAST_SHARE: Duration = Duration::from_secs(1);

/// The treatment of an unknown outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Publish {
    /// The outcome is reported, and the post is not repeated.
    #[default]
    Confirmed,
    /// A script guarded by the task's id makes the post, which is repeated until the deadline.
    Once,
}

impl Publish {
    /// Returns the time for a step: writing the packed commands, or waiting for an answer.
    pub(super) fn step<'w>(self, wait: &'w mut Wait<'_>) -> Wait<'w> {
        match self {
            Self::Confirmed => wait.whole(),
            Self::Once => wait.share(SHARES, LEAST_SHARE),
        }
    }
}

/// The outcome of an attempt to post a task.
#[derive(Clone)]
pub(super) enum Try {
    /// The server accepted the post, and enough replicas confirmed it.
    Done,
    /// The server refused the command, so that it was not executed.
    Refused(ServerError),
    /// The command was not written completely.
    NotSent(ClientError),
    /// The command was written completely, but no answer came, or too few replicas confirmed it.
    Unconfirmed(ClientError),
}

impl Try {
    /// Returns the outcome when no connection could be opened, so that nothing was executed.
    pub(super) fn not_connected(error: ClientError) -> Self {
        match error {
            ClientError::Server(answer) => Self::Refused(answer),
            other => Self::NotSent(other),
        }
    }

    /// Returns the outcome when no answer can come any more. `sent` says whether the whole command
    /// may have been sent.
    pub(super) fn unanswered(sent: bool, error: ClientError) -> Self {
        if sent {
            Self::Unconfirmed(error)
        } else {
            Self::NotSent(error)
        }
    }
}

/// What follows an attempt.
pub(super) enum Next {
    /// The task is queued.
    Done,
    /// The server does not have the script: the post is repeated at once with its text.
    Load,
    /// The post is repeated after a pause.
    Again,
    /// The post has failed.
    Fail(PublishError),
}

/// A task whose outcome is still open.
#[derive(Default)]
pub(super) struct Open {
    /// Whether an earlier attempt may have queued the task.
    maybe: bool,
    /// The error of an earlier attempt that says most.
    cause: Option<ClientError>,
}

impl Open {
    /// Returns a task whose post was refused with this error.
    pub(super) fn refused(cause: ClientError) -> Self {
        Self {
            maybe: false,
            cause: Some(cause),
        }
    }

    /// Decides what follows an attempt to post the task.
    pub(super) fn after(
        &mut self,
        tried: Try,
        mode: Publish,
        endpoint: &RedisEndpoint,
        task_id: &str,
    ) -> Next {
        let cause = match tried {
            Try::Done => return Next::Done,
            Try::Refused(answer) if mode == Publish::Once && answer.code() == "NOSCRIPT" => {
                return Next::Load;
            }
            Try::Refused(answer) => endpoint.refused(answer),
            Try::NotSent(cause) => cause,
            Try::Unconfirmed(cause) => {
                self.maybe = true;
                cause
            }
        };
        if !may_repeat(&cause, self.maybe, mode) {
            return Next::Fail(PublishError::new(task_id, self.maybe, cause));
        }
        // An earlier answer says more than a missing answer, unless that may hide a queued task.
        let says_more = match &self.cause {
            Some(ClientError::Replicas { .. }) => true,
            Some(ClientError::Server(_)) => !self.maybe,
            _ => false,
        };
        if !(says_more && matches!(cause, ClientError::Timeout { .. })) {
            self.cause = Some(cause);
        }
        Next::Again
    }

    /// Returns the error of the task when no further attempt is possible, because the call has
    /// `ended`.
    pub(super) fn ended(self, ended: &ClientError, wait: &Wait<'_>, task_id: &str) -> PublishError {
        let cause = match (self.cause, ended) {
            // The error must name the time of the whole call, not that of one step.
            (Some(ClientError::Timeout { what, .. }), ClientError::Timeout { .. }) => {
                wait.timeout(what)
            }
            (Some(cause), _) => cause,
            (None, ended) => ended.clone(),
        };
        PublishError::new(task_id, self.maybe, cause)
    }
}

/// Returns `true` if a task may be posted again after this error.
pub(super) fn may_repeat(cause: &ClientError, maybe: bool, mode: Publish) -> bool {
    match (maybe, mode) {
        (true, Publish::Confirmed) => false,
        // Only a repeat can find out whether the task was queued, so it is worth waiting for the
        // server until the deadline.
        (true, Publish::Once) => cause.is_retryable(),
        // Connecting has attempts and a timeout of its own.
        (false, _) => {
            let is_connecting = matches!(
                cause,
                ClientError::Connect { .. } | ClientError::CircuitOpen { .. }
            );
            cause.is_retryable() && !is_connecting
        }
    }
}
