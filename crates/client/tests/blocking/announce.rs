//! The events of posts: fields as Celery's, one for each confirmed post, and no failure of a post.

use std::sync::Arc;

use celery_client::redis::blocking::{Client, ClientOptions, Events, Post, Publish};
use celery_protocol::RawValue;
use celery_protocol::events::{Received, Sender};
use celery_protocol::glob::Glob;
use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{Redis, RedisOptions};

use super::{SOME_TRIES, at_leisure, calls, cli, client, client_with, queued, redis, within};

fn options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.sent_events = Some(Arc::new(Sender {
        hostname: "php1@web1".to_owned(),
        pid: 1,
        utcoffset: -2.0,
    }));
    options
}

fn task(id: &str) -> Post {
    let raw = |json: &str| RawValue::from_string(json.to_owned()).unwrap();
    let task = Task::new(id, "proj.add", raw("[2, 3]"), raw(r#"{"z": null}"#));
    let envelope = task
        .encode_redis(&EncodeOptions::new("mails", "tag"))
        .unwrap();
    Post {
        queue: "mails".into(),
        priority: 0,
        task_id: id.to_owned(),
        envelope,
    }
}

fn hearing(redis: &Redis) -> Events {
    let types = vec![Glob::new("task-sent").unwrap()];
    at_leisure(|wait| Events::open(client(redis), types, wait)).unwrap()
}

fn heard(events: &mut Events, count: usize) -> Vec<Received> {
    let mut next = || at_leisure(|wait| events.next(wait)).unwrap().unwrap();
    (0..count).map(|_| next()).collect()
}

fn ids(events: &[Received]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| event.text("uuid"))
        .collect()
}

fn sender(redis: &Redis) -> Client {
    client_with(&redis.url(), options())
}

#[test]
fn every_way_of_posting_is_followed_by_its_event() {
    let redis = redis();
    let mut events = hearing(&redis);
    let mut client = sender(&redis);
    at_leisure(|wait| client.publish(&task("a"), Publish::Confirmed, wait)).unwrap();
    at_leisure(|wait| client.publish(&task("b"), Publish::Once, wait)).unwrap();
    let batch = [task("c"), task("d")];
    for outcome in at_leisure(|wait| client.publish_batch(&batch, Publish::Confirmed, wait)) {
        outcome.unwrap();
    }
    at_leisure(|wait| client.publish_later(&task("e"), wait)).unwrap();
    assert!(at_leisure(|wait| client.collect(wait)).is_empty());
    let seen = heard(&mut events, 5);
    assert_eq!(ids(&seen), ["a", "b", "c", "d", "e"]);
    // The members of Python's event, in any order.
    let mut names: Vec<&String> = seen[0].members.keys().collect();
    names.sort();
    assert_eq!(
        names,
        [
            "args",
            "clock",
            "eta",
            "exchange",
            "expires",
            "hostname",
            "kwargs",
            "name",
            "parent_id",
            "pid",
            "queue",
            "retries",
            "root_id",
            "routing_key",
            "timestamp",
            "type",
            "utcoffset",
            "uuid"
        ]
    );
    for (name, value) in [
        ("name", "proj.add"),
        ("args", "[2, 3]"),
        ("kwargs", "{'z': None}"),
        ("queue", "mails"),
        ("exchange", ""),
        ("routing_key", "mails"),
        ("root_id", "a"),
        ("hostname", "php1@web1"),
    ] {
        let found = seen[0].text(name).map(|text| text.replace(['(', ')'], ""));
        assert_eq!(
            found.as_deref(),
            Some(value.replace("[2, 3]", "2, 3").as_str()),
            "{name}"
        );
    }
    assert_eq!(seen[0].number("utcoffset"), Some(-2.0));
    assert_eq!(cli(&redis, &["LLEN", "mails"]), "5");
}

#[test]
fn a_post_that_is_refused_has_no_event() {
    let redis = RedisOptions::new().maxmemory("1").start().unwrap();
    let mut client = sender(&redis);
    at_leisure(|wait| client.ping(wait)).unwrap();
    within(SOME_TRIES, |wait| {
        client.publish(&task("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert_eq!(calls(&redis, "publish"), 0);
}

#[test]
fn an_event_that_is_refused_fails_no_post() {
    let redis = redis();
    cli(
        &redis,
        &[
            "ACL",
            "SETUSER",
            "me",
            "on",
            ">x",
            "~*",
            "+@all",
            "resetchannels",
            "-publish",
        ],
    );
    let url = format!("redis://me:x@127.0.0.1:{}", redis.port());
    let mut client = client_with(&url, options());
    for id in ["a", "b", "c"] {
        at_leisure(|wait| client.publish(&task(id), Publish::Confirmed, wait)).unwrap();
    }
    at_leisure(|wait| client.publish_later(&task("d"), wait)).unwrap();
    assert!(at_leisure(|wait| client.collect(wait)).is_empty());
    assert_eq!(cli(&redis, &["LLEN", "mails"]), "4");
}

#[test]
fn without_the_option_nothing_is_published() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.publish(&super::post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(
        (calls(&redis, "publish"), queued(&redis, "q")),
        (0, vec!["a".to_owned()])
    );
    // A message that is not a task's has no event.
    let mut client = sender(&redis);
    at_leisure(|wait| client.publish(&super::post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(calls(&redis, "publish"), 0);
}
