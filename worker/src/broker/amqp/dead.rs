//! Dead letters: a queue of messages as they came, with headers that say why.

use celery_client::amqp::QueueType;
pub(super) use celery_client::amqp::dead_letters::QUEUE;
use celery_client::amqp::dead_letters::{CAUSE, ID, QUEUE_OF, TASK, TIME, WORKER};
use celery_protocol::amqp::{AmqpError, Properties, TableBuf};
use celery_protocol::fields::Fields;

use crate::broker::Letter;
use crate::clock::now;

/// The most dead letters that are kept. The oldest ones go first.
const MOST: u32 = 100_000;
/// How often a dead letter may be read by the command that lists them. From RabbitMQ 4 on, a quorum
/// queue drops a message that came back more than 20 times.
const DELIVERIES: u32 = 1_000_000;

/// How much the headers of a dead letter say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Texts of up to 4,096 bytes, which keeps them within a frame.
    Whole,
    /// Texts of up to 256 bytes, and nothing else.
    Short,
}

impl Length {
    fn longest(self) -> usize {
        match self {
            Length::Whole => 4_096,
            Length::Short => 256,
        }
    }
}

/// Returns the properties of a message as a dead letter has them. It outlives a restart of the
/// server, and the time at which its task expires: RabbitMQ would drop it then. A message that is
/// put back expires by its header.
pub(super) fn properties<'m>(of: Properties<'m>, headers: &'m TableBuf) -> Properties<'m> {
    Properties {
        headers: Some(headers.as_table()),
        expiration: None,
        delivery_mode: Some(2),
        // The broker compares the user with the login, and only its sender has that.
        user_id: None,
        ..of
    }
}

/// Returns the arguments with which the queue of the dead letters is created. The type is always
/// named, because a virtual host may have another default.
pub(super) fn arguments(kind: QueueType) -> Fields {
    let mut arguments = Fields::new();
    // Texts and numbers always have a JSON form.
    let mut set = |name: &str, value: serde_json::Value| {
        let _ = arguments.set(name, &value);
    };
    set("x-max-length", MOST.into());
    set("x-overflow", "drop-head".into());
    match kind {
        QueueType::Quorum => {
            set("x-queue-type", "quorum".into());
            set("x-delivery-limit", DELIVERIES.into());
        }
        QueueType::Classic => set("x-queue-type", "classic".into()),
    }
    arguments
}

/// Returns the headers that describe a dead letter.
///
/// # Errors
/// [`AmqpError`] never comes for texts of this length.
pub(super) fn headers(letter: &Letter, node: &str, length: Length) -> Result<TableBuf, AmqpError> {
    let mut headers = TableBuf::default();
    for (name, value) in [
        (QUEUE_OF, &*letter.queue),
        (ID, &letter.id),
        (TASK, &letter.task),
        (CAUSE, &letter.cause),
        (WORKER, node),
        (TIME, &now().to_string()),
    ] {
        headers.push_text(name, cut(value, length.longest()))?;
    }
    Ok(headers)
}

fn cut(text: &str, longest: usize) -> &str {
    let mut end = text.len().min(longest);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
