//! Waits for results over one connection of RESP3, and over two where the server speaks only RESP2.

use std::time::{Duration, Instant};

use celery_client::ClientError;
use celery_client::redis::blocking::{Awaiting, Client, ClientOptions, Publish};
use celery_testkit::{Cut, Proxy, Redis, RedisOptions, wait_for};
use serde_json::{Value, json};

use super::scripted::scripted;
use super::{
    PLENTY, at_leisure, calls, cli, client, client_of, client_with, old_redis, post, redis, within,
};

const INTERVAL: Duration = Duration::from_millis(500);

fn document(id: &str, status: &str) -> String {
    json!({"status": status, "result": 5, "traceback": null, "children": [], "date_done": null, "task_id": id}).to_string()
}

fn key(id: &str) -> String {
    format!("celery-task-meta-{id}")
}

fn store(redis: &Redis, id: &str, status: &str) {
    cli(redis, &["SET", &key(id), &document(id, status)]);
}

fn publish(redis: &Redis, id: &str, status: &str) {
    cli(redis, &["PUBLISH", &key(id), &document(id, status)]);
}

/// Stores and publishes a state, as a worker does.
fn finish(redis: &Redis, id: &str, status: &str) {
    store(redis, id, status);
    publish(redis, id, status);
}

fn wait_for_subscriber(redis: &Redis, id: &str) {
    wait_for(PLENTY, "a subscriber", || {
        cli(redis, &["PUBSUB", "NUMSUB", &key(id)]).ends_with('1')
    })
    .unwrap();
}

/// Waits until all keys were read, so that only a message or a new connection can end the wait.
fn wait_for_reads(redis: &Redis, count: u64) {
    wait_for(PLENTY, "the reads", || calls(redis, "get") >= count).unwrap();
}

fn wait_result(
    reader: &mut Client,
    listener: &mut Client,
    id: &str,
) -> Result<String, ClientError> {
    let stored = at_leisure(|wait| reader.wait_result(listener, id, INTERVAL, wait));
    stored.map(|stored| String::from_utf8(stored).unwrap())
}

/// Returns the number of connections, not counting that of the `redis-cli` that asks.
fn connections(redis: &Redis) -> usize {
    let list = cli(redis, &["CLIENT", "LIST"]);
    list.lines()
        .filter(|line| !line.contains("cmd=client"))
        .count()
}

#[test]
fn a_wait_needs_one_connection_and_an_old_server_two() {
    for (redis, needed) in [(redis(), 1), (old_redis(), 2)] {
        let (mut reader, mut listener) = (client(&redis), client(&redis));
        for id in ["a", "b", "c"] {
            store(&redis, id, "SUCCESS");
            let got = wait_result(&mut reader, &mut listener, id);
            assert_eq!(got, Ok(document(id, "SUCCESS")));
        }
        assert_eq!(connections(&redis), needed);
        assert_eq!((calls(&redis, "subscribe"), calls(&redis, "get")), (3, 3));
    }
}

#[test]
fn a_server_that_does_not_agree_to_resp3_is_served_in_resp2() {
    let redis = old_redis();
    store(&redis, "a", "SUCCESS");
    // What an old server or a proxy may answer.
    for refusal in [
        "-NOPROTO unsupported protocol version\r\n",
        "-ERR unknown command 'HELLO'\r\n",
        "*2\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n",
        "+OK\r\n",
    ] {
        let steps: &'static [_] = Box::leak(Box::new([
            ("HELLO\r\n", refusal),
            (
                "SUBSCRIBE\r\n$18\r\ncelery-task-meta-a\r\n",
                "*3\r\n$9\r\nsubscribe\r\n$18\r\ncelery-task-meta-a\r\n:1\r\n",
            ),
        ]));
        let url = scripted(Box::leak(Box::new([steps])));
        let got = wait_result(&mut client(&redis), &mut client_of(&url), "a").unwrap();
        assert_eq!(got, document("a", "SUCCESS"), "{refusal}");
    }
}

