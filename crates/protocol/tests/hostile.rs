//! Hostile input: deep, large, damaged, or growing when it is read. Every input gives a task or an
//! error, in the stack and memory of an ordinary thread.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::compression::Compression;
use celery_protocol::json::{MAX_DEPTH, normalise};
use celery_protocol::message::{
    Cause, DecodeError, DecodeOptions, EncodeError, EncodeOptions, Task, Unacked, mark_redelivered,
};
use celery_protocol::repr;
use celery_protocol::result::{ExceptionDoc, ResultDoc};
use celery_protocol::serializer::{Serializer, SerializerError};
use serde_json::json;
use serde_json::value::RawValue;

const ALL: &[Serializer] = &[Serializer::Json, Serializer::Msgpack, Serializer::Yaml];

/// Returns an envelope around a body, with valid headers and properties.
fn envelope(body: &[u8], content_type: &str, compression: Option<&str>) -> Vec<u8> {
    let mut headers = json!({"task": "proj.add", "id": "1"});
    if let Some(compression) = compression {
        headers["compression"] = json!(compression);
    }
    let properties = json!({"body_encoding": "base64", "delivery_tag": "t"});
    serde_json::to_vec(&json!({
        "body": STANDARD.encode(body), "content-type": content_type, "content-encoding": "utf-8",
        "headers": headers, "properties": properties,
    }))
    .unwrap()
}

fn decode(raw: &[u8]) -> Result<Task, DecodeError> {
    Task::decode_redis_with(raw, &DecodeOptions::default().accept(ALL).max_body(1 << 20))
}

fn decode_body(body: &[u8]) -> Result<Task, DecodeError> {
    decode(&envelope(body, "application/json", None))
}

fn raw(json: &str) -> Box<RawValue> {
    RawValue::from_string(json.to_owned()).unwrap()
}

/// Gives a text to every reader.
fn read_all(bytes: &[u8]) {
    let _ = decode(bytes);
    let _ = mark_redelivered(bytes);
    let _ = Unacked::parse(bytes);
    let _ = normalise(bytes);
    for serializer in ALL {
        let _ = serializer.to_json(bytes, 1 << 20);
        let _ = serializer.from_json(bytes);
        let _ = ResultDoc::decode_with(bytes, *serializer);
        let _ = decode(&envelope(bytes, serializer.content_type(), None));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        repr::args(text);
        let _ = ExceptionDoc::from_json(text);
    }
}

#[test]
fn a_million_levels_are_an_error() {
    for (open, close, levels) in [
        ("[", "]", 1_000_000),
        ("{\"a\":", "}", 200_000),
        ("[{\"a\":", "}]", 100_000),
    ] {
        for deep in [
            open.repeat(levels),
            format!("{}1{}", open.repeat(levels), close.repeat(levels)),
        ] {
            if !deep.ends_with(close) {
                read_all(deep.as_bytes());
            }
            let options = DecodeOptions::default();
            let raw = envelope(
                format!("[[{deep}],{{}},null]").as_bytes(),
                "application/json",
                None,
            );
            assert_eq!(
                Task::decode_redis_with(&raw, &options).unwrap_err().cause(),
                Cause::Body
            );
            let headers = format!("{{\"headers\":{deep}}}");
            assert_eq!(
                decode(headers.as_bytes()).unwrap_err().cause(),
                Cause::Envelope
            );
            assert!(mark_redelivered(headers.as_bytes()).is_err());
            let doc = format!("{{\"task_id\":\"1\",\"status\":\"SUCCESS\",\"result\":{deep}}}");
            assert!(ResultDoc::decode(doc.as_bytes()).is_err());
        }
    }
    let nested =
        |depth: usize| format!("[[{}1{}],{{}},null]", "[".repeat(depth), "]".repeat(depth));
    assert!(decode_body(nested(MAX_DEPTH - 2).as_bytes()).is_ok());
    assert_eq!(
        decode_body(nested(MAX_DEPTH - 1).as_bytes())
            .unwrap_err()
            .cause(),
        Cause::Body
    );
}

