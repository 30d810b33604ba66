//! A server that does what RabbitMQ seldom or never does.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use celery_client::ClientError;
use celery_protocol::amqp::{
    Frame, FrameKind, Method, PROTOCOL_HEADER, Properties, Reserved, Short, Table,
};

use super::*;

const FRAME_MAX: u32 = 131_072;

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

fn returned(id: &str, key: &str) -> Vec<u8> {
    let method = method(
        1,
        &Method::BasicReturn {
            reply_code: 312,
            reply_text: Short::new("NO_ROUTE").unwrap(),
            exchange: Short::default(),
            routing_key: Short::new(key).unwrap(),
        },
    );
    let mut payload = Vec::new();
    let properties = Properties {
        correlation_id: Some(Short::new(id).unwrap()),
        ..Properties::default()
    };
    properties.write(0, &mut payload);
    [method, frame(FrameKind::Header, 1, &payload)].concat()
}

fn ack(delivery_tag: u64) -> Vec<u8> {
    let multiple = false;
    method(
        1,
        &Method::BasicAck {
            delivery_tag,
            multiple,
        },
    )
}

/// The client's side of a connection, frame by frame.
struct Reading {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Reading {
    /// Reads frames until a method of this name, or until the client has gone. Returns `true` if
    /// the method came.
    fn until(&mut self, name: &str) -> bool {
        loop {
            while let Some((frame, length)) = Frame::read(&self.buffer, FRAME_MAX).unwrap() {
                let found = frame.kind == FrameKind::Method
                    && Method::read(frame.payload).unwrap().name() == name;
                self.buffer.drain(..length);
                if found {
                    return true;
                }
            }
            let mut room = [0; 4_096];
            match self.tcp.read(&mut room) {
                Ok(0) | Err(_) => return false,
                Ok(count) => self.buffer.extend_from_slice(&room[..count]),
            }
        }
    }
}

/// Starts a server that accepts one login, sends `at_once`, and `answer` after a post. The thread
/// returns whether a post came.
fn serve(at_once: Vec<u8>, answer: Vec<u8>) -> (String, JoinHandle<bool>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut header = [0; 8];
        tcp.read_exact(&mut header).unwrap();
        assert_eq!(header, PROTOCOL_HEADER);
        let start = Method::ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: Table::default(),
            mechanisms: b"PLAIN",
            locales: b"en_US",
        };
        let tune = Method::ConnectionTune {
            channel_max: 0,
            frame_max: 0,
            heartbeat: 0,
        };
        let mut reading = Reading {
            tcp: tcp.try_clone().unwrap(),
            buffer: Vec::new(),
        };
        tcp.write_all(&method(0, &start)).unwrap();
        assert!(reading.until("connection.start-ok"));
        tcp.write_all(&method(0, &tune)).unwrap();
        assert!(reading.until("confirm.select"));
        let known_hosts = Reserved::default();
        let channel_id = Reserved::default();
        let open = [
            method(0, &Method::ConnectionOpenOk { known_hosts }),
            method(1, &Method::ChannelOpenOk { channel_id }),
            method(1, &Method::ConfirmSelectOk {}),
            at_once,
        ];
        tcp.write_all(&open.concat()).unwrap();
        let posted = reading.until("basic.publish");
        if posted {
            tcp.write_all(&answer).unwrap();
            reading.until("nothing");
        }
        posted
    });
    (url, server)
}

/// Posts once to a server that answers so, and returns the error.
fn answered(answer: Vec<u8>) -> celery_client::PublishError {
    let (url, server) = serve(Vec::new(), answer);
    let mut client = with_options(&url, |options| options.create_missing = None);
    let failed = within(LONG, |wait| client.publish(&post("q", "id"), wait)).unwrap_err();
    drop(client);
    assert!(server.join().unwrap());
    failed
}

