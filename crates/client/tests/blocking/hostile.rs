//! A server that answers a small command with millions of bytes. The client disconnects before they
//! take memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use celery_client::ClientError;
use celery_client::redis::blocking::{Client, ClientOptions, Publish, Revoke};

use super::{at_leisure, client_of, client_with, post, posts};

/// Bytes that the server tries to send: the size of an answer that would inflate a process to over
/// a gigabyte.
const FLOOD: usize = 80 << 20;
/// Bytes that the server may have sent before it notices the disconnection: the buffers of both
/// systems and the client's small buffer.
const SEEN: usize = 16 << 20;

/// Starts a server that accepts a login, waits for `command` and then writes `begin`, followed by
/// `rest` again and again.
///
/// Returns its URL and the number of bytes that it could write.
fn flooding(
    command: &'static str,
    begin: &'static str,
    rest: &'static str,
) -> (String, JoinHandle<usize>) {
    flooding_after("+PONG\r\n", command, begin, rest)
}

/// Starts a server like [`flooding`], which answers the login with `greeting`.
fn flooding_after(
    greeting: &'static str,
    command: &'static str,
    begin: &'static str,
    rest: &'static str,
) -> (String, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        wait_for(&mut stream, "HELLO\r\n");
        stream.write_all(greeting.as_bytes()).unwrap();
        wait_for(&mut stream, command);
        let mut written = 0;
        let mut next = begin.as_bytes().to_vec();
        while written < FLOOD {
            while next.len() < 64 << 10 {
                next.extend_from_slice(rest.as_bytes());
            }
            match stream.write(&next) {
                Ok(count) if count > 0 => written += count,
                _ => break,
            }
            next.clear();
        }
        written
    });
    (url, server)
}

fn wait_for(stream: &mut TcpStream, text: &str) {
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(text) {
        let mut byte = [0];
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            break;
        }
        seen.push(byte[0]);
    }
}

/// Answers that are too much for a small command: how they begin, and what follows.
const TOO_MUCH: &[(&str, &str)] = &[
    ("*20000000\r\n", ":1\r\n"),
    ("*1\r\n*1\r\n*1\r\n", "*1\r\n"),
    ("$80000000\r\n", "xxxxxxxxxxxxxxxx"),
    ("$100000\r\n", "xxxxxxxxxxxxxxxx"),
    ("+", "xxxxxxxxxxxxxxxx"),
    ("-ERR ", "xxxxxxxxxxxxxxxx"),
    (":1", "1111111111111111"),
    ("%20000000\r\n", "+a\r\n:1\r\n"),
];

fn is_left(
    command: &'static str,
    flood: (&'static str, &'static str),
    call: impl FnOnce(&mut Client) -> Option<ClientError>,
) {
    let (url, server) = flooding(command, flood.0, flood.1);
    let mut client = client_of(&url);
    let error = call(&mut client);
    assert!(
        matches!(error, Some(ClientError::Protocol(_))),
        "{command} {flood:?}: {error:?}"
    );
    drop(client);
    let written = server.join().unwrap();
    assert!(written < SEEN, "{command} {flood:?}: {written} bytes");
}

fn cause(error: celery_client::PublishError) -> ClientError {
    *error.cause
}

#[test]
fn too_large_answers_to_a_post_are_refused() {
    for flood in TOO_MUCH {
        is_left("LPUSH", *flood, |client| {
            at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait))
                .err()
                .map(cause)
        });
    }
    is_left("EVALSHA", TOO_MUCH[0], |client| {
        // The outcome is unknown, and the server is down when the client tries again.
        let outcome = at_leisure(|wait| client.publish(&post("a"), Publish::Once, wait));
        outcome.err().map(|error| match cause(error) {
            ClientError::Connect { .. } => ClientError::Protocol("left".into()),
            other => other,
        })
    });
}

#[test]
fn too_large_answers_to_pipelined_posts_are_refused() {
    for flood in &TOO_MUCH[..4] {
        is_left("LPUSH", *flood, |client| {
            at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
            at_leisure(|wait| client.collect(wait)).pop().map(cause)
        });
    }
}

#[test]
fn too_large_answers_to_other_commands_are_refused() {
    for flood in &TOO_MUCH[..4] {
        is_left("DEL", *flood, |client| {
            at_leisure(|wait| client.forget("x", wait)).err()
        });
        is_left("PUBLISH", *flood, |client| {
            let revoke = Revoke {
                task_ids: &["x"],
                terminate: false,
                signal: "SIGTERM",
            };
            at_leisure(|wait| client.revoke(&revoke, wait)).err()
        });
        is_left("EVALSHA", *flood, |client| {
            at_leisure(|wait| client.remove_result("x", b"{}", wait)).err()
        });
    }
}