#[test]
fn a_login_with_user_password_and_database_agrees_on_resp3() {
    let redis = redis();
    cli(
        &redis,
        &[
            "ACL", "SETUSER", "web", "on", ">s e/c", "~*", "&*", "+@all", "-client",
        ],
    );
    for login in ["web:s%20e%2Fc@", ""] {
        let url = format!("redis://{login}127.0.0.1:{}/3", redis.port());
        let (mut reader, mut listener) = (client_of(&url), client_of(&url));
        cli(
            &redis,
            &["-n", "3", "SET", &key("a"), &document("a", "SUCCESS")],
        );
        let got = wait_result(&mut reader, &mut listener, "a");
        assert_eq!(got, Ok(document("a", "SUCCESS")));
        let list = cli(&redis, &["CLIENT", "LIST"]);
        let own = list.lines().filter(|line| line.contains(" db=3 "));
        let own: Vec<&str> = own.collect();
        assert_eq!(own.len(), 1, "{list}");
        assert!(own[0].contains(" resp=3"), "{list}");
    }
    let url = format!("redis://web:wrong@127.0.0.1:{}", redis.port());
    let error = at_leisure(|wait| client_of(&url).ping(wait)).unwrap_err();
    assert!(matches!(error, ClientError::Auth { .. }), "{error}");
}

#[test]
fn pushes_among_the_answers_belong_to_no_call() {
    let redis = redis();
    let (mut reader, mut listener) = (client(&redis), client(&redis));
    for nth in 0..20 {
        let id = format!("t{nth}");
        store(&redis, &id, "SUCCESS");
        wait_result(&mut reader, &mut listener, &id).unwrap();
        // The connection is still subscribed: these messages arrive before the answers.
        for status in ["SUCCESS", "STARTED"] {
            publish(&redis, &id, status);
        }
        let read = at_leisure(|wait| reader.get_result(&id, wait));
        assert_eq!(read, Ok(Some(document(&id, "SUCCESS").into_bytes())));
        let outcome = at_leisure(|wait| reader.publish(&post(&id), Publish::Confirmed, wait));
        assert_eq!(outcome, Ok(()));
    }
    assert_eq!(connections(&redis), 1);
    assert_eq!(cli(&redis, &["LLEN", "q"]), "20");
}

#[test]
fn a_large_message_after_the_wait_does_no_harm() {
    let redis = redis();
    let mut options = ClientOptions::default();
    options.max_reply = 3 << 20;
    let (mut reader, mut listener) = (client_with(&redis.url(), options), client(&redis));
    store(&redis, "a", "SUCCESS");
    wait_result(&mut reader, &mut listener, "a").unwrap();
    let fill = "redis.call('PUBLISH', KEYS[1], string.rep('x', 2097152))";
    cli(&redis, &["EVAL", fill, "1", &key("a")]);
    let outcome = at_leisure(|wait| reader.publish(&post("a"), Publish::Confirmed, wait));
    assert_eq!(outcome, Ok(()));
    // A message beyond the limit ends the connection and not the program.
    wait_result(&mut reader, &mut listener, "a").unwrap();
    let fill = "redis.call('PUBLISH', KEYS[1], string.rep('x', 4194304))";
    cli(&redis, &["EVAL", fill, "1", &key("a")]);
    let outcome = at_leisure(|wait| reader.publish(&post("b"), Publish::Confirmed, wait));
    let later = at_leisure(|wait| reader.publish(&post("c"), Publish::Confirmed, wait));
    assert_eq!(later, Ok(()), "{outcome:?}");
}

#[test]
fn a_push_without_resp3_ends_the_connection() {
    let url = scripted(&[&[
        ("HELLO\r\n", "*0\r\n"),
        ("PING\r\n", ">2\r\n+message\r\n+x\r\n+PONG\r\n"),
    ]]);
    let error = at_leisure(|wait| client_of(&url).ping(wait)).unwrap_err();
    assert!(matches!(error, ClientError::Protocol(_)), "{error}");
}

#[test]
fn the_end_of_a_subscription_goes_out_with_the_deletion() {
    let redis = redis();
    let (mut reader, mut listener) = (client(&redis), client(&redis));
    store(&redis, "a", "SUCCESS");
    let read = wait_result(&mut reader, &mut listener, "a").unwrap();
    assert_eq!(
        cli(&redis, &["PUBSUB", "NUMSUB", &key("a")]).lines().last(),
        Some("1")
    );
    at_leisure(|wait| reader.remove_result_later("a", read.as_bytes(), wait)).unwrap();
    wait_for(PLENTY, "the deletion", || {
        cli(&redis, &["EXISTS", &key("a")]) == "0"
    })
    .unwrap();
    assert_eq!(
        cli(&redis, &["PUBSUB", "NUMSUB", &key("a")]).lines().last(),
        Some("0")
    );
    // Without a deletion, it is sent on its own.
    store(&redis, "b", "SUCCESS");
    wait_result(&mut reader, &mut listener, "b").unwrap();
    at_leisure(|wait| reader.leave_channels(wait)).unwrap();
    wait_for(PLENTY, "the end of the subscription", || {
        cli(&redis, &["PUBSUB", "NUMSUB", &key("b")]).ends_with('0')
    })
    .unwrap();
    assert_eq!(
        at_leisure(|wait| reader.get_result("b", wait))
            .unwrap()
            .map(|b| b.len()),
        Some(document("b", "SUCCESS").len())
    );
    assert_eq!(connections(&redis), 1);
}

