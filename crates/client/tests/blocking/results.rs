//! Results that are read, awaited, taken and forgotten; tasks that are revoked.

use std::time::Duration;

use base64::Engine;
use celery_client::ClientError;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Publish, Revoke};
use celery_testkit::{Process, Proxy, wait_for};
use serde_json::{Value, json};

use super::{PLENTY, at_leisure, calls, cli, client, client_of, post, queued, redis, within};

const KEY: &str = "celery-task-meta-id-1";
const DEFAULT_INTERVAL: Duration = Duration::from_millis(500);

fn document(status: &str) -> String {
    json!({"status": status, "result": 5, "traceback": null, "children": [], "date_done": null, "task_id": "id-1"}).to_string()
}

fn store(redis: &celery_testkit::Redis, status: &str) {
    cli(redis, &["SET", KEY, &document(status)]);
}

/// Stores and publishes a state, as a worker does.
fn finish(redis: &celery_testkit::Redis, status: &str) {
    store(redis, status);
    cli(redis, &["PUBLISH", KEY, &document(status)]);
}

fn wait_for_subscriber(redis: &celery_testkit::Redis) {
    wait_for(PLENTY, "a subscriber", || {
        cli(redis, &["PUBSUB", "NUMSUB", KEY]).ends_with('1')
    })
    .unwrap();
}

#[test]
fn a_result_is_read_and_forgotten() {
    let redis = redis();
    let mut client = client(&redis);
    assert_eq!(at_leisure(|wait| client.get_result("id-1", wait)), Ok(None));
    store(&redis, "SUCCESS");
    assert_eq!(
        at_leisure(|wait| client.get_result("id-1", wait)),
        Ok(Some(document("SUCCESS").into_bytes()))
    );
    assert_eq!(at_leisure(|wait| client.forget("id-1", wait)), Ok(true));
    assert_eq!(at_leisure(|wait| client.forget("id-1", wait)), Ok(false));
}

#[test]
fn a_read_survives_a_killed_connection() {
    let redis = redis();
    let mut client = client(&redis);
    store(&redis, "SUCCESS");
    at_leisure(|wait| client.get_result("id-1", wait)).unwrap();
    cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    assert!(
        at_leisure(|wait| client.get_result("id-1", wait))
            .unwrap()
            .is_some()
    );
}

#[test]
fn taking_deletes_only_final_results() {
    let redis = redis();
    let mut client = client(&redis);
    for status in ["STARTED", "RETRY", "PROGRESS"] {
        store(&redis, status);
        assert!(
            at_leisure(|wait| client.take_result("id-1", wait))
                .unwrap()
                .is_some()
        );
        assert_eq!(cli(&redis, &["EXISTS", KEY]), "1", "{status}");
    }
    for status in ["SUCCESS", "FAILURE", "REVOKED"] {
        store(&redis, status);
        cli(&redis, &["SCRIPT", "FLUSH"]);
        assert!(
            at_leisure(|wait| client.take_result("id-1", wait))
                .unwrap()
                .is_some()
        );
        assert_eq!(cli(&redis, &["EXISTS", KEY]), "0", "{status}");
    }
    // A result that cannot be decoded is returned and not deleted.
    cli(&redis, &["SET", KEY, "not JSON"]);
    assert_eq!(
        at_leisure(|wait| client.take_result("id-1", wait)),
        Ok(Some(b"not JSON".to_vec()))
    );
    assert_eq!(cli(&redis, &["GET", KEY]), "not JSON");
}

#[test]
fn a_result_that_changed_since_it_was_read_stays() {
    let redis = redis();
    let mut client = client(&redis);
    store(&redis, "FAILURE");
    let read = document("FAILURE").into_bytes();
    store(&redis, "SUCCESS");
    assert_eq!(
        at_leisure(|wait| client.remove_result("id-1", &read, wait)),
        Ok(false)
    );
    assert_eq!(cli(&redis, &["GET", KEY]), document("SUCCESS"));
    store(&redis, "FAILURE");
    assert_eq!(
        at_leisure(|wait| client.remove_result("id-1", &read, wait)),
        Ok(true)
    );
    assert_eq!(
        at_leisure(|wait| client.remove_result("id-1", &read, wait)),
        Ok(false)
    );
}

#[test]
fn a_stored_result_ends_the_wait_at_once() {
    let redis = redis();
    store(&redis, "SUCCESS");
    let (mut reader, mut listener) = (client(&redis), client(&redis));
    let got = at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait));
    assert_eq!(got, Ok(document("SUCCESS").into_bytes()));
}

#[test]
fn only_a_final_state_ends_the_wait() {
    let redis = redis();
    let (mut reader, mut listener) = (client(&redis), client(&redis));
    let waiting = std::thread::spawn(move || {
        let got =
            at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait));
        (got, reader, listener)
    });
    wait_for_subscriber(&redis);
    for status in ["STARTED", "PROGRESS", "RETRY", "SUCCESS"] {
        finish(&redis, status);
    }
    let (got, mut reader, mut listener) = waiting.join().unwrap();
    assert_eq!(got, Ok(document("SUCCESS").into_bytes()));
    // The result was pushed: the key was read only once, before the first message.
    assert_eq!(calls(&redis, "get"), 1);
    // Both clients can be used again for other commands and for listening.
    at_leisure(|wait| listener.ping(wait)).unwrap();
    let again =
        at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait));
    assert_eq!(again, Ok(document("SUCCESS").into_bytes()));
    let third =
        at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait));
    assert_eq!(third, Ok(document("SUCCESS").into_bytes()));
    assert_eq!(
        at_leisure(|wait| listener.get_result("none", wait)),
        Ok(None)
    );
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let redis = redis();
    store(&redis, "STARTED");
    let (mut reader, mut listener) = (client(&redis), client(&redis));
    let error = within(Duration::from_millis(300), |wait| {
        reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait)
    })
    .unwrap_err();
    assert!(
        matches!(error, ClientError::Timeout { after, .. } if after == Duration::from_millis(300)),
        "{error}"
    );
    redis.pause();
    let error = within(Duration::from_millis(300), |wait| {
        reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait)
    })
    .unwrap_err();
    redis.resume();
    assert!(error.is_retryable(), "{error}");
}

