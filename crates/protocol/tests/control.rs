//! Every captured control request and reply is read, and written again as Python wrote it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use celery_protocol::control::{Reply, ReplyTo, Request};
use celery_protocol::message::{Cause, DecodeOptions};
use celery_protocol::redis_keys::Keys;
use serde_json::{Value, json};

use common::{Fixture, decoded_body, folder, parsed};

fn captured() -> Vec<Fixture> {
    folder("control/redis", 52)
}

fn options() -> DecodeOptions<'static> {
    DecodeOptions::default()
}

/// Returns the arguments of a line of `MONITOR`, without its quoting.
fn monitored(line: &str) -> Vec<String> {
    let (mut arguments, mut current) = (Vec::new(), None::<String>);
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (&mut current, character) {
            (None, '"') => current = Some(String::new()),
            (None, _) => {}
            (Some(_), '"') => arguments.extend(current.take()),
            (Some(text), '\\') => text.push(match characters.next().unwrap() {
                'x' => {
                    let digits: String = characters.by_ref().take(2).collect();
                    u8::from_str_radix(&digits, 16).unwrap().into()
                }
                'n' => '\n',
                other => other,
            }),
            (Some(text), other) => text.push(other),
        }
    }
    arguments
}

#[test]
fn every_request_is_read_and_written_as_python_wrote_it() {
    let mut count = 0;
    for fixture in captured() {
        let Some(requests) = fixture.json["request"].as_array() else {
            continue;
        };
        for (at, request) in requests.iter().enumerate() {
            let raw = request["data"].as_str().unwrap();
            let wanted = &fixture.json["request_body_decoded"][at];
            let read = Request::decode_redis(raw.as_bytes(), &options()).unwrap();
            assert_eq!(read.method, wanted["method"], "{}", fixture.name);
            assert_eq!(read.arguments, wanted["arguments"], "{}", fixture.name);
            assert_eq!(json!(read.destination), wanted["destination"]);
            assert_eq!(json!(read.pattern), wanted["pattern"]);
            assert_eq!(json!(read.matcher), wanted["matcher"]);
            let address = read.reply_to.as_ref();
            let address = address.map(|to| (to.exchange.as_str(), to.routing_key.as_str()));
            match wanted["reply_to"].as_object() {
                Some(to) => assert_eq!(
                    json!(address.unwrap()),
                    json!([to["exchange"], to["routing_key"]])
                ),
                None => assert_eq!(address, None),
            }
            let python = parsed(raw.as_bytes());
            assert_eq!(json!(read.clock), python["headers"]["clock"]);
            assert_eq!(request["channel"], Keys::default().pidbox_channel(0));

            let tag = python["properties"]["delivery_tag"].as_str().unwrap();
            let ours = read.encode_redis(tag);
            assert_eq!(decoded_body(&ours), *wanted, "{}", fixture.name);
            let (mut ours, mut python) = (parsed(&ours), python);
            (ours["body"], python["body"]) = (Value::Null, Value::Null);
            assert_eq!(
                ours["headers"]["expires"].as_f64(),
                python["headers"]["expires"].as_f64()
            );
            ours["headers"]["expires"] = python["headers"]["expires"].clone();
            assert_eq!(ours, python, "{}", fixture.name);
            count += 1;
        }
    }
    assert_eq!(count, 50);
}

#[test]
fn every_reply_is_read_and_written_as_python_wrote_it() {
    let mut count = 0;
    for fixture in captured() {
        let Some(commands) = fixture.json["reply_transport_commands"].as_array() else {
            continue;
        };
        for command in commands {
            let arguments = monitored(command[3].as_str().unwrap());
            let [name, list, raw] = &arguments[..] else {
                continue;
            };
            if name != "LPUSH" {
                continue;
            }
            let python = parsed(raw.as_bytes());
            let info = &python["properties"]["delivery_info"];
            let address = ReplyTo::new(info["routing_key"].as_str().unwrap());
            assert_eq!(info["exchange"], address.exchange);
            assert_eq!(*list, address.queue());
            let read = Reply::decode_redis(raw.as_bytes(), &options()).unwrap();
            let received = &fixture.json["client_received"];
            let answer: Value = serde_json::from_str(read.answer.get()).unwrap();
            let found = match received {
                Value::Array(all) => all.iter().any(|one| one[&read.node] == answer),
                all => all[&read.node] == answer,
            };
            assert!(found, "{}: {answer}", fixture.name);

            let tag = python["properties"]["delivery_tag"].as_str().unwrap();
            let again = Reply::new(
                &read.node,
                read.answer.clone(),
                read.ticket.clone(),
                read.clock,
            );
            let ours = again.encode_redis(&address, tag);
            assert_eq!(decoded_body(&ours), decoded_body(raw.as_bytes()));
            let (mut ours, mut python) = (parsed(&ours), python);
            (ours["body"], python["body"]) = (Value::Null, Value::Null);
            assert_eq!(ours, python, "{}", fixture.name);
            count += 1;
        }
    }
    assert_eq!(count, 41);
}

