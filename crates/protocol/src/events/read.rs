//! Reads events, for programs that watch workers.

use serde_json::{Map, Value};

use crate::amqp::Properties;
use crate::message::{Cause, DecodeError, DecodeOptions, read_amqp, read_document};

/// An event of any worker, as a program that watches workers receives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// The kind, such as `task-succeeded`: the member `type`.
    pub kind: String,
    /// The node name of the sender; empty if the event has none.
    pub hostname: String,
    /// All members of the event.
    pub members: Map<String, Value>,
}

impl Received {
    /// Returns a member that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name)?.as_str()
    }

    /// Returns a member that is a number, such as `timestamp` in Unix seconds.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.members.get(name)?.as_f64()
    }

    fn new(value: Value) -> Option<Self> {
        let Value::Object(members) = value else {
            return None;
        };
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        Some(Self {
            kind: text("type")?.to_owned(),
            hostname: text("hostname").unwrap_or_default().to_owned(),
            members,
        })
    }
}

/// Reads a message from the channel of events: one event, or a list of them. Elements that have no
/// `type` are left out, as by Celery's receiver.
///
/// ```
/// use celery_protocol::events::{Event, Message, Moment, Sender, decode_redis};
/// use celery_protocol::{message::DecodeOptions, time::Timestamp};
///
/// let sender = Sender { hostname: "celery@web1".into(), pid: 1, utcoffset: 0.0 };
/// let moment = Moment { clock: 1, at: Timestamp::from_unix(1_700_000_000, 0) };
/// let message = Message::one(&Event::Started { uuid: "an-id" }, &sender, moment);
/// let payload = message.encode_redis("a-tag");
/// let events = decode_redis(&payload, &DecodeOptions::default()).unwrap();
/// assert_eq!(events[0].kind, "task-started");
/// assert_eq!(events[0].hostname, "celery@web1");
/// assert_eq!(events[0].text("uuid"), Some("an-id"));
/// ```
///
/// # Errors
///
/// [`DecodeError`] if the message is not kombu's, or its body is neither an object nor a list.
pub fn decode_redis(raw: &[u8], options: &DecodeOptions<'_>) -> Result<Vec<Received>, DecodeError> {
    read_document(raw, options, |_, body| read(body))
}

/// Reads a message of events that RabbitMQ delivered, like [`decode_redis`].
///
/// # Errors
///
/// Like [`decode_redis`].
pub fn decode_amqp(
    properties: &Properties<'_>,
    body: &[u8],
    options: &DecodeOptions<'_>,
) -> Result<Vec<Received>, DecodeError> {
    read_amqp(properties, body, options, |_, body| read(body))
}

fn read(body: &str) -> Result<Vec<Received>, DecodeError> {
    let refused = |why: String| DecodeError::new(Cause::Body, format!("not an event: {why}"));
    let body = serde_json::from_str(body).map_err(|error| refused(error.to_string()))?;
    match body {
        Value::Array(events) => Ok(events.into_iter().filter_map(Received::new).collect()),
        event @ Value::Object(_) => Ok(Received::new(event).into_iter().collect()),
        _ => Err(refused("it is neither an object nor a list".to_owned())),
    }
}
