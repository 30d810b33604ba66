//! Special values that Python Celery wrote are read as their Python values, and written as Python
//! wrote them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use celery_protocol::json::Special;
use celery_protocol::message::Task;
use celery_protocol::result::ResultDoc;
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
