//! A task message on RabbitMQ: properties, a table of headers, and the bytes of the body.
//!
//! Headers and body are those of the message on Redis. What kombu's envelope adds there is in the
//! properties here, or is not needed: the body has no second encoding.

use serde_json::value::RawValue;

use super::encode::PERSISTENT;
use super::envelope::Envelope;
use super::{
    Carried, Cause, DecodeError, DecodeOptions, DeliveryInfo, EncodeError, EncodeOptions, Protocol,
    Task,
};
use crate::amqp::{AmqpError, Properties, Short, TableBuf};
use crate::fields::Fields;
use crate::json::write::Object;

/// A message for RabbitMQ.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmqpMessage {
    /// The MIME type of the body.
    pub content_type: String,
    /// The encoding of the body.
    pub content_encoding: String,
    /// The headers.
    pub headers: TableBuf,
    /// 2 if the broker keeps the message through a restart, 1 if not.
    pub delivery_mode: u8,
    /// The priority; bigger is sooner. It has an effect in queues with priorities only.
    pub priority: Option<u8>,
    /// The task's id; empty if the message is not a task.
    pub correlation_id: String,
    /// The queue for the result.
    pub reply_to: Option<String>,
    /// The milliseconds until the message expires, as text.
    pub expiration: Option<String>,
    /// An id of the message, which nothing uses.
    pub message_id: Option<String>,
    /// A name of the kind of message, which nothing uses.
    pub kind: Option<String>,
    /// The program that sent the message, which nothing uses.
    pub app_id: Option<String>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The body.
    pub body: Vec<u8>,
}

impl AmqpMessage {
    /// Returns the message that has arrived with these properties, with other headers. It does not
    /// name the user, which the broker compares with the login.
    pub fn of(properties: &Properties<'_>, headers: TableBuf, body: Vec<u8>) -> Self {
        let text = |given: Option<Short<'_>>| given.map(|text| text.text().into_owned());
        Self {
            content_type: text(properties.content_type).unwrap_or_default(),
            content_encoding: text(properties.content_encoding).unwrap_or_default(),
            headers,
            delivery_mode: properties.delivery_mode.unwrap_or(PERSISTENT),
            priority: properties.priority,
            correlation_id: text(properties.correlation_id).unwrap_or_default(),
            reply_to: text(properties.reply_to),
            expiration: text(properties.expiration),
            message_id: text(properties.message_id),
            kind: text(properties.kind),
            app_id: text(properties.app_id),
            timestamp: properties.timestamp,
            body,
        }
    }

    /// Returns the properties in the form of the codec.
    ///
    /// # Errors
    /// [`AmqpError::TooLarge`] if a text has more than 255 bytes.
    pub fn properties(&self) -> Result<Properties<'_>, AmqpError> {
        Ok(Properties {
            content_type: Some(Short::new(&self.content_type)?),
            content_encoding: Some(Short::new(&self.content_encoding)?),
            headers: Some(self.headers.as_table()),
            delivery_mode: Some(self.delivery_mode),
            priority: self.priority,
            correlation_id: optional(Some(&*self.correlation_id).filter(|id| !id.is_empty()))?,
            reply_to: optional(self.reply_to.as_deref())?,
            expiration: optional(self.expiration.as_deref())?,
            message_id: optional(self.message_id.as_deref())?,
            timestamp: self.timestamp,
            kind: optional(self.kind.as_deref())?,
            app_id: optional(self.app_id.as_deref())?,
            user_id: None,
            cluster_id: None,
        })
    }
}

impl Carried for AmqpMessage {
    fn size(&self) -> usize {
        self.headers.len() + self.body.len()
    }
}