#[test]
fn deep_messagepack_and_yaml_are_errors() {
    for serializer in [Serializer::Msgpack, Serializer::Yaml] {
        let deep: Vec<Vec<u8>> = match serializer {
            Serializer::Msgpack => vec![vec![0x91; 1_000_000], b"\x81\xa1a".repeat(300_000)],
            _ => vec![
                b"[".repeat(1_000_000),
                b"{a: ".repeat(300_000),
                b"- ".repeat(500_000),
                b"? ".repeat(500_000),
                (0..1_000)
                    .flat_map(|depth| format!("{}a:\n", " ".repeat(depth)).into_bytes())
                    .collect(),
            ],
        };
        for bytes in deep {
            assert!(serializer.to_json(&bytes, 1 << 20).is_err());
            assert!(ResultDoc::decode_with(&bytes, serializer).is_err());
        }
    }
    // The writer too makes nothing deeper than the reader accepts.
    let deep = raw(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    for serializer in [Serializer::Msgpack, Serializer::Yaml] {
        let task = Task::new("1", "t", deep.clone(), raw("{}"));
        let options = EncodeOptions::new("q", "t").serializer(serializer);
        assert!(matches!(
            task.encode_redis(&options),
            Err(EncodeError::Serializer(_))
        ));
    }
}

#[test]
fn lengths_that_lie_allocate_nothing() {
    for bytes in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffabc",
        b"\xc6\xff\xff\xff\xff\0",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xc7\x01\x05\0",
        b"\xd6\xff\0\0\0\0",
        b"\x93\x01",
        b"\x01\x02",
        b"\xc1",
    ] {
        assert!(
            Serializer::Msgpack.to_json(bytes, 1 << 20).is_err(),
            "{bytes:?}"
        );
    }
}

#[test]
fn yaml_aliases_do_not_explode() {
    let mut laughs = String::from("a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for level in 1..30 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(laughs, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert!(
        Serializer::Yaml
            .to_json(laughs.as_bytes(), 1 << 20)
            .is_err()
    );
    let long = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(10_000),
        vec!["*a"; 1_000].join(", ")
    );
    assert_eq!(
        Serializer::Yaml.to_json(long.as_bytes(), 1 << 20),
        Err(SerializerError::TooLarge { limit: 1 << 20 })
    );
    assert!(Serializer::Yaml.to_json(b"a: &a [*a]", 1 << 20).is_err());
    // A Python tag has no effect.
    let tagged = Serializer::Yaml.to_json(b"!!python/object/apply:os.system [id]", 1 << 20);
    assert_eq!(tagged.as_deref(), Ok("[\"id\"]"));
    assert!(Serializer::Yaml.to_json(b"- !x 1", 1 << 20).is_err());
    assert!(
        Serializer::Yaml
            .to_json(b"a: 1\n---\nb: 2\n", 1 << 20)
            .is_err()
    );
    assert!(matches!(
        Serializer::Yaml.to_json(&vec![b'a'; 3 << 20], 8 << 20),
        Err(SerializerError::TooLarge { .. })
    ));
}

#[test]
fn yaml_directives_are_refused_before_they_are_read() {
    let read = |text: &str| Serializer::Yaml.to_json(text.as_bytes(), 1 << 20);
    for line in ["%x\n", "%TAG ! tag:x,2000:\n", "%x\r", "%"] {
        let detail = "a directive other than %YAML".to_owned();
        let format = Serializer::Yaml;
        assert_eq!(
            read(&line.repeat((2 << 20) / line.len())),
            Err(SerializerError::Invalid { format, detail })
        );
    }
    assert_eq!(
        read("%YAML 1.1\n---\na: 5 %\n").as_deref(),
        Ok("{\"a\":\"5 %\"}")
    );
    assert!(read(&"%YAML 1.1\n".repeat(200_000)).is_err());
}

#[test]
fn compression_bombs_stop_at_the_limit() {
    let zeros = vec![b' '; 4 << 20];
    for format in [
        Compression::Zlib,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
        Compression::Brotli,
    ] {
        let bomb = format.compress(&zeros).unwrap();
        let error = decode(&envelope(
            &bomb,
            "application/json",
            Some(format.content_type()),
        ))
        .unwrap_err();
        assert_eq!(
            (error.cause(), error.id(), error.task()),
            (Cause::TooLarge, Some("1"), Some("proj.add"))
        );
        let half = decode(&envelope(
            &bomb[..bomb.len() / 2],
            "application/json",
            Some(format.content_type()),
        ));
        assert!(matches!(
            half.unwrap_err().cause(),
            Cause::Compression | Cause::TooLarge
        ));
    }
    let error = decode(&envelope(b"x", "application/json", Some("application/zip"))).unwrap_err();
    assert_eq!(error.cause(), Cause::Compression);
}

