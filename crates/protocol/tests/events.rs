//! Every captured event is written again as Python wrote it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use celery_protocol::events::{
    Clock, Event, Message, Moment, Route, Sender, TASK_MULTI, TaskInfo, WorkerState, decode_amqp,
    decode_redis,
};
use celery_protocol::message::DecodeOptions;
use celery_protocol::redis_keys::Keys;
use celery_protocol::time::Timestamp;
use serde_json::{Value, json};

use common::{decoded_body, folder, parsed};

/// Hands the event of a captured document to `with`, with its sender and moment.
fn rebuilt(event: &Value, with: impl FnOnce(&Event<'_>, &Sender, Moment)) {
    let text = |name: &str| event[name].as_str().unwrap();
    let sender = Sender {
        hostname: text("hostname").to_owned(),
        pid: event["pid"].as_u64().unwrap().try_into().unwrap(),
        utcoffset: event["utcoffset"].as_f64().unwrap(),
    };
    #[allow(
        clippy::cast_possible_truncation,
        reason = "microseconds of this century"
    )]
    let micros = (event["timestamp"].as_f64().unwrap() * 1e6).round() as i64;
    let moment = Moment {
        clock: event["clock"].as_u64().unwrap(),
        at: Timestamp::from_unix_micros(micros),
    };
    let loads: Vec<f64> = event["loadavg"].as_array().map_or(vec![0.0; 3], |loads| {
        loads.iter().map(|load| load.as_f64().unwrap()).collect()
    });
    let state = || WorkerState {
        freq: event["freq"].as_f64().unwrap(),
        active: event["active"].as_u64().unwrap(),
        processed: event["processed"].as_u64().unwrap(),
        loadavg: [loads[0], loads[1], loads[2]],
        sw_ident: text("sw_ident"),
        sw_ver: text("sw_ver"),
        sw_sys: text("sw_sys"),
    };
    let time = |name: &str| {
        let text = event[name].as_str();
        text.map(|text| Timestamp::parse(text).unwrap())
    };
    let task = || TaskInfo {
        uuid: text("uuid"),
        name: text("name"),
        args: text("args"),
        kwargs: text("kwargs"),
        root_id: event["root_id"].as_str(),
        parent_id: event["parent_id"].as_str(),
        retries: event["retries"].as_u64().unwrap().try_into().unwrap(),
        eta: time("eta"),
        expires: time("expires"),
    };
    let route = || Route {
        queue: text("queue"),
        exchange: text("exchange"),
        routing_key: text("routing_key"),
    };
    let info;
    let made = match text("type") {
        "worker-online" => Event::WorkerOnline(state()),
        "worker-heartbeat" => Event::WorkerHeartbeat(state()),
        "worker-offline" => Event::WorkerOffline(state()),
        "task-sent" => {
            info = task();
            Event::Sent(&info, route())
        }
        "task-received" => {
            info = task();
            Event::Received(&info)
        }
        "task-started" => Event::Started { uuid: text("uuid") },
        "task-succeeded" => Event::Succeeded {
            uuid: text("uuid"),
            result: text("result"),
            runtime: event["runtime"].as_f64().unwrap(),
        },
        "task-failed" => Event::Failed {
            uuid: text("uuid"),
            exception: text("exception"),
            traceback: event["traceback"].as_str(),
        },
        "task-retried" => Event::Retried {
            uuid: text("uuid"),
            exception: text("exception"),
            traceback: event["traceback"].as_str(),
        },
        "task-rejected" => Event::Rejected {
            uuid: text("uuid"),
            requeue: event["requeue"].as_bool().unwrap(),
        },
        "task-revoked" => Event::Revoked {
            uuid: text("uuid"),
            terminated: event["terminated"].as_bool().unwrap(),
            signum: event["signum"].as_i64().map(|n| n.try_into().unwrap()),
            expired: event["expired"].as_bool().unwrap(),
        },
        other => panic!("{other} is not covered"),
    };
    assert_eq!(made.kind(), text("type"));
    with(&made, &sender, moment);
}

/// Compares two events; timestamps are floats of a microsecond's precision.
fn assert_same(ours: &Value, python: &Value) {
    let (mut ours, mut python) = (ours.clone(), python.clone());
    let apart = ours["timestamp"].as_f64().unwrap() - python["timestamp"].as_f64().unwrap();
    assert!(apart.abs() < 2e-6, "{apart}");
    (ours["timestamp"], python["timestamp"]) = (Value::Null, Value::Null);
    assert_eq!(ours, python);
}

/// Compares the message on RabbitMQ with Python's on Redis, whose envelope names its properties.
fn assert_alike_on_rabbitmq(message: &Message, python: &Value) {
    let written = message.encode_amqp().unwrap();
    let headers: Value =
        serde_json::from_str(&written.headers.as_table().to_json().unwrap()).unwrap();
    assert_eq!(headers, python["headers"]);
    assert_eq!(written.content_type, python["content-type"]);
    assert_eq!(written.content_encoding, python["content-encoding"]);
    let properties = &python["properties"];
    assert_eq!(json!(written.delivery_mode), properties["delivery_mode"]);
    assert_eq!(json!(written.priority), properties["priority"]);
    let key = &properties["delivery_info"]["routing_key"];
    assert_eq!(json!(message.routing_key), *key);
    let options = DecodeOptions::default();
    let read = decode_amqp(&written.properties().unwrap(), &written.body, &options).unwrap();
    assert!(read.iter().all(|event| event.hostname == message.hostname));
}

