//! The state of an AMQP connection against the bytes of a server, good and bad.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

#[path = "common/amqp_readers.rs"]
mod amqp_readers;

use amqp_readers::amqp_greeting;
use celery_protocol::amqp::limits::FRAME_MAX;
use celery_protocol::amqp::{
    AmqpError, Close, Event, Frame, FrameKind, Login, Method, Properties, Reply, Reserved, Route,
    Session, SessionOptions, Short, Table,
};

fn options() -> SessionOptions {
    let login = Login::Plain {
        user: "me".to_owned(),
        password: "hunter2".to_owned(),
    };
    SessionOptions::new(login, "shop")
}

fn short(text: &str) -> Short<'_> {
    Short::new(text).unwrap()
}

fn frame(kind: FrameKind, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let frame = Frame {
        kind,
        channel,
        payload,
    };
    frame.write(&mut out, FRAME_MAX).unwrap();
    out
}

fn method(channel: u16, method: &Method<'_>) -> Vec<u8> {
    let mut payload = Vec::new();
    method.write(&mut payload);
    frame(FrameKind::Method, channel, &payload)
}

fn header(channel: u16, size: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    let properties = Properties {
        correlation_id: Some(short("id-1")),
        ..Properties::default()
    };
    properties.write(size, &mut payload);
    frame(FrameKind::Header, channel, &payload)
}

fn body(channel: u16, part: &[u8]) -> Vec<u8> {
    frame(FrameKind::Body, channel, part)
}

fn deliver(channel: u16) -> Vec<u8> {
    method(
        channel,
        &Method::BasicDeliver {
            consumer_tag: short("c"),
            delivery_tag: 9,
            redelivered: true,
            exchange: short(""),
            routing_key: short("q"),
        },
    )
}

fn ack(delivery_tag: u64, multiple: bool) -> Vec<u8> {
    method(
        1,
        &Method::BasicAck {
            delivery_tag,
            multiple,
        },
    )
}

fn give(session: &mut Session, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let room = session.room();
        let count = room.len().min(bytes.len());
        room[..count].copy_from_slice(&bytes[..count]);
        session.filled(count);
        bytes = &bytes[count..];
    }
}

/// Gives the session bytes and returns what has happened.
fn events(session: &mut Session, bytes: &[u8]) -> Result<Vec<Event>, AmqpError> {
    give(session, bytes);
    let mut events = Vec::new();
    while let Some(event) = session.next_event()? {
        events.push(event);
    }
    Ok(events)
}

/// Returns the methods that the session wants sent, and takes them out.
fn sent(session: &mut Session) -> Vec<String> {
    let output = std::mem::take(session.output());
    let mut rest = &output[..];
    let mut names = Vec::new();
    while let Some((frame, length)) = Frame::read(rest, FRAME_MAX).unwrap() {
        names.push(match frame.kind {
            FrameKind::Method => Method::read(frame.payload).unwrap().name().to_owned(),
            other => format!("{other:?} {}", frame.payload.len()),
        });
        rest = &rest[length..];
    }
    assert!(rest.is_empty());
    names
}

/// Returns a session with channel 1 and confirms.
fn open() -> Session {
    let mut session = Session::new(options());
    give(&mut session, &amqp_greeting());
    assert_eq!(session.next_event(), Ok(Some(Event::Tuned)));
    session.open_channel(1).unwrap();
    session.confirm(1).unwrap();
    let events = events(&mut session, &[]).unwrap();
    assert_eq!(
        events,
        [
            Event::Opened,
            Event::ChannelOpened(1),
            Event::Replied(1, Reply::Done)
        ]
    );
    session.output().clear();
    session
}

fn publish(session: &mut Session, body: &[u8]) -> Result<u64, AmqpError> {
    let route = Route {
        routing_key: short("q"),
        mandatory: true,
        ..Route::default()
    };
    session.publish(1, &route, &Properties::default(), body)
}