#[test]
fn a_connection_that_knows_of_an_alarm_writes_no_post() {
    let reason = Short::new("low on memory").unwrap();
    let blocked = method(0, &Method::ConnectionBlocked { reason });
    let (url, server) = serve(blocked.clone(), Vec::new());
    let mut client = client(&url);
    let time = Duration::from_millis(300);
    let failed = within(time, |wait| client.publish(&post("q", "id"), wait)).unwrap_err();
    assert!(!failed.outcome_unknown, "{failed}");
    assert!(failed.to_string().contains("low on memory"), "{failed}");
    drop(client);
    assert!(!server.join().unwrap(), "a post was written");

    // An alarm that has ended meanwhile is over.
    let ended = [blocked, method(0, &Method::ConnectionUnblocked {})].concat();
    let (url, server) = serve(ended, ack(1));
    let mut client = super::client(&url);
    within(LONG, |wait| client.publish(&post("q", "id"), wait)).unwrap();
    drop(client);
    assert!(server.join().unwrap());
}

#[test]
fn an_answer_that_cannot_be_leaves_the_outcome_unknown() {
    let deliver = Method::BasicDeliver {
        consumer_tag: Short::default(),
        delivery_tag: 1,
        redelivered: false,
        exchange: Short::default(),
        routing_key: Short::default(),
    };
    let mut header = Vec::new();
    Properties::default().write(0, &mut header);
    let delivered = [method(1, &deliver), frame(FrameKind::Header, 1, &header)].concat();
    let deep = |levels: usize| {
        let mut table: Vec<u8> = Vec::new();
        for _ in 0..levels {
            let length = u32::try_from(table.len()).unwrap().to_be_bytes();
            table = [&b"\x01kF"[..], &length, &table].concat();
        }
        table
    };
    let mut with_table = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0];
    let table = deep(15_000);
    with_table.extend_from_slice(&u32::try_from(table.len()).unwrap().to_be_bytes());
    with_table.extend_from_slice(&table);
    let nested = [
        method(1, &deliver),
        frame(FrameKind::Header, 1, &with_table),
    ]
    .concat();
    for (answer, what) in [
        (ack(2), "a confirm of a post that was not made"),
        (ack(0), "a confirm of no post"),
        (
            [returned("other", "q"), ack(1)].concat(),
            "a return of another post",
        ),
        (
            [returned("id", "other"), ack(1)].concat(),
            "a return of another queue",
        ),
        (delivered, "a delivery without a consumer"),
        (nested, "a delivery with a deep table"),
        (
            b"\x01\0\x01\0\0\0\x04\0\x3c\0\x50\0".to_vec(),
            "a frame without its end",
        ),
        (b"\xff".to_vec(), "another kind of frame"),
    ] {
        let failed = answered(answer);
        assert!(failed.outcome_unknown, "{what}: {failed}");
        assert!(
            matches!(*failed.cause, ClientError::Amqp(_)),
            "{what}: {failed}"
        );
    }

    let forced = Method::ConnectionClose {
        reply_code: 320,
        reply_text: Short::new("CONNECTION_FORCED").unwrap(),
        class_id: 0,
        method_id: 0,
    };
    let failed = answered(method(0, &forced));
    assert!(failed.outcome_unknown, "{failed}");
    assert!(failed.to_string().contains("CONNECTION_FORCED"), "{failed}");
}

#[test]
fn an_answer_about_the_post_makes_the_outcome_known() {
    let failed = answered([returned("id", "q"), ack(1)].concat());
    assert!(!failed.outcome_unknown, "{failed}");
    assert!(
        matches!(*failed.cause, ClientError::Unroutable { .. }),
        "{failed}"
    );
    // The connection ends before the confirm of a message that was returned.
    let failed = answered([returned("id", "q"), b"\xff".to_vec()].concat());
    assert!(!failed.outcome_unknown, "{failed}");

    let close = |method_id| Method::ChannelClose {
        reply_code: 406,
        reply_text: Short::new("PRECONDITION_FAILED - message size").unwrap(),
        class_id: 60,
        method_id,
    };
    let failed = answered(method(1, &close(40)));
    assert!(!failed.outcome_unknown, "{failed}");
    let failed = answered(method(1, &close(80)));
    assert!(failed.outcome_unknown, "{failed}");
}
