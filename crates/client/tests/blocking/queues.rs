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
