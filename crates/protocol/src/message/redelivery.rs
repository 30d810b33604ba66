//! Messages that a worker holds, and how to give them back.
//!
//! kombu keeps a held message in the hash `unacked` as `[envelope, exchange, routing_key]`.
//! Restoring a message marks it as redelivered and pushes it back. Both work on the text: the rest
//! of the message stays byte for byte, even where this crate does not understand it.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::body::priority;
use super::envelope::{envelope_text, is_falsy_text, string};
use super::{Cause, DecodeError};
use crate::json::{Elements, JsonError, Members, write};

/// A message marked as redelivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redelivery {
    /// The envelope to push.
    pub raw: Vec<u8>,
    /// Its priority, 0 to 9: [`Keys::queue`](crate::redis_keys::Keys::queue) names the list.
    pub priority: u8,
    /// The message's own delivery tag, if it has one.
    pub delivery_tag: Option<String>,
}

/// The mark as every program that restores a message writes it.
static MARK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"redelivered\""));

/// Returns `true` if a message may be marked as redelivered. Reads nothing else of it, so the mark
/// may also be a part of its texts.
pub fn may_be_redelivered(raw: &[u8]) -> bool {
    MARK.find(raw).is_some()
}

/// Sets `headers.redelivered` and `properties.delivery_info.redelivered` in an envelope.
///
/// Adds the mark, and the objects around it if they are missing or null; the rest keeps its bytes.
/// An envelope that kombu could not read is an error. So is one in which a value that should be an
/// object is of another type.
///
/// # Errors
///
/// Returns [`DecodeError`] with [`Cause::Envelope`].
pub fn mark_redelivered(raw: &[u8]) -> Result<Redelivery, DecodeError> {
    mark(raw).map_err(|error| not_envelope(&error))
}

fn not_envelope(error: &JsonError) -> DecodeError {
    DecodeError::new(
        Cause::Envelope,
        format!("the message cannot be restored: {error}"),
    )
}

fn mark(raw: &[u8]) -> Result<Redelivery, JsonError> {
    serde_json::from_str::<IgnoredAny>(&envelope_text(raw)?)?;
    // As in Python, other empty values of the headers count as missing.
    let headers = Some(object(raw, "headers")?).filter(|headers| !is_falsy_text(headers));
    let headers = headers.unwrap_or(b"{}");
    let properties = object(raw, "properties")?;
    let delivery_info = object(properties, "delivery_info")?;
    let delivery_info = with_member(delivery_info, "redelivered", b"true")?;
    let new_properties = with_member(properties, "delivery_info", &delivery_info)?;
    let headers = with_member(headers, "redelivered", b"true")?;
    let marked = with_member(
        &with_member(raw, "headers", &headers)?,
        "properties",
        &new_properties,
    )?;
    Ok(Redelivery {
        raw: marked,
        priority: member(properties, "priority")?
            .and_then(|value| priority(&value))
            .unwrap_or(0),
        delivery_tag: member(properties, "delivery_tag")?
            .and_then(|value| Some(string(&value)?.into_owned())),
    })
}

/// Returns the text of a member that should be an object; missing and null count as empty.
fn object<'a>(object: &'a [u8], name: &str) -> Result<&'a [u8], JsonError> {
    let member = Members::find(object, name)?.map(|place| &object[place]);
    Ok(member.filter(|member| *member != b"null").unwrap_or(b"{}"))
}

/// Returns a member's value, if it is strict JSON.
fn member(object: &[u8], name: &str) -> Result<Option<Box<RawValue>>, JsonError> {
    let place = Members::find(object, name)?;
    Ok(place.and_then(|place| serde_json::from_slice(&object[place]).ok()))
}

/// Returns the object's text with a member set: in its old place, or after the others.
fn with_member(object: &[u8], name: &str, value: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::with_capacity(object.len() + name.len() + value.len() + 4);
    if let Some(place) = Members::find(object, name)? {
        out.extend_from_slice(&object[..place.start]);
        out.extend_from_slice(value);
        out.extend_from_slice(&object[place.end..]);
        return Ok(out);
    }
    let object = object.trim_ascii();
    let (inside, empty) = match object {
        [b'{', inside @ .., b'}'] => (inside, inside.trim_ascii().is_empty()),
        _ => return Err(JsonError::Syntax("not an object".to_owned())),
    };
    out.push(b'{');
    out.extend_from_slice(inside);
    if !empty {
        out.push(b',');
    }
    write::string(&mut out, name);
    out.push(b':');
    out.extend_from_slice(value);
    out.push(b'}');
    Ok(out)
}

/// The parts of an entry of the hash `unacked`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unacked<'a> {
    /// The envelope's text: an object whose contents were not checked.
    pub envelope: &'a [u8],
    exchange: String,
    routing_key: String,
}

impl<'a> Unacked<'a> {
    /// Parses an entry. It must be an array of an object and two strings (or nulls).
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] with [`Cause::Envelope`] if the entry has another shape.
    pub fn parse(entry: &'a [u8]) -> Result<Self, DecodeError> {
        let [envelope, exchange, routing_key] =
            three(entry).map_err(|error| not_envelope(&error))?;
        let envelope = &entry[envelope];
        if envelope.first() != Some(&b'{') {
            return Err(not_envelope(&JsonError::Syntax(
                "it is not an object".to_owned(),
            )));
        }
        let text = |place: Range<usize>| {
            serde_json::from_slice::<Option<String>>(&entry[place])
                .map(Option::unwrap_or_default)
                .map_err(|error| not_envelope(&error.into()))
        };
        Ok(Self {
            envelope,
            exchange: text(exchange)?,
            routing_key: text(routing_key)?,
        })
    }

    /// Returns the exchange to which the message was sent.
    pub fn exchange(&self) -> String {
        self.exchange.clone()
    }

    /// Returns the routing key of the message: with an empty exchange, the queue.
    pub fn routing_key(&self) -> String {
        self.routing_key.clone()
    }
}

