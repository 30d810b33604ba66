//! A message that is not a task: a JSON document with headers, as remote control and events send
//! it.

use serde_json::value::RawValue;

use super::decode::read_body;
use super::envelope::{Envelope, Meta, envelope_text};
use super::{AmqpMessage, Cause, DecodeError, DecodeOptions};
use crate::amqp::{AmqpError, Properties, Short, TableBuf};
use crate::base64;
use crate::json::write::Object;

/// kombu's delivery modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryMode {
    /// The message may be lost when the broker restarts.
    Transient = 1,
    /// The message survives a restart of the broker, where the transport can keep it.
    Persistent = 2,
}

/// A document to be written, with its address.
pub(crate) struct Document<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) delivery_mode: DeliveryMode,
    /// A fresh UUID, the broker's id of this message.
    pub(crate) delivery_tag: &'a str,
    /// The body, as JSON.
    pub(crate) body: &'a [u8],
}

/// The space for an envelope without its body.
const ENVELOPE_BYTES: usize = 512;

impl Document<'_> {
    /// Writes kombu's envelope in compact JSON, with the headers that `headers` writes.
    pub(crate) fn encode_redis(&self, headers: impl FnOnce(&mut Object<'_>)) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() * 4 / 3 + ENVELOPE_BYTES);
        let mut envelope = Object::new(&mut out);
        let text = envelope.name("body");
        text.push(b'"');
        base64::encode(text, self.body);
        text.push(b'"');
        envelope.string("content-encoding", "utf-8");
        envelope.string("content-type", "application/json");
        let mut written = Object::new(envelope.name("headers"));
        headers(&mut written);
        written.end();
        let mut properties = Object::new(envelope.name("properties"));
        properties.integer("delivery_mode", self.delivery_mode as i64);
        let mut delivery_info = Object::new(properties.name("delivery_info"));
        delivery_info.string("exchange", self.exchange);
        delivery_info.string("routing_key", self.routing_key);
        delivery_info.end();
        properties.integer("priority", 0);
        properties.string("body_encoding", "base64");
        properties.string("delivery_tag", self.delivery_tag);
        properties.end();
        envelope.end();
        out
    }

    /// Writes a message for RabbitMQ, with the headers that `headers` writes. It has no delivery
    /// tag: RabbitMQ gives it one.
    pub(crate) fn encode_amqp(
        &self,
        headers: impl FnOnce(&mut Object<'_>),
    ) -> Result<AmqpMessage, AmqpError> {
        let mut table = Vec::new();
        let mut written = Object::new(&mut table);
        headers(&mut written);
        written.end();
        let table = String::from_utf8(table)
            .map_err(|_| AmqpError::Malformed("the headers are not UTF-8"))?;
        Ok(AmqpMessage {
            content_type: "application/json".to_owned(),
            content_encoding: "utf-8".to_owned(),
            headers: TableBuf::from_json(&table)?,
            delivery_mode: self.delivery_mode as u8,
            priority: Some(0),
            body: self.body.to_vec(),
            ..AmqpMessage::default()
        })
    }
}

/// Reads a document: hands its headers (a JSON object, if there are any) and its body (strict JSON)
/// to `read`.
pub(crate) fn read_document<T>(
    raw: &[u8],
    options: &DecodeOptions<'_>,
    read: impl FnOnce(Option<&RawValue>, &str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let text = envelope_text(raw).map_err(|error| {
        DecodeError::new(Cause::Envelope, format!("the message is not JSON: {error}"))
    })?;
    read_parts(Envelope::read(&text)?, options, read)
}

/// Reads a document like [`read_document`], from a message of RabbitMQ.
pub(crate) fn read_amqp<T>(
    properties: &Properties<'_>,
    body: &[u8],
    options: &DecodeOptions<'_>,
    read: impl FnOnce(Option<&RawValue>, &str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let bad = |error: AmqpError| {
        let detail = format!("the headers cannot be read: {error}");
        DecodeError::new(Cause::Envelope, detail)
    };
    let raw = |json: String| {
        RawValue::from_string(json).map_err(|error| bad(AmqpError::Json(error.to_string())))
    };
    let headers = match properties.headers {
        Some(table) => Some(raw(table.to_json().map_err(bad)?)?),
        None => None,
    };
    let members = raw("{}".to_owned())?;
    let content_type = properties.content_type.map(Short::text);
    let envelope = Envelope::of_parts(content_type, headers.as_deref(), &members, body);
    read_parts(envelope, options, read)
}

fn read_parts<T>(
    mut envelope: Envelope<'_>,
    options: &DecodeOptions<'_>,
    read: impl FnOnce(Option<&RawValue>, &str) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    envelope.read_properties()?;
    let mut meta = Meta::default();
    meta.read_headers(envelope.headers)?;
    let body = read_body(&mut envelope, &meta, options)?;
    read(envelope.headers, &body.json)
}
