//! What the name of a queue or a task, a task's id and a delivery tag may be, on every broker.
//!
//! These names become part of keys and of log lines. The checks refuse characters that would change
//! the meaning of either.

use std::fmt;

use crate::json::swar::{plain_run, unprintable};

/// The fanout exchange of control requests, in Celery's default namespace (`control_exchange`).
pub const CONTROL_EXCHANGE: &str = "celery.pidbox";
/// The direct exchange of the replies to control requests.
pub const CONTROL_REPLY_EXCHANGE: &str = "reply.celery.pidbox";
/// The direct exchange of the queues of single workers: Celery's `WORKER_DIRECT_EXCHANGE`.
pub const DIRECT_EXCHANGE: &str = "C.dq2";
/// The exchange of events: a topic on AMQP, a fanout on Redis (`event_exchange`).
pub const EVENT_EXCHANGE: &str = "celeryev";

/// The reason why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("{0} is empty")]
    Empty(NameKind),
    /// The name is longer than [`MAX_NAME_BYTES`].
    #[error("{0} is longer than {MAX_NAME_BYTES} bytes")]
    TooLong(NameKind),
    /// The name has a control character, such as a line break or a part of kombu's separator.
    #[error("{kind} has the control character {character:?} at byte {at}")]
    Control {
        /// The kind of name.
        kind: NameKind,
        /// The first forbidden character.
        character: char,
        /// Its position in bytes.
        at: usize,
    },
}

/// The kind of a refused name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameKind {
    /// A queue.
    Queue,
    /// A task type.
    Task,
    /// One task's id.
    TaskId,
    /// The broker's id of one message.
    DeliveryTag,
}

impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Queue => "queue name",
            Self::Task => "task name",
            Self::TaskId => "task id",
            Self::DeliveryTag => "delivery tag",
        })
    }
}

/// The longest name that is accepted. Redis permits far more; RabbitMQ's queue names end at 255
/// bytes, and a task name or id of that length is already a mistake.
pub const MAX_NAME_BYTES: usize = 255;

/// Refuses a queue name that is empty, too long or has control characters.
///
/// # Errors
///
/// [`NameError`], which says which of the three it is.
pub fn check_queue_name(name: &str) -> Result<(), NameError> {
    check(NameKind::Queue, name)
}

/// Refuses a task name that is empty, too long or has control characters.
///
/// # Errors
///
/// [`NameError`], which says which of the three it is.
pub fn check_task_name(name: &str) -> Result<(), NameError> {
    check(NameKind::Task, name)
}

/// Refuses a task id that is empty, too long or has control characters.
///
/// # Errors
///
/// [`NameError`], which says which of the three it is.
pub fn check_task_id(id: &str) -> Result<(), NameError> {
    check(NameKind::TaskId, id)
}

/// Refuses a delivery tag that is empty, too long or has control characters.
///
/// # Errors
///
/// [`NameError`], which says which of the three it is.
pub fn check_delivery_tag(tag: &str) -> Result<(), NameError> {
    check(NameKind::DeliveryTag, tag)
}

fn check(kind: NameKind, name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty(kind));
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(NameError::TooLong(kind));
    }
    if plain_run(name.as_bytes(), unprintable) == name.len() {
        return Ok(());
    }
    match name
        .char_indices()
        .find(|(_, character)| character.is_control())
    {
        Some((at, character)) => Err(NameError::Control {
            kind,
            character,
            at,
        }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_mean_something_else_are_refused() {
        for bad in ["", "a\r", "a\nb", "a\0b", "q\u{6}\u{16}3", "\u{7f}"] {
            assert!(check_queue_name(bad).is_err(), "{bad:?}");
            assert!(check_task_name(bad).is_err(), "{bad:?}");
        }
        assert!(check_task_id(&"x".repeat(256)).is_err());
        assert!(check_queue_name("fotos für später").is_ok());
    }
}