#[test]
fn a_wait_without_a_result_keeps_its_connection() {
    for (redis, needed) in [(redis(), 1), (old_redis(), 2)] {
        let (mut reader, mut listener) = (client(&redis), client(&redis));
        for _ in 0..3 {
            let error = within(Duration::from_millis(200), |wait| {
                reader.wait_result(&mut listener, "a", INTERVAL, wait)
            });
            assert!(
                matches!(error, Err(ClientError::Timeout { .. })),
                "{error:?}"
            );
        }
        at_leisure(|wait| reader.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
        assert_eq!(connections(&redis), needed);
    }
}

#[test]
fn a_connection_cut_while_it_subscribes_is_replaced() {
    for redis in [redis(), old_redis()] {
        for (text, cut) in [
            ("SUBSCRIBE", Cut::Request),
            ("SUBSCRIBE", Cut::Answer),
            ("GET", Cut::Request),
            ("GET", Cut::Answer),
        ] {
            let proxy = Proxy::to_port(redis.port()).unwrap();
            let url = format!("redis://127.0.0.1:{}", proxy.port());
            let (mut reader, mut listener) = (client_of(&url), client_of(&url));
            at_leisure(|wait| reader.ping(wait)).unwrap();
            proxy.cut_at(text, cut);
            // It is stored only, so that a missed read would last until the next one.
            store(&redis, "a", "SUCCESS");
            let got = within(Duration::from_secs(4), |wait| {
                reader.wait_result(&mut listener, "a", INTERVAL, wait)
            });
            assert_eq!(
                got,
                Ok(document("a", "SUCCESS").into_bytes()),
                "{text} {cut:?}"
            );
            assert_eq!(proxy.cuts(), 1);
        }
    }
}

#[test]
fn a_wait_survives_a_server_that_restarts() {
    for options in [
        RedisOptions::new().aof(),
        RedisOptions::new().aof().without_command("HELLO"),
    ] {
        let mut redis = options.start().unwrap();
        let url = redis.url();
        let waiting = std::thread::spawn(move || {
            let (mut reader, mut listener) = (client_of(&url), client_of(&url));
            wait_result(&mut reader, &mut listener, "a")
        });
        wait_for_subscriber(&redis, "a");
        redis.kill9();
        redis.restart().unwrap();
        finish(&redis, "a", "FAILURE");
        assert_eq!(waiting.join().unwrap(), Ok(document("a", "FAILURE")));
    }
}

fn awaiting(url: &str, ids: impl IntoIterator<Item = String>) -> Awaiting {
    Awaiting::new(client_of(url), client_of(url), ids, INTERVAL)
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|nth| format!("id-{nth}")).collect()
}

/// Returns the ids in the order in which they ended.
fn all(awaiting: &mut Awaiting) -> Vec<String> {
    let mut got = Vec::new();
    while let Some(stored) = at_leisure(|wait| awaiting.next(wait)).unwrap() {
        assert!(stored.is_last);
        let text = String::from_utf8(stored.document).unwrap();
        assert!(text.contains(&format!("\"{}\"", stored.task_id)), "{text}");
        got.push(stored.task_id);
    }
    got
}

