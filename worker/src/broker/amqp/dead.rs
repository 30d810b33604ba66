//! Dead letters: a queue of messages as they came, with headers that say why.

use celery_client::amqp::QueueType;
use celery_protocol::amqp::{AmqpError, TableBuf};
use celery_protocol::fields::Fields;

use crate::broker::Letter;
use crate::clock::now;

/// The queue of the dead letters.
pub(super) const QUEUE: &str = "celery.dead";
/// The headers that describe a letter: the queue, the id and the name of its task, the cause, the
/// worker that wrote it, and the time.
pub(super) const QUEUE_OF: &str = "rs-queue";
pub(super) const ID: &str = "rs-id";
pub(super) const TASK: &str = "rs-task";
pub(super) const CAUSE: &str = "rs-cause";
pub(super) const WORKER: &str = "rs-worker";
pub(super) const TIME: &str = "rs-time";
/// The most dead letters that are kept. The oldest ones go first.
const MOST: u32 = 100_000;
/// How often a dead letter may be read by the command that lists them. From RabbitMQ 4 on, a quorum
/// queue drops a message that came back more than 20 times.
const DELIVERIES: u32 = 1_000_000;
/// The longest text of a header. It keeps the headers within a frame.
const LONGEST: usize = 4_096;

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
pub(super) fn headers(letter: &Letter, node: &str) -> Result<TableBuf, AmqpError> {
    let mut headers = TableBuf::default();
    for (name, value) in [
        (QUEUE_OF, &*letter.queue),
        (ID, &letter.id),
        (TASK, &letter.task),
        (CAUSE, &letter.cause),
        (WORKER, node),
        (TIME, &now().to_string()),
    ] {
        headers.push_text(name, cut(value))?;
    }
    Ok(headers)
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
