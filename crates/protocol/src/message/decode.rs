//! Reads a task message: first the envelope, then the body, then the two together.
//!
//! Limits apply to depth and size. Every error carries the id, the task's name and the delivery tag
//! as far as they could be read.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::body::BodyParts;
use super::envelope::{Envelope, Meta, RawBody, envelope_text, is_falsy, quoted, string};
use super::{Cause, DecodeError, DecodeOptions, OriginalArguments, Protocol, Task, glimpse};
use crate::base64;
use crate::compression::{Compression, CompressionError};
use crate::json::{self, Elements, JsonError, Members};
use crate::names::{self, NameError};
use crate::serializer::{Serializer, SerializerError};

impl Task {
    /// Reads one element of a Redis queue whose body is JSON.
    ///
    /// # Errors
    ///
    /// Like [`decode_redis_with`](Self::decode_redis_with).
    pub fn decode_redis(raw: &[u8]) -> Result<Task, DecodeError> {
        Self::decode_redis_with(raw, &DecodeOptions::default())
    }

    /// Reads one element of a Redis queue with these options.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], whose [`cause`](DecodeError::cause) becomes the cause of the dead letter.
    /// It names the task and its id as far as the message could be read.
    pub fn decode_redis_with(raw: &[u8], options: &DecodeOptions<'_>) -> Result<Task, DecodeError> {
        let text = envelope_text(raw).map_err(|error| {
            let detail = format!("the message is not JSON: {error}");
            glimpse::add_to(DecodeError::new(Cause::Envelope, detail), raw)
        })?;
        let envelope = Envelope::read(&text).map_err(|error| glimpse::add_to(error, raw))?;
        Self::of_envelope(envelope, options)
    }

    /// Reads the parts of an envelope.
    pub(super) fn of_envelope(
        mut envelope: Envelope<'_>,
        options: &DecodeOptions<'_>,
    ) -> Result<Task, DecodeError> {
        let mut meta = Meta::default();
        // Headers and properties are both read before an error of either is returned: the headers
        // have the id, the properties the delivery tag.
        let headers = meta.read_headers(envelope.headers);
        let properties = envelope.read_properties();
        let delivery_tag = envelope.delivery_tag();
        let known = |error: DecodeError, meta: &Meta<'_>| DecodeError {
            id: usable(meta.id, names::check_task_id),
            task: usable(meta.task, names::check_task_name),
            delivery_tag: delivery_tag.clone(),
            ..error
        };
        let custom = headers.map_err(|error| known(error, &meta))?;
        properties.map_err(|error| known(error, &meta))?;
        let body = read_body(&mut envelope, &meta, options).map_err(|error| known(error, &meta))?;
        let parts = BodyParts::read(&body.json, &mut meta).map_err(|error| known(error, &meta))?;
        let original_arguments = body.original_arguments(&parts);
        let task = meta
            .task(parts, custom, &envelope)
            .map_err(|error| known(error, &meta))?;
        Ok(Task {
            serializer: body.serializer,
            compression: body.compression,
            original_arguments,
            ..task
        })
    }
}

/// Returns a name if it can be part of a key and of a log line.
fn usable(
    value: Option<&RawValue>,
    check: impl Fn(&str) -> Result<(), NameError>,
) -> Option<String> {
    string(value?)
        .filter(|name| check(name).is_ok())
        .map(Cow::into_owned)
}

/// A body as strict JSON.
pub(super) struct Body<'a> {
    pub(super) json: Cow<'a, str>,
    /// The JSON as received, if it had to be changed.
    received: Option<Vec<u8>>,
    serializer: Serializer,
    compression: Option<Compression>,
}

impl Body<'_> {
    /// Returns the original text of the arguments, if making strict JSON changed it.
    fn original_arguments(&self, parts: &BodyParts<'_>) -> Option<Box<OriginalArguments>> {
        let received = self.received.as_deref()?;
        let places = match parts.protocol {
            Protocol::V2 => {
                let mut elements = Elements::new(received).ok()?;
                [elements.next().ok()??, elements.next().ok()??]
            }
            Protocol::V1 => [
                Members::find(received, "args").ok()??,
                Members::find(received, "kwargs").ok()??,
            ],
        };
        let received = places.map(|place| String::from_utf8_lossy(&received[place]).into());
        let strict = [parts.args.get().into(), parts.kwargs.get().into()];
        (received != strict).then(|| Box::new(OriginalArguments { strict, received }))
    }
}