#[test]
fn an_answer_that_is_not_a_text_is_not_a_result() {
    for flood in [
        TOO_MUCH[0],
        TOO_MUCH[1],
        TOO_MUCH[4],
        TOO_MUCH[7],
        ("*-1\r\n", ":1\r\n"),
        ("*0\r\n", ":1\r\n"),
    ] {
        is_left("GET", flood, |client| {
            at_leisure(|wait| client.get_result("x", wait)).err()
        });
    }
}

#[test]
fn too_large_messages_of_a_channel_are_refused() {
    let redis = super::old_redis();
    for flood in [
        ("*20000000\r\n", ":1\r\n"),
        ("*4\r\n", ":1\r\n"),
        ("*3\r\n*20000000\r\n", ":1\r\n"),
        ("*1\r\n*1\r\n", "*1\r\n"),
    ] {
        let (url, server) = flooding("SUBSCRIBE", flood.0, flood.1);
        let (mut client, mut listener) = (super::client(&redis), client_of(&url));
        let pause = std::time::Duration::from_millis(10);
        let waited = at_leisure(|wait| client.wait_result(&mut listener, "x", pause, wait));
        assert!(
            matches!(waited, Err(ClientError::Protocol(_))),
            "{flood:?}: {waited:?}"
        );
        drop((client, listener));
        let written = server.join().unwrap();
        assert!(written < SEEN, "{flood:?}: {written} bytes");
    }
}

#[test]
fn too_large_pushes_are_refused() {
    for (begin, rest) in [
        (">20000000\r\n", ":1\r\n"),
        (">3\r\n*20000000\r\n", ":1\r\n"),
        (">1\r\n>1\r\n", ">1\r\n"),
        (">3\r\n+message\r\n+x\r\n$80000000\r\n", "xxxxxxxxxxxxxxxx"),
        (">3\r\n+message\r\n+", "xxxxxxxxxxxxxxxx"),
    ] {
        let (url, server) = flooding_after("%1\r\n+proto\r\n:3\r\n", "GET", begin, rest);
        let mut options = ClientOptions::default();
        options.max_reply = 100_000;
        let (mut client, mut listener) = (client_with(&url, options), client_of(&url));
        let pause = std::time::Duration::from_millis(10);
        let waited = at_leisure(|wait| client.wait_result(&mut listener, "x", pause, wait));
        assert!(
            matches!(waited, Err(ClientError::Protocol(_))),
            "{begin:?}: {waited:?}"
        );
        drop((client, listener));
        let written = server.join().unwrap();
        assert!(written < SEEN, "{begin:?}: {written} bytes");
    }
}

#[test]
fn a_result_larger_than_the_limit_of_its_caller_is_refused() {
    for size in ["$1000000\r\n", "$80000000\r\n", "$9000000000\r\n"] {
        let (url, server) = flooding("GET", size, "xxxxxxxxxxxxxxxx");
        let mut options = ClientOptions::default();
        options.max_reply = 100_000;
        let mut client = client_with(&url, options);
        let read = at_leisure(|wait| client.get_result("x", wait));
        assert!(matches!(read, Err(ClientError::Protocol(_))), "{read:?}");
        drop(client);
        assert!(server.join().unwrap() < SEEN, "{size:?}");
    }
}

#[test]
fn answers_during_the_writing_of_a_post_are_bounded() {
    let (url, server) = flooding("LPUSH", ":1\r\n", ":1\r\n");
    let mut client = client_of(&url);
    let mut large = post("a");
    large.envelope = vec![b'x'; 64 << 20];
    let posted = at_leisure(|wait| client.publish(&large, Publish::Confirmed, wait));
    assert!(posted.is_err());
    drop(client);
    let written = server.join().unwrap();
    assert!(written < SEEN, "{written} bytes");
}

#[test]
fn the_answers_to_many_posts_are_all_read() {
    let redis = super::redis();
    let mut client = super::client(&redis);
    let outcomes =
        at_leisure(|wait| client.publish_batch(&posts(30_000), Publish::Confirmed, wait));
    assert!(outcomes.iter().all(Result::is_ok));
    // Each answer is an error, which is longer than a number.
    redis.cli(&["SET", "wrong", "x"]).unwrap();
    let wrong: Vec<_> = posts(30_000)
        .into_iter()
        .map(|mut post| {
            post.queue = "wrong".into();
            post
        })
        .collect();
    let outcomes = at_leisure(|wait| client.publish_batch(&wrong, Publish::Confirmed, wait));
    assert!(outcomes.iter().all(|outcome| matches!(
        outcome,
        Err(error) if matches!(&*error.cause, ClientError::Server(answer) if answer.code() == "WRONGTYPE")
    )));
}
