//! kombu's envelope and the members that the protocols define, as text not yet parsed.
//!
//! Reading takes two steps: first finding every member's text, then converting each member where it
//! is needed. The id of a task can thus be reported even if its `eta` is not a date.

use std::borrow::Cow;
use std::fmt;

use serde_json::value::RawValue;

use super::{Cause, DecodeError};
use crate::fields::{Fields, Reading};
use crate::json::{self, JsonError, Members, Name, each_member};

/// Returns an envelope as strict JSON, or an error if kombu could not read it. Such a message must
/// not be held: Python workers read held messages to restore those of lost workers, and would fail.
///
/// Bytes that are not UTF-8 become U+FFFD, as in kombu's sweeper; this cannot change the body,
/// which is base64.
pub(super) fn envelope_text(raw: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    match json::normalise_for_python(raw) {
        Err(JsonError::Utf8 { .. }) => {
            let lossy = String::from_utf8_lossy(raw);
            let text = json::normalise_for_python(lossy.as_bytes())?;
            Ok(Cow::Owned(text.into_owned()))
        }
        other => other,
    }
}

/// From this size, it is faster to look for the ends of the members first, and to parse all of them
/// but the body.
const LARGE: usize = 4 << 10;

/// A body before its content type is looked at.
#[derive(Default)]
pub(super) enum RawBody<'a> {
    #[default]
    Missing,
    /// A member of an envelope: the value of a JSON string, which has an encoding.
    Text(Cow<'a, str>),
    /// A member of an envelope that is not a string.
    Other,
    /// The bytes themselves.
    Bytes(&'a [u8]),
}

impl<'a> RawBody<'a> {
    /// Reads the body. It is most of a message, so a plain string is not parsed again: the caller has
    /// found its end, and it only must not have control characters.
    fn read(json: &'a str) -> Result<Self, serde_json::Error> {
        let inside = json.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
        if let Some(inside) = inside
            && memchr::memchr(b'\\', inside.as_bytes()).is_none()
            && !has_control(inside.as_bytes())
        {
            return Ok(RawBody::Text(Cow::Borrowed(inside)));
        }
        serde_json::from_str(json).map(Self::of)
    }

    fn of(value: &'a RawValue) -> Self {
        string(value).map_or(RawBody::Other, RawBody::Text)
    }
}

/// Returns `true` if a text has characters that a JSON string must not have.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without branches, the compiler makes vector instructions of it"
)]
fn has_control(text: &[u8]) -> bool {
    let block = |block: &[u8]| {
        block
            .iter()
            .fold(false, |found, &byte| found | (byte < b' '))
    };
    text.chunks(256).any(block)
}

/// An element of a queue. A member that is missing or of the wrong kind is an error only where it
/// is needed. The error can then report as much as possible.
#[derive(Default)]
pub(super) struct Envelope<'a> {
    pub(super) body: RawBody<'a>,
    pub(super) content_type: Option<Cow<'a, str>>,
    pub(super) headers: Option<&'a RawValue>,
    properties: Option<&'a RawValue>,
    pub(super) body_encoding: Option<Cow<'a, str>>,
    pub(super) correlation_id: Option<&'a RawValue>,
    pub(super) reply_to: Option<&'a RawValue>,
    pub(super) delivery_mode: Option<&'a RawValue>,
    pub(super) priority: Option<&'a RawValue>,
    pub(super) expiration: Option<&'a RawValue>,
    pub(super) tag: Option<&'a RawValue>,
    pub(super) exchange: Option<&'a RawValue>,
    pub(super) routing_key: Option<&'a RawValue>,
    pub(super) redelivered: Option<&'a RawValue>,
    pub(super) extra: Fields,
}

impl<'a> Envelope<'a> {
    /// Finds the envelope's members.
    pub(super) fn read(text: &'a str) -> Result<Self, DecodeError> {
        let read = if text.len() < LARGE {
            Self::read_small(text).map_err(|error| error.to_string())
        } else {
            Self::read_large(text).map_err(|error| error.to_string())
        };
        read.map_err(|error| refused("the message is not a JSON object", &error))
    }

