//! Special values that Python Celery wrote are read as their Python values, and written as Python
//! wrote them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use celery_protocol::json::Special;
use celery_protocol::message::Task;
use celery_protocol::result::ResultDoc;
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use common::{Fixture, folder};
use serde_json::Value;

/// Returns the captured values, in the order in which Python got them.
fn expected() -> [Special; 8] {
    let time = |text| Special::Datetime(Timestamp::parse(text).unwrap());
    [
        time("2026-01-02T03:04:05.678901+00:00"),
        time("2026-01-02T03:04:05"),
        Special::Date("2026-01-02".to_owned()),
        Special::Time("03:04:05".to_owned()),
        Special::Uuid("12345678123456781234567812345678".to_owned()),
        Special::Decimal("1.10".to_owned()),
        Special::Bytes(b"\xff\0abc".to_vec()),
        Special::Bytes(b"abc".to_vec()),
    ]
}

fn check<'v>(captured: impl IntoIterator<Item = &'v Value>) {
    let captured: Vec<&Value> = captured.into_iter().collect();
    let (special, plain) = captured.split_at(8);
    for (value, expected) in special.iter().zip(expected()) {
        let read = Special::from_value(value).unwrap().unwrap();
        assert_eq!(read, expected);
        assert_eq!(read.to_value(), **value);
    }
    assert!(!plain.is_empty());
    assert!(
        plain
            .iter()
            .all(|value| Special::from_value(value).is_none())
    );
}

fn fixture(name: &str, count: usize, wanted: &str) -> Fixture {
    let mut all = folder(name, count).into_iter();
    all.find(|fixture| fixture.name == wanted).unwrap()
}

#[test]
fn pythons_arguments_are_what_they_were_in_python() {
    for (name, count) in [("messages-v1/redis", 51), ("messages-v2/redis", 59)] {
        let fixture = fixture(name, count, "json_special_types");
        let (_, raw) = fixture.queued().remove(0);
        let task = Task::decode_redis(&raw).unwrap();
        check(&serde_json::from_str::<Vec<Value>>(task.args.get()).unwrap());
    }
}

#[test]
fn pythons_result_is_what_it_was_in_python() {
    let fixture = fixture("results/redis", 37, "success_types");
    for (_, raw) in fixture
        .published()
        .iter()
        .chain(&fixture.stored("celery-task-meta-"))
    {
        let doc = ResultDoc::decode(raw).unwrap();
        let result: Value = serde_json::from_str(doc.result.get()).unwrap();
        let names = [
            "dt",
            "naive",
            "date",
            "time",
            "uuid",
            "dec",
            "bytes",
            "bytes_utf8",
            "tuple",
            "set",
        ];
        assert_eq!(result.as_object().unwrap().len(), names.len());
        check(names.map(|name| &result[name]));
    }
}

/// A value that kombu wraps in JSON, and what kombu 5.7 makes of it in MessagePack (msgpack 1.1) and
/// YAML (PyYAML 6.0); `None` where it raises `EncodeError`.
type Written = (Special, Option<&'static [u8]>, Option<&'static str>);

#[test]
fn other_formats_have_what_kombu_writes() {
    let time = |text| Special::Datetime(Timestamp::parse(text).unwrap());
    let utc = "2026-01-02T03:04:05.678901+00:00";
    let all: [Written; 9] = [
        (
            Special::Bytes(b"abc".to_vec()),
            Some(b"\xc4\x03abc"),
            Some("!!binary \"YWJj\""),
        ),
        (
            Special::Bytes(b"\xff\0".to_vec()),
            Some(b"\xc4\x02\xff\0"),
            Some("!!binary \"/wA=\""),
        ),
        (time(utc), None, Some(utc)),
        (
            time("2026-01-02T03:04:05"),
            None,
            Some("2026-01-02T03:04:05"),
        ),
        (
            time("2026-01-02T03:04:05+02:00"),
            None,
            Some("2026-01-02T03:04:05+02:00"),
        ),
        (
            Special::Date("2026-01-02".to_owned()),
            None,
            Some("2026-01-02"),
        ),
        (Special::Time("03:04:05".to_owned()), None, None),
        (Special::Decimal("1.10".to_owned()), None, None),
        (
            Special::Uuid("12345678123456781234567812345678".to_owned()),
            None,
            None,
        ),
    ];
    for (special, msgpack, yaml) in all {
        let json = serde_json::to_vec(&[special.to_value()]).unwrap();
        let written = Serializer::Msgpack.from_json(&json).ok();
        let expected = msgpack.map(|value| [b"\x91", value].concat());
        assert_eq!(written, expected, "{special:?}");
        let written = Serializer::Yaml
            .from_json(&json)
            .map_err(|error| error.to_string());
        if let Some(yaml) = yaml {
            assert_eq!(written, Ok(format!("[{yaml}]\n").into_bytes()));
        } else {
            let error = written.unwrap_err();
            let part = format!("no form for a {}", special.kind());
            assert!(error.contains(&part), "{error}");
        }
    }
    // An object that only looks like one stays an object.
    for odd in [
        r#"[{"__type__":"decimal","__value__":"x"}]"#,
        r#"[{"__type__":1,"__value__":2}]"#,
    ] {
        assert!(
            Serializer::Msgpack
                .from_json(odd.as_bytes())
                .unwrap()
                .starts_with(b"\x91\x82")
        );
        assert!(
            Serializer::Yaml
                .from_json(odd.as_bytes())
                .unwrap()
                .starts_with(b"[{")
        );
    }
}
