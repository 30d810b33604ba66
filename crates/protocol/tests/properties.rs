//! Properties over generated input: written data is read back, and no input makes a reader panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/readers.rs"]
mod readers;

use std::sync::OnceLock;

use celery_protocol::compression::Compression;
use celery_protocol::json::normalise;
use celery_protocol::message::{DecodeOptions, EncodeOptions, Protocol, Task, unacked_entry};
use celery_protocol::repr;
use celery_protocol::result::{ResultDoc, State};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use proptest::prelude::*;
use readers::READERS;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

const ALL: &[Serializer] = &[Serializer::Json, Serializer::Msgpack, Serializer::Yaml];

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(any::<String>(), inner, 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn raw(value: &Value) -> Box<RawValue> {
    to_raw_value(value).unwrap()
}

fn name() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,40}"
}

prop_compose! {
    fn task()(
        id in name(),
        name_ in name(),
        args in prop::collection::vec(json_value(), 0..5),
        kwargs in prop::collection::hash_map(any::<String>(), json_value(), 0..4),
        texts in prop::collection::vec(prop::option::of(any::<String>()), 6),
        eta in prop::option::of(0_i64..250_000_000_000_000_000),
        retries in any::<u32>(),
        hard in prop::option::of(any::<f64>().prop_filter("finite", |seconds| seconds.is_finite())),
        group_index in prop::option::of(any::<i64>()),
        ignore_result in prop::option::of(any::<bool>()),
        priority in 0_u8..=9,
        header in any::<String>(),
        value in json_value(),
    ) -> Task {
        let args = raw(&Value::from(args));
        let kwargs = raw(&Value::Object(kwargs.into_iter().collect()));
        let mut task = Task::new(id, name_, args, kwargs);
        let mut texts = texts.into_iter();
        task.group = texts.next().flatten();
        task.shadow = texts.next().flatten();
        task.parent_id = texts.next().flatten();
        task.properties.reply_to = texts.next().flatten();
        task.argsrepr = texts.next().flatten();
        task.root_id = texts.next().flatten();
        task.eta = eta.map(Timestamp::from_unix_micros);
        task.retries = retries;
        task.time_limit.hard = hard;
        task.group_index = group_index;
        task.ignore_result = ignore_result;
        task.properties.priority = Some(priority);
        task.headers.set(format!("x-{header}"), &value).unwrap();
        task.properties.extra.set(format!("x-{header}"), &value).unwrap();
        task.embed.extra.set(format!("x-{header}"), &value).unwrap();
        task
    }
}

fn serializer() -> impl Strategy<Value = Serializer> {
    prop::sample::select(ALL)
}

fn compression() -> impl Strategy<Value = Option<Compression>> {
    prop::option::of(prop::sample::select(
        &[
            Compression::Zlib,
            Compression::Bzip2,
            Compression::Xz,
            Compression::Zstd,
            Compression::Brotli,
        ][..],
    ))
}

fn value(json: &RawValue) -> Value {
    serde_json::from_str(json.get()).unwrap()
}

/// Returns every captured message and document, as input to damage.
fn captured() -> &'static [Vec<u8>] {
    static ALL: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Vec::new();
        for fixture in common::folder("messages-v1/redis", 51)
            .iter()
            .chain(&common::folder("messages-v2/redis", 59))
        {
            for (_, raw) in fixture.queued() {
                all.push(unacked_entry(&raw, "", "celery"));
                all.push(raw);
            }
        }
        for fixture in common::folder("malformed/redis", 17) {
            all.push(serde_json::to_vec(&fixture.json["message"]).unwrap());
        }
        for folder in [("results/redis", 37), ("results/redis-variants", 14)] {
            for fixture in common::folder(folder.0, folder.1) {
                all.extend(fixture.published().into_iter().map(|(_, bytes)| bytes));
            }
        }
        all
    })
}

#[derive(Clone, Debug)]
enum Damage {
    Set(prop::sample::Index, u8),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    Cut(prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..6),
        prop::sample::select(vec![
            "NaN",
            "-Infinity",
            "\\ud800",
            "\"",
            "[",
            "{",
            "}",
            "]",
            ",",
            ":",
            "null",
            "1e400",
            "\\"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
    ];
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (any::<prop::sample::Index>(), piece).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        (any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(at, count)| Damage::Remove(at, count)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        let length = bytes.len();
        if length == 0 {
            break;
        }
        match damage {
            Damage::Set(at, byte) => bytes[at.index(length)] = *byte,
            Damage::Insert(at, more) => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Damage::Remove(at, count) => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + usize::from(*count)));
            }
            Damage::Cut(at) => bytes.truncate(at.index(length)),
        }
    }
    bytes
}