    fn read_small(text: &'a str) -> Result<Self, serde_json::Error> {
        let mut envelope = Self::default();
        each_member(text, |name, value| envelope.take(&name, value))?;
        Ok(envelope)
    }

    /// Makes the envelope of a message that its broker keeps in parts.
    pub(super) fn of_parts(
        content_type: Option<Cow<'a, str>>,
        headers: Option<&'a RawValue>,
        properties: &'a RawValue,
        body: &'a [u8],
    ) -> Self {
        Self {
            body: RawBody::Bytes(body),
            content_type,
            headers: headers.filter(|value| !is_falsy(value)),
            properties: Some(properties),
            ..Self::default()
        }
    }

    /// Like [`read_small`](Self::read_small), but does not parse the body.
    fn read_large(text: &'a str) -> Result<Self, JsonError> {
        let mut envelope = Self::default();
        let mut members = Members::new(text.as_bytes())?;
        while let Some(places) = members.next_places()? {
            // The ends of a part are between characters.
            let [name, value] = places.map(|place| text.get(place).unwrap_or_default());
            let Name(name) = serde_json::from_str(name)?;
            if name == "body" {
                envelope.body = RawBody::read(value)?;
            } else {
                envelope.take(&name, serde_json::from_str(value)?);
            }
        }
        Ok(envelope)
    }

    fn take(&mut self, name: &str, value: &'a RawValue) {
        match name {
            "body" => self.body = RawBody::of(value),
            "content-type" => self.content_type = present(value).map(text_of),
            "headers" => self.headers = Some(value).filter(|value| !is_falsy(value)),
            "properties" => self.properties = present(value),
            _ => {}
        }
    }

    /// Finds the members of the properties. After an error, keeps the members found so far.
    pub(super) fn read_properties(&mut self) -> Result<(), DecodeError> {
        let Some(properties) = self.properties else {
            return Ok(());
        };
        let mut delivery_info = None;
        let mut body_encoding = None;
        let mut extra = Reading::default();
        let members = each_member(properties.get(), |name, value| match &*name {
            "correlation_id" => self.correlation_id = Some(value),
            "reply_to" => self.reply_to = Some(value),
            "delivery_mode" => self.delivery_mode = Some(value),
            "priority" => self.priority = Some(value),
            "expiration" => self.expiration = Some(value),
            "delivery_info" => delivery_info = present(value),
            "body_encoding" => body_encoding = present(value),
            "delivery_tag" => self.tag = Some(value),
            _ => extra.take(name, value),
        });
        members.map_err(|error| refused("the properties are not a JSON object", &error))?;
        // An encoding that is not a string is kept as its text, which is never a valid encoding.
        self.body_encoding = body_encoding.map(text_of);
        self.extra = extra.end().map_err(|error| error.of("the properties"))?;
        let Some(delivery_info) = delivery_info else {
            return Ok(());
        };
        let members = each_member(delivery_info.get(), |name, value| match &*name {
            "exchange" => self.exchange = Some(value),
            "routing_key" => self.routing_key = Some(value),
            "redelivered" => self.redelivered = Some(value),
            _ => {}
        });
        members.map_err(|error| refused("delivery_info is not a JSON object", &error))
    }

    pub(super) fn delivery_tag(&self) -> Option<String> {
        self.tag
            .and_then(string)
            .filter(|tag| !tag.is_empty())
            .map(Cow::into_owned)
    }
}

fn refused(what: &str, error: &impl fmt::Display) -> DecodeError {
    DecodeError::new(Cause::Envelope, format!("{what}: {error}"))
}

/// The members of headers or of a protocol 1 body that the protocols define.
#[derive(Default)]
pub(super) struct Meta<'a> {
    pub(super) task: Option<&'a RawValue>,
    pub(super) id: Option<&'a RawValue>,
    pub(super) lang: Option<&'a RawValue>,
    pub(super) shadow: Option<&'a RawValue>,
    pub(super) eta: Option<&'a RawValue>,
    pub(super) expires: Option<&'a RawValue>,
    pub(super) group: Option<&'a RawValue>,
    pub(super) group_index: Option<&'a RawValue>,
    pub(super) retries: Option<&'a RawValue>,
    pub(super) timelimit: Option<&'a RawValue>,
    pub(super) root_id: Option<&'a RawValue>,
    pub(super) parent_id: Option<&'a RawValue>,
    pub(super) argsrepr: Option<&'a RawValue>,
    pub(super) kwargsrepr: Option<&'a RawValue>,
    pub(super) origin: Option<&'a RawValue>,
    pub(super) ignore_result: Option<&'a RawValue>,
    pub(super) replaced_task_nesting: Option<&'a RawValue>,
    pub(super) stamped_headers: Option<&'a RawValue>,
    pub(super) stamps: Option<&'a RawValue>,
    pub(super) compression: Option<&'a RawValue>,
    pub(super) redelivered: Option<&'a RawValue>,
}

