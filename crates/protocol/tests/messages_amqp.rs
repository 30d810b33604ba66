//! Every task message captured from RabbitMQ is decoded and encoded again, field for field.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::amqp::{Frame, FrameKind, Properties, Short, TableBuf};
use celery_protocol::compression::Compression;
use celery_protocol::message::{
    AmqpMessage, Cause, DecodeError, DecodeOptions, DeliveryInfo, EncodeError, EncodeOptions,
    Protocol, Task,
};
use celery_protocol::serializer::Serializer;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use common::{folder, parsed};

const ALL: &[Serializer] = &[Serializer::Json, Serializer::Msgpack, Serializer::Yaml];

/// A captured message.
struct Captured {
    name: String,
    properties: Value,
    headers: Value,
    body: Vec<u8>,
}

impl Captured {
    fn of(name: &str, message: &Value) -> Self {
        let body = match message["body"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => STANDARD
                .decode(message["body_b64"].as_str().unwrap())
                .unwrap(),
        };
        Self {
            name: name.to_owned(),
            properties: message["properties"].clone(),
            headers: message["headers"].clone(),
            body,
        }
    }

    fn decode(&self) -> Result<Task, DecodeError> {
        let headers = TableBuf::from_json(&self.headers.to_string()).unwrap();
        let text = |name: &str| {
            self.properties[name]
                .as_str()
                .map(|text| Short::new(text).unwrap())
        };
        let number = |name: &str| {
            self.properties[name]
                .as_u64()
                .map(|n| u8::try_from(n).unwrap())
        };
        let properties = Properties {
            content_type: text("content_type"),
            content_encoding: text("content_encoding"),
            headers: Some(headers.as_table()),
            delivery_mode: number("delivery_mode"),
            priority: number("priority"),
            correlation_id: text("correlation_id"),
            reply_to: text("reply_to"),
            expiration: text("expiration"),
            ..Properties::default()
        };
        let mut delivered = DeliveryInfo::default();
        "celery".clone_into(&mut delivered.routing_key);
        let options = DecodeOptions::default().accept(ALL);
        Task::decode_amqp(&properties, &self.body, &delivered, true, &options)
    }

    /// Returns the body as a value.
    fn value(&self) -> Value {
        let serializer = self.properties["content_type"].as_str().unwrap();
        value(&self.body, serializer, self.headers["compression"].as_str())
    }
}

fn value(body: &[u8], serializer: &str, compression: Option<&str>) -> Value {
    let mut body = body.to_vec();
    if let Some(name) = compression {
        let compression = Compression::from_name(name).unwrap();
        body = compression.decompress(&body, 1 << 20).unwrap();
    }
    let serializer = Serializer::from_name(serializer).unwrap();
    parsed(serializer.to_json(&body, 1 << 20).unwrap().as_bytes())
}

/// Returns the properties that are set, as a fixture has them.
fn shown(message: &AmqpMessage) -> Value {
    let mut shown = json!({
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "delivery_mode": message.delivery_mode,
        "correlation_id": message.correlation_id,
        "reply_to": message.reply_to,
    });
    if let Some(priority) = message.priority {
        shown["priority"] = json!(priority);
    }
    if let Some(expiration) = &message.expiration {
        shown["expiration"] = json!(expiration);
    }
    shown
}

#[test]
fn every_message_is_decoded_and_encoded_again() {
    let mut count = 0;
    for (protocol, files, kind) in [(Protocol::V1, 26, "v1"), (Protocol::V2, 33, "v2")] {
        for fixture in folder(&format!("messages-{kind}/amqp"), files) {
            for message in fixture.json["messages"].as_array().unwrap() {
                let captured = Captured::of(&fixture.name, message);
                let name = &captured.name;
                if name == "serializer_pickle" {
                    let error = captured.decode().unwrap_err();
                    assert_eq!(error.cause(), Cause::ContentDisallowed);
                    continue;
                }
                let task = captured
                    .decode()
                    .unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(task.protocol, protocol, "{name}");
                assert!(task.redelivered);
                assert_eq!(task.delivery_info.routing_key, "celery");
                let options = EncodeOptions::new("celery", "")
                    .lang("py")
                    .origin(task.origin.as_deref().unwrap_or_default())
                    .protocol(protocol)
                    .serializer(task.serializer)
                    .compression(task.compression);
                let again = task.encode_amqp(&options).unwrap();
                let headers = parsed(again.headers.as_table().to_json().unwrap().as_bytes());
                assert_eq!(headers, captured.headers, "{name}");
                assert_eq!(shown(&again), captured.properties, "{name}");
                let compression = captured.headers["compression"].as_str();
                let body = value(&again.body, &again.content_type, compression);
                assert_eq!(body, captured.value(), "{name}");
                count += 1;
            }
        }
    }
    assert!(count > 50, "{count}");
}

#[test]
fn malformed_messages_have_the_cause_of_their_fault() {
    for fixture in folder("malformed/amqp", 6) {
        let captured = Captured::of(&fixture.name, &fixture.json);
        let expected = match &*captured.name {
            "bad_json_body" => Cause::Body,
            "body_not_3_tuple" => Cause::BodyShape,
            "disallowed_content_type" => Cause::ContentDisallowed,
            "no_id_header" => Cause::NoId,
            "no_task_header" => Cause::NoTask,
            "unknown_task" => {
                assert_eq!(captured.decode().unwrap().name, "no.such");
                continue;
            }
            other => panic!("{other}"),
        };
        let error = captured.decode().unwrap_err();
        assert_eq!(error.cause(), expected, "{}", captured.name);
        assert_eq!(
            error.id(),
            captured.headers["id"].as_str(),
            "{}",
            captured.name
        );
    }
}

