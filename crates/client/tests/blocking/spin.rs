//! Looking for an answer before sleeping changes neither outcomes nor deadlines.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Interrupt, Interrupted, Wait};
use celery_client::redis::blocking::{Client, ClientOptions, Publish};
use celery_testkit::{Fault, Proxy, Redis, wait_for};

use super::{PLENTY, at_leisure, cli, client_with, post, posts, queued, redis, within};

/// Enough posts for a connection to learn that its server answers fast.
const LEARNING: usize = 200;

fn options(spin: bool) -> ClientOptions {
    let mut options = ClientOptions::default();
    options.spin = spin;
    options
}

/// Posts until the connection has learned that its server is near, and empties the queue.
fn learn(redis: &Redis, client: &mut Client) {
    for post in posts(LEARNING) {
        at_leisure(|wait| client.publish(&post, Publish::Confirmed, wait)).unwrap();
    }
    assert_eq!(cli(redis, &["LLEN", "q"]), LEARNING.to_string());
    cli(redis, &["DEL", "q"]);
}

fn proxied(redis: &Redis) -> (Proxy, Client) {
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let client = client_with(&url, options(true));
    (proxy, client)
}

#[test]
fn every_post_arrives_once_with_and_without_it() {
    for spin in [true, false] {
        let redis = redis();
        let unix = format!("unix://{}", redis.socket().display());
        for url in [redis.url(), unix] {
            let mut client = client_with(&url, options(spin));
            learn(&redis, &mut client);
            // The directive may change while the connection lasts.
            client.set_options(options(!spin));
            learn(&redis, &mut client);
            let batch = posts(500);
            let outcomes =
                at_leisure(|wait| client.publish_batch(&batch, Publish::Confirmed, wait));
            assert!(outcomes.iter().all(Result::is_ok));
            assert_eq!(queued(&redis, "q").len(), 500);
            cli(&redis, &["DEL", "q"]);
        }
    }
}

#[test]
fn the_deadline_holds_and_a_late_answer_is_not_taken_for_another() {
    let redis = redis();
    let mut client = client_with(&redis.url(), options(true));
    learn(&redis, &mut client);
    redis.pause();
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        error.outcome_unknown && matches!(*error.cause, ClientError::Timeout { .. }),
        "{error}"
    );
    redis.resume();
    wait_for(PLENTY, "the late post", || queued(&redis, "q") == ["a"]).unwrap();
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "b"]);
}

#[test]
fn a_connection_lost_or_dead_after_learning_is_reported() {
    let redis = redis();
    let (proxy, mut client) = proxied(&redis);
    learn(&redis, &mut client);
    // Reset while idle: the next post uses a new connection.
    proxy.reset_all();
    wait_for(PLENTY, "the end of the connection", || proxy.open() == 0).unwrap();
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
    cli(&redis, &["DEL", "q"]);
    learn(&redis, &mut client);
    // Half-open: the post is swallowed.
    proxy.set(Fault::Silence);
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("b"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(error.outcome_unknown, "{error}");
}

#[test]
fn an_interrupt_ends_a_wait_after_learning() {
    struct Now;
    impl Interrupt for Now {
        fn check(&mut self) -> Result<(), Interrupted> {
            Err(Interrupted)
        }
    }
    let redis = redis();
    let mut client = client_with(&redis.url(), options(true));
    learn(&redis, &mut client);
    redis.pause();
    let mut now = Now;
    let error = client
        .publish(
            &post("a"),
            Publish::Confirmed,
            &mut Wait::new(PLENTY, &mut now),
        )
        .unwrap_err();
    assert_eq!(*error.cause, ClientError::Interrupted);
    redis.resume();
}