impl Task {
    /// Writes the task as a message for RabbitMQ.
    ///
    /// Of the properties that Celery does not define, those that AMQP has are written, except the
    /// user, which the broker compares with the login.
    ///
    /// # Errors
    ///
    /// Like [`encode_redis`](Self::encode_redis); also for a name or text that is too long for
    /// AMQP. That the headers fit a frame is checked when they are sent.
    pub fn encode_amqp(&self, options: &EncodeOptions<'_>) -> Result<AmqpMessage, EncodeError> {
        self.check(options)?;
        let mut headers = Vec::new();
        let object = Object::new(&mut headers);
        match options.protocol {
            Protocol::V2 => self.write_headers(object, options),
            Protocol::V1 => self.write_custom_headers(object, options),
        }
        let headers = String::from_utf8(headers)
            .map_err(|_| AmqpError::Malformed("the headers are not UTF-8"))?;
        let own = &self.properties;
        let reply_to = own.reply_to.as_deref().unwrap_or(options.reply_to);
        let message = AmqpMessage {
            content_type: options.serializer.content_type().to_owned(),
            content_encoding: options.serializer.content_encoding().to_owned(),
            headers: TableBuf::from_json(&headers)?,
            delivery_mode: own.delivery_mode.unwrap_or(PERSISTENT),
            priority: own.priority,
            correlation_id: self.id.clone(),
            reply_to: Some(reply_to.to_owned()).filter(|queue| !queue.is_empty()),
            expiration: own.expiration.clone(),
            message_id: text(&own.extra, "message_id"),
            kind: text(&own.extra, "type"),
            app_id: text(&own.extra, "app_id"),
            timestamp: own
                .extra
                .get("timestamp")
                .and_then(|value| value.get().parse().ok()),
            body: self.encode_body(options)?,
        };
        message.properties()?;
        Ok(message)
    }

    /// Reads a message of RabbitMQ.
    ///
    /// # Errors
    ///
    /// Like [`decode_redis_with`](Self::decode_redis_with). Headers that cannot be read have the
    /// cause [`Cause::Envelope`].
    pub fn decode_amqp(
        properties: &Properties<'_>,
        body: &[u8],
        delivered: &DeliveryInfo,
        redelivered: bool,
        options: &DecodeOptions<'_>,
    ) -> Result<Task, DecodeError> {
        let bad = |error: AmqpError| {
            let detail = format!("the headers cannot be read: {error}");
            DecodeError::new(Cause::Envelope, detail)
        };
        let raw = |json: &str| {
            RawValue::from_string(json.to_owned())
                .map_err(|error| bad(AmqpError::Json(error.to_string())))
        };
        let headers = match properties.headers {
            Some(table) => Some(raw(&table.to_json().map_err(bad)?)?),
            None => None,
        };
        let members = raw(&envelope_properties(properties, delivered, redelivered))?;
        let content_type = properties.content_type.map(Short::text);
        let envelope = Envelope::of_parts(content_type, headers.as_deref(), &members, body);
        Self::of_envelope(envelope, options)
    }
}

fn optional(text: Option<&str>) -> Result<Option<Short<'_>>, AmqpError> {
    text.map(Short::new).transpose()
}

/// Returns a property that Celery does not define, if it is a text.
fn text(extra: &Fields, name: &str) -> Option<String> {
    let text = super::envelope::string(extra.get(name)?)?;
    Some(text.into_owned())
}

/// Writes the properties as kombu's envelope has them.
fn envelope_properties(
    properties: &Properties<'_>,
    delivered: &DeliveryInfo,
    redelivered: bool,
) -> String {
    let mut out = Vec::new();
    let mut members = Object::new(&mut out);
    for (name, value) in [
        ("correlation_id", properties.correlation_id),
        ("reply_to", properties.reply_to),
        ("expiration", properties.expiration),
        ("message_id", properties.message_id),
        ("type", properties.kind),
        ("app_id", properties.app_id),
    ] {
        members.present(name, value.map(Short::text).as_deref());
    }
    for (name, value) in [
        ("delivery_mode", properties.delivery_mode.map(i64::from)),
        ("priority", properties.priority.map(i64::from)),
        (
            "timestamp",
            properties.timestamp.and_then(|at| i64::try_from(at).ok()),
        ),
    ] {
        if let Some(value) = value {
            members.integer(name, value);
        }
    }
    let mut delivery_info = Object::new(members.name("delivery_info"));
    delivery_info.string("exchange", &delivered.exchange);
    delivery_info.string("routing_key", &delivered.routing_key);
    delivery_info.boolean("redelivered", redelivered);
    delivery_info.end();
    members.end();
    String::from_utf8_lossy(&out).into_owned()
}