fn published(body: &Value) -> Vec<u8> {
    let body = STANDARD.encode(body.to_string());
    json!({
        "body": body, "content-encoding": "utf-8", "content-type": "application/json",
        "headers": {"clock": 3, "expires": 0},
        "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_mode": 2,
            "delivery_info": {"exchange": "celery.pidbox", "routing_key": ""}, "priority": 0},
    })
    .to_string()
    .into_bytes()
}

#[test]
fn requests_are_addressed_by_name_then_pattern_then_to_all() {
    let addressed = |body: Value| {
        let request = Request::decode_redis(&published(&body), &options()).unwrap();
        request.addresses("celery@web1", |pattern, matcher| {
            (pattern, matcher) == ("celery@*", "glob")
        })
    };
    assert!(addressed(json!({"method": "ping"})));
    assert!(addressed(json!({"method": "ping", "destination": []})));
    assert!(addressed(
        json!({"method": "ping", "destination": ["a@b", "celery@web1"]})
    ));
    assert!(addressed(
        json!({"method": "ping", "destination": "celery@web1"})
    ));
    assert!(!addressed(
        json!({"method": "ping", "destination": ["celery@web"]})
    ));
    assert!(addressed(
        json!({"method": "ping", "pattern": "celery@*", "matcher": "glob"})
    ));
    assert!(!addressed(
        json!({"method": "ping", "pattern": "x@*", "matcher": "glob"})
    ));
    // Without a matcher, the pattern does not count.
    assert!(addressed(json!({"method": "ping", "pattern": "x@*"})));
    let both =
        json!({"method": "ping", "destination": ["x@y"], "pattern": "celery@*", "matcher": "glob"});
    assert!(!addressed(both));
}

#[test]
fn arguments_may_be_missing_and_keep_their_shape() {
    let arguments = |body: Value| {
        Request::decode_redis(&published(&body), &options())
            .unwrap()
            .arguments
    };
    for empty in [
        json!(null),
        json!({}),
        json!([]),
        json!(""),
        json!(0),
        json!(false),
    ] {
        assert_eq!(
            arguments(json!({"method": "ping", "arguments": empty})),
            json!({})
        );
    }
    assert_eq!(arguments(json!({"method": "ping"})), json!({}));
    // The worker answers these with an error.
    assert_eq!(
        arguments(json!({"method": "x", "arguments": [1]})),
        json!([1])
    );
    assert_eq!(
        arguments(json!({"method": "x", "arguments": "a"})),
        json!("a")
    );
}

#[test]
fn what_is_not_a_request_is_an_error() {
    let cause = |raw: &[u8]| Request::decode_redis(raw, &options()).unwrap_err().cause();
    assert_eq!(cause(b"hello"), Cause::Envelope);
    assert_eq!(cause(b"[]"), Cause::Envelope);
    assert_eq!(cause(b"{}"), Cause::Envelope);
    for body in [
        json!(null),
        json!([]),
        json!({}),
        json!({"method": 3}),
        json!("ping"),
    ] {
        assert_eq!(cause(&published(&body)), Cause::Body, "{body}");
    }
    let pickled = String::from_utf8(published(&json!({"method": "ping"})))
        .unwrap()
        .replace("application/json", "application/x-python-serialize");
    assert_eq!(cause(pickled.as_bytes()), Cause::ContentDisallowed);
    let large = published(&json!({"method": "ping", "arguments": {"a": "x".repeat(2_000)}}));
    let error = Request::decode_redis(&large, &options().max_body(1_000)).unwrap_err();
    assert_eq!(error.cause(), Cause::TooLarge);
    for body in [json!({}), json!({"a": 1, "b": 2}), json!([1])] {
        let error = Reply::decode_redis(&published(&body), &options()).unwrap_err();
        assert_eq!(error.cause(), Cause::Body, "{body}");
    }
}

#[test]
fn a_lone_id_is_revoked_as_text_and_several_as_a_list() {
    let revoke = |ids: &[&str]| Request::revoke(ids, true, "SIGKILL").arguments;
    assert_eq!(
        revoke(&["a"]),
        json!({"task_id": "a", "terminate": true, "signal": "SIGKILL"})
    );
    assert_eq!(revoke(&["a", "b"])["task_id"], json!(["a", "b"]));
    assert_eq!(revoke(&[])["task_id"], json!([]));
}
