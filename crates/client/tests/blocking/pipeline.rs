//! Pipelined posts: their order, their window, and the errors of refused ones.

use std::time::Duration;

use celery_client::redis::blocking::{ClientOptions, Post, Publish};
use celery_testkit::{Proxy, Redis, RedisOptions, wait_for};

use super::{
    PLENTY, at_leisure, calls, cli, client, client_of, client_with, post, posts, queued, redis,
    within,
};

#[test]
fn pipelined_posts_arrive_in_order_and_are_collected() {
    let redis = redis();
    let mut client = client(&redis);
    for post in posts(2500) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
    }
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(client.outstanding(), 0);
    let got = queued(&redis, "q");
    assert_eq!(got.len(), 2500);
    assert!(
        got.iter()
            .enumerate()
            .all(|(nth, id)| *id == format!("t{nth}"))
    );
    assert_eq!(calls(&redis, "sadd"), 2);
}

#[test]
fn a_command_after_a_pipeline_gets_its_own_answer() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
    assert_eq!(at_leisure(|wait| client.get_result("none", wait)), Ok(None));
    at_leisure(|wait| client.publish_later(&post("b"), wait)).unwrap();
    at_leisure(|wait| client.publish(&post("c"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "b", "c"]);
}

#[test]
fn a_pipelined_post_that_is_refused_is_named() {
    let redis = redis();
    cli(&redis, &["SET", "occupied", "no list"]);
    let mut client = client(&redis);
    at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
    at_leisure(|wait| {
        client.publish_later(
            &Post {
                queue: "occupied".into(),
                ..post("b")
            },
            wait,
        )
    })
    .unwrap();
    at_leisure(|wait| client.publish_later(&post("c"), wait)).unwrap();
    let failures = at_leisure(|wait| client.collect(wait));
    assert_eq!(
        failures
            .iter()
            .map(|failure| (&*failure.task_id, failure.outcome_unknown))
            .collect::<Vec<_>>(),
        [("b", false)]
    );
    assert_eq!(queued(&redis, "q"), ["a", "c"]);
    assert!(at_leisure(|wait| client.collect(wait)).is_empty());
}

#[test]
fn pipelined_posts_are_sent_although_their_answers_are_not_collected() {
    let redis = redis();
    let mut client = client(&redis);
    for post in posts(50) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
    }
    wait_for(PLENTY, "all posts", || queued(&redis, "q").len() == 50).unwrap();
}

#[test]
fn pipelined_posts_without_an_answer_are_named() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.ping(wait)).unwrap();
    redis.pause();
    for post in posts(3) {
        within(Duration::from_millis(300), |wait| {
            client.publish_later(&post, wait)
        })
        .unwrap();
    }
    let failures = within(Duration::from_millis(300), |wait| client.collect(wait));
    redis.resume();
    assert_eq!(
        failures
            .iter()
            .map(|failure| &*failure.task_id)
            .collect::<Vec<_>>(),
        ["t0", "t1", "t2"]
    );
    assert!(failures.iter().all(|failure| failure.outcome_unknown));
}

#[test]
fn the_window_of_pipelined_posts_is_bounded() {
    let redis = redis();
    let mut options = ClientOptions::default();
    options.window_posts = 10;
    let mut client = client_with(&redis.url(), options);
    for post in posts(100) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
        assert!(client.outstanding() <= 10);
    }
    assert!(at_leisure(|wait| client.collect(wait)).is_empty());
}

/// Starts a replica behind a proxy that counts connections. Returns the primary, too, to keep it
/// running.
fn replica_behind_proxy() -> (Redis, Redis, Proxy) {
    let primary = redis();
    let replica = RedisOptions::new()
        .replica_of(primary.port())
        .start()
        .unwrap();
    let proxy = Proxy::to_port(replica.port()).unwrap();
    (primary, replica, proxy)
}

/// Makes a replica accept posts once it has refused a post and its two bindings.
fn accept_after_a_refusal(replica: &Redis) {
    wait_for(PLENTY, "the refusal", || {
        cli(replica, &["INFO", "errorstats"]).contains("errorstat_READONLY:count=3")
    })
    .unwrap();
    cli(replica, &["REPLICAOF", "NO", "ONE"]);
}

#[test]
fn a_post_that_a_replica_refused_is_repeated_on_a_new_connection() {
    let (_primary, replica, proxy) = replica_behind_proxy();
    let mut client = client_of(&format!("redis://127.0.0.1:{}", proxy.port()));
    at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
    accept_after_a_refusal(&replica);
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    at_leisure(|wait| client.publish_later(&post("b"), wait)).unwrap();
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(queued(&replica, "q"), ["a", "b"]);
    assert_eq!(proxy.accepted(), 2);
}

#[test]
fn a_refusal_that_lasts_is_reported_at_the_deadline() {
    let (_primary, _replica, proxy) = replica_behind_proxy();
    let mut client = client_of(&format!("redis://127.0.0.1:{}", proxy.port()));
    at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
    let failures = within(Duration::from_millis(300), |wait| client.collect(wait));
    assert_eq!(failures.len(), 1);
    assert!(!failures[0].outcome_unknown && failures[0].to_string().contains("READONLY"));
    assert_eq!(client.outstanding(), 0);
}

#[test]
fn a_refusal_found_later_moves_the_next_call_to_a_new_connection() {
    let (_primary, replica, proxy) = replica_behind_proxy();
    let mut client = client_of(&format!("redis://127.0.0.1:{}", proxy.port()));
    at_leisure(|wait| client.publish_later(&post("a"), wait)).unwrap();
    accept_after_a_refusal(&replica);
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&replica, "q"), ["b"]);
    assert_eq!(proxy.accepted(), 2);
    assert_eq!(client.outstanding(), 1);
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(queued(&replica, "q"), ["b", "a"]);
}

#[test]
fn answers_owed_by_a_replaced_connection_are_still_read() {
    let (_primary, _replica, proxy) = replica_behind_proxy();
    let mut client = client_of(&format!("redis://127.0.0.1:{}", proxy.port()));
    let (mut count, mut failures) = (0, Vec::new());
    let moment = Duration::from_millis(300);
    // Posts until the client has seen a refusal between two posts and opened a second connection.
    wait_for(PLENTY, "a second connection", || {
        for post in posts(100) {
            let later = within(moment, |wait| client.publish_later(&post, wait));
            failures.extend(later.err());
            count += 1;
        }
        proxy.accepted() > 1
    })
    .unwrap();
    failures.extend(within(moment, |wait| client.collect(wait)));
    assert_eq!(failures.len(), count);
    assert!(failures.iter().all(|failure| !failure.outcome_unknown));
}

#[test]
fn posts_answered_before_the_connection_closed_are_not_unknown() {
    let redis = redis();
    let mut client = client(&redis);
    for id in ["a", "b", "c"] {
        at_leisure(|wait| client.publish_later(&post(id), wait)).unwrap();
        wait_for(PLENTY, "the post", || {
            queued(&redis, "q").last().is_some_and(|last| last == id)
        })
        .unwrap();
        cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    }
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(queued(&redis, "q"), ["a", "b", "c"]);
}