#[test]
fn numbers_beyond_every_type_pass_through() {
    let numbers = format!(
        "[1e400,-1e400,18446744073709551616,{},0.1e-400,-0]",
        "9".repeat(4_000)
    );
    let task = decode_body(format!("[{numbers},{{\"n\":1e400}},null]").as_bytes()).unwrap();
    assert_eq!(
        (task.args.get(), task.kwargs.get()),
        (&*numbers, "{\"n\":1e400}")
    );
    let again = task.encode_redis(&EncodeOptions::new("q", "t")).unwrap();
    assert_eq!(decode(&again).unwrap().args.get(), numbers);
    // MessagePack has no such integers: the result is an error, not another number.
    let options = EncodeOptions::new("q", "t").serializer(Serializer::Msgpack);
    assert!(matches!(
        task.encode_redis(&options),
        Err(EncodeError::Serializer(_))
    ));
    for (field, value) in [("timelimit", "5"), ("eta", "1e400"), ("expires", "[]")] {
        let text = format!(
            "{{\"body\":\"W1tdLHt9LG51bGxd\",\"headers\":{{\"task\":\"t\",\"id\":\"7\",\"{field}\":{value}}},\"properties\":{{\"body_encoding\":\"base64\"}}}}"
        );
        let error = Task::decode_redis(text.as_bytes()).unwrap_err();
        assert_eq!(
            (error.cause(), error.id()),
            (Cause::Field, Some("7")),
            "{field} {value}"
        );
    }
}

#[test]
fn numbers_beyond_every_type_are_no_limit() {
    let text = r#"{"body":"W1tdLHt9LG51bGxd","headers":{"task":"t","id":"7","retries":1e400,"timelimit":[1e400,null]},"properties":{"body_encoding":"base64"}}"#;
    let task = Task::decode_redis(text.as_bytes()).unwrap();
    assert_eq!((task.retries, task.time_limit.hard), (0, None));
    assert!(task.encode_redis(&EncodeOptions::new("q", "tag")).is_ok());
}

#[test]
fn what_python_would_choke_on_cannot_be_written() {
    let options = EncodeOptions::new("q", "tag");
    let task = || Task::new("1", "t", raw("[]"), raw("{}"));
    let refused = |change: &dyn Fn(&mut Task)| {
        let mut task = task();
        change(&mut task);
        task.encode_redis(&options).unwrap_err()
    };
    assert!(task().encode_redis(&options).is_ok());
    assert!(matches!(
        refused(&|task| task.id.clear()),
        EncodeError::Name(_)
    ));
    assert!(matches!(
        refused(&|task| task.name.clear()),
        EncodeError::Name(_)
    ));
    assert!(matches!(
        refused(&|task| task.name = "a\r\nb".into()),
        EncodeError::Name(_)
    ));
    assert!(matches!(
        refused(&|task| task.args = raw("{}")),
        EncodeError::Args
    ));
    assert!(matches!(
        refused(&|task| task.kwargs = raw("[]")),
        EncodeError::Kwargs
    ));
    assert!(matches!(
        refused(&|task| task.embed.chain = Some(raw("{}"))),
        EncodeError::Embed("chain")
    ));
    assert!(matches!(
        refused(&|task| task.embed.chord = Some(raw("[]"))),
        EncodeError::Embed("chord")
    ));
    assert!(matches!(
        refused(&|task| task.time_limit.hard = Some(f64::NAN)),
        EncodeError::Number(_)
    ));
    assert!(matches!(
        refused(&|task| task.headers.set("id", "2").unwrap()),
        EncodeError::Reserved(_)
    ));
    assert!(matches!(
        refused(&|task| task.properties.extra.set("priority", &1).unwrap()),
        EncodeError::Reserved(_)
    ));
    for (queue, tag) in [("", "t"), ("q\u{6}\u{16}3", "t"), ("q\n", "t"), ("q", "")] {
        assert!(matches!(
            task().encode_redis(&EncodeOptions::new(queue, tag)),
            Err(EncodeError::Name(_))
        ));
    }
    let mut chain = task();
    chain.embed.chain = Some(raw("[{}]"));
    let options = options.protocol(celery_protocol::message::Protocol::V1);
    assert!(matches!(
        chain.encode_redis(&options),
        Err(EncodeError::NotInProtocol1(_))
    ));
}
