//! The codec of AMQP: what is refused, what is kept, and what Python's values become.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use celery_protocol::amqp::limits::{FRAME_MAX, MAX_DEPTH};
use celery_protocol::amqp::{
    AmqpError, Confirms, Frame, FrameKind, Heartbeats, Method, Properties, Pulse, Reserved, Short,
    Table, TableBuf,
};
use proptest::prelude::*;
use std::time::Duration;

fn payload(method: &Method<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    method.write(&mut out);
    out
}

/// Returns the header frame of a message whose header table has these bytes.
fn header_with(table: &[u8]) -> Vec<u8> {
    let mut out = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    out.extend_from_slice(&(1u16 << 13).to_be_bytes());
    out.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
    out.extend_from_slice(table);
    out
}

/// Returns a table that nests `depth` tables and arrays in turns, the outermost included.
fn nested(depth: usize) -> Vec<u8> {
    let mut inside: Vec<u8> = Vec::new();
    for level in 1..depth {
        let mut out = Vec::with_capacity(inside.len() + 8);
        // A value in a table has a name. The outermost level is a table.
        if (depth - level) % 2 == 1 {
            out.extend_from_slice(&[1, b'k', b'A']);
        } else {
            out.push(b'F');
        }
        out.extend_from_slice(&u32::try_from(inside.len()).unwrap().to_be_bytes());
        out.extend_from_slice(&inside);
        inside = out;
    }
    inside
}

#[test]
fn bits_share_an_octet_and_names_are_checked() {
    let declare = Method::QueueDeclare {
        ticket: Reserved::default(),
        queue: Short::new("q").unwrap(),
        passive: false,
        durable: true,
        exclusive: false,
        auto_delete: true,
        no_wait: true,
        arguments: Table::default(),
    };
    let bytes = payload(&declare);
    assert_eq!(bytes, [0, 50, 0, 10, 0, 0, 1, b'q', 0b11010, 0, 0, 0, 0]);
    assert_eq!(Method::read(&bytes), Ok(declare));
    assert_eq!((declare.name(), declare.id()), ("queue.declare", (50, 10)));

    assert!(Short::new(&"x".repeat(255)).is_ok());
    assert!(Short::new(&"x".repeat(256)).is_err());
    assert!(Short::new(&"ü".repeat(128)).is_err());
}

#[test]
fn methods_that_are_not_whole_are_refused() {
    let ack = payload(&Method::BasicAck {
        delivery_tag: 7,
        multiple: true,
    });
    for end in 0..ack.len() {
        assert!(Method::read(&ack[..end]).is_err(), "{end}");
    }
    let longer = [&ack[..], &[0]].concat();
    assert!(matches!(
        Method::read(&longer),
        Err(AmqpError::Malformed(_))
    ));
    for unknown in [[0, 60, 0, 99], [0, 90, 0, 10], [0xff, 0xff, 0xff, 0xff]] {
        assert!(matches!(
            Method::read(&unknown),
            Err(AmqpError::UnknownMethod { .. })
        ));
    }
    // A string that is longer than the frame.
    let blocked = [0, 10, 0, 60, 200, b'x'];
    assert!(Method::read(&blocked).is_err());
}

#[test]
fn frames_are_checked_before_they_are_complete() {
    let frame = Frame {
        kind: FrameKind::Method,
        channel: 3,
        payload: b"abc",
    };
    let mut bytes = Vec::new();
    frame.write(&mut bytes, FRAME_MAX).unwrap();
    for end in 0..bytes.len() {
        assert_eq!(Frame::read(&bytes[..end], FRAME_MAX), Ok(None), "{end}");
    }
    assert_eq!(Frame::read(&bytes, FRAME_MAX), Ok(Some((frame, 11))));
    assert!(frame.write(&mut Vec::new(), 10).is_err());
    assert!(Frame::read(&bytes, 10).is_err());

    for (refused, what) in [
        (&b"\x01\0\x01\0\0\0\x01xy"[..], "another end"),
        (b"\x01\0\x01\xff\xff\xff\xff", "four gigabytes"),
        (b"\x01\0\x01\0\x02\0\0", "more than the limit"),
        (b"\x09", "an unknown kind"),
        (b"\0", "kind 0"),
        (b"HTTP/1.1 400", "another protocol"),
    ] {
        assert!(Frame::read(refused, FRAME_MAX).is_err(), "{what}");
    }
    assert_eq!(
        Frame::read(b"AMQP\0\x01\0\0", FRAME_MAX),
        Err(AmqpError::Version)
    );
}

