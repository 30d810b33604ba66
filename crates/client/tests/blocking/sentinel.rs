//! Sentinels name the server: at the start, after failovers of every kind, and while some of the
//! Sentinels are away.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Publish};
use celery_testkit::{MASTER, Redis, RedisOptions, Sentinels, wait_for};

use super::{
    FAILOVER, PLENTY, at_leisure, client_of, client_with, post, post_again, queued, within,
};

fn watched(options: &RedisOptions) -> (Redis, Redis, Sentinels) {
    let master = options.clone().start().unwrap();
    let replica = options.clone().replica_of(master.port()).start().unwrap();
    let sentinels = Sentinels::watch(&master, 1).unwrap();
    (master, replica, sentinels)
}

#[test]
fn posts_follow_an_ordered_failover() {
    // For some seconds the old master does not know that it was replaced. It must refuse writes.
    let options = RedisOptions::new().password("secret");
    let (master, replica, sentinels) = watched(&options.set("min-replicas-to-write", "1"));
    let mut client = client_of(&sentinels.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&master, "q"), ["a"]);
    sentinels.fail_over().unwrap();
    wait_for(FAILOVER, "another master", || {
        sentinels
            .master_port()
            .is_ok_and(|port| port == replica.port())
    })
    .unwrap();
    post_again(&mut client, "b");
    assert_eq!(queued(&replica, "q"), ["a", "b"]);
}

#[test]
fn posts_follow_the_crash_of_the_master() {
    let (mut master, replica, mut sentinels) = watched(&RedisOptions::new());
    let mut client = client_of(&sentinels.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    sentinels.expect_fault(true).unwrap();
    // The Sentinel that is asked first is away as well.
    sentinels.sentinel(0).pause();
    master.kill9();
    post_again(&mut client, "b");
    assert!(queued(&replica, "q").contains(&"b".to_owned()));
    sentinels.sentinel(0).resume();
}

#[test]
fn posts_follow_when_the_master_is_frozen() {
    let (master, replica, sentinels) = watched(&RedisOptions::new());
    let mut client = client_of(&sentinels.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    sentinels.expect_fault(true).unwrap();
    master.pause();
    post_again(&mut client, "b");
    sentinels.expect_fault(false).unwrap();
    assert!(queued(&replica, "q").contains(&"b".to_owned()));
    // It wakes as a master, and the Sentinels make it a replica of the new one.
    master.resume();
    wait_for(FAILOVER, "the old master to be a replica", || {
        let role = master.cli(&["ROLE"]).unwrap();
        role.starts_with("slave")
    })
    .unwrap();
    post_again(&mut client, "c");
    assert!(queued(&replica, "q").contains(&"c".to_owned()));
}

#[test]
fn a_server_that_is_not_the_master_is_not_used() {
    let (master, replica, sentinels) = watched(&RedisOptions::new());
    // The Sentinels do not notice that the roles have changed.
    master
        .cli(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()])
        .unwrap();
    let mut client = client_of(&sentinels.url());
    let refused = within(PLENTY, |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    });
    let said = refused.unwrap_err().to_string();
    assert!(said.contains("it is a replica"), "{said}");
    assert!(said.contains(&master.port().to_string()), "{said}");
}

#[test]
fn what_the_sentinels_say_is_in_the_error() {
    let (_master, _replica, mut sentinels) = watched(&RedisOptions::new().password("hunter2"));
    let right = sentinels.url();
    let no_login = right.split("&sentinel_password").next().unwrap();
    let other = right.replace(&format!("={MASTER}"), "=other");
    let mut errors = Vec::new();
    for url in [no_login, &other] {
        let failed = within(PLENTY, |wait| {
            client_of(url).publish(&post("a"), Publish::Confirmed, wait)
        });
        errors.push(failed.unwrap_err().to_string());
    }
    for index in 0..3 {
        sentinels.sentinel(index).kill9();
    }
    let failed = within(PLENTY, |wait| {
        client_of(&right).publish(&post("a"), Publish::Confirmed, wait)
    });
    errors.push(failed.unwrap_err().to_string());
    let said = [
        ("NOAUTH", 1),
        ("it watches no master of this name", 3),
        ("refused", 3),
    ];
    for (error, (said, times)) in errors.iter().zip(said) {
        assert_eq!(error.matches(said).count(), times, "{error}");
        assert!(error.contains("sentinel://"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn no_call_exceeds_its_deadline_because_of_silent_sentinels() {
    let (_master, _replica, mut sentinels) = watched(&RedisOptions::new());
    let mut options = ClientOptions::default();
    options.connect_timeout = Duration::from_secs(1);
    let mut client = client_with(&sentinels.url(), options);
    for index in 0..3 {
        sentinels.sentinel(index).pause();
    }
    // `within` fails if the call takes much longer.
    let failed = within(Duration::from_secs(2), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    });
    for index in 0..3 {
        sentinels.sentinel(index).resume();
    }
    let said = failed.unwrap_err().to_string();
    assert!(said.contains("no Sentinel knows where"), "{said}");
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
}

#[test]
fn a_name_of_the_master_must_be_known() {
    let endpoint = RedisEndpoint::from_url("sentinel://localhost:1").unwrap();
    let mut client = Client::new(endpoint.into(), ClientOptions::default());
    let failed = within(PLENTY, |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    });
    let failed = failed.unwrap_err();
    assert!(matches!(*failed.cause, ClientError::Config(_)), "{failed}");
}