#[test]
fn a_login_takes_two_round_trips() {
    let mut session = Session::new(options());
    assert_eq!(session.output(), b"AMQP\0\0\x09\x01");
    session.output().clear();
    let greeting = amqp_greeting();
    let (_, start) = Frame::read(&greeting, FRAME_MAX).unwrap().unwrap();
    assert_eq!(events(&mut session, &greeting[..start]), Ok(vec![]));

    let output = session.output().clone();
    let (answer, _) = Frame::read(&output, FRAME_MAX).unwrap().unwrap();
    let Method::ConnectionStartOk {
        client_properties,
        mechanism,
        response,
        ..
    } = Method::read(answer.payload).unwrap()
    else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (mechanism, response),
        (short("PLAIN"), &b"\0me\0hunter2"[..])
    );
    let about = client_properties.to_json().unwrap();
    assert!(
        about.contains("\"authentication_failure_close\":true"),
        "{about}"
    );
    assert!(!format!("{session:?}").contains("hunter2\""));
    session.output().clear();

    give(&mut session, &greeting[start..]);
    assert_eq!(session.next_event(), Ok(Some(Event::Tuned)));
    session.open_channel(1).unwrap();
    session.confirm(1).unwrap();
    assert_eq!(publish(&mut session, b"x"), Ok(1));
    assert_eq!(
        sent(&mut session),
        [
            "connection.tune-ok",
            "connection.open",
            "channel.open",
            "confirm.select",
            "basic.publish",
            "Header 14",
            "Body 1"
        ]
    );
    assert_eq!(events(&mut session, &[]).unwrap().len(), 3);
    assert!(session.is_open() && session.is_channel_open(1));
}

#[test]
fn limits_are_the_smaller_ones() {
    for (proposed, own, agreed) in [
        ((0, 0, 0), (7, 8_192, 5), (7, 8_192, 5)),
        ((2_047, 131_072, 60), (2, 131_072, 0), (2, 131_072, 0)),
        ((1, 4_096, 10), (9, 131_072, 30), (1, 4_096, 10)),
        ((9, 131_072, 10), (9, 131_072, 3), (9, 131_072, 3)),
    ] {
        let mut options = options();
        (options.channel_max, options.frame_max, options.heartbeat) = own;
        let mut session = Session::new(options);
        let greeting = amqp_greeting();
        let (_, start) = Frame::read(&greeting, FRAME_MAX).unwrap().unwrap();
        let (channel_max, frame_max, heartbeat) = proposed;
        let tune = Method::ConnectionTune {
            channel_max,
            frame_max,
            heartbeat,
        };
        let bytes = [&greeting[..start], &method(0, &tune)].concat();
        assert_eq!(events(&mut session, &bytes), Ok(vec![Event::Tuned]));
        let tuned = session.tuned();
        assert_eq!(
            (tuned.channel_max, tuned.frame_max, tuned.heartbeat),
            agreed
        );
        assert!(session.open_channel(agreed.0 + 1).is_err());
        assert!(session.open_channel(0).is_err());
        session.open_channel(1).unwrap();
        assert!(session.open_channel(1).is_err());
    }
}

#[test]
fn a_body_is_divided_into_frames_and_a_header_is_not() {
    let mut session = open();
    let most = FRAME_MAX as usize - 8;
    assert_eq!(publish(&mut session, &vec![0; most * 2 + 1]), Ok(1));
    assert_eq!(publish(&mut session, b""), Ok(2));
    let whole = format!("Body {most}");
    assert_eq!(
        sent(&mut session),
        [
            "basic.publish",
            "Header 14",
            &whole,
            &whole,
            "Body 1",
            "basic.publish",
            "Header 14"
        ]
    );
    // A header that does not fit a frame leaves nothing behind.
    let text = "x".repeat(FRAME_MAX as usize);
    let headers = celery_protocol::amqp::TableBuf::from_json(&format!("{{\"k\":{text:?}}}"));
    let headers = headers.unwrap();
    let properties = Properties {
        headers: Some(headers.as_table()),
        ..Properties::default()
    };
    let refused = session.publish(1, &Route::default(), &properties, b"x");
    assert!(matches!(refused, Err(AmqpError::TooLarge { .. })));
    assert!(session.output().is_empty());
    assert_eq!(session.open_confirms(1), [1, 2]);
}

