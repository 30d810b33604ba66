//! Writes a task message.
//!
//! All checks come before the first byte is written. Then the envelope goes straight into one
//! buffer, with its members in Python's order.

use serde_json::value::RawValue;

use super::envelope::{is_known_header, is_known_property};
use super::{EncodeError, Protocol, Task};
use crate::base64;
use crate::compression::Compression;
use crate::fields::Fields;
use crate::json::write::{self, Object};
use crate::names;
use crate::repr;
use crate::serializer::Serializer;

/// The space for an envelope without its body: ids, reprs and names of ordinary length.
const ENVELOPE_BYTES: usize = 1_024;
/// The space for a body without its arguments: four empty members, or protocol 1's metadata.
const EMBED_BYTES: usize = 384;
/// kombu's delivery mode for messages that survive a restart of the broker.
pub(super) const PERSISTENT: u8 = 2;

/// The options for writing a task.
///
/// ```
/// use celery_protocol::message::EncodeOptions;
/// let options = EncodeOptions::new("celery", "7984eb8a-d938-486d-8d34-8897efb04d94")
///     .lang("php")
///     .origin("php42@web1")
///     .reply_to("34d9a836-b8f6-3946-a5fe-d67233090cc9");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodeOptions<'a> {
    /// The routing key: the queue, as long as `exchange` is empty.
    pub queue: &'a str,
    /// The exchange named in the message. Leave it empty: kombu drops a restored message whose
    /// named exchange has no binding.
    pub exchange: &'a str,
    /// A fresh UUID, the broker's id of this message. Never use the task's id. Only Redis needs it.
    pub delivery_tag: &'a str,
    /// The sender, as `php<pid>@<host>`.
    pub origin: &'a str,
    /// The process's UUID, written if the task has no `reply_to` of its own.
    pub reply_to: &'a str,
    /// The sender's language.
    pub lang: &'a str,
    /// The protocol to write.
    pub protocol: Protocol,
    /// The serializer of the body.
    pub serializer: Serializer,
    /// The compression of the body.
    pub compression: Option<Compression>,
}

impl<'a> EncodeOptions<'a> {
    /// Returns options for protocol 2 in uncompressed JSON to a queue.
    pub fn new(queue: &'a str, delivery_tag: &'a str) -> Self {
        Self {
            queue,
            exchange: "",
            delivery_tag,
            origin: "",
            reply_to: "",
            lang: "rust",
            protocol: Protocol::V2,
            serializer: Serializer::Json,
            compression: None,
        }
    }

    /// Sets the exchange.
    #[must_use]
    pub fn exchange(mut self, exchange: &'a str) -> Self {
        self.exchange = exchange;
        self
    }

    /// Sets the sender.
    #[must_use]
    pub fn origin(mut self, origin: &'a str) -> Self {
        self.origin = origin;
        self
    }

    /// Sets the address for replies.
    #[must_use]
    pub fn reply_to(mut self, reply_to: &'a str) -> Self {
        self.reply_to = reply_to;
        self
    }

    /// Sets the sender's language.
    #[must_use]
    pub fn lang(mut self, lang: &'a str) -> Self {
        self.lang = lang;
        self
    }

    /// Sets the protocol.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the serializer.
    #[must_use]
    pub fn serializer(mut self, serializer: Serializer) -> Self {
        self.serializer = serializer;
        self
    }

    /// Sets the compression.
    #[must_use]
    pub fn compression(mut self, compression: Option<Compression>) -> Self {
        self.compression = compression;
        self
    }
}

impl Task {
    /// Writes the task as one element of a Redis queue: kombu's envelope in compact JSON.
    ///
    /// The caller pushes it on the left of the list [`Keys::queue`](crate::redis_keys::Keys::queue) for
    /// the task's [`priority`](Task::priority).
    ///
    /// # Errors
    ///
    /// Returns [`EncodeError`] if a name or a number is not valid in a message, or the body cannot
    /// be serialized or compressed.
    pub fn encode_redis(&self, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        names::check_delivery_tag(options.delivery_tag)?;
        self.check(options)?;
        Ok(self.write_envelope(&self.encode_body(options)?, options))
    }

