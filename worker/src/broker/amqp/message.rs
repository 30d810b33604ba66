//! Messages in the form of AMQP: as they were delivered, and as they are published.
//!
//! A message carries the number of its redeliveries that have begun in a header of its own
//! ([`BEGUN`]), because the counters of the broker count each delivery, whether or not its task has
//! begun. The value is `<retries>:<count>`: a program that copies unknown headers into a retry, as
//! Python's worker does, must not pass the count on to it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use celery_client::amqp::aio::Publication;
use celery_client::amqp::dead_letters::is_added_header;
use celery_protocol::amqp::{AmqpError, Content, Delivery, Properties, TableBuf};
use celery_protocol::message::{
    DecodeError, DecodeOptions, DeliveryInfo, EncodeError, EncodeOptions, Task,
};
use celery_protocol::serializer::Serializer;

use crate::broker::held::{Held, LARGE, Peek};
use crate::broker::settlement::Letter;

/// The header with the number of redeliveries that have begun.
const BEGUN: &str = "rs-begun";
/// The header in which a quorum queue counts how often a message came back.
const DELIVERIES: &str = "x-delivery-count";
/// The count from which on a message is published anew: half of RabbitMQ's default limit, so that
/// workers may be killed ten more times before that has happened.
const OFTEN: u64 = 10;
/// The first letters of the exchanges of Celery's native delay.
const DELAYED: &str = "celery_delayed";
/// In place of a count: the message has none.
const NONE: u64 = u64::MAX;

/// A message that was delivered. Copies are the same message.
#[derive(Clone, Debug)]
pub(crate) struct Message(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    content: Content,
    queue: Arc<str>,
    exchange: String,
    routing_key: String,
    /// `true` if the broker delivered it before.
    redelivered: bool,
    /// How many of its redeliveries have begun, or [`NONE`].
    begun: AtomicU64,
    /// The number of retries to which the count belongs.
    retries: Option<u32>,
}

impl Message {
    pub(super) fn new(queue: &Arc<str>, delivery: Delivery) -> Self {
        let (retries, begun) = match count(&delivery.content) {
            Some((retries, count)) => (Some(retries), count),
            None => (None, NONE),
        };
        Message(Arc::new(Parts {
            queue: Arc::clone(queue),
            exchange: delivery.exchange,
            routing_key: delivery.routing_key,
            redelivered: delivery.redelivered,
            begun: AtomicU64::new(begun),
            retries,
            content: delivery.content,
        }))
    }

    /// Returns the queue that it came from.
    pub(super) fn queue(&self) -> &Arc<str> {
        &self.0.queue
    }

    /// Returns `true` if the broker delivered it before, and not this worker put it back.
    pub(super) fn is_redelivered_by_broker(&self) -> bool {
        self.0.redelivered
    }

    /// Returns `true` if the broker has counted that it came back [`OFTEN`] times. Only quorum queues
    /// count that.
    pub(super) fn came_back_often(&self) -> bool {
        if !self.0.redelivered {
            return false;
        }
        let count = || -> Option<u64> {
            let headers = self.properties().headers?.to_fields().ok()?;
            headers.get(DELIVERIES)?.get().parse().ok()
        };
        count().is_some_and(|count| count >= OFTEN)
    }

    /// Returns how many of its redeliveries have begun. `None`: no worker has counted one.
    pub(super) fn begun(&self) -> Option<u64> {
        Some(self.0.begun.load(Ordering::Relaxed)).filter(|count| *count != NONE)
    }

    /// Returns `true` if it was delivered before, by the broker's mark or by its count.
    fn is_redelivered(&self) -> bool {
        self.0.redelivered || self.begun().is_some()
    }

    /// Returns the properties. Those that cannot be read have made the message a dead letter.
    pub(super) fn properties(&self) -> Properties<'_> {
        self.0.content.properties().unwrap_or_default()
    }

    /// Returns the headers, without those of this worker and of the broker, and with this count.
    ///
    /// # Errors
    /// [`AmqpError`] if the headers cannot be read.
    pub(super) fn headers_with(&self, begun: u64) -> Result<TableBuf, AmqpError> {
        let mut headers = self.headers()?;
        let retries = match self.0.retries {
            Some(retries) => retries,
            None => retries(&self.0.content),
        };
        headers.push_text(BEGUN, &format!("{retries}:{begun}"))?;
        Ok(headers)
    }

    /// Returns the headers that the sender has written.
    ///
    /// # Errors
    /// [`AmqpError`] if the headers cannot be read.
    pub(super) fn headers(&self) -> Result<TableBuf, AmqpError> {
        let table = self.properties().headers.unwrap_or_default();
        table.without(is_added_header)
    }

    /// Returns the headers with those of a dead letter.
    pub(super) fn headers_of_letter(&self, letter: TableBuf) -> TableBuf {
        // Headers that cannot be read are the reason why it is a dead letter.
        match self.headers() {
            Ok(headers) => headers.followed_by(&letter),
            Err(_) => letter,
        }
    }

    /// Returns the body.
    pub(super) fn body(&self) -> &[u8] {
        &self.0.content.body
    }

    /// Returns a copy for a queue, with other headers.
    pub(super) fn copy<'m>(&'m self, queue: &'m str, headers: &'m TableBuf) -> Publication<'m> {
        Publication {
            routing_key: queue,
            properties: Properties {
                headers: Some(headers.as_table()),
                // The broker compares the user with the login, and only its sender has that.
                user_id: None,
                ..self.properties()
            },
            body: &self.0.content.body,
            ..Publication::default()
        }
    }
}