#[test]
fn a_body_that_is_too_large_is_left_out_if_asked() {
    let mut options = options();
    (options.max_body, options.leaves_out) = (10, true);
    let mut session = Session::new(options);
    give(&mut session, &amqp_greeting());
    assert_eq!(session.next_event(), Ok(Some(Event::Tuned)));
    session.open_channel(1).unwrap();
    session.confirm(1).unwrap();
    while session.next_event().unwrap().is_some() {}
    let part = body(1, b"123456");
    let bytes = [
        [deliver(1), header(1, 12), part.clone(), part.clone()].concat(),
        [deliver(1), header(1, 6), part].concat(),
    ];
    let delivered = events(&mut session, &bytes.concat()).unwrap();
    let bodies: Vec<_> = delivered
        .iter()
        .map(|event| match event {
            Event::Delivered { delivery, .. } => {
                let content = &delivery.content;
                let id = content.properties().unwrap().correlation_id;
                assert_eq!(id, Some(short("id-1")));
                (content.is_left_out(), &*content.body)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, [(true, &b""[..]), (false, b"123456")]);
}

#[test]
fn confirms_and_returns_are_reported_in_their_order() {
    let mut session = open();
    for number in 1..=4 {
        assert_eq!(publish(&mut session, b"x"), Ok(number));
    }
    let returned = Method::BasicReturn {
        reply_code: 312,
        reply_text: short("NO_ROUTE"),
        exchange: short(""),
        routing_key: short("q"),
    };
    let nack = Method::BasicNack {
        delivery_tag: 4,
        multiple: false,
        requeue: false,
    };
    let bytes = [
        method(1, &returned),
        header(1, 3),
        body(1, b"ab"),
        body(1, b"c"),
        ack(3, true),
        method(1, &nack),
    ];
    let events = events(&mut session, &bytes.concat()).unwrap();
    let [Event::Returned(1, returned), confirmed, refused] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((returned.code, &*returned.routing_key), (312, "q"));
    let properties = returned.content.properties().unwrap();
    assert_eq!(properties.correlation_id, Some(short("id-1")));
    assert_eq!(returned.content.body, b"abc");
    let answer = |numbers: Vec<u64>, accepted| Event::Confirmed {
        channel: 1,
        numbers,
        accepted,
    };
    assert_eq!(confirmed, &answer(vec![1, 2, 3], true));
    assert_eq!(refused, &answer(vec![4], false));
}

#[test]
fn replies_belong_to_the_oldest_request() {
    let mut session = open();
    let get = Method::BasicGet {
        ticket: Reserved::default(),
        queue: short("q"),
        no_ack: false,
    };
    let qos = Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: 5,
        global: false,
    };
    for request in [&get, &qos, &get] {
        session.request(1, request).unwrap();
    }
    let got = Method::BasicGetOk {
        delivery_tag: 3,
        redelivered: false,
        exchange: short("e"),
        routing_key: short("k"),
        message_count: 8,
    };
    let empty = Method::BasicGetEmpty {
        cluster_id: Reserved::default(),
    };
    let bytes = [
        method(1, &got),
        header(1, 0),
        method(1, &Method::BasicQosOk {}),
        method(1, &empty),
    ];
    let happened = events(&mut session, &bytes.concat()).unwrap();
    let [
        Event::Replied(1, Reply::Got(delivery, 8)),
        Event::Replied(1, Reply::Done),
        Event::Replied(1, Reply::Empty),
    ] = &happened[..]
    else {
        panic!("{happened:?}")
    };
    assert_eq!((delivery.tag, &*delivery.exchange), (3, "e"));
    for answer in [&Method::BasicQosOk {}, &empty, &got] {
        let mut session = open();
        assert!(events(&mut session, &method(1, answer)).is_err());
    }
}

#[test]
fn a_channel_that_the_server_closes_can_be_opened_again() {
    let mut session = open();
    publish(&mut session, b"x").unwrap();
    session.output().clear();
    let close = Method::ChannelClose {
        reply_code: 404,
        reply_text: short("NOT_FOUND - no exchange 'x'"),
        class_id: 60,
        method_id: 40,
    };
    let happened = events(&mut session, &method(1, &close)).unwrap();
    let expected = Close {
        code: 404,
        text: "NOT_FOUND - no exchange 'x'".to_owned(),
        method: (60, 40),
    };
    assert_eq!(happened, [Event::ChannelClosed(1, expected)]);
    assert_eq!(sent(&mut session), ["channel.close-ok"]);
    assert!(publish(&mut session, b"x").is_err());
    assert!(session.is_open() && !session.is_channel_open(1));
    session.open_channel(1).unwrap();
    assert!(session.open_confirms(1).is_empty());
}

#[test]
fn what_arrives_on_a_closing_channel_is_skipped() {
    let mut session = open();
    session.close_channel(1).unwrap();
    assert!(publish(&mut session, b"x").is_err());
    let bytes = [
        deliver(1),
        header(1, 2),
        body(1, b"ab"),
        method(1, &Method::ChannelCloseOk {}),
    ];
    let happened = events(&mut session, &bytes.concat());
    assert_eq!(happened, Ok(vec![Event::ChannelEnded(1)]));
}

#[test]
fn both_ends_of_a_connection_can_close_it() {
    let mut session = open();
    let close = Method::ConnectionClose {
        reply_code: 320,
        reply_text: short("CONNECTION_FORCED"),
        class_id: 0,
        method_id: 0,
    };
    let bytes = [method(0, &close), deliver(1)].concat();
    let happened = events(&mut session, &bytes).unwrap();
    assert!(matches!(
        &happened[..],
        [Event::Closed(Close { code: 320, .. })]
    ));
    assert_eq!(sent(&mut session), ["connection.close-ok"]);

    let mut session = open();
    session.close().unwrap();
    let bytes = [deliver(1), method(0, &Method::ConnectionCloseOk {})].concat();
    assert_eq!(events(&mut session, &bytes), Ok(vec![Event::Ended]));
    assert!(session.close().is_err());
}

#[test]
fn alarms_consumers_and_heartbeats() {
    let mut session = open();
    session.beat();
    assert_eq!(sent(&mut session), ["Heartbeat 0"]);
    let bytes = [
        frame(FrameKind::Heartbeat, 0, b""),
        method(
            0,
            &Method::ConnectionBlocked {
                reason: short("low on memory"),
            },
        ),
        method(0, &Method::ConnectionUnblocked {}),
        deliver(1),
        header(1, 1),
        frame(FrameKind::Heartbeat, 0, b""),
        body(1, b"x"),
        method(
            1,
            &Method::BasicCancel {
                consumer_tag: short("c"),
                no_wait: true,
            },
        ),
    ];
    let happened = events(&mut session, &bytes.concat()).unwrap();
    let [
        Event::Blocked(reason),
        Event::Unblocked,
        Event::Delivered { delivery, .. },
        Event::ConsumerCancelled(1, consumer),
    ] = &happened[..]
    else {
        panic!("{happened:?}")
    };
    assert_eq!((&**reason, &**consumer), ("low on memory", "c"));
    assert_eq!((delivery.tag, delivery.redelivered), (9, true));
}

#[test]
fn a_server_that_breaks_the_rules_is_refused() {
    let tune = Method::ConnectionTune {
        channel_max: 1,
        frame_max: 4_096,
        heartbeat: 0,
    };
    let start = |minor, mechanisms| Method::ConnectionStart {
        version_major: 0,
        version_minor: minor,
        server_properties: Table::default(),
        mechanisms,
        locales: b"en_US",
    };
    for (bytes, what) in [
        (method(0, &tune), "tune before start"),
        (deliver(1), "a channel before the login"),
        (method(0, &start(8, b"PLAIN")), "another version"),
        (method(0, &start(9, b"EXTERNAL PLAINER")), "no known login"),
        (b"AMQP\x03\x01\0\0".to_vec(), "AMQP 1.0 with SASL"),
    ] {
        let mut session = Session::new(options());
        assert!(events(&mut session, &bytes).is_err(), "{what}");
    }
    let too_large = (8 << 20) + 1;
    for (bytes, what) in [
        (method(0, &tune), "tune twice"),
        (deliver(2), "a channel that is not open"),
        (body(1, b"x"), "a body without a message"),
        (header(1, 1), "a header without a message"),
        (
            [deliver(1), body(1, b"x")].concat(),
            "a body without a header",
        ),
        (
            [deliver(1), deliver(1)].concat(),
            "a message inside another",
        ),
        (
            [deliver(1), header(1, 1), header(1, 1)].concat(),
            "two headers",
        ),
        (
            [deliver(1), header(1, 1), body(1, b"xy")].concat(),
            "a body longer than announced",
        ),
        (
            [deliver(1), header(1, 1), ack(1, false)].concat(),
            "a method inside a message",
        ),
        ([deliver(1), header(1, 1 << 63)].concat(), "an endless body"),
        ([deliver(1), header(1, too_large)].concat(), "a large body"),
        (ack(1, false), "a confirm without a publication"),
        (
            frame(FrameKind::Heartbeat, 1, b""),
            "a heartbeat on a channel",
        ),
        (
            frame(FrameKind::Heartbeat, 0, b"x"),
            "a heartbeat with bytes",
        ),
        (
            method(1, &Method::ConnectionCloseOk {}),
            "close-ok on a channel",
        ),
        (
            method(1, &Method::ChannelCloseOk {}),
            "an end without a request",
        ),
        (
            frame(FrameKind::Method, 1, b"\0\x3c\0\x63"),
            "an unknown method",
        ),
    ] {
        let mut options = options();
        options.max_body = 8 << 20;
        let mut session = Session::new(options);
        give(&mut session, &amqp_greeting());
        assert_eq!(session.next_event(), Ok(Some(Event::Tuned)));
        session.open_channel(1).unwrap();
        session.confirm(1).unwrap();
        while session.next_event().unwrap().is_some() {}
        assert!(events(&mut session, &bytes).is_err(), "{what}");
    }
}