    /// Writes the envelope around a body, after all checks.
    pub(super) fn write_envelope(&self, body: &[u8], options: &EncodeOptions<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() * 4 / 3 + ENVELOPE_BYTES);
        let mut envelope = Object::new(&mut out);
        base64_string(envelope.name("body"), body);
        envelope.string("content-encoding", options.serializer.content_encoding());
        envelope.string("content-type", options.serializer.content_type());
        let headers = Object::new(envelope.name("headers"));
        match options.protocol {
            Protocol::V2 => self.write_headers(headers, options),
            Protocol::V1 => self.write_custom_headers(headers, options),
        }
        self.write_properties(Object::new(envelope.name("properties")), options);
        envelope.end();
        out
    }

    /// Refuses a task that would make a message that a worker cannot read.
    pub(super) fn check(&self, options: &EncodeOptions<'_>) -> Result<(), EncodeError> {
        names::check_task_id(&self.id)?;
        names::check_task_name(&self.name)?;
        names::check_queue_name(options.queue)?;
        if !options.exchange.is_empty() {
            names::check_queue_name(options.exchange)?;
        }
        if !is_array(&self.args) {
            return Err(EncodeError::Args);
        }
        if !is_object(&self.kwargs) {
            return Err(EncodeError::Kwargs);
        }
        self.check_embed(options.protocol)?;
        for (name, seconds) in [
            ("hard time limit", self.time_limit.hard),
            ("soft time limit", self.time_limit.soft),
        ] {
            if seconds.is_some_and(|seconds| !seconds.is_finite()) {
                return Err(EncodeError::Number(name));
            }
        }
        check_reserved(&self.headers, is_known_header)?;
        check_reserved(&self.properties.extra, is_known_property)
    }

    fn check_embed(&self, protocol: Protocol) -> Result<(), EncodeError> {
        let embed = &self.embed;
        for (name, signatures) in [
            ("callbacks", &embed.callbacks),
            ("errbacks", &embed.errbacks),
            ("chain", &embed.chain),
        ] {
            if signatures.as_deref().is_some_and(|json| !is_array(json)) {
                return Err(EncodeError::Embed(name));
            }
        }
        if embed.chord.as_deref().is_some_and(|json| !is_object(json)) {
            return Err(EncodeError::Embed("chord"));
        }
        if protocol == Protocol::V1
            && embed
                .chain
                .as_deref()
                .is_some_and(|chain| chain.get() != "[]")
        {
            return Err(EncodeError::NotInProtocol1("a chain"));
        }
        check_reserved(&embed.extra, |name| {
            matches!(name, "callbacks" | "errbacks" | "chain" | "chord")
        })
    }

    /// Returns the body in its serializer, compressed if the options say so.
    pub(super) fn encode_body(&self, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        let arguments = match options.serializer {
            Serializer::Json => self.arguments_as_received(),
            Serializer::Msgpack | Serializer::Yaml => [self.args.get(), self.kwargs.get()],
        };
        let mut json = Vec::with_capacity(arguments[0].len() + arguments[1].len() + EMBED_BYTES);
        match options.protocol {
            Protocol::V2 => self.write_body(&mut json, arguments),
            Protocol::V1 => self.write_body_1(&mut json, arguments),
        }
        let body = match options.serializer {
            Serializer::Json => json,
            other => other.from_json(&json)?,
        };
        match options.compression {
            Some(compression) => Ok(compression.compress(&body)?),
            None => Ok(body),
        }
    }

    /// Returns the received text of arguments with a bare `NaN`, unless the caller replaced them.
    fn arguments_as_received(&self) -> [&str; 2] {
        let current = [self.args.get(), self.kwargs.get()];
        match self.original_arguments.as_deref() {
            Some(original) if original.strict.each_ref().map(|text| &**text) == current => {
                original.received.each_ref().map(|text| &**text)
            }
            _ => current,
        }
    }

    pub(super) fn write_body(&self, out: &mut Vec<u8>, [args, kwargs]: [&str; 2]) {
        out.push(b'[');
        out.extend_from_slice(args.as_bytes());
        out.push(b',');
        out.extend_from_slice(kwargs.as_bytes());
        out.push(b',');
        let mut embed = Object::new(out);
        embed.raw("callbacks", self.embed.callbacks.as_deref());
        embed.raw("errbacks", self.embed.errbacks.as_deref());
        embed.raw("chain", self.embed.chain.as_deref());
        embed.raw("chord", self.embed.chord.as_deref());
        for (name, value) in self.embed.extra.iter() {
            embed.other(name, value);
        }
        embed.end();
        out.push(b']');
    }

    fn write_body_1(&self, out: &mut Vec<u8>, [args, kwargs]: [&str; 2]) {
        let mut body = Object::new(out);
        body.string("task", &self.name);
        body.string("id", &self.id);
        body.name("args").extend_from_slice(args.as_bytes());
        body.name("kwargs").extend_from_slice(kwargs.as_bytes());
        body.optional("group", self.group.as_deref());
        body.optional_integer("group_index", self.group_index);
        body.integer("retries", self.retries.into());
        body.time("eta", self.eta);
        body.time("expires", self.expires);
        body.name("utc").extend_from_slice(b"true");
        body.raw("callbacks", self.embed.callbacks.as_deref());
        body.raw("errbacks", self.embed.errbacks.as_deref());
        self.write_time_limit(&mut body);
        body.optional("taskset", self.group.as_deref());
        body.raw("chord", self.embed.chord.as_deref());
        body.end();
    }

    pub(super) fn write_headers(&self, mut headers: Object<'_>, options: &EncodeOptions<'_>) {
        headers.string("lang", options.lang);
        headers.string("task", &self.name);
        headers.string("id", &self.id);
        headers.optional("shadow", self.shadow.as_deref());
        headers.time("eta", self.eta);
        headers.time("expires", self.expires);
        headers.optional("group", self.group.as_deref());
        headers.optional_integer("group_index", self.group_index);
        headers.integer("retries", self.retries.into());
        self.write_time_limit(&mut headers);
        headers.string("root_id", self.root());
        headers.optional("parent_id", self.parent_id.as_deref());
        match &self.argsrepr {
            Some(text) => headers.string("argsrepr", text),
            None => headers.string("argsrepr", &repr::args(self.args.get())),
        }
        match &self.kwargsrepr {
            Some(text) => headers.string("kwargsrepr", text),
            None => headers.string(
                "kwargsrepr",
                &repr::value(self.kwargs.get(), repr::MAX_CHARS),
            ),
        }
        headers.string("origin", options.origin);
        match self.ignore_result {
            Some(ignore) => headers
                .name("ignore_result")
                .extend_from_slice(ignore.to_string().as_bytes()),
            None => headers.null("ignore_result"),
        }
        headers.integer("replaced_task_nesting", self.replaced_task_nesting);
        match &self.stamped_headers {
            Some(names) => write::strings(headers.name("stamped_headers"), names),
            None => headers.null("stamped_headers"),
        }
        let mut stamps = Object::new(headers.name("stamps"));
        for (name, value) in self.stamps.iter() {
            stamps.other(name, value);
        }
        stamps.end();
        self.write_custom_headers(headers, options);
    }

    /// Writes the headers that both protocols have, and ends the object.
    pub(super) fn write_custom_headers(
        &self,
        mut headers: Object<'_>,
        options: &EncodeOptions<'_>,
    ) {
        headers.present(
            "compression",
            options.compression.map(Compression::content_type),
        );
        for (name, value) in self.headers.iter() {
            headers.other(name, value);
        }
        headers.end();
    }

    fn write_time_limit(&self, object: &mut Object<'_>) {
        let out = object.name("timelimit");
        out.push(b'[');
        write::optional_float(out, self.time_limit.hard);
        out.push(b',');
        write::optional_float(out, self.time_limit.soft);
        out.push(b']');
    }

    fn write_properties(&self, mut properties: Object<'_>, options: &EncodeOptions<'_>) {
        let own = &self.properties;
        properties.string("correlation_id", &self.id);
        properties.string(
            "reply_to",
            own.reply_to.as_deref().unwrap_or(options.reply_to),
        );
        for (name, value) in own.extra.iter() {
            properties.other(name, value);
        }
        properties.integer(
            "delivery_mode",
            own.delivery_mode.unwrap_or(PERSISTENT).into(),
        );
        properties.present("expiration", own.expiration.as_deref());
        let mut delivery_info = Object::new(properties.name("delivery_info"));
        delivery_info.string("exchange", options.exchange);
        delivery_info.string("routing_key", options.queue);
        delivery_info.end();
        properties.integer("priority", self.priority().into());
        properties.string("body_encoding", "base64");
        properties.string("delivery_tag", options.delivery_tag);
        properties.end();
    }
}

fn base64_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    base64::encode(out, bytes);
    out.push(b'"');
}

pub(super) fn is_array(json: &RawValue) -> bool {
    json.get().starts_with('[')
}

pub(super) fn is_object(json: &RawValue) -> bool {
    json.get().starts_with('{')
}

fn check_reserved(fields: &Fields, is_known: impl Fn(&str) -> bool) -> Result<(), EncodeError> {
    match fields.iter().find(|(name, _)| is_known(name)) {
        Some((name, _)) => Err(EncodeError::Reserved(name.to_owned())),
        None => Ok(()),
    }
}
