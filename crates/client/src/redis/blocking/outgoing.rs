//! A message on its way out: where it goes, and how it is written into a command.

use std::sync::Arc;

/// A message to post, and where it goes.
///
/// [`Post`] holds a message that is encoded already. Another implementation may encode its message
/// straight into the bytes to send. A repeated post writes its message again, which must be equal.
pub trait Outgoing {
    /// Returns the queue; `celery_protocol::names::check_queue_name` has checked its name.
    fn queue(&self) -> &Arc<str>;

    /// Returns the priority, 0 to 9; on Redis, 0 is the highest.
    fn priority(&self) -> u8;

    /// Returns the task's id, for error messages and for the guard of [`Publish::Once`](super::Publish::Once).
    fn task_id(&self) -> &str;

    /// Returns about the number of bytes that the message has.
    fn size(&self) -> usize;

    /// Writes the message. [`Frame::begin`] takes its exact length first.
    fn write(&self, frame: Frame<'_>);
}

impl<O: Outgoing> Outgoing for &O {
    fn queue(&self) -> &Arc<str> {
        (**self).queue()
    }

    fn priority(&self) -> u8 {
        (**self).priority()
    }

    fn task_id(&self) -> &str {
        (**self).task_id()
    }

    fn size(&self) -> usize {
        (**self).size()
    }

    fn write(&self, frame: Frame<'_>) {
        (**self).write(frame);
    }
}

/// The place for a message in a command.
pub struct Frame<'w>(&'w mut Vec<u8>);

impl<'w> Frame<'w> {
    pub(super) fn new(out: &'w mut Vec<u8>) -> Self {
        Self(out)
    }

    /// Announces a message of this length. Returns the buffer to append it to.
    pub fn begin(self, length: usize) -> &'w mut Vec<u8> {
        write_length(self.0, b'$', length);
        self.0.reserve(length + 2);
        self.0
    }
}

/// An encoded message and the queue that it goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The queue; `celery_protocol::names::check_queue_name` has checked its name.
    pub queue: Arc<str>,
    /// The priority, 0 to 9; on Redis, 0 is the highest.
    pub priority: u8,
    /// The task's id, for error messages and for the guard of [`Publish::Once`](super::Publish::Once).
    pub task_id: String,
    /// The message that `Task::encode_redis` returned.
    pub envelope: Vec<u8>,
}

impl Outgoing for Post {
    fn queue(&self) -> &Arc<str> {
        &self.queue
    }

    fn priority(&self) -> u8 {
        self.priority
    }

    fn task_id(&self) -> &str {
        &self.task_id
    }

    fn size(&self) -> usize {
        self.envelope.len()
    }

    fn write(&self, frame: Frame<'_>) {
        let out = frame.begin(self.envelope.len());
        out.extend_from_slice(&self.envelope);
    }
}

/// Returns `true` if two posts go to the same list.
pub(super) fn share_list(one: &impl Outgoing, other: &impl Outgoing) -> bool {
    one.priority() == other.priority()
        && (Arc::ptr_eq(one.queue(), other.queue()) || one.queue() == other.queue())
}

/// Writes a protocol line that announces a length.
#[expect(clippy::cast_possible_truncation, reason = "a digit is below 10")]
#[inline]
pub(super) fn write_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    let mut digits = [0; 20];
    let (mut at, mut rest) = (digits.len(), length);
    while at == digits.len() || rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}