#[test]
fn hundreds_of_results_come_over_one_subscription() {
    for redis in [redis(), old_redis()] {
        let ids = ids(500);
        // Some are stored before the wait, some with a state that is not final.
        let script = "for i = 0, 499, 2 do local k = 'celery-task-meta-id-' .. i \
             redis.call('SET', k, '{\"status\":\"' .. (i % 4 == 0 and 'SUCCESS' or 'STARTED') .. \
             '\",\"result\":1,\"task_id\":\"id-' .. i .. '\"}') end";
        cli(&redis, &["EVAL", script, "0"]);
        let url = redis.url();
        let waiting = std::thread::spawn({
            let ids = ids.clone();
            move || {
                let mut awaiting = awaiting(&url, ids);
                let got = all(&mut awaiting);
                assert_eq!(awaiting.pending().count(), 0);
                got
            }
        });
        wait_for_reads(&redis, 500);
        let script = "for i = 499, 0, -1 do if i % 4 ~= 0 then local k = 'celery-task-meta-id-' .. i \
             local d = '{\"status\":\"FAILURE\",\"result\":1,\"task_id\":\"id-' .. i .. '\"}' \
             redis.call('SET', k, d) redis.call('PUBLISH', k, d) end end";
        cli(&redis, &["EVAL", script, "0"]);
        let got = waiting.join().unwrap();
        let stored: Vec<String> = ids.iter().step_by(4).cloned().collect();
        assert_eq!(got[..125], stored[..]);
        let heard = ids.iter().enumerate().rev();
        let heard = heard
            .filter(|(nth, _)| nth % 4 != 0)
            .map(|(_, id)| id.clone());
        assert_eq!(got[125..], heard.collect::<Vec<_>>()[..]);
        assert_eq!(calls(&redis, "subscribe"), 1);
        // Each key was read once: the rest came as messages.
        assert_eq!(calls(&redis, "get"), 500);
    }
}

#[test]
fn an_id_counts_once_and_no_ids_are_awaited_at_once() {
    let redis = redis();
    for id in ["a", "b"] {
        store(&redis, id, "SUCCESS");
    }
    let given = ["a", "b", "a", "a"].map(str::to_owned);
    assert_eq!(all(&mut awaiting(&redis.url(), given)), ["a", "b"]);
    let mut none = awaiting(&redis.url(), []);
    assert_eq!(at_leisure(|wait| none.next(wait)), Ok(None));
}

#[test]
fn each_state_is_reported_to_a_caller_that_asks_for_it() {
    for redis in [redis(), old_redis()] {
        store(&redis, "a", "STARTED");
        let url = redis.url();
        let waiting = std::thread::spawn(move || {
            let mut awaiting = awaiting(&url, ["a".to_owned(), "b".to_owned()]).with_every_state();
            let mut got = Vec::new();
            while let Some(stored) = at_leisure(|wait| awaiting.next(wait)).unwrap() {
                let document: Value = serde_json::from_slice(&stored.document).unwrap();
                let status = document["status"].as_str().unwrap();
                got.push(format!("{} {status}", stored.task_id));
            }
            got
        });
        wait_for_subscriber(&redis, "b");
        wait_for_reads(&redis, 2);
        for (id, status) in [
            ("b", "STARTED"),
            ("a", "PROGRESS"),
            ("a", "PROGRESS"),
            ("b", "SUCCESS"),
            ("b", "PROGRESS"),
            ("a", "SUCCESS"),
        ] {
            publish(&redis, id, status);
        }
        assert_eq!(
            waiting.join().unwrap(),
            [
                "a STARTED",
                "b STARTED",
                "a PROGRESS",
                "a PROGRESS",
                "b SUCCESS",
                "a SUCCESS"
            ]
        );
    }
}

#[test]
fn no_wake_up_is_lost_with_a_connection() {
    for redis in [redis(), old_redis()] {
        let proxy = Proxy::to_port(redis.port()).unwrap();
        let url = format!("redis://127.0.0.1:{}", proxy.port());
        let mut waiting = awaiting(&url, ids(100));
        store(&redis, "id-7", "SUCCESS");
        let first = at_leisure(|wait| waiting.next(wait)).unwrap().unwrap();
        assert_eq!(first.task_id, "id-7");
        let reads = calls(&redis, "get");
        let waiting = std::thread::spawn(move || {
            let got = all(&mut waiting);
            (got, waiting)
        });
        wait_for(PLENTY, "the reads", || {
            calls(&redis, "get") >= reads.max(100)
        })
        .unwrap();
        // These are stored while no connection listens, and are not published.
        proxy.reset_all();
        for id in ids(100).iter().filter(|id| *id != "id-7") {
            store(&redis, id, "REVOKED");
        }
        proxy.reset_all();
        let (mut got, waiting) = waiting.join().unwrap();
        got.sort();
        got.dedup();
        assert_eq!(got.len(), 99);
        let _ = at_leisure(|wait| waiting.finish(wait));
    }
}