/// Gives the bytes to every reader.
fn read_all(bytes: &[u8]) {
    for (_, read) in READERS {
        read(bytes);
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        task in task(),
        protocol in prop::sample::select(&[Protocol::V1, Protocol::V2][..]),
        serializer in serializer(),
        compression in compression(),
    ) {
        let options = EncodeOptions::new("celery", "tag").origin("o").reply_to("r").protocol(protocol)
            .serializer(serializer).compression(compression);
        let raw = task.encode_redis(&options).unwrap();
        let read = Task::decode_redis_with(&raw, &DecodeOptions::default().accept(ALL)).unwrap();
        prop_assert_eq!(&read.id, &task.id);
        prop_assert_eq!(&read.name, &task.name);
        prop_assert_eq!(value(&read.args), value(&task.args));
        prop_assert_eq!(value(&read.kwargs), value(&task.kwargs));
        if serializer == Serializer::Json {
            prop_assert_eq!(read.args.get(), task.args.get());
        }
        prop_assert_eq!(&read.group, &task.group);
        prop_assert_eq!(read.group_index, task.group_index);
        prop_assert_eq!(read.eta, task.eta);
        prop_assert_eq!(read.retries, task.retries);
        prop_assert_eq!(read.time_limit, task.time_limit);
        prop_assert_eq!(read.priority(), task.priority());
        prop_assert_eq!(serde_json::to_value(&read.headers).unwrap(), serde_json::to_value(&task.headers).unwrap());
        prop_assert_eq!((read.protocol, read.serializer, read.compression), (protocol, serializer, compression));
        if protocol == Protocol::V2 {
            prop_assert_eq!(&read.shadow, &task.shadow);
            prop_assert_eq!(&read.parent_id, &task.parent_id);
            prop_assert_eq!(read.root(), task.root());
            prop_assert_eq!(read.ignore_result, task.ignore_result);
            prop_assert_eq!(serde_json::to_value(&read.embed.extra).unwrap(), serde_json::to_value(&task.embed.extra).unwrap());
        }
    }

    #[test]
    fn results_are_read_back(
        id in any::<String>(),
        state in "[A-Z]{1,10}",
        result in json_value(),
        traceback in prop::option::of(any::<String>()),
        serializer in serializer(),
        compression in compression(),
    ) {
        let mut doc = ResultDoc::new(id, State::from_word(&state), raw(&result), Some("2026-01-01T00:00:00".into()));
        doc.traceback = traceback;
        let data = serializer.from_json(&doc.encode()).unwrap();
        let bytes = match compression {
            None => data,
            Some(format) => common::compressed(format, &data),
        };
        let read = ResultDoc::decode_with(&bytes, serializer).unwrap();
        prop_assert_eq!(&read.task_id, &doc.task_id);
        prop_assert_eq!(&read.status, &doc.status);
        prop_assert_eq!(value(&read.result), result);
        prop_assert_eq!(&read.traceback, &doc.traceback);
        prop_assert_eq!(&read.date_done, &doc.date_done);
    }

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(&bytes);
    }

    #[test]
    fn damaged_messages_are_answered(
        which in any::<prop::sample::Index>(),
        damages in prop::collection::vec(damage(), 1..5),
    ) {
        let bytes = which.get(captured()).clone();
        read_all(&damaged(bytes, &damages));
    }

    #[test]
    fn strict_json_is_not_changed(value in json_value()) {
        let text = value.to_string();
        prop_assert_eq!(&*normalise(text.as_bytes()).unwrap(), &*text);
        prop_assert!(repr::value(&text, 100).chars().count() <= 100);
    }

    #[test]
    fn times_are_read_back(
        micros in -62_135_596_800_000_000_i64..253_402_300_799_999_999,
        (sign, hours, minutes, seconds) in (prop::sample::select(vec!['+', '-']), 0..24_i64, 0..60_i64, 0..60_i64),
    ) {
        let time = Timestamp::from_unix_micros(micros);
        prop_assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        // `there` shows the clock of `time` with another offset, so it is another point in time.
        let clock = time.to_string();
        let there = clock.replace("+00:00", &format!("{sign}{hours:02}:{minutes:02}:{seconds:02}"));
        let east = (hours * 3600 + minutes * 60 + seconds) * if sign == '-' { -1 } else { 1 };
        let there = Timestamp::parse(&there).unwrap();
        prop_assert_eq!(there.unix_micros(), micros - east * 1_000_000);
        prop_assert_eq!(Timestamp::parse(&there.to_string()).unwrap(), there);
    }

    #[test]
    fn any_text_may_be_a_date(text in "[0-9TZ:+. -]{0,40}") {
        if let Ok(time) = Timestamp::parse(&text) {
            prop_assert_eq!(Timestamp::parse(&time.to_string()).unwrap(), time);
        }
    }
}