/// Returns the ranges of an array's elements, which must be three.
fn three(array: &[u8]) -> Result<[Range<usize>; 3], JsonError> {
    let mut elements = Elements::new(array)?;
    let parts = [elements.next()?, elements.next()?, elements.next()?];
    if let ([Some(first), Some(second), Some(third)], None) = (parts, elements.next()?) {
        return Ok([first, second, third]);
    }
    Err(JsonError::Syntax(
        "it does not have three elements".to_owned(),
    ))
}

/// Returns an entry of the hash `unacked`, as kombu writes it, for an envelope that is valid JSON.
pub fn unacked_entry(envelope: &[u8], exchange: &str, routing_key: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(envelope.len() + exchange.len() + routing_key.len() + 8);
    out.push(b'[');
    out.extend_from_slice(envelope);
    out.push(b',');
    write::string(&mut out, exchange);
    out.push(b',');
    write::string(&mut out, routing_key);
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(text: &str) -> String {
        String::from_utf8(mark_redelivered(text.as_bytes()).unwrap().raw).unwrap()
    }

    #[test]
    fn only_the_marks_change() {
        let text = r#"{"body": "W10=", "headers": {"id": "1", "n": 12345678901234567890123, "f": 1.50, "e": {}, "l": [], "x": NaN}, "properties": {"delivery_info": {"exchange": "", "routing_key": "q"}, "priority": 4, "delivery_tag": "t"}, "other": "\ud800"}"#;
        let redelivery = mark_redelivered(text.as_bytes()).unwrap();
        let expected = text
            .replace(r#""x": NaN}"#, r#""x": NaN,"redelivered":true}"#)
            .replace(
                r#""routing_key": "q"}"#,
                r#""routing_key": "q","redelivered":true}"#,
            );
        assert_eq!(String::from_utf8(redelivery.raw.clone()).unwrap(), expected);
        assert_eq!(
            (redelivery.priority, redelivery.delivery_tag.as_deref()),
            (4, Some("t"))
        );
        assert_eq!(mark_redelivered(&redelivery.raw).unwrap(), redelivery);
    }

    #[test]
    fn what_is_missing_is_added() {
        let all = r#"{"headers":{"redelivered":true},"properties":{"delivery_info":{"redelivered":true}}}"#;
        assert_eq!(marked("{}"), all);
        assert_eq!(marked(r#"{"headers":null,"properties":null}"#), all);
        assert_eq!(
            marked(r#"{"headers":{"redelivered":false},"properties":{}}"#),
            all
        );
        assert_eq!(
            marked(
                r#"{"headers":{"redelivered":1,"redelivered":0},"properties":{"delivery_info":{}}}"#
            ),
            r#"{"headers":{"redelivered":1,"redelivered":true},"properties":{"delivery_info":{"redelivered":true}}}"#
        );
    }

    #[test]
    fn a_name_may_be_what_only_python_reads() {
        for name in [&br#""\ud812""#[..], &b"\"\xff\\n\""[..]] {
            let raw = [b"{", name, b":1}"].concat();
            let marked = mark_redelivered(&raw).unwrap();
            assert_eq!(marked.raw[..raw.len() - 1], raw[..raw.len() - 1]);
        }
    }

    #[test]
    fn priorities_are_read_as_kombu_has_them() {
        for (priority, read) in [
            ("4", 4),
            ("99", 9),
            ("-1", 0),
            ("4.9", 4),
            ("1e0", 1),
            ("\"4\"", 4),
            ("\" +7 \"", 7),
            ("\"-3\"", 0),
            ("\"99999999999999999999\"", 9),
            ("\"4.5\"", 0),
            ("\"high\"", 0),
            ("\"\"", 0),
            ("\"inf\"", 0),
            ("null", 0),
            ("1e400", 0),
        ] {
            let text = format!("{{\"properties\":{{\"priority\":{priority}}}}}");
            assert_eq!(mark_redelivered(text.as_bytes()).unwrap().priority, read);
        }
    }

    #[test]
    fn what_python_could_not_read_is_refused() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for text in [
            "",
            "x",
            "[]",
            "null",
            "\"abc\"",
            "{",
            r#"{"headers":[1]}"#,
            r#"{"properties":[]}"#,
            r#"{"properties":{"delivery_info":[]}}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\n\"}",
            "{}{}",
            deep.as_str(),
        ] {
            assert!(mark_redelivered(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn entries_are_kombus() {
        let entry = unacked_entry(br#"{"body": "x"}"#, "", "a\"b");
        assert_eq!(entry, br#"[{"body": "x"},"","a\"b"]"#);
        let parsed = Unacked::parse(&entry).unwrap();
        assert_eq!(
            (parsed.envelope, &*parsed.exchange(), &*parsed.routing_key()),
            (&br#"{"body": "x"}"#[..], "", "a\"b")
        );
        let python = br#"[{"a": [1, "]"]}, null, "celery"]"#;
        assert_eq!(Unacked::parse(python).unwrap().routing_key(), "celery");
        for text in [
            "",
            "{}",
            "[]",
            "[null,\"\",\"q\"]",
            "[{},\"\"]",
            "[{},\"\",\"\",1]",
            "[{},1,\"q\"]",
            "[{},\"\",\"q\"",
            "[\"x\",\"\",\"q\"]",
        ] {
            assert!(Unacked::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