/// Reads the body of any message, as its content type and the headers say. Takes it out of the
/// envelope.
pub(super) fn read_body<'a>(
    envelope: &mut Envelope<'a>,
    meta: &Meta<'_>,
    options: &DecodeOptions<'_>,
) -> Result<Body<'a>, DecodeError> {
    let serializer = accepted(envelope.content_type.as_deref(), options.accept)?;
    let compression = match meta.compression.filter(|value| !is_falsy(value)) {
        None => None,
        Some(value) => Some(known_compression(value)?),
    };
    let bytes = match std::mem::take(&mut envelope.body) {
        RawBody::Missing => {
            return Err(DecodeError::new(Cause::Envelope, "the message has no body"));
        }
        RawBody::Other => {
            let detail = "the body is not a string";
            return Err(DecodeError::new(Cause::Envelope, detail));
        }
        RawBody::Bytes(bytes) if bytes.len() > options.max_body => {
            return Err(too_large(options.max_body));
        }
        RawBody::Bytes(bytes) => Cow::Borrowed(bytes),
        RawBody::Text(body) => unpack(body, envelope.body_encoding.as_deref(), options.max_body)?,
    };
    let limit = options.limit(serializer, compression);
    let bytes = match compression {
        None => bytes,
        Some(compression) => Cow::Owned(compression.decompress(&bytes, limit)?),
    };
    if serializer != Serializer::Json {
        let json = Cow::Owned(serializer.to_json(&bytes, limit)?);
        return Ok(Body {
            json,
            received: None,
            serializer,
            compression,
        });
    }
    // The content encoding is ignored, as kombu does with JSON: it is always UTF-8.
    let (json, received) = strict_json(bytes)
        .map_err(|error| DecodeError::new(Cause::Body, format!("the body is not JSON: {error}")))?;
    Ok(Body {
        json,
        received,
        serializer,
        compression,
    })
}

fn accepted(content_type: Option<&str>, accept: &[Serializer]) -> Result<Serializer, DecodeError> {
    let content_type = content_type.unwrap_or(Serializer::Json.content_type());
    match Serializer::from_name(content_type) {
        Some(serializer) if accept.contains(&serializer) => Ok(serializer),
        _ => Err(DecodeError::new(
            Cause::ContentDisallowed,
            format!(
                "Refusing to deserialize untrusted content of type {}",
                quoted(content_type)
            ),
        )),
    }
}

fn known_compression(value: &RawValue) -> Result<Compression, DecodeError> {
    string(value)
        .as_deref()
        .and_then(Compression::from_name)
        .ok_or_else(|| {
            DecodeError::new(
                Cause::Compression,
                format!("unknown compression {}", quoted(value.get())),
            )
        })
}

fn too_large(limit: usize) -> DecodeError {
    DecodeError::new(
        Cause::TooLarge,
        format!("the body is larger than {limit} bytes"),
    )
}

/// Decodes the transport's encoding of the body.
fn unpack<'a>(
    body: Cow<'a, str>,
    encoding: Option<&str>,
    limit: usize,
) -> Result<Cow<'a, [u8]>, DecodeError> {
    match encoding {
        Some("base64") => {
            if body.len() / 4 * 3 > limit.saturating_add(2) {
                return Err(too_large(limit));
            }
            let bytes = base64::decode(body.as_bytes()).or_else(|error| {
                // Python skips line breaks and other foreign characters; only messages that have
                // them are copied.
                let dense: Vec<u8> = body
                    .bytes()
                    .filter(|byte| !byte.is_ascii_whitespace())
                    .collect();
                if dense.len() == body.len() {
                    Err(error)
                } else {
                    base64::decode(&dense)
                }
            });
            bytes.map(Cow::Owned).map_err(|error| {
                DecodeError::new(Cause::Encoding, format!("the body is not base64: {error}"))
            })
        }
        None if body.len() > limit => Err(too_large(limit)),
        None => Ok(match body {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        }),
        Some(other) => Err(DecodeError::new(
            Cause::Encoding,
            format!("unknown body encoding {}", quoted(other)),
        )),
    }
}

/// Returns strict JSON, and the received text if it had to be changed.
fn strict_json(bytes: Cow<'_, [u8]>) -> Result<(Cow<'_, str>, Option<Vec<u8>>), JsonError> {
    match bytes {
        Cow::Borrowed(bytes) => Ok(match json::normalise(bytes)? {
            Cow::Borrowed(same) => (Cow::Borrowed(same), None),
            Cow::Owned(changed) => (Cow::Owned(changed), Some(bytes.to_vec())),
        }),
        Cow::Owned(bytes) => {
            let text = String::from_utf8(bytes).map_err(|error| JsonError::Utf8 {
                at: error.utf8_error().valid_up_to(),
            })?;
            let changed = match json::normalise_text(&text)? {
                Cow::Borrowed(_) => None,
                Cow::Owned(changed) => Some(changed),
            };
            Ok(match changed {
                Some(changed) => (Cow::Owned(changed), Some(text.into_bytes())),
                None => (Cow::Owned(text), None),
            })
        }
    }
}

impl From<CompressionError> for DecodeError {
    fn from(error: CompressionError) -> Self {
        let cause = match error {
            CompressionError::TooLarge { .. } => Cause::TooLarge,
            CompressionError::Damaged { .. } => Cause::Compression,
        };
        Self::new(cause, error.to_string())
    }
}

impl From<SerializerError> for DecodeError {
    fn from(error: SerializerError) -> Self {
        let cause = match error {
            SerializerError::TooLarge { .. } => Cause::TooLarge,
            SerializerError::Invalid { .. } | SerializerError::NoForm { .. } => Cause::Body,
        };
        Self::new(cause, error.to_string())
    }
}
