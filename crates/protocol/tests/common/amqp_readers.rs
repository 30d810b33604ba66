//! Properties of the codec of AMQP and of its session that hold for any bytes.

#![allow(dead_code, unreachable_pub, reason = "each user takes its own part")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold is a failed test"
)]

use celery_protocol::amqp::limits::FRAME_MAX;
use celery_protocol::amqp::{
    AmqpError, Event, Frame, FrameKind, Login, Method, Properties, Reserved, Route, Session,
    SessionOptions, Short, Table, TableBuf,
};

/// The largest body that a session may collect.
const LIMIT: usize = 1 << 20;

/// Reads frames of AMQP and what is in them. What was read can be written and read again.
pub fn amqp(mut bytes: &[u8]) {
    while let Ok(Some((frame, length))) = Frame::read(bytes, FRAME_MAX) {
        let mut written = Vec::new();
        frame.write(&mut written, FRAME_MAX).unwrap();
        assert_eq!(written, bytes[..length]);
        bytes = &bytes[length..];
        match frame.kind {
            FrameKind::Method => amqp_method(frame.payload),
            FrameKind::Header => amqp_header(frame.payload),
            FrameKind::Body | FrameKind::Heartbeat => {}
        }
    }
}

fn amqp_method(payload: &[u8]) {
    let Ok(method) = Method::read(payload) else {
        return;
    };
    let mut written = Vec::new();
    method.write(&mut written);
    assert_eq!(Method::read(&written), Ok(method), "{}", method.name());
    match method {
        Method::ConnectionStart {
            server_properties: table,
            ..
        }
        | Method::QueueDeclare {
            arguments: table, ..
        } => amqp_table(table),
        _ => {}
    }
}

fn amqp_header(payload: &[u8]) {
    let Ok((properties, size)) = Properties::read(payload) else {
        return;
    };
    assert_eq!(Properties::body_size(payload), Ok(size));
    let mut written = Vec::new();
    properties.write(size, &mut written);
    assert_eq!(Properties::read(&written), Ok((properties, size)));
    amqp_table(properties.headers.unwrap_or_default());
}

/// Reads a table. Its JSON becomes a table with the types of Python, which stays as it is.
fn amqp_table(table: Table<'_>) {
    let Ok(json) = table.to_json() else {
        return;
    };
    let again = match TableBuf::from_json(&json) {
        Ok(again) => again,
        // Characters that replace bad bytes may make a name too long.
        Err(AmqpError::TooLarge { .. }) => return,
        Err(error) => panic!("{error}: {json}"),
    };
    let json = again.as_table().to_json().unwrap();
    let same = TableBuf::from_json(&json).unwrap();
    assert_eq!(same.as_table().to_json().as_ref(), Ok(&json));
    table.to_fields().unwrap_or_default();
}

/// Gives a connection the bytes of a server. The first byte sets the size of the pieces in which
/// they arrive, which must not change the outcome, and whether a login precedes them.
pub fn amqp_session(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let mut server = Vec::new();
    if first & 1 == 1 {
        server = amqp_greeting();
    }
    server.extend_from_slice(bytes);
    let whole = amqp_events([&*server]);
    let pieces = amqp_events(server.chunks(usize::from(first >> 1) + 1));
    assert_eq!(pieces, whole);
}

/// Returns what a server sends until a client has channel 1 with confirms.
pub fn amqp_greeting() -> Vec<u8> {
    let mut out = Vec::new();
    for (channel, method) in [
        (
            0,
            Method::ConnectionStart {
                version_major: 0,
                version_minor: 9,
                server_properties: Table::default(),
                mechanisms: b"PLAIN AMQPLAIN",
                locales: b"en_US",
            },
        ),
        (
            0,
            Method::ConnectionTune {
                channel_max: 2_047,
                frame_max: FRAME_MAX,
                heartbeat: 60,
            },
        ),
        (
            0,
            Method::ConnectionOpenOk {
                known_hosts: Reserved::default(),
            },
        ),
        (
            1,
            Method::ChannelOpenOk {
                channel_id: Reserved::default(),
            },
        ),
        (1, Method::ConfirmSelectOk {}),
    ] {
        let mut payload = Vec::new();
        method.write(&mut payload);
        let frame = Frame {
            kind: FrameKind::Method,
            channel,
            payload: &payload,
        };
        frame.write(&mut out, FRAME_MAX).unwrap();
    }
    out
}

/// Runs a client that opens channel 1 with confirms, publishes three messages and asks for more.
/// Returns its events, and the error that ended it, if any.
fn amqp_events<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
) -> (Vec<Event>, Option<AmqpError>, Vec<u8>) {
    let login = Login::Plain {
        user: "u".to_owned(),
        password: "p".to_owned(),
    };
    let mut options = SessionOptions::new(login, "/");
    options.max_body = LIMIT;
    let mut session = Session::new(options);
    let mut events = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = session.room();
            let (now, later) = piece.split_at(room.len().min(piece.len()));
            room[..now.len()].copy_from_slice(now);
            session.filled(now.len());
            piece = later;
            loop {
                match session.next_event() {
                    Ok(Some(event)) => {
                        if event == Event::Tuned && session.open_channel(1).is_ok() {
                            amqp_requests(&mut session);
                        }
                        events.push(event);
                    }
                    Ok(None) => break,
                    Err(error) => return (events, Some(error), session.output().clone()),
                }
            }
        }
    }
    for event in &events {
        if let Event::Delivered { delivery, .. } = event {
            assert!(delivery.content.body.len() <= LIMIT);
        }
    }
    (events, None, session.output().clone())
}

fn amqp_requests(session: &mut Session) {
    session.confirm(1).unwrap();
    let queue = Short::new("q").unwrap();
    let route = Route {
        routing_key: queue,
        mandatory: true,
        ..Route::default()
    };
    for number in 1..=3 {
        let published = session.publish(1, &route, &Properties::default(), b"body");
        assert_eq!(published, Ok(number));
    }
    for method in [
        Method::BasicGet {
            ticket: Reserved::default(),
            queue,
            no_ack: true,
        },
        Method::BasicConsume {
            ticket: Reserved::default(),
            queue,
            consumer_tag: Short::new("c").unwrap(),
            no_local: false,
            no_ack: true,
            exclusive: false,
            no_wait: false,
            arguments: Table::default(),
        },
    ] {
        session.request(1, &method).unwrap();
    }
}