#[test]
fn a_wait_survives_lost_connections() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    let waiting = std::thread::spawn(move || {
        let (mut reader, mut listener) = (client_of(&url), client_of(&url));
        at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait))
    });
    wait_for_subscriber(&redis);
    // The result is not published, so that only a read after the second subscription can find it.
    store(&redis, "SUCCESS");
    proxy.reset_all();
    assert_eq!(
        waiting.join().unwrap(),
        Ok(document("SUCCESS").into_bytes())
    );
}

#[test]
fn a_listening_connection_that_was_closed_while_idle_is_not_used() {
    let redis = redis();
    let (mut client, mut listener) = (client(&redis), client_of(&redis.url()));
    for id in ["a", "b", "c"] {
        finish(&redis, "SUCCESS");
        at_leisure(|wait| client.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait))
            .unwrap();
        cli(&redis, &["CLIENT", "KILL", "TYPE", "pubsub"]);
        cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
        // The client reads the answer to UNSUBSCRIBE before the end of the stream.
        at_leisure(|wait| client.publish(&post(id), Publish::Confirmed, wait)).unwrap();
    }
    assert_eq!(queued(&redis, "q"), ["a", "b", "c"]);
}

/// Returns two clients with open connections and a short timeout for each answer.
fn hasty_clients(port: u16) -> [Client; 2] {
    let url = format!("redis://127.0.0.1:{port}");
    let mut options = ClientOptions::default();
    options.command_timeout = Duration::from_millis(300);
    [(); 2].map(|()| {
        let endpoint = RedisEndpoint::from_url(&url).unwrap();
        let mut client = Client::new(endpoint.into(), options.clone());
        at_leisure(|wait| client.ping(wait)).unwrap();
        client
    })
}

#[test]
fn a_wait_survives_connections_that_died_unnoticed() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let [mut reader, mut listener] = hasty_clients(proxy.port());
    // The connections are half-open now: each end still believes that they work.
    proxy.strand_all();
    store(&redis, "SUCCESS");
    let got = at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait));
    assert_eq!(got, Ok(document("SUCCESS").into_bytes()));
    // The second client was not needed.
    assert_eq!(proxy.accepted(), 3);
}

#[test]
fn polling_survives_a_connection_that_died_unnoticed() {
    let redis = redis();
    cli(&redis, &["ACL", "SETUSER", "default", "-subscribe"]);
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let [mut reader, mut listener] = hasty_clients(proxy.port());
    let waiting = std::thread::spawn(move || {
        at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait))
    });
    wait_for(PLENTY, "a read", || calls(&redis, "get") > 1).unwrap();
    proxy.strand_all();
    store(&redis, "SUCCESS");
    assert_eq!(
        waiting.join().unwrap(),
        Ok(document("SUCCESS").into_bytes())
    );
}

#[test]
fn without_permission_to_subscribe_the_key_is_polled() {
    let redis = redis();
    cli(
        &redis,
        &[
            "ACL",
            "SETUSER",
            "reader",
            "on",
            ">pw",
            "~*",
            "&*",
            "+get",
            "+ping",
            "-subscribe",
        ],
    );
    let url = format!("redis://reader:pw@127.0.0.1:{}", redis.port());
    let waiting = std::thread::spawn(move || {
        let (mut reader, mut listener) = (client_of(&url), client_of(&url));
        at_leisure(|wait| reader.wait_result(&mut listener, "id-1", DEFAULT_INTERVAL, wait))
    });
    wait_for(PLENTY, "a read", || calls(&redis, "get") > 1).unwrap();
    store(&redis, "SUCCESS");
    assert_eq!(
        waiting.join().unwrap(),
        Ok(document("SUCCESS").into_bytes())
    );
}

#[test]
fn a_revocation_reaches_the_workers() {
    let redis = redis();
    let mut listener = Process::spawn(
        "subscriber",
        std::process::Command::new("redis-cli").args([
            "-p",
            &redis.port().to_string(),
            "SUBSCRIBE",
            "/0.celery.pidbox",
        ]),
    )
    .unwrap();
    wait_for(PLENTY, "the subscriber", || {
        cli(&redis, &["PUBSUB", "CHANNELS"]).contains("pidbox")
    })
    .unwrap();
    let heard = at_leisure(|wait| {
        client(&redis).revoke(
            &Revoke {
                task_ids: &["id-1"],
                terminate: true,
                signal: "SIGKILL",
            },
            wait,
        )
    });
    assert_eq!(heard, Ok(1));
    let line = listener.wait_for_line(PLENTY, "{").unwrap();
    let envelope: Value = serde_json::from_str(&line[line.find('{').unwrap()..]).unwrap();
    let body = base64::prelude::BASE64_STANDARD
        .decode(envelope["body"].as_str().unwrap())
        .unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    // The expected body is the fixture `control/redis/revoke_terminate` with another id.
    assert_eq!(
        body,
        json!({
            "method": "revoke",
            "arguments": {"task_id": "id-1", "terminate": true, "signal": "SIGKILL"},
            "destination": null, "pattern": null, "matcher": null,
        })
    );
    assert_eq!(
        envelope["properties"]["delivery_info"],
        json!({"exchange": "celery.pidbox", "routing_key": ""})
    );
    assert_eq!(envelope["properties"]["body_encoding"], "base64");
}