impl<'a> Meta<'a> {
    /// Returns the place for the member of this name, if the protocols define it.
    fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "task" => &mut self.task,
            "id" => &mut self.id,
            "lang" => &mut self.lang,
            "shadow" => &mut self.shadow,
            "eta" => &mut self.eta,
            "expires" => &mut self.expires,
            "group" => &mut self.group,
            "group_index" => &mut self.group_index,
            "retries" => &mut self.retries,
            "timelimit" => &mut self.timelimit,
            "root_id" => &mut self.root_id,
            "parent_id" => &mut self.parent_id,
            "argsrepr" => &mut self.argsrepr,
            "kwargsrepr" => &mut self.kwargsrepr,
            "origin" => &mut self.origin,
            "ignore_result" => &mut self.ignore_result,
            "replaced_task_nesting" => &mut self.replaced_task_nesting,
            "stamped_headers" => &mut self.stamped_headers,
            "stamps" => &mut self.stamps,
            "compression" => &mut self.compression,
            "redelivered" => &mut self.redelivered,
            _ => return None,
        })
    }

    /// Reads the headers; returns those that the protocols do not define. After an error, keeps the
    /// headers found so far.
    pub(super) fn read_headers(
        &mut self,
        headers: Option<&'a RawValue>,
    ) -> Result<Fields, DecodeError> {
        let Some(headers) = headers else {
            return Ok(Fields::new());
        };
        let mut custom = Reading::default();
        let members = each_member(headers.get(), |name, value| match self.slot(&name) {
            Some(slot) => *slot = Some(value),
            None => custom.take(name, value),
        });
        members.map_err(|error| refused("the headers are not a JSON object", &error))?;
        custom.end().map_err(|error| error.of("the headers"))
    }

    /// Records a member of a protocol 1 body, unless a header has set it already.
    pub(super) fn add(&mut self, name: &str, value: &'a RawValue) {
        if let Some(slot) = self.slot(name) {
            slot.get_or_insert(value);
        }
    }
}

/// Returns `true` if a header belongs to the protocol, so that a caller cannot use its name.
pub fn is_known_header(name: &str) -> bool {
    Meta::default().slot(name).is_some()
}

/// Returns `true` if a property belongs to the protocol or the transport.
pub fn is_known_property(name: &str) -> bool {
    matches!(
        name,
        "correlation_id"
            | "reply_to"
            | "delivery_mode"
            | "priority"
            | "expiration"
            | "delivery_info"
            | "body_encoding"
            | "delivery_tag"
    )
}

pub(super) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// Returns `true` if Python takes the value for false: null, zero, or an empty value.
pub(crate) fn is_falsy(value: &RawValue) -> bool {
    is_falsy_text(value.get().as_bytes())
}

/// Like [`is_falsy`], for a value's text.
pub(super) fn is_falsy_text(value: &[u8]) -> bool {
    match value {
        b"null" | b"false" | b"\"\"" => true,
        [b'[', inside @ .., b']'] | [b'{', inside @ .., b'}'] => inside.trim_ascii().is_empty(),
        _ => std::str::from_utf8(value).is_ok_and(|text| text.parse() == Ok(0.0)),
    }
}

/// Returns a string's value, or the text of any other value.
fn text_of(value: &RawValue) -> Cow<'_, str> {
    string(value).unwrap_or(Cow::Borrowed(value.get()))
}

/// Returns the value, unless it is null.
fn present(value: &RawValue) -> Option<&RawValue> {
    Some(value).filter(|value| !is_null(value))
}

