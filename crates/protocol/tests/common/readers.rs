//! Properties that hold for any bytes: one function for each kind of reader.
//!
//! The fuzz targets (`fuzz/`), the kept corpus and the property tests run these functions. Each
//! function must return normally for any input. Its assertions are facts that the rest of the
//! project relies on.

#![allow(dead_code, unreachable_pub, reason = "each user takes its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold is a failed test"
)]

mod amqp_readers;
mod canvas_readers;
mod control_readers;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::compression::Compression;
use celery_protocol::json::{Special, normalise, unique_members};
use celery_protocol::message::{
    DecodeOptions, EncodeError, EncodeOptions, Task, Unacked, mark_redelivered, unacked_entry,
};
use celery_protocol::names;
use celery_protocol::repr;
use celery_protocol::result::{ExceptionDoc, GroupDoc, ResultDoc};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use serde_json::Value;
use serde_json::value::RawValue;

const SERIALIZERS: &[Serializer] = &[Serializer::Json, Serializer::Msgpack, Serializer::Yaml];

const COMPRESSIONS: &[Compression] = &[
    Compression::Zlib,
    Compression::Bzip2,
    Compression::Xz,
    Compression::Zstd,
    Compression::Brotli,
];

pub use amqp_readers::{amqp, amqp_session};
pub use canvas_readers::canvas;
pub use control_readers::control;

/// The largest text that a reader may produce.
const LIMIT: usize = 1 << 20;