#[test]
fn headers_that_are_not_whole_are_refused() {
    let properties = Properties {
        content_type: Some(Short::new("application/json").unwrap()),
        delivery_mode: Some(2),
        priority: Some(0),
        correlation_id: Some(Short::new("id").unwrap()),
        timestamp: Some(u64::MAX),
        ..Properties::default()
    };
    let mut bytes = Vec::new();
    properties.write(1 << 63, &mut bytes);
    assert_eq!(Properties::read(&bytes), Ok((properties, 1 << 63)));
    for end in 0..bytes.len() {
        assert!(Properties::read(&bytes[..end]).is_err(), "{end}");
    }
    bytes.push(0);
    assert!(Properties::read(&bytes).is_err());
    for (place, value, what) in [
        (1, 50, "another class"),
        (13, 1, "a continuation of the flags"),
        (13, 2, "an unknown property"),
    ] {
        let mut odd = header_with(&[]);
        odd[place] = value;
        assert!(Properties::read(&odd).is_err(), "{what}");
    }
}

#[test]
fn values_of_python_keep_their_kind() {
    let json = r#"{"s":"héllo \"x\" \\","n":5,"neg":-2147483648,"big":2147483648,"least":-9223372036854775808,"huge":"18446744073709551616","f":1.5,"whole":2.0,"tiny":1e-300,"t":true,"no":false,"none":null,"l":[1,"a",[],{}],"d":{"":{"k":[null]}}}"#;
    let table = TableBuf::from_json(json).unwrap();
    assert_eq!(table.as_table().to_json().as_deref(), Ok(json));
    let fields = table.as_table().to_fields().unwrap();
    assert_eq!(TableBuf::from_fields(&fields), Ok(table));

    // An integer of more than 64 bits, written by Python as text or refused there, becomes text.
    let huge = TableBuf::from_json(r#"{"n":18446744073709551616}"#).unwrap();
    let text = r#"{"n":"18446744073709551616"}"#;
    assert_eq!(huge.as_table().to_json().as_deref(), Ok(text));
}

#[test]
fn types_that_json_does_not_have_become_the_nearest() {
    let mut table = Vec::new();
    for value in [
        &b"b\xff"[..],
        b"B\xff",
        b"s\xff\xfe",
        b"U\xff\xfe",
        b"u\xff\xfe",
        b"i\xff\xff\xff\xff",
        b"L\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"T\0\0\0\0\x65\x4b\x5c\0",
        b"f\x3f\xc0\0\0",
        b"f\x7f\xc0\0\0",
        b"d\xff\xf0\0\0\0\0\0\0",
        b"D\x02\xff\xff\xff\x85",
        b"D\0\0\0\0\x07",
        b"x\0\0\0\x02a\xff",
        b"t\x05",
    ] {
        table.extend_from_slice(b"\x01k");
        table.extend_from_slice(value);
    }
    let header = header_with(&table);
    let (properties, _) = Properties::read(&header).unwrap();
    let json = properties.headers.unwrap().to_json().unwrap();
    let values: Vec<&str> = json
        .trim_matches(['{', '}'])
        .split(',')
        .map(|member| &member[4..])
        .collect();
    assert_eq!(
        values,
        [
            "-1",
            "255",
            "-2",
            "-2",
            "65534",
            "4294967295",
            "9223372036854775807",
            "1699437568",
            "1.5",
            "null",
            "null",
            "-1.23",
            "7",
            "\"a\u{fffd}\"",
            "true"
        ]
    );
}

#[test]
fn hostile_tables_are_refused_on_a_small_stack() {
    let depths = |depth| {
        let bytes = header_with(&nested(depth));
        let (properties, _) = Properties::read(&bytes).unwrap();
        properties.headers.unwrap().to_json()
    };
    // Deeper than any stack: a naive reader would end the process.
    let run = move || {
        assert!(depths(MAX_DEPTH).is_ok());
        for depth in [MAX_DEPTH + 1, 1_000, 5_000, 18_000] {
            assert_eq!(depths(depth), Err(AmqpError::TooDeep), "{depth}");
        }
        let deep = |n: usize| format!("{{\"k\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(TableBuf::from_json(&deep(MAX_DEPTH - 1)).is_ok());
        for depth in [MAX_DEPTH, 1_000, 50_000] {
            assert_eq!(
                TableBuf::from_json(&deep(depth)),
                Err(AmqpError::TooDeep),
                "{depth}"
            );
        }
    };
    let small = std::thread::Builder::new().stack_size(256 << 10);
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn tables_that_are_not_whole_are_refused() {
    for (table, what) in [
        (&b"\x05ab"[..], "a name"),
        (b"\x01k", "no type"),
        (b"\x01kS\0\0\0\x05ab", "a string longer than its table"),
        (b"\x01kS\xff\xff\xff\xffab", "a string of four gigabytes"),
        (b"\x01kF\0\0\0\x09\x01k", "a table longer than its table"),
        (b"\x01kA\0\0\0\x02Sx", "an array that ends in a value"),
        (b"\x01kI\0\0\0", "a short number"),
        (b"\x01k?\0", "an unknown type"),
    ] {
        let header = header_with(table);
        let (properties, size) = Properties::read(&header).unwrap();
        assert_eq!(size, 5);
        assert!(properties.headers.unwrap().to_json().is_err(), "{what}");
    }
    for text in ["", "[]", "1", "{\"a\":}", "{\"a\":1}x", "{\"a\":tru}"] {
        assert!(TableBuf::from_json(text).is_err(), "{text}");
    }
    let long = format!("{{\"{}\":1}}", "k".repeat(256));
    assert!(TableBuf::from_json(&long).is_err());
}

#[test]
fn heartbeats_are_due_after_half_and_missed_after_two_intervals() {
    let seconds = Duration::from_secs;
    let mut beats = Heartbeats::new(seconds(10), seconds(100));
    assert_eq!(beats.at(seconds(101)), Pulse::Wait(seconds(4)));
    assert_eq!(beats.at(seconds(105)), Pulse::Send);
    beats.sent(seconds(105));
    assert_eq!(beats.at(seconds(106)), Pulse::Wait(seconds(4)));
    beats.sent(seconds(119));
    assert_eq!(beats.at(seconds(119)), Pulse::Wait(seconds(1)));
    assert_eq!(beats.at(seconds(120)), Pulse::Dead);
    beats.received(seconds(120));
    assert_eq!(beats.at(seconds(120)), Pulse::Wait(seconds(4)));
}

#[test]
fn confirms_answer_each_publication_once() {
    let mut confirms = Confirms::default();
    assert!(confirms.answer(0, true).unwrap().is_empty());
    assert!(confirms.answer(1, false).is_err());
    for number in 1..=5 {
        assert_eq!(confirms.publish(), number);
    }
    assert_eq!(confirms.answer(2, false), Ok(vec![2]));
    assert!(confirms.answer(2, false).is_err());
    assert_eq!(confirms.answer(3, true), Ok(vec![1, 3]));
    assert!(confirms.answer(1, false).is_err());
    assert!(confirms.answer(3, false).is_err());
    assert!(confirms.answer(6, true).is_err());
    assert_eq!(confirms.answer(0, true), Ok(vec![4, 5]));
    assert!(confirms.answer(0, false).is_err());
    assert_eq!((confirms.waiting(), confirms.publish()), (0, 6));
    assert_eq!(confirms.open().collect::<Vec<_>>(), [6]);
}

proptest! {
    /// Whatever the broker answers, each publication has one answer, and the rest stays open.
    #[test]
    fn confirms_agree_with_a_set(
        steps in proptest::collection::vec((0u8..4, 0u64..40), 0..200)
    ) {
        let mut confirms = Confirms::default();
        let mut open = std::collections::BTreeSet::new();
        let mut last = 0;
        for (step, number) in steps {
            if step < 2 {
                last += 1;
                prop_assert_eq!(confirms.publish(), last);
                open.insert(last);
                continue;
            }
            let multiple = step == 3;
            let up_to = if multiple && number == 0 { last } else { number };
            let expected: Vec<u64> = if multiple {
                open.iter().copied().filter(|open| *open <= up_to).collect()
            } else {
                open.contains(&number).then_some(number).into_iter().collect()
            };
            let valid = up_to <= last && (multiple || !expected.is_empty());
            match confirms.answer(number, multiple) {
                Ok(answered) => {
                    prop_assert!(valid);
                    prop_assert_eq!(&answered, &expected);
                    for number in answered {
                        open.remove(&number);
                    }
                }
                Err(_) => prop_assert!(!valid),
            }
            prop_assert_eq!(confirms.waiting(), open.len());
            prop_assert!(confirms.open().eq(open.iter().copied()));
        }
    }
}
