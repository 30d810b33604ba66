//! Events from real publications: types, lists, lost connections and silence.

use std::sync::Arc;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Events};
use celery_protocol::events::{Event, Message, Moment, Sender};
use celery_protocol::glob::Glob;
use celery_protocol::redis_keys::Keys;
use celery_protocol::time::Timestamp;
use celery_testkit::{Proxy, Redis, RedisOptions, wait_for};

use super::{PLENTY, at_leisure, cli, client, redis, within};

fn open(client: Client, types: &[&str]) -> Events {
    let types = types.iter().map(|it| Glob::new(it).unwrap()).collect();
    at_leisure(|wait| Events::open(client, types, wait)).unwrap()
}

fn sender() -> Sender {
    Sender {
        hostname: "celery@web1".to_owned(),
        pid: 7,
        utcoffset: 0.0,
    }
}

fn moment() -> Moment {
    Moment {
        clock: 5,
        at: Timestamp::from_unix(1_700_000_000, 0),
    }
}

/// Publishes an event and returns the number of listeners.
fn publish(redis: &Redis, keys: &Keys, routing_key: &str, payload: &[u8]) -> String {
    let channel = keys.event_channel(0, routing_key);
    let payload = std::str::from_utf8(payload).unwrap();
    cli(redis, &["PUBLISH", &channel, payload])
}

fn one(redis: &Redis, keys: &Keys, event: &Event<'_>) -> String {
    let payload = Message::one(event, &sender(), moment()).encode_redis("a-tag");
    publish(redis, keys, &event.routing_key(), &payload)
}

fn several(redis: &Redis, events: &[Event<'_>]) {
    let mut body = b"[".to_vec();
    for event in events {
        if body.len() > 1 {
            body.push(b',');
        }
        event.write(&mut body, &sender(), moment());
    }
    body.push(b']');
    let payload = Message::multi(body, &sender()).encode_redis("a-tag");
    publish(redis, &Keys::default(), "task.multi", &payload);
}

fn next(events: &mut Events) -> Option<String> {
    at_leisure(|wait| events.next(wait))
        .unwrap()
        .map(|event| format!("{} {}", event.kind, event.text("uuid").unwrap_or_default()))
}

const STARTED: Event<'static> = Event::Started { uuid: "a" };
const REJECTED: Event<'static> = Event::Rejected {
    uuid: "b",
    requeue: false,
};

#[test]
fn lists_and_single_events_come_once_and_in_order() {
    let redis = redis();
    let mut events = open(client(&redis), &["*"]);
    several(&redis, &[STARTED, REJECTED]);
    one(&redis, &Keys::default(), &STARTED);
    let seen: Vec<_> = (0..3).filter_map(|_| next(&mut events)).collect();
    assert_eq!(
        seen,
        ["task-started a", "task-rejected b", "task-started a"]
    );
    let none = within(Duration::from_millis(50), |wait| events.next(wait));
    assert_eq!(none.unwrap(), None);
}

#[test]
fn only_the_types_that_were_asked_for_come() {
    let redis = redis();
    let mut rejected = open(client(&redis), &["task-rej*"]);
    let mut two = open(client(&redis), &["task-rejected", "worker-*"]);
    publish(&redis, &Keys::default(), "task.multi", b"nonsense");
    publish(
        &redis,
        &Keys::default(),
        "worker.online",
        br#"{"body": "x"}"#,
    );
    several(&redis, &[STARTED, REJECTED, STARTED]);
    assert_eq!(next(&mut rejected).as_deref(), Some("task-rejected b"));
    assert_eq!(next(&mut two).as_deref(), Some("task-rejected b"));
    let none = within(Duration::from_millis(50), |wait| rejected.next(wait));
    assert_eq!(none.unwrap(), None);
}

#[test]
fn a_prefix_of_all_keys_is_part_of_the_channels() {
    let redis = redis();
    let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap();
    let endpoint = Arc::new(endpoint.with_key_prefix("a*b:".to_owned()));
    let client = Client::new(endpoint, ClientOptions::default());
    let mut events = open(client, &["task-*"]);
    one(&redis, &Keys::new("axb:"), &REJECTED);
    one(&redis, &Keys::new("a*b:"), &STARTED);
    assert_eq!(next(&mut events).as_deref(), Some("task-started a"));
}

#[test]
fn a_lost_connection_is_replaced() {
    let redis = redis();
    let mut events = open(client(&redis), &["*"]);
    cli(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(PLENTY, "another subscription", || {
                cli(&redis, &["PUBSUB", "NUMPAT"]) == "1"
            })
            .unwrap();
            one(&redis, &Keys::default(), &STARTED);
        });
        assert_eq!(next(&mut events).as_deref(), Some("task-started a"));
    });
}

#[test]
fn a_broker_that_is_away_is_an_error_at_the_deadline() {
    let mut redis = redis();
    let mut events = open(client(&redis), &["*"]);
    redis.kill9();
    let limit = Duration::from_millis(300);
    let error = within(limit, |wait| events.next(wait)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    redis.restart().unwrap();
    let none = within(limit, |wait| events.next(wait));
    assert_eq!(none.unwrap(), None);
}

#[test]
fn a_connection_that_died_unnoticed_is_replaced() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut options = ClientOptions::default();
    options.idle_check = Duration::from_millis(200);
    let mut events = open(super::client_with(&url, options), &["*"]);
    proxy.strand_all();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(PLENTY, "a second connection", || proxy.accepted() == 2).unwrap();
            // The first subscription still counts as a listener.
            wait_for(PLENTY, "its subscription", || {
                one(&redis, &Keys::default(), &STARTED) == "2"
            })
            .unwrap();
        });
        assert_eq!(next(&mut events).as_deref(), Some("task-started a"));
    });
}

#[test]
fn a_user_who_may_not_subscribe_is_refused() {
    let redis = RedisOptions::new().start().unwrap();
    cli(
        &redis,
        &["ACL", "SETUSER", "me", "on", ">x", "+@all", "resetchannels"],
    );
    let url = format!("redis://me:x@127.0.0.1:{}", redis.port());
    let types = vec![Glob::new("*").unwrap()];
    let client = super::client_with(&url, ClientOptions::default());
    let error = at_leisure(|wait| Events::open(client, types, wait)).err();
    assert!(
        matches!(&error, Some(ClientError::Server(answer)) if answer.code() == "NOPERM"),
        "{error:?}"
    );
}
