//! Results that are deleted without waiting: the owed answers, and connections that die with them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celery_client::ClientError;
use celery_client::blocking::Wait;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, Pool, PoolOptions, Publish};
use celery_testkit::{Proxy, Redis, RedisOptions, wait_for};

use super::scripted::{ENTER, POSTED, scripted};
use super::{
    PLENTY, at_leisure, calls, cli, client, client_of, post, posts, queued, redis, within,
};

const KEY: &str = "celery-task-meta-id-1";

fn store(redis: &Redis, value: &str) {
    cli(redis, &["SET", KEY, value]);
}

/// Deletes the result of `id-1` if it still has this value.
fn delete(client: &mut Client, read: &str, wait: &mut Wait<'_>) -> Result<(), ClientError> {
    client.remove_result_later("id-1", read.as_bytes(), wait)
}

/// Lets the time pass for which a connection counts as alive after an answer.
fn wait_until_doubtful() {
    let begin = Instant::now();
    wait_for(PLENTY, "a doubtful connection", || {
        begin.elapsed() > Duration::from_millis(2)
    })
    .unwrap();
}

fn wait_until_deleted(redis: &Redis) {
    wait_for(PLENTY, "the deletion", || {
        cli(redis, &["EXISTS", KEY]) == "0"
    })
    .unwrap();
}

#[test]
fn only_the_value_that_was_read_is_deleted() {
    let redis = redis();
    let mut client = client(&redis);
    for read in ["old", "", "new "] {
        store(&redis, "new");
        at_leisure(|wait| delete(&mut client, read, wait)).unwrap();
        // The client's next call is answered after the deletion.
        let stored = at_leisure(|wait| client.get_result("id-1", wait));
        assert_eq!(stored, Ok(Some(b"new".to_vec())), "{read:?}");
    }
    at_leisure(|wait| delete(&mut client, "new", wait)).unwrap();
    assert_eq!(at_leisure(|wait| client.get_result("id-1", wait)), Ok(None));
}

#[test]
fn each_call_gets_its_own_answer_after_any_number_of_deletions() {
    let redis = redis();
    let mut client = client(&redis);
    for nth in 0..30 {
        let value = nth.to_string();
        store(&redis, &value);
        for _ in 0..nth % 3 {
            at_leisure(|wait| delete(&mut client, "other", wait)).unwrap();
        }
        at_leisure(|wait| client.publish_later(&post(&value), wait)).unwrap();
        at_leisure(|wait| delete(&mut client, "other", wait)).unwrap();
        let stored = at_leisure(|wait| client.get_result("id-1", wait));
        assert_eq!(stored, Ok(Some(value.into_bytes())));
        at_leisure(|wait| delete(&mut client, &nth.to_string(), wait)).unwrap();
        at_leisure(|wait| client.publish(&post("between"), Publish::Confirmed, wait)).unwrap();
        assert_eq!(at_leisure(|wait| client.get_result("id-1", wait)), Ok(None));
    }
    assert!(at_leisure(|wait| client.collect(wait)).is_empty());
    assert_eq!(queued(&redis, "q").len(), 60);
    let outcomes = at_leisure(|wait| {
        delete(&mut client, "x", wait).unwrap();
        client.publish_batch(&posts(5), Publish::Confirmed, wait)
    });
    assert!(outcomes.iter().all(Result::is_ok));
}

#[test]
fn a_refused_deletion_and_a_lost_script_do_no_harm() {
    let redis = redis();
    let mut client = client(&redis);
    store(&redis, "x");
    at_leisure(|wait| client.ping(wait)).unwrap();
    cli(&redis, &["SCRIPT", "FLUSH"]);
    at_leisure(|wait| delete(&mut client, "x", wait)).unwrap();
    wait_until_deleted(&redis);
    store(&redis, "x");
    cli(&redis, &["ACL", "SETUSER", "default", "-eval"]);
    at_leisure(|wait| delete(&mut client, "x", wait)).unwrap();
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
    assert_eq!(cli(&redis, &["EXISTS", KEY]), "1");
}

#[test]
fn a_connection_that_is_lost_after_a_deletion_is_replaced() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let mut client = client_of(&url);
    store(&redis, "x");
    at_leisure(|wait| delete(&mut client, "x", wait)).unwrap();
    wait_until_deleted(&redis);
    proxy.reset_all();
    wait_for(PLENTY, "the end of the connection", || proxy.open() == 0).unwrap();
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    // Half-open: the deletion is swallowed, and so would be the next post.
    proxy.strand_all();
    store(&redis, "y");
    at_leisure(|wait| delete(&mut client, "y", wait)).unwrap();
    within(Duration::from_secs(8), |wait| {
        client.publish(&post("b"), Publish::Confirmed, wait)
    })
    .unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "b"]);
}

#[test]
fn a_late_answer_to_a_deletion_is_not_taken_for_another() {
    let redis = redis();
    let mut client = client(&redis);
    store(&redis, "x");
    at_leisure(|wait| client.ping(wait)).unwrap();
    redis.pause();
    wait_until_doubtful();
    within(Duration::from_millis(300), |wait| {
        delete(&mut client, "x", wait)
    })
    .unwrap();
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    // The post waited for the answer to the deletion, so it was not written.
    assert!(!error.outcome_unknown, "{error}");
    redis.resume();
    wait_until_deleted(&redis);
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["b"]);
}

#[test]
fn an_answer_that_no_deletion_has_ends_the_connection() {
    // The first connection answers the deletion with an array, the second one serves the post.
    let url = scripted(&[
        &[ENTER, ("celery-task-meta-id-1", "*1\r\n:1\r\n")],
        &[ENTER, ("{\"a\":1}\r\n", POSTED)],
    ]);
    let mut client = client_of(&url);
    at_leisure(|wait| delete(&mut client, "x", wait)).unwrap();
    wait_until_doubtful();
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
}

#[test]
fn a_connection_that_owes_the_answer_to_a_deletion_is_pooled() {
    let redis = Redis::start(RedisOptions::new()).unwrap();
    let endpoint = Arc::new(RedisEndpoint::from_url(&redis.url()).unwrap());
    let mut pool = Pool::new(PoolOptions::default());
    for _ in 0..3 {
        store(&redis, "x");
        let mut client = pool.take(&endpoint);
        at_leisure(|wait| delete(&mut client, "x", wait)).unwrap();
        pool.put(client);
        assert_eq!(pool.len(), 1);
    }
    wait_until_deleted(&redis);
    assert_eq!(calls(&redis, "hello"), 1);
}