/// Returns the string, if the value is one.
pub(super) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let json = value.get();
    let inside = json.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', inside.as_bytes()).is_none() {
        // The text was checked already; checking it again would be slow for a large body.
        return Some(Cow::Borrowed(inside));
    }
    serde_json::from_str::<Name<'_>>(json)
        .ok()
        .map(|Name(text)| text)
}

/// Quotes a text of the message for an error, shortened.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(64).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that an envelope is read exactly if its text is an object of strict JSON.
    fn agrees_with_the_parser(text: &str) {
        let small = Envelope::read_small(text);
        let large = Envelope::read_large(text);
        let why = small.as_ref().err();
        assert_eq!(large.is_ok(), small.is_ok(), "{text:?}: {why:?}");
    }

    #[test]
    fn only_strict_json_is_an_envelope() {
        let plain = "x".repeat(1_000);
        for text in [
            "{}",
            " { } ",
            "{\"body\":\"eA==\"}",
            "\n{ \"body\" :\t\"eA==\" ,\r\"headers\":{}}",
            "{\"b\\u006fdy\":\"eA==\",\"\":1,\"a\\u0001\":2}",
            "{\"body\":\"a\\u0001\\n\\\"\"}",
            "{\"body\":1,\"body\":\"x\"}",
            "{\"body\":\"\u{7f}é𝄞\"}",
            "{\"body\":-0.5e+3,\"x\":[1,{\"y\":[]}]}",
            "",
            "[]",
            "\"body\"",
            "{",
            "{}}",
            "{} x",
            "{\"body\"}",
            "{\"body\":}",
            "{\"body\":\"x\"",
            "{\"body\":\"x}",
            "{\"body\":\"x\"y}",
            "{\"body\":\"x\",}",
            "{,\"body\":\"x\"}",
            "{\"body\":\"x\",,\"a\":1}",
            "{\"body\" \"x\"}",
            "{\"body\":\"x\" \"a\":1}",
            "{body:\"x\"}",
            "{1:\"x\"}",
            "{\"body\":\"\\q\"}",
            "{\"body\":\"\\u12\"}",
            "{\"a\nb\":1}",
            "{\"a\u{1}\":1,\"body\":\"x\"}",
            "{\"x\":\"\u{1}\"}",
            "{\"x\":[\"\n\"]}",
            "{\"x\":01}",
            "{\"x\":+1}",
            "{\"x\":[1,]}",
            "{\"x\":{\"y\" 1}}",
            "{\"x\":tru}",
            "{\"x\":[1}]",
            "{\"x\":1]",
        ] {
            agrees_with_the_parser(text);
        }
        // A control character anywhere in a large body.
        for control in ["\n", "\r", "\t", "\0", "\u{1f}", " ", "\u{7f}"] {
            for before in [0, 1, 255, 256, 257, 999, 1_000] {
                let (first, last) = plain.split_at(before);
                agrees_with_the_parser(&format!("{{\"body\":\"{first}{control}{last}\"}}"));
            }
        }
    }

    #[test]
    fn the_last_body_counts_and_is_the_text_that_a_parser_reads() {
        let body = |text: &'static str| {
            let (small, large) = (Envelope::read_small(text), Envelope::read_large(text));
            let bodies = [small.unwrap().body, large.unwrap().body];
            bodies.map(|body| match body {
                RawBody::Text(text) => Ok(Some(text)),
                RawBody::Other => Ok(None),
                RawBody::Missing | RawBody::Bytes(_) => Err(()),
            })
        };
        for (text, expected) in [
            ("{\"body\":1,\"body\":\"x\"}", "x"),
            ("{\"body\":\"x\",\"body\":\"y\\n\"}", "y\n"),
            ("{\"body\":\"\\u0041\\\\\"}", "A\\"),
            ("{\"body\":\"é\"}", "é"),
            ("{\"body\":\"\"}", ""),
        ] {
            let expected = Ok(Some(Cow::Borrowed(expected)));
            assert_eq!(body(text), [expected.clone(), expected], "{text}");
        }
        assert_eq!(body("{\"body\":\"x\",\"body\":null}"), [Ok(None), Ok(None)]);
        assert_eq!(body("{\"x\":\"body\"}"), [Err(()), Err(())]);
    }
}