/// A kind of reader, with the name of its fuzz target and of its folder in the kept corpus.
pub type Reader = (&'static str, fn(&[u8]));

/// Every kind of reader.
pub const READERS: &[Reader] = &[
    ("message", message),
    ("body", body),
    ("unacked", unacked),
    ("result", result),
    ("compression", compression),
    ("serializer", serializer),
    ("json", json),
    ("text", text),
    ("names", names),
    ("amqp", amqp),
    ("amqp_session", amqp_session),
    ("canvas", canvas),
    ("control", control),
];

/// Reads an element of a queue. A task that was read can be marked as redelivered, held, restored
/// and sent again.
pub fn message(bytes: &[u8]) {
    if let Ok(marked) = mark_redelivered(bytes) {
        assert_eq!(mark_redelivered(&marked.raw).as_ref(), Ok(&marked));
        let entry = unacked_entry(&marked.raw, "", "celery");
        let held = Unacked::parse(&entry).unwrap();
        assert_eq!(held.envelope, marked.raw.trim_ascii());
    }
    let options = DecodeOptions::default().accept(SERIALIZERS).max_body(LIMIT);
    let task = match Task::decode_redis_with(bytes, &options) {
        Ok(task) => task,
        Err(error) => {
            // A dead letter states its reason.
            assert!(!error.detail().is_empty());
            error.exception();
            return;
        }
    };
    let marked = mark_redelivered(bytes).unwrap();
    let again = Task::decode_redis_with(&marked.raw, &options).unwrap();
    assert!(again.redelivered);
    assert_eq!(
        (&again.id, &again.name, again.args.get(), again.kwargs.get()),
        (&task.id, &task.name, task.args.get(), task.kwargs.get())
    );
    let retry = task.retry(None, Timestamp::from_unix(0, 0), "w");
    match retry.encode_redis(&EncodeOptions::new("q", "t")) {
        Ok(raw) => {
            let sent = Task::decode_redis(&raw).unwrap();
            assert_eq!((&sent.id, &sent.name), (&task.id, &task.name));
            assert_eq!(
                (sent.args.get(), sent.kwargs.get()),
                (task.args.get(), task.kwargs.get())
            );
        }
        Err(error) => panic!("{error}"),
    }
}

/// Reads the body of a message, after two bytes that choose protocol, serializer and compression.
pub fn body(bytes: &[u8]) {
    let Some((&[kind, compression], body)) = bytes.split_first_chunk() else {
        return;
    };
    let serializer = SERIALIZERS[usize::from(kind >> 1) % SERIALIZERS.len()];
    let headers = if kind & 1 == 0 {
        r#""task":"t","id":"1""#
    } else {
        ""
    };
    // The number after those of all formats means no compression.
    let compression = match COMPRESSIONS.get(usize::from(compression) % (COMPRESSIONS.len() + 1)) {
        None => String::new(),
        Some(format) => {
            let comma = if headers.is_empty() { "" } else { "," };
            format!(r#"{comma}"compression":"{}""#, format.content_type())
        }
    };
    message(
        format!(
            r#"{{"body":"{}","content-type":"{}","headers":{{{headers}{compression}}},"properties":{{"body_encoding":"base64"}}}}"#,
            STANDARD.encode(body),
            serializer.content_type(),
        )
        .as_bytes(),
    );
}

/// Reads an entry of the hash `unacked`.
pub fn unacked(bytes: &[u8]) {
    let Ok(held) = Unacked::parse(bytes) else {
        return;
    };
    let again = unacked_entry(held.envelope, &held.exchange(), &held.routing_key());
    assert_eq!(Unacked::parse(&again).as_ref(), Ok(&held));
    message(held.envelope);
}

/// Reads a stored result or group; a document that was read can be stored again unchanged.
pub fn result(bytes: &[u8]) {
    for &serializer in SERIALIZERS {
        let _ = GroupDoc::decode_with(bytes, serializer).map(|group| group.encode());
    }
    // Clients do not know the serializer: the bytes show it.
    let told = SERIALIZERS
        .iter()
        .map(|&serializer| ResultDoc::decode_with(bytes, serializer));
    for doc in told.chain([ResultDoc::decode_any(bytes)]).flatten() {
        if let Some(Ok(exception)) = doc.exception() {
            exception.summary();
            let again = ExceptionDoc::from_json(exception.to_json().get()).unwrap();
            assert_eq!(again, exception);
        }
        let stored = doc.encode();
        let again = ResultDoc::decode(&stored).unwrap();
        assert_eq!(again.result.get(), doc.result.get());
        assert_eq!(String::from_utf8(again.encode()), String::from_utf8(stored));
    }
}

/// Reads compressed data, after a byte that chooses the format; data that was read can be written
/// again.
pub fn compression(bytes: &[u8]) {
    let Some((kind, data)) = bytes.split_first() else {
        return;
    };
    let format = COMPRESSIONS[usize::from(*kind) % COMPRESSIONS.len()];
    let Ok(out) = format.decompress(data, LIMIT) else {
        return;
    };
    assert!(out.len() <= LIMIT);
    let again = format.compress(&out).unwrap();
    assert_eq!(format.decompress(&again, LIMIT), Ok(out));
}

/// Reads MessagePack or YAML, after a byte that chooses; data that was read can be written again
/// unchanged.
pub fn serializer(bytes: &[u8]) {
    let Some((kind, data)) = bytes.split_first() else {
        return;
    };
    let serializer = SERIALIZERS[usize::from(*kind) % SERIALIZERS.len()];
    let Ok(json) = serializer.to_json(data, LIMIT) else {
        return;
    };
    assert!(json.len() <= LIMIT);
    assert_eq!(normalise(json.as_bytes()).as_deref(), Ok(&*json));
    // A number that is too large for every type becomes infinite, except where it stays text, and
    // is read back as null.
    let Some(strict) = value(&json) else {
        return;
    };
    for other in SERIALIZERS {
        // MessagePack has no integers beyond 64 bits.
        if let Ok(written) = other.from_json(json.as_bytes()) {
            let read = other.to_json(&written, 8 * LIMIT);
            if *other == Serializer::Yaml && is_beyond_yaml(&written) {
                assert!(read.is_err(), "yaml");
                continue;
            }
            let read = read.unwrap();
            // YAML has a tag for bytes and forms for dates, which are read as text.
            let is_text = *other == Serializer::Yaml && json.contains("__type__");
            assert!(
                is_text || value(&read).as_ref() == Some(&strict),
                "{}: {strict} is read as {read}",
                other.name()
            );
        }
    }
}

/// Returns `true` for YAML that is too long or has too many collections in flow style.
fn is_beyond_yaml(text: &[u8]) -> bool {
    let flow = text.iter().filter(|byte| matches!(byte, b'[' | b'{'));
    text.len() > 2 << 20 || flow.count() > 4_096
}

/// Reads keyword arguments: each name once, with its last value.
pub fn members(bytes: &[u8]) {
    let Ok(object) = serde_json::from_slice::<&RawValue>(bytes) else {
        return;
    };
    let strict: Option<serde_json::Map<String, Value>> = serde_json::from_slice(bytes).ok();
    let Ok(members) = unique_members(object) else {
        return assert!(strict.is_none());
    };
    // serde_json cannot hold numbers that are too large for every type.
    if let Some(strict) = strict {
        assert_eq!(strict.len(), members.len());
        for (name, value) in members {
            assert_eq!(
                serde_json::from_str(value.get()).ok().as_ref(),
                strict.get(&*name)
            );
        }
    }
}

/// Reads a text that Python wrote as JSON, and the special values in it.
pub fn json(bytes: &[u8]) {
    let strict: Option<Value> = serde_json::from_slice(bytes).ok();
    match normalise(bytes) {
        Ok(text) => {
            assert_eq!(normalise(text.as_bytes()).as_ref(), Ok(&text));
            if let Some(value) = strict {
                assert_eq!(text.as_bytes(), bytes);
                special(&value);
            }
        }
        Err(error) => assert!(strict.is_none(), "{error}"),
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = ExceptionDoc::from_json(text).map(|exception| exception.summary());
    }
}

fn special(value: &Value) {
    if let Some(Ok(special)) = Special::from_value(value) {
        let again = Special::from_value(&special.to_value()).unwrap().unwrap();
        assert_eq!(again, special);
    }
    match value {
        Value::Array(elements) => elements.iter().for_each(self::special),
        Value::Object(members) => members.values().for_each(self::special),
        _ => {}
    }
}

/// Reads short texts: dates, and values that are shown to people.
pub fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    assert!(repr::args(text).chars().count() <= repr::MAX_CHARS);
    assert!(repr::value(text, 10).chars().count() <= 10);
    if let Ok(time) = Timestamp::parse(text) {
        let again = Timestamp::parse(&time.to_string());
        assert_eq!(again.as_ref(), Ok(&time));
    }
}

/// Reads a task name, an id, a queue name or a delivery tag; an accepted name can be written and
/// read again.
pub fn names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return;
    };
    let checks = [
        names::check_task_id(name),
        names::check_task_name(name),
        names::check_queue_name(name),
        names::check_delivery_tag(name),
    ];
    let good =
        !name.is_empty() && name.len() <= names::MAX_NAME_BYTES && !name.contains(char::is_control);
    assert!(checks.iter().all(|check| check.is_ok() == good));
    let empty = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new(name, name, empty("[]"), empty("{}"));
    match task.encode_redis(&EncodeOptions::new(name, name)) {
        Ok(raw) => {
            let read = Task::decode_redis(&raw).unwrap();
            assert_eq!(
                (&*read.id, &*read.name, &*read.delivery_info.routing_key),
                (name, name, name)
            );
            assert_eq!(read.delivery_tag.as_deref(), Some(name));
        }
        Err(error) => assert!(!good && matches!(error, EncodeError::Name(_))),
    }
}

/// Returns the text as a value; `None` if it has numbers that are too large for every type.
fn value(json: &str) -> Option<Value> {
    let mut value = serde_json::from_str(json).ok()?;
    without_sign_of_zero(&mut value);
    Some(value)
}

/// Replaces the integer -0, which is 0 to Python and -0.0 to `serde_json`.
fn without_sign_of_zero(value: &mut Value) {
    match value {
        Value::Number(number) if number.as_f64() == Some(0.0) => *value = 0.into(),
        Value::Array(elements) => elements.iter_mut().for_each(without_sign_of_zero),
        Value::Object(members) => members.values_mut().for_each(without_sign_of_zero),
        _ => {}
    }
}
