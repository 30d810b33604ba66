//! Posts that replicas must confirm.

use std::io::Write;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::error::PublishError;
use celery_client::redis::blocking::{Client, ClientOptions, Publish};
use celery_testkit::{Proxy, Redis, RedisOptions, wait_for};

use super::{PLENTY, at_leisure, calls, cli, client_with, post, posts, queued, within};

/// Starts a primary and a connected replica.
fn pair() -> (Redis, Redis) {
    // The setting removes the pause in which Redis waits for more replicas to connect.
    let primary = RedisOptions::new()
        .set("repl-diskless-sync-delay", "0")
        .start()
        .unwrap();
    let replica = RedisOptions::new()
        .replica_of(primary.port())
        .start()
        .unwrap();
    wait_for(PLENTY, "the replica", || {
        cli(&primary, &["INFO", "replication"]).contains("state=online")
    })
    .unwrap();
    (primary, replica)
}

fn options() -> ClientOptions {
    let mut options = ClientOptions::default();
    options.replicas = 1;
    options
}

fn careful(redis: &Redis) -> Client {
    client_with(&redis.url(), options())
}

/// Returns `true` if the task may be queued but no replica confirmed it.
fn is_unconfirmed(error: &PublishError) -> bool {
    let none = ClientError::Replicas {
        wanted: 1,
        confirmed: 0,
    };
    error.outcome_unknown && *error.cause == none
}

#[test]
fn posts_on_the_replica_are_confirmed() {
    let (primary, replica) = pair();
    let mut client = careful(&primary);
    for (nth, mode) in [Publish::Confirmed, Publish::Once].into_iter().enumerate() {
        let batch: Vec<_> = (0..20).map(|id| post(&format!("{mode:?}-{id}"))).collect();
        let outcomes = at_leisure(|wait| client.publish_batch(&batch, mode, wait));
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        // The replica has the tasks as soon as the call returns.
        assert_eq!(queued(&replica, "q").len(), (nth + 1) * 20);
    }
    // There is one WAIT for each batch, and one more for the repeat after the script was loaded.
    assert_eq!(calls(&primary, "wait"), 3);
}

#[test]
fn a_replica_that_is_frozen_or_dead_confirms_nothing() {
    for dead in [false, true] {
        let (primary, mut replica) = pair();
        let mut client = careful(&primary);
        at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
        if dead {
            replica.kill9();
        } else {
            replica.pause();
        }
        let error = within(Duration::from_secs(1), |wait| {
            client.publish(&post("b"), Publish::Confirmed, wait)
        })
        .unwrap_err();
        assert!(is_unconfirmed(&error), "{error:?}");
        assert_eq!(
            error.to_string(),
            "task b may or may not have been queued: 0 of 1 replicas confirmed it"
        );
        // The client did not repeat the post.
        assert_eq!(queued(&primary, "q"), ["a", "b"]);
        replica.restart().unwrap();
        at_leisure(|wait| client.publish(&post("c"), Publish::Confirmed, wait)).unwrap();
        assert_eq!(queued(&replica, "q"), ["a", "b", "c"]);
    }
}

#[test]
fn a_refusal_by_the_primary_differs_from_a_missing_confirmation() {
    let (primary, replica) = pair();
    cli(&primary, &["SET", "occupied", "no list"]);
    replica.pause();
    let mut refused = post("refused");
    refused.queue = "occupied".into();
    let outcomes = within(Duration::from_secs(1), |wait| {
        careful(&primary).publish_batch(&[refused, post("a")], Publish::Confirmed, wait)
    });
    assert!(!outcomes[0].as_ref().unwrap_err().outcome_unknown);
    assert!(is_unconfirmed(outcomes[1].as_ref().unwrap_err()));
}

#[test]
fn once_waits_for_the_replica_again_also_on_a_new_connection() {
    let (primary, replica) = pair();
    // Loads the script.
    at_leisure(|wait| careful(&primary).publish(&post("first"), Publish::Once, wait)).unwrap();
    replica.pause();
    for _ in 0..2 {
        let error = within(Duration::from_secs(1), |wait| {
            careful(&primary).publish(&post("a"), Publish::Once, wait)
        })
        .unwrap_err();
        assert!(is_unconfirmed(&error), "{error:?}");
    }
    let asked = calls(&primary, "wait");
    let mut client = careful(&primary);
    let posted = std::thread::spawn(move || {
        within(Duration::from_secs(9), |wait| {
            client.publish(&post("a"), Publish::Once, wait)
        })
    });
    wait_for(PLENTY, "a second WAIT", || {
        calls(&primary, "wait") > asked + 1
    })
    .unwrap();
    replica.resume();
    posted.join().unwrap().unwrap();
    assert_eq!(queued(&replica, "q"), ["first", "a"]);
}

#[test]
fn pipelined_posts_are_confirmed_when_they_are_collected() {
    let (primary, replica) = pair();
    let mut client = careful(&primary);
    for post in posts(200) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
    }
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(queued(&replica, "q").len(), 200);
    assert_eq!(calls(&primary, "wait"), 1);
    replica.pause();
    for post in posts(200) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
    }
    let failures = within(Duration::from_secs(1), |wait| client.collect(wait));
    assert_eq!(failures.len(), 200);
    assert!(failures.iter().all(is_unconfirmed));
}

#[test]
fn posts_that_wait_for_their_replicas_are_bounded() {
    let (primary, _replica) = pair();
    let mut options = options();
    options.window_posts = 100;
    let mut client = client_with(&primary.url(), options);
    for post in posts(1000) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
        assert!(client.outstanding() <= 100);
    }
    assert_eq!(at_leisure(|wait| client.collect(wait)), []);
    assert_eq!(calls(&primary, "wait"), 10);
}

#[test]
fn posts_without_confirmation_are_unknown_when_the_connection_dies() {
    let (primary, _replica) = pair();
    let proxy = Proxy::to_port(primary.port()).unwrap();
    let mut client = client_with(&format!("redis://127.0.0.1:{}", proxy.port()), options());
    for post in posts(300) {
        at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
    }
    wait_for(PLENTY, "all posts", || queued(&primary, "q").len() == 300).unwrap();
    proxy.strand_all();
    let failures = within(Duration::from_secs(1), |wait| client.collect(wait));
    assert_eq!(failures.len(), 300);
    assert!(failures.iter().all(|failure| failure.outcome_unknown));
}

#[test]
fn a_connection_on_which_wait_makes_no_sense_takes_no_other_post() {
    // This server answers `WAIT 1 500` like `SET 1 500`.
    let mut settings = tempfile::NamedTempFile::new().unwrap();
    settings
        .write_all(b"rename-command WAIT \"\"\nrename-command SET WAIT\n")
        .unwrap();
    let redis = RedisOptions::new()
        .set("include", settings.path().to_str().unwrap())
        .start()
        .unwrap();
    for window in [1, 2, 3] {
        let mut options = options();
        options.window_posts = window;
        let mut client = client_with(&redis.url(), options);
        for post in posts(6) {
            at_leisure(|wait| client.publish_later(&post, wait)).unwrap();
        }
        let failures = at_leisure(|wait| client.collect(wait));
        assert_eq!(failures.len(), 6, "{failures:?}");
        for failure in failures {
            let cause = failure.cause.to_string();
            assert!(cause.contains("WAIT"), "{window}: {cause}");
        }
    }
}