#[test]
fn every_event_is_written_as_python_wrote_it() {
    let mut kinds = std::collections::BTreeSet::new();
    for fixture in folder("events/redis", 12) {
        for message in fixture.json["messages"].as_array().unwrap() {
            let raw = message["raw"].as_str().unwrap().as_bytes();
            let (body, python) = (decoded_body(raw), parsed(raw));
            let tag = python["properties"]["delivery_tag"].as_str().unwrap();
            let ours = match &body {
                Value::Array(events) => {
                    let mut list = b"[".to_vec();
                    let mut last = None;
                    for event in events {
                        if list.len() > 1 {
                            list.push(b',');
                        }
                        rebuilt(event, |made, sender, moment| {
                            made.write(&mut list, sender, moment);
                            last = Some(sender.clone());
                        });
                        kinds.insert(event["type"].as_str().unwrap().to_owned());
                    }
                    list.push(b']');
                    let keys = Keys::default();
                    assert_eq!(message["channel"], keys.event_channel(0, TASK_MULTI));
                    Message::multi(list, &last.unwrap())
                }
                event => {
                    let mut written = None;
                    rebuilt(event, |made, sender, moment| {
                        let channel = Keys::default().event_channel(0, &made.routing_key());
                        assert_eq!(message["channel"], channel);
                        written = Some(Message::one(made, sender, moment));
                    });
                    kinds.insert(event["type"].as_str().unwrap().to_owned());
                    written.unwrap()
                }
            };
            let written = ours.encode_redis(tag);
            assert_alike_on_rabbitmq(&ours, &python);
            match (decoded_body(&written), &body) {
                (Value::Array(ours), Value::Array(python)) => {
                    assert_eq!(ours.len(), python.len());
                    ours.iter().zip(python).for_each(|(a, b)| assert_same(a, b));
                }
                (ours, python) => assert_same(&ours, python),
            }
            let read = decode_redis(raw, &DecodeOptions::default()).unwrap();
            let events = body
                .as_array()
                .map_or(std::slice::from_ref(&body), |list| list);
            assert_eq!(read.len(), events.len());
            for (read, event) in read.iter().zip(events) {
                assert_eq!(read.kind, event["type"]);
                assert_eq!(read.hostname, event["hostname"]);
                assert_eq!(read.text("uuid"), event["uuid"].as_str());
                assert_eq!(read.number("timestamp"), event["timestamp"].as_f64());
            }
            let (mut ours, mut python) = (parsed(&written), python);
            (ours["body"], python["body"]) = (Value::Null, Value::Null);
            assert_eq!(ours, python, "{}", fixture.name);
        }
    }
    assert_eq!(kinds.len(), 11, "{kinds:?}");
}

#[test]
fn members_stand_in_pythons_order() {
    let sender = Sender {
        hostname: "celery@web1".into(),
        pid: 7,
        utcoffset: -2.0,
    };
    let moment = Moment {
        clock: 3,
        at: Timestamp::from_unix_micros(1_500_000),
    };
    let event = Event::Revoked {
        uuid: "a",
        terminated: true,
        signum: Some(15),
        expired: false,
    };
    let mut written = Vec::new();
    event.write(&mut written, &sender, moment);
    assert_eq!(
        String::from_utf8(written).unwrap(),
        r#"{"hostname":"celery@web1","utcoffset":-2.0,"pid":7,"clock":3,"uuid":"a","terminated":true,"signum":15,"expired":false,"timestamp":1.5,"type":"task-revoked"}"#
    );
    // An unknown task has no traceback.
    let mut written = Vec::new();
    let event = Event::Failed {
        uuid: "a",
        exception: "NotRegistered('x')",
        traceback: None,
    };
    event.write(&mut written, &sender, moment);
    assert!(parsed(&written).get("traceback").is_none());
}

#[test]
fn the_clock_never_goes_back() {
    let clock = Clock::default();
    assert_eq!(clock.forward(), 1);
    assert_eq!(clock.adjust(10), 11);
    assert_eq!(clock.adjust(3), 12);
    assert_eq!(clock.forward(), 13);
    assert_eq!(clock.adjust(u64::MAX), u64::MAX);
    assert_eq!(clock.forward(), u64::MAX);
    assert_eq!(json!(clock.value()), json!(u64::MAX));
}

#[test]
fn what_is_no_event_is_refused_or_left_out() {
    let sender = Sender {
        hostname: "celery@web1".into(),
        pid: 7,
        utcoffset: 0.0,
    };
    let options = DecodeOptions::default();
    for (body, kinds) in [
        (
            r#"[{"type":"task-sent"},{"hostname":"a"},7,null,{"type":"x"}]"#,
            Some(vec!["task-sent", "x"]),
        ),
        ("[]", Some(vec![])),
        ("7", None),
        (r#""task-sent""#, None),
        ("{", None),
    ] {
        let raw = Message::multi(body.into(), &sender).encode_redis("a");
        let read = decode_redis(&raw, &options).ok();
        let read = read.map(|events| events.into_iter().map(|event| event.kind).collect());
        let kinds = kinds.map(|kinds| kinds.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(read, kinds, "{body}");
    }
    assert!(decode_redis(b"not JSON", &options).is_err());
}