/// Returns the messages that a client published in these frames.
fn published(mut bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut messages: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    while let Some((frame, length)) = Frame::read(bytes, 131_072).unwrap() {
        match frame.kind {
            FrameKind::Header => messages.push((frame.payload.to_vec(), Vec::new())),
            FrameKind::Body => messages
                .last_mut()
                .unwrap()
                .1
                .extend_from_slice(frame.payload),
            FrameKind::Method | FrameKind::Heartbeat => {}
        }
        bytes = &bytes[length..];
    }
    messages
}

/// The frames are those of py-amqp, so the table and the header frame are compared byte for byte.
#[test]
fn the_bytes_are_those_of_python() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/amqp");
    for file in [
        "celery-args",
        "celery-eta-expires",
        "celery-headers",
        "celery-stamps",
        "celery-gzip",
        "celery-protocol-1",
    ] {
        let messages = published(&std::fs::read(corpus.join(file)).unwrap());
        let [(header, body)] = &messages[..] else {
            panic!("{file}: {} messages", messages.len())
        };
        let (properties, size) = Properties::read(header).unwrap();
        assert_eq!(size, body.len() as u64, "{file}");
        let delivered = DeliveryInfo::default();
        let options = DecodeOptions::default();
        let task = Task::decode_amqp(&properties, body, &delivered, false, &options).unwrap();
        let options = EncodeOptions::new("celery", "")
            .lang("py")
            .origin(task.origin.as_deref().unwrap_or_default())
            .protocol(task.protocol)
            .compression(task.compression);
        let again = task.encode_amqp(&options).unwrap();
        let mut written = Vec::new();
        again.properties().unwrap().write(size, &mut written);
        // Python's client writes integers of more than 32 bits as `L`, which RabbitMQ reads like
        // `l`.
        let written: Vec<u8> = if file == "celery-headers" {
            let at = written
                .windows(5)
                .position(|part| part == b"\x03bigl")
                .unwrap();
            [&written[..at + 4], b"L", &written[at + 5..]].concat()
        } else {
            written
        };
        assert_eq!(
            String::from_utf8_lossy(&written),
            String::from_utf8_lossy(header),
            "{file}"
        );
        assert_eq!(&written, header, "{file}");
    }
}

#[test]
fn what_has_no_form_in_amqp_is_refused() {
    let raw = |value: Value| to_raw_value(&value).unwrap();
    let task = || Task::new("id", "t", raw(json!([])), raw(json!({})));
    let options = EncodeOptions::new("q", "");
    assert!(task().encode_amqp(&options).is_ok());

    let mut long_name = task();
    long_name.headers.insert("k".repeat(256), raw(json!(1)));
    let mut long_reply = task();
    long_reply.properties.reply_to = Some("q".repeat(256));
    let mut deep = task();
    let value = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    deep.stamps.insert(
        "s",
        serde_json::value::RawValue::from_string(value).unwrap(),
    );
    for refused in [long_name, long_reply, deep] {
        assert!(matches!(
            refused.encode_amqp(&options),
            Err(EncodeError::Amqp(_))
        ));
    }
    let long_queue = "q".repeat(256);
    let refused = task().encode_amqp(&EncodeOptions::new(&long_queue, ""));
    assert!(matches!(refused, Err(EncodeError::Name(_))));
}

#[test]
fn other_properties_of_amqp_survive_a_retry() {
    let table = TableBuf::from_json(r#"{"task":"t","id":"1","x-death":[{"count":1}]}"#).unwrap();
    let properties = Properties {
        headers: Some(table.as_table()),
        message_id: Some(Short::new("m").unwrap()),
        kind: Some(Short::new("k").unwrap()),
        app_id: Some(Short::new("a").unwrap()),
        user_id: Some(Short::new("guest").unwrap()),
        timestamp: Some(1_700_000_000),
        ..Properties::default()
    };
    let delivered = DeliveryInfo::default();
    let options = DecodeOptions::default();
    let task = Task::decode_amqp(&properties, b"[[],{},{}]", &delivered, false, &options).unwrap();
    let again = task.encode_amqp(&EncodeOptions::new("q", "")).unwrap();
    let written = again.properties().unwrap();
    assert_eq!(
        (
            written.message_id,
            written.kind,
            written.app_id,
            written.timestamp
        ),
        (
            properties.message_id,
            properties.kind,
            properties.app_id,
            properties.timestamp
        )
    );
    // The broker would refuse the message of another user.
    assert_eq!(written.user_id, None);
    assert_eq!(written.reply_to, None);
}

#[test]
fn headers_that_cannot_be_read_spoil_their_message_only() {
    let properties = |table: &[u8]| {
        let mut header = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x20, 0];
        header.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
        header.extend_from_slice(table);
        header
    };
    for table in [&b"\x01kZ"[..], b"\x01kS\0\0\0\x09x", b"\x09k"] {
        let header = properties(table);
        let (properties, _) = Properties::read(&header).unwrap();
        let delivered = DeliveryInfo::default();
        let options = DecodeOptions::default();
        let error = Task::decode_amqp(&properties, b"{}", &delivered, false, &options);
        assert_eq!(error.unwrap_err().cause(), Cause::Envelope);
    }
}
