//! Dead letters: the messages that could not be run, in the queue `celery.dead`.
//!
//! A letter is the message as it came, with headers that describe it. A queue has no place at which a
//! message could be read. So a letter's *place* is made of its time and a digest of it:
//! `<milliseconds>-<number>`, like that of a letter in Redis.

use celery_protocol::amqp::{AmqpError, Delivery, TableBuf};
use celery_protocol::time::Timestamp;
use ring::digest::{Context, SHA256};

/// The queue of the dead letters.
pub const QUEUE: &str = "celery.dead";
/// The header with the queue of the message.
pub const QUEUE_OF: &str = "rs-queue";
/// The header with the id of its task.
pub const ID: &str = "rs-id";
/// The header with the name of its task.
pub const TASK: &str = "rs-task";
/// The header with the cause.
pub const CAUSE: &str = "rs-cause";
/// The header with the worker that has written the letter.
pub const WORKER: &str = "rs-worker";
/// The header with the time at which it was written.
pub const TIME: &str = "rs-time";

/// The fields of a letter: their names in every broker, and the headers.
const FIELDS: [(&str, &str); 6] = [
    ("queue", QUEUE_OF),
    ("id", ID),
    ("task", TASK),
    ("cause", CAUSE),
    ("worker", WORKER),
    ("time", TIME),
];
/// The cause of a letter that is the signature of a task, not a message.
const FOLLOW_UP: &str = "follow-up";
/// The first letters of all headers of a worker of this library.
const OWN: &str = "rs-";
/// Headers that the broker adds to a message that it moves or delivers again.
const BROKERS: [&str; 6] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-delivery-count",
    "x-acquired-count",
];

/// Returns `true` if a worker of this library or the broker has added a header of this name.
pub fn is_added_header(name: &[u8]) -> bool {
    name.starts_with(OWN.as_bytes()) || BROKERS.iter().any(|it| it.as_bytes() == name)
}

/// What describes a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Description {
    /// What names the letter.
    pub place: String,
    /// Its fields, in the order of Redis's letters.
    pub fields: Vec<(&'static str, String)>,
}

impl Description {
    /// Reads the headers of a letter.
    pub fn of(delivery: &Delivery) -> Self {
        let properties = delivery.content.properties().unwrap_or_default();
        let headers = properties.headers.unwrap_or_default();
        let text = |name: &str| match headers.text(name) {
            Ok(Some(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let fields = FIELDS.map(|(name, header)| (name, text(header)));
        let mut digest = Context::new(&SHA256);
        for (_, value) in &fields {
            digest.update(value.as_bytes());
            digest.update(&[0]);
        }
        digest.update(&delivery.content.body);
        let digest = digest.finish();
        let first = digest.as_ref().first_chunk().copied().unwrap_or_default();
        // 63 bits fit every integer of a database or of PHP.
        let number = u64::from_be_bytes(first) >> 1;
        let time = fields.last().map_or("", |(_, time)| time.as_str());
        let micros = Timestamp::parse(time).map_or(0, |time| time.unix_micros());
        Self {
            place: format!("{}-{number}", micros.max(0) / 1000),
            fields: fields.into(),
        }
    }

    /// Returns a field; empty if the letter does not have it.
    pub fn field(&self, name: &str) -> &str {
        let found = self.fields.iter().find(|(given, _)| *given == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// Returns the queue to which the message of the letter goes back.
    ///
    /// # Errors
    /// The reason why the letter cannot be put back.
    pub fn home(&self) -> Result<&str, &'static str> {
        match self.field("queue") {
            "" => Err("its queue is unknown"),
            _ if self.field("cause") == FOLLOW_UP => {
                Err("it is the signature of a task, not a message")
            }
            queue => Ok(queue),
        }
    }
}

/// Returns the headers that the sender of a message has written.
///
/// # Errors
/// [`AmqpError`] if the headers cannot be read.
pub fn sent_headers(delivery: &Delivery) -> Result<TableBuf, AmqpError> {
    let properties = delivery.content.properties()?;
    properties
        .headers
        .unwrap_or_default()
        .without(is_added_header)
}

/// Returns the two numbers of a place, by which letters are ordered.
pub fn order(place: &str) -> Option<(u64, u64)> {
    let (time, number) = place.split_once('-')?;
    Some((time.parse().ok()?, number.parse().ok()?))
}