#[test]
fn one_deadline_covers_all_and_a_later_call_goes_on() {
    for redis in [redis(), old_redis()] {
        let mut waiting = awaiting(&redis.url(), ids(3));
        finish(&redis, "id-1", "SUCCESS");
        let first = at_leisure(|wait| waiting.next(wait)).unwrap();
        assert_eq!(first.map(|stored| stored.task_id).as_deref(), Some("id-1"));
        let error = within(Duration::from_millis(300), |wait| waiting.next(wait));
        assert!(
            matches!(error, Err(ClientError::Timeout { .. })),
            "{error:?}"
        );
        let pending: Vec<&str> = waiting.pending().collect();
        assert_eq!(pending, ["id-0", "id-2"]);
        for id in ["id-2", "id-0"] {
            finish(&redis, id, "SUCCESS");
        }
        assert_eq!(all(&mut waiting).len(), 2);
    }
}

#[test]
fn the_clients_of_a_finished_wait_can_be_used_again() {
    for redis in [redis(), old_redis()] {
        let mut waiting = awaiting(&redis.url(), ids(100));
        finish(&redis, "id-50", "SUCCESS");
        at_leisure(|wait| waiting.next(wait)).unwrap();
        let (mut reader, mut listener) = at_leisure(|wait| waiting.finish(wait));
        wait_for(PLENTY, "the end of the subscriptions", || {
            cli(&redis, &["PUBSUB", "CHANNELS"]).is_empty()
        })
        .unwrap();
        for client in [&mut reader, &mut listener] {
            at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
        }
        store(&redis, "x", "SUCCESS");
        assert!(wait_result(&mut reader, &mut listener, "x").is_ok());
        assert_eq!(cli(&redis, &["LLEN", "q"]), "2");
    }
}

#[test]
fn without_permission_to_subscribe_all_keys_are_polled() {
    for redis in [redis(), old_redis()] {
        cli(&redis, &["ACL", "SETUSER", "default", "-subscribe"]);
        let url = redis.url();
        let waiting = std::thread::spawn(move || all(&mut awaiting(&url, ids(70))).len());
        wait_for_reads(&redis, 140);
        let begin = Instant::now();
        for id in ids(70) {
            store(&redis, &id, "SUCCESS");
        }
        assert_eq!(waiting.join().unwrap(), 70, "{:?}", begin.elapsed());
        assert_eq!(connections(&redis), 0);
    }
}

#[test]
fn many_results_are_read_and_forgotten_in_one_call() {
    let redis = redis();
    let mut client = client(&redis);
    let ids = ids(100);
    for nth in [0, 31, 32, 99] {
        store(&redis, &ids[nth], "STARTED");
    }
    let mut got = Vec::new();
    at_leisure(|wait| {
        client.get_results(
            &ids,
            |index, document| got.push((index, document.is_some())),
            wait,
        )
    })
    .unwrap();
    assert!(got.iter().map(|(index, _)| *index).eq(0..100));
    let stored: Vec<usize> = got
        .iter()
        .filter(|(_, is)| *is)
        .map(|(index, _)| *index)
        .collect();
    assert_eq!(stored, [0, 31, 32, 99]);
    // An idle connection may be lost.
    cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    at_leisure(|wait| {
        client.get_results(&ids[..1], |_, document| assert!(document.is_some()), wait)
    })
    .unwrap();
    at_leisure(|wait| client.forget_all(&ids, wait)).unwrap();
    at_leisure(|wait| client.forget_all(&[], wait)).unwrap();
    assert_eq!(cli(&redis, &["KEYS", "celery-task-meta-*"]), "");
}

#[test]
fn a_group_is_saved_read_and_deleted() {
    let redis = redis();
    let mut client = client(&redis);
    let day = Duration::from_hours(24);
    assert_eq!(at_leisure(|wait| client.get_group("g", wait)), Ok(None));
    at_leisure(|wait| client.save_group("g", b"{}", day, wait)).unwrap();
    assert_eq!(
        at_leisure(|wait| client.get_group("g", wait)),
        Ok(Some(b"{}".to_vec()))
    );
    let ttl: i64 = cli(&redis, &["TTL", "celery-taskset-meta-g"])
        .parse()
        .unwrap();
    assert!((86_000..=86_400).contains(&ttl), "{ttl}");
    assert_eq!(at_leisure(|wait| client.delete_group("g", wait)), Ok(true));
    assert_eq!(at_leisure(|wait| client.delete_group("g", wait)), Ok(false));
}