impl Held for Message {
    fn size(&self) -> usize {
        self.0.content.size()
    }

    fn peek(&self) -> Option<Peek> {
        if !self.is_redelivered() {
            return None;
        }
        let headers = self.properties().headers.unwrap_or_default();
        let text = |name: &str| match headers.text(name) {
            Ok(Some(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        if text("compression").is_empty() && self.size() < LARGE {
            return None;
        }
        Some(Peek {
            id: text("id"),
            task: text("task"),
            // The count is in the message.
            count: String::new(),
        })
    }

    fn decode(&self, options: &DecodeOptions<'_>) -> Result<Task, DecodeError> {
        let is_delayed = self.0.exchange.starts_with(DELAYED);
        let mut delivered = DeliveryInfo::default();
        if is_delayed {
            delivered.routing_key = self.0.queue.to_string();
        } else {
            delivered.exchange.clone_from(&self.0.exchange);
            delivered.routing_key.clone_from(&self.0.routing_key);
        }
        let properties = self.properties();
        let (body, redelivered) = (&self.0.content.body, self.0.redelivered);
        let mut task = Task::decode_amqp(&properties, body, &delivered, redelivered, options)?;
        if self.0.retries.is_some_and(|of| of != task.retries) {
            // The count belongs to another try.
            self.0.begun.store(NONE, Ordering::Relaxed);
        }
        task.redelivered = self.is_redelivered();
        let names = task.headers.iter().map(|(name, _)| name);
        let names = names.filter(|name| is_added_header(name.as_bytes()));
        for name in names.map(str::to_owned).collect::<Vec<_>>() {
            task.headers.remove(&name);
        }
        Ok(task)
    }

    fn priority(&self) -> Result<u8, DecodeError> {
        Ok(self.properties().priority.unwrap_or(0))
    }
}

/// Returns the count in the headers of a message, with the number of retries that it belongs to.
fn count(content: &Content) -> Option<(u32, u64)> {
    let headers = content.properties().ok()?.headers?;
    let text = std::str::from_utf8(headers.text(BEGUN).ok()??).ok()?;
    let (retries, count) = text.split_once(':')?;
    Some((retries.parse().ok()?, count.parse().ok()?))
}

/// Returns the number of retries that a message names.
fn retries(content: &Content) -> u32 {
    let read = || {
        let headers = content.properties().ok()?.headers?.to_fields().ok()?;
        headers.get("retries")?.get().parse().ok()
    };
    read().unwrap_or(0)
}

/// Writes a task as the bytes that [`publication`] reads: the length of the header, the header of
/// AMQP, and the body.
///
/// # Errors
/// Returns [`EncodeError`] if the task cannot be written.
pub(super) fn encode(task: &Task, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
    let message = task.encode_amqp(options)?;
    let mut bytes = vec![0; LENGTH];
    message
        .properties()?
        .write(message.body.len() as u64, &mut bytes);
    let length = u32::try_from(bytes.len() - LENGTH).unwrap_or(u32::MAX);
    bytes[..LENGTH].copy_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(&message.body);
    Ok(bytes)
}

/// Reads the task of a message that [`encode`] has written for a queue.
pub(super) fn decode(bytes: &[u8], queue: &str) -> Option<Task> {
    let message = publication(queue, bytes).ok()?;
    let mut delivered = DeliveryInfo::default();
    queue.clone_into(&mut delivered.routing_key);
    let options = DecodeOptions::default().accept(&Serializer::ALL);
    Task::decode_amqp(
        &message.properties,
        message.body,
        &delivered,
        false,
        &options,
    )
    .ok()
}

/// The bytes of the length before the header.
const LENGTH: usize = 4;

/// Returns the message that [`encode`] has written.
///
/// # Errors
/// [`AmqpError`] if other code has written it.
pub(super) fn publication<'m>(
    queue: &'m str,
    bytes: &'m [u8],
) -> Result<Publication<'m>, AmqpError> {
    const ENDS_EARLY: AmqpError = AmqpError::Malformed("a message ends within its header");
    let (length, rest) = bytes.split_first_chunk::<LENGTH>().ok_or(ENDS_EARLY)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    let (header, body) = rest.split_at_checked(length).ok_or(ENDS_EARLY)?;
    Ok(Publication {
        routing_key: queue,
        properties: Properties::read(header)?.0,
        body,
        ..Publication::default()
    })
}

/// Describes a message that [`encode`] has written, for the dead letters.
///
/// # Errors
/// Like [`publication`].
pub(super) fn describe(queue: &str, bytes: &[u8], cause: &str) -> Result<Letter, AmqpError> {
    let properties = publication(queue, bytes)?.properties;
    let headers = properties.headers.unwrap_or_default();
    let text = |bytes: Option<&[u8]>| {
        let text = bytes.map(String::from_utf8_lossy);
        text.map_or_else(String::new, Cow::into_owned)
    };
    Ok(Letter {
        queue: queue.into(),
        id: text(headers.text("id")?),
        task: text(headers.text("task")?),
        cause: cause.to_owned(),
    })
}
