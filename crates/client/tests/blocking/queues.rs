//! Counting and deleting the waiting tasks of queues.

use std::sync::Arc;

use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Publish};

use super::{at_leisure, cli, client, post, redis};

/// Posts this number of tasks with a priority to the queue `q`.
fn fill(redis: &celery_testkit::Redis, priority: u8, tasks: usize) {
    for nth in 0..tasks {
        let mut post = post(&format!("t{nth}"));
        post.priority = priority;
        let mut client = client(redis);
        at_leisure(|wait| client.publish(&post, Publish::Confirmed, wait)).unwrap();
    }
}

#[test]
fn the_tasks_of_all_priorities_are_counted_and_deleted() {
    for counts in [[0, 0, 0], [3, 0, 0], [0, 2, 1], [4, 1, 2]] {
        let redis = redis();
        for (priority, tasks) in [0, 5, 9].into_iter().zip(counts) {
            fill(&redis, priority, tasks);
        }
        cli(&redis, &["LPUSH", "q2", "of another queue"]);
        let all = counts.iter().sum::<usize>() as u64;
        let mut client = client(&redis);
        assert_eq!(
            at_leisure(|wait| client.queue_length("q", wait)).unwrap(),
            all
        );
        assert_eq!(at_leisure(|wait| client.purge("q", wait)).unwrap(), all);
        assert_eq!(
            at_leisure(|wait| client.queue_length("q", wait)).unwrap(),
            0
        );
        assert_eq!(at_leisure(|wait| client.purge("q", wait)).unwrap(), 0);
        assert_eq!(cli(&redis, &["LLEN", "q2"]), "1");
    }
}

#[test]
fn the_groups_of_a_fair_queue_are_part_of_it() {
    let redis = redis();
    fill(&redis, 0, 1);
    for (list, messages) in [
        ("q.fair.10", &["{\"g\":10}"][..]),
        ("q.fair.2", &["{\"g\":2}", "{\"g\":3}"]),
        ("q.fair.2\u{6}\u{16}9", &["{\"g\":9}"]),
        ("q.fair.x", &["{}"]),
    ] {
        cli(&redis, &[&["LPUSH", list], messages].concat());
    }
    cli(&redis, &["SET", "q.fair.7", "text"]);
    cli(
        &redis,
        &["HSET", "rs.fair.q", "a", "10", "b", "2", "c", "7"],
    );
    let mut client = client(&redis);
    let length = |client: &mut Client| at_leisure(|wait| client.queue_length("q", wait));
    let mut messages = Vec::new();
    at_leisure(|wait| {
        let take = |message| messages.push(String::from_utf8(message).unwrap());
        client.waiting_messages("q", 100, wait, take)
    })
    .unwrap();
    let all = ["t0\":1", "g\":2", "g\":3", "g\":10", "g\":9"];
    assert_eq!(messages, all.map(|inner| format!("{{\"{inner}}}")));
    assert_eq!(length(&mut client).unwrap(), 5);
    // A user who may not see groups counts and deletes what is in the queue's own list.
    let acl = "ACL SETUSER few on >secret ~q ~q\u{6}* +llen +evalsha +eval +unlink";
    cli(&redis, &acl.split(' ').collect::<Vec<_>>());
    let url = redis.url().replace("://", "://few:secret@");
    let mut few = Client::new(
        Arc::new(RedisEndpoint::from_url(&url).unwrap()),
        ClientOptions::default(),
    );
    assert_eq!(length(&mut few).unwrap(), 1);
    assert_eq!(at_leisure(|wait| few.purge("q", wait)).unwrap(), 1);
    cli(&redis, &["ACL", "SETUSER", "few", "-evalsha", "-eval"]);
    cli(&redis, &["LPUSH", "q", "{}", "{}"]);
    assert_eq!(length(&mut few).unwrap(), 2);
    // The hash of the groups may have been deleted.
    cli(&redis, &["DEL", "rs.fair.q"]);
    assert_eq!(at_leisure(|wait| client.purge("q", wait)).unwrap(), 6);
    assert_eq!(cli(&redis, &["EXISTS", "q.fair.x", "q.fair.7"]), "2");
}

#[test]
fn only_the_queue_behind_the_prefix_is_purged() {
    let redis = redis();
    cli(&redis, &["LPUSH", "q", "a"]);
    cli(&redis, &["LPUSH", "mine:q", "a", "b"]);
    let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap();
    let endpoint = Arc::new(endpoint.with_key_prefix("mine:"));
    let mut client = Client::new(endpoint, ClientOptions::default());
    assert_eq!(at_leisure(|wait| client.purge("q", wait)).unwrap(), 2);
    assert_eq!(cli(&redis, &["LLEN", "q"]), "1");
}

#[test]
fn a_key_of_another_type_is_an_error() {
    let redis = redis();
    cli(&redis, &["SET", "q", "text"]);
    let mut client = client(&redis);
    let counted = at_leisure(|wait| client.queue_length("q", wait));
    assert!(counted.unwrap_err().to_string().contains("WRONGTYPE"));
    let purged = at_leisure(|wait| client.purge("q", wait));
    assert!(purged.unwrap_err().to_string().contains("WRONGTYPE"));
    assert_eq!(cli(&redis, &["GET", "q"]), "text");
}

#[test]
fn waiting_messages_are_read_in_the_order_of_their_claim() {
    let redis = redis();
    fill(&redis, 9, 2);
    fill(&redis, 0, 120);
    let mut all: Vec<String> = (0..120).map(|nth| format!("{{\"t{nth}\":1}}")).collect();
    all.extend(["{\"t0\":1}".to_owned(), "{\"t1\":1}".to_owned()]);
    let mut client = client(&redis);
    for limit in [0, 1, 49, 50, 51, 119, 120, 121, 122, 1000] {
        let mut messages = Vec::new();
        at_leisure(|wait| {
            let take = |message| messages.push(String::from_utf8(message).unwrap());
            client.waiting_messages("q", limit, wait, take)
        })
        .unwrap();
        assert_eq!(messages, all[..limit.min(all.len())], "{limit}");
    }
    assert_eq!(
        at_leisure(|wait| client.queue_length("q", wait)).unwrap(),
        122
    );
}
