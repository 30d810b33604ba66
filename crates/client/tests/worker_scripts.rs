//! Tests each return value of the worker's scripts on a real Redis.
#![cfg(feature = "aio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use celery_client::aio::{Cmd, ConnectOptions, Connection, Failure, Value, scripts};
use celery_client::redis::RedisEndpoint;
use celery_client::redis::Script;
use celery_testkit::{Redis, RedisOptions};

/// A server and a connection to it.
struct Bench {
    connection: Connection,
    redis: Redis,
}

impl Bench {
    async fn new() -> Bench {
        let redis = RedisOptions::new().start().unwrap();
        let endpoint = RedisEndpoint::from_url(&redis.url()).unwrap();
        let options = ConnectOptions::new("test");
        let connection = Connection::open(&endpoint, &options).await.unwrap();
        Bench { connection, redis }
    }

    async fn run(
        &mut self,
        script: &Script,
        keys: &[&str],
        arguments: &[&str],
    ) -> Result<String, Failure> {
        let mut call = scripts::call(script, keys.len(), keys.len() + arguments.len(), 0);
        call.arg(keys).arg(arguments);
        self.connection
            .run(script, &call)
            .await
            .map(|value| text(&value))
    }

    /// Logs in as a user with exactly these permissions for all later commands.
    async fn become_user(&mut self, rights: &[&str]) {
        let user = [&["ACL", "SETUSER", "limited", "on", ">secret"], rights].concat();
        self.ask(&user).await;
        self.ask(&["AUTH", "limited", "secret"]).await;
    }

    /// Sends a command and returns its answer as text.
    async fn ask(&mut self, words: &[&str]) -> String {
        let mut cmd = Cmd::new();
        cmd.arg(words);
        text(&self.connection.query(&cmd).await.unwrap())
    }

    /// Pushes messages to the list `q` and claims all of them.
    async fn held(&mut self, messages: &[&str]) {
        let mut push = vec!["LPUSH", "q"];
        push.extend(messages);
        self.ask(&push).await;
        self.claim(messages.len(), "rs:a:1:", &[]).await.unwrap();
    }

    /// Claims from the list `q`, whose queue has the name `q`, too.
    async fn claim(&mut self, want: usize, base: &str, acks: &[&str]) -> Result<String, Failure> {
        self.claim_from(&["q"], want, base, acks).await
    }

    async fn claim_from(
        &mut self,
        lists: &[&str],
        want: usize,
        base: &str,
        acks: &[&str],
    ) -> Result<String, Failure> {
        let mut keys = vec!["unacked", "index", "dead"];
        keys.extend(lists);
        let (want, count) = (want.to_string(), acks.len().to_string());
        let mut arguments = vec![want.as_str(), base, "celery@test", "1000", count.as_str()];
        arguments.extend(acks);
        for _ in lists {
            arguments.extend([r#","","q"]"#, "q"]);
        }
        self.run(&scripts::ACK_CLAIM, &keys, &arguments).await
    }
}

/// Formats an answer in one line: arrays in brackets, nil as `-`.
fn text(value: &Value) -> String {
    match value {
        Value::Nil => "-".into(),
        Value::Int(n) => n.to_string(),
        Value::Okay => "OK".into(),
        Value::SimpleString(text) => text.clone(),
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn ack_claim_takes_in_order_and_writes_kombus_entries() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#])
        .await;
    let answer = b.claim(2, "rs:a:1:", &[]).await.unwrap();
    assert_eq!(answer, r#"[[] [2] 0 {"n":1} {"n":2}]"#);
    assert_eq!(
        b.ask(&["HGET", "unacked", "rs:a:1:0002"]).await,
        r#"[{"n":2},"","q"]"#
    );
    assert_eq!(
        b.ask(&["ZRANGE", "index", "0", "-1"]).await,
        "[rs:a:1:0001 rs:a:1:0002]"
    );
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, r#"[{"n":3}]"#);
}

#[tokio::test]
async fn ack_claim_empties_lists_in_the_given_order_and_counts_each() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q0", "{1}", "{2}"]).await;
    b.ask(&["LPUSH", "q3", "{3}", "{4}"]).await;
    let answer = b.claim_from(&["q0", "none", "q3"], 3, "rs:a:1:", &[]).await;
    assert_eq!(answer.unwrap(), "[[] [2 0 1] 0 {1} {2} {3}]");
    assert_eq!(b.ask(&["LRANGE", "q3", "0", "-1"]).await, "[{4}]");
}

#[tokio::test]
async fn ack_claim_moves_messages_that_are_not_objects_to_the_dead_letters() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "[1]", "{1}", "", "{2}"]).await;
    assert_eq!(b.claim(3, "rs:a:1:", &[]).await.unwrap(), "[[] [1] 2 {1}]");
    assert_eq!(b.ask(&["XLEN", "dead"]).await, "2");
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    let wanted = "queue q id  task  cause not-an-object worker celery@test time 1";
    assert!(letters.contains(wanted), "{letters}");
    assert!(letters.contains("raw [1]]"), "{letters}");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{2}]");
}

#[tokio::test]
async fn ack_claim_acknowledges_and_reports_lost_leases() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}"]).await;
    let acks = ["rs:a:1:0001", "rs:a:9:0001", "rs:a:1:0002"];
    assert_eq!(b.claim(0, "rs:a:2:", &acks).await.unwrap(), "[[2] [0] 0]");
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
    assert_eq!(
        b.claim(0, "rs:a:3:", &acks[..1]).await.unwrap(),
        "[[1] [0] 0]"
    );
}

#[tokio::test]
async fn ack_claim_refuses_a_used_base_and_overwrites_nothing() {
    let mut b = Bench::new().await;
    b.held(&["{1}"]).await;
    b.ask(&["LPUSH", "q", "{2}"]).await;
    let refused = b.claim(1, "rs:a:1:", &[]).await.unwrap_err();
    assert!(refused.is_refusal("DUPCLAIM"), "{refused:?}");
    assert_eq!(
        b.ask(&["HGET", "unacked", "rs:a:1:0001"]).await,
        r#"[{1},"","q"]"#
    );
    assert_eq!(b.ask(&["LLEN", "q"]).await, "1");
}

#[tokio::test]
async fn a_full_server_can_be_drained() {
    let mut b = Bench::new().await;
    let message = format!("{{{}}}", "x".repeat(2_000));
    for _ in 0..50 {
        b.ask(&["LPUSH", "q", &message]).await;
    }
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let refused = b.redis.cli(&["SET", "some", "thing"]);
    assert!(refused.map_or(true, |answer| answer.contains("OOM")));
    let answer = b.claim(50, "rs:a:1:", &[]).await.unwrap();
    assert!(answer.starts_with("[[] [50] 0 {x"), "{}", &answer[..40]);
    assert_eq!(b.ask(&["HLEN", "unacked"]).await, "50");
    let tags: Vec<String> = (1..=50).map(|n| format!("rs:a:1:{n:04}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    assert_eq!(
        b.run(&scripts::RENEW, &["index"], &tags).await.unwrap(),
        "[]"
    );
    let result = ["60", "w", "1000", "1", "results", tags[0], "{}"];
    let keys = ["unacked", "index", "dead", "r"];
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &result).await.unwrap(),
        "[[] []]"
    );
    assert_eq!(
        b.claim(0, "rs:a:2:", &tags[1..]).await.unwrap(),
        "[[] [0] 0]"
    );
    assert_eq!(b.ask(&["EXISTS", "q", "unacked", "index"]).await, "0");
}

#[tokio::test]
async fn states_are_stored_on_a_full_server() {
    let mut b = Bench::new().await;
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(
        b.run(&scripts::STORE_RESULTS, &["r"], &["60", "{}"])
            .await
            .unwrap(),
        "[[]]"
    );
    assert_eq!(b.ask(&["GET", "r"]).await, "{}");
}

#[tokio::test]
async fn an_empty_document_is_not_stored() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "r", "a SUCCESS in another form"]).await;
    let stored = b.run(&scripts::STORE_RESULTS, &["r", "s"], &["60", "", "{}"]);
    assert_eq!(stored.await.unwrap(), "[[1]]");
    for form in ["results", "steps"] {
        b.held(&["{1}"]).await;
        let keys = ["unacked", "index", "dead", "r"];
        let mut arguments = vec!["60", "w", "1000", "1", form, "rs:a:1:0001"];
        if form == "steps" {
            arguments.extend(["1", "result", "4"]);
        }
        arguments.push("");
        let settled = b.run(&scripts::SETTLE, &keys, &arguments).await;
        assert_eq!(settled.unwrap(), "[[] []]");
        assert_eq!(b.ask(&["EXISTS", "unacked"]).await, "0");
    }
    let values = b.ask(&["MGET", "r", "s"]).await;
    assert_eq!(values, "[a SUCCESS in another form {}]");
    assert_eq!(b.ask(&["TTL", "r"]).await, "-1");
}

#[tokio::test]
async fn a_claim_ends_once_its_messages_are_large() {
    let mut b = Bench::new().await;
    let message = format!("{{{}}}", "x".repeat(1 << 20));
    for _ in 0..12 {
        b.ask(&["LPUSH", "q", &message]).await;
    }
    b.claim(12, "rs:a:1:", &[]).await.unwrap();
    let held = b.ask(&["HLEN", "unacked"]).await;
    assert!(["4", "5", "6"].contains(&held.as_str()), "{held}");
    b.claim(12, "rs:a:2:", &[]).await.unwrap();
    b.claim(12, "rs:a:3:", &[]).await.unwrap();
    assert_eq!(b.ask(&["HLEN", "unacked"]).await, "12");
    assert_eq!(b.ask(&["LLEN", "q"]).await, "0");
}

#[tokio::test]
async fn a_claim_that_fails_loses_nothing() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "{1}"]).await;
    b.ask(&["SET", "unacked", "not a hash"]).await;
    let failure = b.claim(1, "rs:a:1:", &[]).await.unwrap_err();
    assert!(failure.to_string().contains("WRONGTYPE"), "{failure}");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{1}]");
}

#[tokio::test]
async fn renew_sets_the_scores_of_held_messages_and_reports_lost_leases() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "5", "old", "99999999999", "ahead"])
        .await;
    let lost = b
        .run(&scripts::RENEW, &["index"], &["old", "gone", "ahead"])
        .await;
    assert_eq!(lost.unwrap(), "[2]");
    let now = b.ask(&["ZSCORE", "index", "old"]).await;
    assert!(now.parse::<f64>().unwrap() > 1.5e9);
    assert_eq!(b.ask(&["ZSCORE", "index", "ahead"]).await, now);
    assert_eq!(b.ask(&["ZCARD", "index"]).await, "2");
}

/// Asks for calls of one set of places and one rate, each as `tag most interval`.
async fn admit(b: &mut Bench, calls: &[&str]) -> String {
    let mut arguments = vec!["60"];
    for call in calls {
        let parts: Vec<&str> = call.split(' ').collect();
        let place = |limit: &str, place| if limit == "0" { "0" } else { place };
        arguments.extend([parts[0], place(parts[1], "2"), parts[1]]);
        arguments.extend([place(parts[2], "3"), parts[2]]);
    }
    let keys = ["index", "places", "rate"];
    b.run(&scripts::ADMIT, &keys, &arguments).await.unwrap()
}

#[tokio::test]
async fn admit_counts_only_places_of_held_messages() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a", "2", "b", "3", "c", "4", "d"])
        .await;
    assert_eq!(
        admit(&mut b, &["a 2 0", "b 2 0", "c 2 0"]).await,
        "[0 0 -1]"
    );
    assert_eq!(b.ask(&["ZRANGE", "places", "0", "-1"]).await, "[a b]");
    assert_eq!(b.ask(&["TTL", "places"]).await, "60");
    // The answer was lost: the call is sent again, and takes no second place.
    assert_eq!(
        admit(&mut b, &["a 2 0", "b 2 0", "c 2 0"]).await,
        "[0 0 -1]"
    );
    // A message that is not held gets no place, and a place of one is free.
    assert_eq!(admit(&mut b, &["gone 9 0"]).await, "[-2]");
    b.ask(&["ZREM", "index", "a"]).await;
    assert_eq!(admit(&mut b, &["c 2 0", "d 2 0"]).await, "[0 -1]");
    assert_eq!(b.ask(&["ZRANGE", "places", "0", "-1"]).await, "[b c]");
    // A lower limit counts at once, a higher one too.
    assert_eq!(admit(&mut b, &["d 1 0"]).await, "[-1]");
    assert_eq!(admit(&mut b, &["d 3 0"]).await, "[0]");
    assert_eq!(b.ask(&["EXISTS", "rate"]).await, "0");
}

#[tokio::test]
async fn admit_looks_at_more_places_than_lua_unpacks() {
    let mut b = Bench::new().await;
    let places: Vec<String> = (0..9_999).map(|n| format!("{n}")).collect();
    for key in ["index", "places"] {
        let mut add = vec!["ZADD", key];
        add.extend(places.iter().flat_map(|place| ["1", place]));
        b.ask(&add).await;
    }
    b.ask(&["ZADD", "index", "1", "a", "1", "b", "1", "c"])
        .await;
    assert_eq!(admit(&mut b, &["a 10000 0", "b 10000 0"]).await, "[0 -1]");
    b.ask(&["ZREM", "index", "9998"]).await;
    assert_eq!(admit(&mut b, &["b 10000 0", "c 10000 0"]).await, "[0 -1]");
}

#[tokio::test]
async fn admit_spreads_calls_at_a_slow_rate() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a", "2", "b"]).await;
    let answer = admit(&mut b, &["a 0 3600000000", "b 0 3600000000"]).await;
    assert_eq!(answer, "[0 3600000000]");
    let rest: u64 = admit(&mut b, &["b 0 3600000000"]).await[1..]
        .trim_end_matches(']')
        .parse()
        .unwrap();
    assert!((1..3_600_000_000).contains(&rest), "{rest}");
    let left = b.ask(&["PTTL", "rate"]).await.parse::<u64>().unwrap();
    assert!((3_000_000..3_602_000).contains(&left), "{left}");
    // A higher rate counts at once, and so does a clock that was set back.
    assert_eq!(admit(&mut b, &["b 0 1000000"]).await, "[0]");
    b.ask(&["SET", "rate", "90000000000000009"]).await;
    assert_eq!(admit(&mut b, &["b 0 3600000000"]).await, "[0]");
}

#[tokio::test]
async fn admit_lets_a_fast_rate_begin_early() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a"]).await;
    // Ten in a second: 100 ms are one call.
    let answer = admit(&mut b, &["a 0 60000"; 5]).await;
    assert_eq!(answer, "[0 0 20000 20000 20000]");
}

#[tokio::test]
async fn admit_takes_neither_a_place_nor_a_turn_unless_it_has_both() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a", "2", "b", "3", "c"])
        .await;
    assert_eq!(admit(&mut b, &["a 1 3600000000"]).await, "[0]");
    b.ask(&["DEL", "rate"]).await;
    assert_eq!(admit(&mut b, &["b 1 3600000000"]).await, "[-1]");
    assert_eq!(b.ask(&["EXISTS", "rate"]).await, "0");
    assert_eq!(admit(&mut b, &["b 0 3600000000"]).await, "[0]");
    // The set has a place, but the rate has no turn.
    assert_ne!(admit(&mut b, &["c 2 3600000000"]).await, "[0]");
    assert_eq!(b.ask(&["ZRANGE", "places", "0", "-1"]).await, "[a]");
}

/// Asks for one lock, as `word tag id wait time`.
async fn lock(b: &mut Bench, calls: &[&str]) -> String {
    let mut keys = vec!["index"];
    let mut arguments = vec!["60"];
    for call in calls {
        keys.push("lock");
        arguments.extend(call.split(' '));
    }
    b.run(&scripts::LOCK, &keys, &arguments).await.unwrap()
}

#[tokio::test]
async fn a_lock_belongs_to_a_held_message() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a", "2", "b", "3", "c"])
        .await;
    let calls = ["take a one 0 0", "take b two 0 0", "take gone two 0 0"];
    assert_eq!(lock(&mut b, &calls).await, "[ one -]");
    assert_eq!(b.ask(&["GET", "lock"]).await, "a 0 one");
    assert_eq!(b.ask(&["TTL", "lock"]).await, "60");
    // The answer was lost, and the call is sent again.
    assert_eq!(lock(&mut b, &calls[..2]).await, "[ one]");
    // The message of the lock goes back to its queue, and comes again.
    b.ask(&["ZREM", "index", "a"]).await;
    assert_eq!(lock(&mut b, &["take b one 0 0"]).await, "[]");
    assert_eq!(lock(&mut b, &["take c two 0 0"]).await, "[one]");
    // The same task under another tag, while the first is held.
    assert_eq!(lock(&mut b, &["take c one 0 0"]).await, "[one]");
    // Only the owner frees it.
    lock(&mut b, &["free c  0 0"]).await;
    assert_eq!(b.ask(&["GET", "lock"]).await, "b 0 one");
    lock(&mut b, &["free b  0 0"]).await;
    assert_eq!(b.ask(&["EXISTS", "lock"]).await, "0");
    // It is kept for as long as its call waits.
    assert_eq!(lock(&mut b, &["take c two 40000000 0"]).await, "[]");
    assert_eq!(b.ask(&["TTL", "lock"]).await, "100");
}

#[tokio::test]
async fn a_lock_with_a_time_outlives_its_message() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a", "2", "b"]).await;
    assert_eq!(lock(&mut b, &["take a one 0 3600000000"]).await, "[]");
    b.ask(&["ZREM", "index", "a"]).await;
    let second = ["take b two 0 3600000000"];
    assert_eq!(lock(&mut b, &second).await, "[one]");
    let value = b.ask(&["GET", "lock"]).await;
    // The task itself may come again, and its time does not begin again.
    assert_eq!(lock(&mut b, &["take b one 0 7200000000"]).await, "[]");
    assert_eq!(b.ask(&["GET", "lock"]).await, value.replacen("a ", "b ", 1));
    b.ask(&["SET", "lock", "a 1 one"]).await;
    assert_eq!(lock(&mut b, &second).await, "[]");
    // A value that is not a lock counts as none.
    b.ask(&["SET", "lock", "something"]).await;
    assert_eq!(lock(&mut b, &second).await, "[]");
}

#[tokio::test]
async fn a_settlement_ends_a_lock_or_keeps_it_for_a_retry() {
    let mut b = Bench::new().await;
    for (value, micros, expected) in [
        ("TAG 0 one", "0", None),
        // A retry.
        ("TAG 0 one", "60000000", Some("- ")),
        // A lock with a time.
        ("TAG 99999999999999 one", "0", None),
        (
            "TAG 9000000000000000 one",
            "0",
            Some("- 9000000000000000 one"),
        ),
        (
            "TAG 9000000000000000 one",
            "1",
            Some("- 9000000000000000 one"),
        ),
        // Another message has it.
        ("other 0 two", "0", Some("other 0 two")),
        ("something", "0", Some("something")),
    ] {
        b.ask(&["DEL", "unacked", "index"]).await;
        b.held(&["{1}"]).await;
        let tag = "rs:a:1:0001";
        b.ask(&["SET", "lock", &value.replace("TAG", tag)]).await;
        let arguments = [
            "60", "w", "1000", "1", "steps", tag, "1", "lock", "4", micros,
        ];
        let keys = ["unacked", "index", "dead", "lock"];
        assert_eq!(
            b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap(),
            "[[] []]"
        );
        assert_eq!(b.ask(&["EXISTS", "unacked"]).await, "0");
        let left = b.ask(&["GET", "lock"]).await;
        match expected {
            None => assert_eq!(left, "-", "{value}"),
            Some(start) => assert!(left.starts_with(start), "{value}: {left}"),
        }
        if micros == "60000000" {
            assert!(left.ends_with(" one"), "{left}");
            assert_eq!(b.ask(&["TTL", "lock"]).await, "60");
            b.ask(&["ZADD", "index", "1", "b"]).await;
            assert_eq!(lock(&mut b, &["take b two 0 0"]).await, "[one]");
            // The next run of the task has it until it ends.
            assert_eq!(lock(&mut b, &["take b one 0 0"]).await, "[]");
            assert_eq!(b.ask(&["GET", "lock"]).await, "b 0 one");
        }
        b.ask(&["DEL", "lock"]).await;
    }
}

async fn score(b: &mut Bench, tag: &str) -> f64 {
    b.ask(&["ZSCORE", "index", tag]).await.parse().unwrap()
}

#[tokio::test]
async fn park_sets_the_eta_and_fetch_parked_renews_and_returns_the_message() {
    let mut b = Bench::new().await;
    b.held(&["{1}"]).await;
    let pairs = ["rs:a:1:0001", "1000.5", "gone", "1"];
    assert_eq!(
        b.run(&scripts::PARK, &["index"], &pairs).await.unwrap(),
        "[2]"
    );
    // Redis's clock decides, not the worker's.
    let due: f64 = score(&mut b, "rs:a:1:0001").await;
    let time = b.ask(&["TIME"]).await;
    let time = time.trim_start_matches('[').split(' ').next().unwrap();
    let ahead = due - time.parse::<f64>().unwrap();
    assert!((900.0..=1001.5).contains(&ahead), "{ahead}");
    let tags = ["gone", "rs:a:1:0001"];
    let entries = b
        .run(&scripts::FETCH_PARKED, &["unacked", "index"], &tags)
        .await;
    assert_eq!(entries.unwrap(), r#"[- [{1},"","q"]]"#);
    let now = score(&mut b, "rs:a:1:0001").await;
    assert!(now < due - 900.0);
    assert_eq!(b.ask(&["ZCARD", "index"]).await, "1");
}

#[tokio::test]
async fn restore_moves_only_unchanged_messages() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}", "{3}", "{4}"]).await;
    b.ask(&["HDEL", "unacked", "rs:a:1:0004"]).await;
    let mut arguments = vec!["celery@test".to_owned(), "1000".into()];
    for (n, place, cause) in [
        (1, "4", ""),
        (2, "3", "because"),
        (3, "4", ""),
        (4, "4", ""),
    ] {
        let tag = format!("rs:a:1:{n:04}");
        let score = b.ask(&["ZINCRBY", "index", "-100", &tag]).await;
        let message = format!("{{r{n}}}");
        arguments.extend([
            tag,
            score,
            place.into(),
            message,
            "q".into(),
            "id".into(),
            cause.into(),
        ]);
    }
    // This message is renewed in the meantime.
    b.run(&scripts::RENEW, &["index"], &["rs:a:1:0003"])
        .await
        .unwrap();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let keys = ["unacked", "index", "dead", "q"];
    assert_eq!(
        b.run(&scripts::RESTORE, &keys, &arguments).await.unwrap(),
        "2"
    );
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{r1}]");
    assert_eq!(b.ask(&["HKEYS", "unacked"]).await, "[rs:a:1:0003]");
    assert_eq!(
        b.ask(&["ZRANGE", "index", "0", "-1"]).await,
        "[rs:a:1:0003]"
    );
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    assert!(
        letters.contains("queue q id id task  cause because worker celery@test"),
        "{letters}"
    );
    assert!(letters.contains("raw {r2}"), "{letters}");
    // A second worker that read the same messages moves none.
    assert_eq!(
        b.run(&scripts::RESTORE, &keys, &arguments).await.unwrap(),
        "0"
    );
}

#[tokio::test]
async fn restore_continues_after_a_destination_that_is_not_a_list() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}"]).await;
    b.ask(&["SET", "string", "x"]).await;
    let mut arguments = vec!["celery@test".to_owned(), "1000".into()];
    for (n, places) in [(1, "4,5"), (2, "4")] {
        let tag = format!("rs:a:1:{n:04}");
        let score = b.ask(&["ZSCORE", "index", &tag]).await;
        let message = format!("{{r{n}}}");
        let [queue, id, cause] = ["q".to_owned(), String::new(), String::new()];
        arguments.extend([tag, score, places.into(), message, queue, id, cause]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let keys = ["unacked", "index", "dead", "q", "string"];
    assert_eq!(
        b.run(&scripts::RESTORE, &keys, &arguments).await.unwrap(),
        "2"
    );
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{r1} {r2}]");
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    assert!(letters.contains("cause not-a-list"), "{letters}");
}

#[tokio::test]
async fn restore_reaches_every_queue_of_a_topic() {
    let mut b = Bench::new().await;
    b.held(&["{1}"]).await;
    let score = b.ask(&["ZSCORE", "index", "rs:a:1:0001"]).await;
    let arguments = [
        "celery@test",
        "1000",
        "rs:a:1:0001",
        &score,
        "4,5",
        "{r}",
        "",
        "",
        "",
    ];
    let keys = ["unacked", "index", "dead", "one", "two"];
    assert_eq!(
        b.run(&scripts::RESTORE, &keys, &arguments).await.unwrap(),
        "1"
    );
    assert_eq!(b.ask(&["LRANGE", "one", "0", "-1"]).await, "[{r}]");
    assert_eq!(b.ask(&["LRANGE", "two", "0", "-1"]).await, "[{r}]");
}

#[tokio::test]
async fn settle_does_every_step_and_acknowledges_last() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}", "{3}"]).await;
    let keys = ["unacked", "index", "dead", "result", "next", "front", "q"];
    #[rustfmt::skip]
    let arguments = [
        "60", "celery@test", "1000", "4", "steps",
        "rs:a:1:0001", "rs:a:1:0002", "rs:a:1:0003", "rs:a:1:0009",
        "4", "push", "5", "{next}", "front", "6", "{front}", "result", "4", "{\"status\":\"SUCCESS\"}",
             "note", "q", "id", "task", "beside", "{raw}",
        "1", "return", "7", "8",
        "1", "dead", "8", "q", "id3", "task3", "poison",
        "1", "push", "5", "{never}",
    ];
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap(),
        "[[4] []]"
    );
    assert_eq!(b.ask(&["GET", "result"]).await, r#"{"status":"SUCCESS"}"#);
    assert!(b.ask(&["TTL", "result"]).await.parse::<i64>().unwrap() > 50);
    assert_eq!(b.ask(&["LRANGE", "next", "0", "-1"]).await, "[{next}]");
    assert_eq!(b.ask(&["LRANGE", "front", "0", "-1"]).await, "[{front}]");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{2}]");
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    assert!(
        letters.contains("queue q id id task task cause beside worker celery@test"),
        "{letters}"
    );
    assert!(letters.contains("raw {raw}"), "{letters}");
    assert!(
        letters.contains("queue q id id3 task task3 cause poison"),
        "{letters}"
    );
    assert!(letters.contains("raw {3}"), "{letters}");
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
    // A repeated call does nothing twice.
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap(),
        "[[1 2 3 4] []]"
    );
    assert_eq!(b.ask(&["LLEN", "next"]).await, "1");
    assert_eq!(b.ask(&["XLEN", "dead"]).await, "2");
}

#[tokio::test]
async fn settle_gives_a_failure_its_own_time() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}", "{3}"]).await;
    b.ask(&["SET", "done", r#"{"status": "SUCCESS"}"#]).await;
    let keys = ["unacked", "index", "dead", "short", "endless", "done"];
    #[rustfmt::skip]
    let arguments = [
        "60", "celery@test", "1000", "3", "steps", "rs:a:1:0001", "rs:a:1:0002", "rs:a:1:0003",
        "1", "failure", "4", "{a}", "500",
        "1", "failure", "5", "{b}", "0",
        "1", "failure", "6", "{c}", "500",
    ];
    let answer = b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap();
    assert_eq!(answer, "[[] []]");
    assert_eq!(b.ask(&["MGET", "short", "endless"]).await, "[{a} {b}]");
    let left = ["short", "endless"].map(|key| b.redis.cli(&["TTL", key]).unwrap());
    let left = left.map(|text| text.trim().parse::<i64>().unwrap());
    assert!((400..=500).contains(&left[0]) && left[1] == -1, "{left:?}");
    assert!(b.ask(&["GET", "done"]).await.contains("SUCCESS"));
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
}

#[tokio::test]
async fn settle_keeps_tasks_that_it_could_not_settle() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}"]).await;
    b.ask(&["SET", "next", "no list"]).await;
    let keys = ["unacked", "index", "dead", "next", "r1", "r2"];
    #[rustfmt::skip]
    let arguments = [
        "0", "celery@test", "1000", "2", "steps", "rs:a:1:0001", "rs:a:1:0002",
        "2", "front", "4", "{next}", "result", "5", "{}",
        "1", "result", "6", "{}",
    ];
    let answer = b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap();
    assert!(answer.starts_with("[[] [1 WRONGTYPE"), "{answer}");
    assert_eq!(b.ask(&["HKEYS", "unacked"]).await, "[rs:a:1:0001]");
    assert_eq!(b.ask(&["EXISTS", "r1", "r2"]).await, "1");
    assert_eq!(b.ask(&["TTL", "r2"]).await, "-1");
}

#[tokio::test]
async fn a_stored_success_is_never_overwritten() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "python", r#"{"status": "SUCCESS", "result": 1}"#])
        .await;
    b.ask(&["SET", "ours", r#"{"status":"SUCCESS","result":1}"#])
        .await;
    b.ask(&[
        "SET",
        "retry",
        r#"{"status": "RETRY", "result": {"status": "SUCCESS"}}"#,
    ])
    .await;
    b.ask(&["LPUSH", "other", "a list"]).await;
    let documents = ["60", "{1}", "{2}", "{3}", "{4}", "{5}"];
    let keys = ["python", "ours", "retry", "other", "new"];
    assert_eq!(
        b.run(&scripts::STORE_RESULTS, &keys, &documents)
            .await
            .unwrap(),
        "[[1 2]]"
    );
    assert_eq!(
        b.ask(&["MGET", "retry", "other", "new"]).await,
        "[{3} {4} {5}]"
    );
    b.held(&["{1}"]).await;
    let late = [
        "60",
        "w",
        "1000",
        "1",
        "steps",
        "rs:a:1:0001",
        "1",
        "result",
        "4",
        "{late}",
    ];
    let keys = ["unacked", "index", "dead", "python"];
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &late).await.unwrap(),
        "[[] []]"
    );
    assert!(b.ask(&["GET", "python"]).await.contains("SUCCESS"));
    assert_eq!(b.ask(&["EXISTS", "unacked"]).await, "0");
}

#[tokio::test]
async fn settle_stores_one_result_of_each_task() {
    let mut b = Bench::new().await;
    b.held(&["{1}", "{2}", "{3}", "{4}", "{5}"]).await;
    let success = r#"{"status": "SUCCESS", "result": 1}"#;
    b.ask(&["SET", "success", success, "EX", "600"]).await;
    b.ask(&["SET", "started", r#"{"status": "STARTED"}"#, "EX", "600"])
        .await;
    b.ask(&["LPUSH", "list", "a list"]).await;
    let keys = [
        "unacked", "index", "dead", "new", "success", "started", "list", "lost", "new",
    ];
    #[rustfmt::skip]
    let arguments = [
        "60", "w", "1000", "6", "results", "rs:a:1:0001", "rs:a:1:0002", "rs:a:1:0003", "rs:a:1:0004",
        "rs:a:1:0009", "rs:a:1:0005",
        r#"{"status":"SUCCESS","n":1}"#, "{late}", "{3}", "{4}", "{never}", "{second}",
    ];
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap(),
        "[[5] []]"
    );
    // The second result of a task does not replace the SUCCESS that the first one stored.
    assert_eq!(
        b.ask(&["MGET", "new", "success", "started", "list", "lost"])
            .await,
        format!(r#"[{{"status":"SUCCESS","n":1}} {success} {{3}} {{4}} -]"#)
    );
    // Each document that was stored was published, and no other.
    let commands = b.ask(&["INFO", "commandstats"]).await;
    assert!(commands.contains("cmdstat_publish:calls=3,"), "{commands}");
    for (key, least, most) in [("new", 50, 60), ("success", 590, 600), ("started", 50, 60)] {
        let left: i64 = b.ask(&["TTL", key]).await.parse().unwrap();
        assert!((least..=most).contains(&left), "{key}: {left}");
    }
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
}

#[tokio::test]
async fn a_flushed_script_is_loaded_again() {
    let mut b = Bench::new().await;
    b.ask(&["ZADD", "index", "1", "a"]).await;
    assert_eq!(
        b.run(&scripts::RENEW, &["index"], &["a"]).await.unwrap(),
        "[]"
    );
    b.ask(&["SCRIPT", "FLUSH"]).await;
    assert_eq!(
        b.run(&scripts::RENEW, &["index"], &["a"]).await.unwrap(),
        "[]"
    );
}

#[tokio::test]
async fn the_largest_calls_fit() {
    let mut b = Bench::new().await;
    b.held(&["{m}"; 1_000]).await;
    assert_eq!(b.ask(&["HLEN", "unacked"]).await, "1000");
    let tags: Vec<String> = (1..=1_000).map(|n| format!("rs:a:1:{n:04}")).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    assert_eq!(
        b.run(&scripts::RENEW, &["index"], &tags).await.unwrap(),
        "[]"
    );
    let mut arguments = vec!["60", "w", "1000", "1000", "steps"];
    arguments.extend(&tags);
    for _ in &tags {
        arguments.extend(["1", "result", "4", "{}"]);
    }
    let keys = ["unacked", "index", "dead", "r"];
    assert_eq!(
        b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap(),
        "[[] []]"
    );
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
}

#[tokio::test]
async fn results_are_stored_although_publishing_is_refused() {
    let mut b = Bench::new().await;
    b.held(&["{1}"]).await;
    b.become_user(&["~*", "+@all", "resetchannels"]).await;
    let keys = ["unacked", "index", "dead", "next", "r1"];
    #[rustfmt::skip]
    let arguments = [
        "60", "w", "1000", "1", "steps", "rs:a:1:0001",
        "2", "push", "4", "{next}", "result", "5", "{}",
    ];
    let answer = b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap();
    assert!(answer.starts_with("[[] [] "), "{answer}");
    assert!(answer.contains("channel"), "{answer}");
    assert_eq!(b.ask(&["LLEN", "next"]).await, "1");
    assert_eq!(b.ask(&["GET", "r1"]).await, "{}");
    assert_eq!(b.ask(&["EXISTS", "unacked", "index"]).await, "0");
    let answer = b
        .run(
            &scripts::STORE_RESULTS,
            &["r2", "r3"],
            &["60", "{2}", "{3}"],
        )
        .await
        .unwrap();
    assert!(answer.starts_with("[[] "), "{answer}");
    assert!(answer.contains("channel"), "{answer}");
    assert_eq!(b.ask(&["MGET", "r2", "r3"]).await, "[{2} {3}]");
}

#[tokio::test]
async fn a_claim_skips_a_key_that_is_not_a_list() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "string", "x"]).await;
    b.ask(&["LPUSH", "q", "{1}"]).await;
    let answer = b.claim_from(&["string", "q"], 2, "rs:a:1:", &[]).await;
    let answer = answer.unwrap();
    assert!(answer.starts_with("[[] [WRONGTYPE "), "{answer}");
    assert!(answer.ends_with(" 1] 0 {1}]"), "{answer}");
    assert_eq!(b.ask(&["GET", "string"]).await, "x");
}

/// Returns the keys and arguments that count member `place` of a chord's header.
fn part(group: &str, place: &str) -> ([String; 6], [String; 7]) {
    let keys = [".j", ".t", ".s", ".d", ".c", ""].map(|part| format!("{group}{part}"));
    let id = format!("id{place}");
    let member = format!("[1,{id}]");
    let word = format!("rs:{place}");
    let run = format!("rs+{id}:0:0:");
    let (place, none) = (place.to_owned(), "0".to_owned());
    (keys, [id, place, member, word, none.clone(), none, run])
}

#[tokio::test]
async fn a_header_grows_once_for_each_run_that_adds_members() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "g.s", "1"]).await;
    // What a member reports: its place, whether it has ended, the members that it adds and its run.
    // Then the answer, and how many members the chord has and expects.
    for (place, ends, adds, run, answer, counted, expected) in [
        ("0", false, "2", "retry 0", "-", "0", "2"),
        // The run is repeated after a crash.
        ("0", false, "2", "retry 0", "-", "0", "2"),
        ("0", false, "1", "retry 1", "-", "0", "3"),
        ("0", true, "1", "retry 2", "-", "1", "4"),
        ("0", true, "1", "retry 2", "-", "1", "4"),
        ("1", true, "0", "", "-", "2", "4"),
        ("2", true, "0", "", "-", "3", "4"),
        ("3", true, "0", "", "-", "4", "4"),
        (
            "4",
            true,
            "0",
            "",
            "[- [1,id0] [1,id1] [1,id2] [1,id3] [1,id4]]",
            "5",
            "4",
        ),
    ] {
        let (keys, mut member) = part("g", place);
        if !ends {
            member[2].clear();
        }
        (member[5], member[6]) = (adds.to_owned(), run.to_owned());
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let member = member.iter().map(String::as_str);
        let arguments: Vec<&str> = ["60", "30", "90"].into_iter().chain(member).collect();
        let given = b.run(&scripts::COUNT_PARTS, &keys, &arguments).await;
        assert_eq!(given.unwrap(), format!("[{answer}]"), "{place} {run}");
        assert_eq!(b.ask(&["ZCARD", "g.j"]).await, counted, "{place} {run}");
        assert_eq!(b.ask(&["GET", "g.t"]).await, expected, "{place} {run}");
        for key in ["g.t", "g.d"] {
            assert_ne!(
                b.ask(&["TTL", key]).await,
                "-1",
                "{key} lives without limit"
            );
        }
    }
}

#[tokio::test]
async fn broken_keys_of_a_chord_do_not_stop_another_from_being_counted() {
    let mut b = Bench::new().await;
    for part in ["", ".j", ".t", ".s", ".d", ".c"] {
        let broken = format!("broken{part}");
        b.ask(&["FLUSHALL"]).await;
        b.ask(&["LPUSH", &broken, "x"]).await;
        if part == ".j" {
            // Celery uses a list where results are not ordered, so a list is valid here.
            b.ask(&["DEL", &broken]).await;
            b.ask(&["SET", &broken, "x"]).await;
        }
        b.ask(&["SET", "sound.s", "1"]).await;
        let [one, two] = ["broken", "sound"].map(|group| self::part(group, "0"));
        let keys: Vec<&str> = one.0.iter().chain(&two.0).map(String::as_str).collect();
        let members = one.1.iter().chain(&two.1).map(String::as_str);
        let arguments: Vec<&str> = ["60", "30", "90"].into_iter().chain(members).collect();
        let answer = b.run(&scripts::COUNT_PARTS, &keys, &arguments).await;
        let wanted = format!("[WRONGTYPE {broken} is a ");
        let answer = answer.unwrap();
        assert!(answer.starts_with(&wanted), "{answer}");
        assert!(answer.ends_with(" [- [1,id0]]]"), "{answer}");
    }
}

#[tokio::test]
async fn a_delivery_is_counted_once() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "other", "a list"]).await;
    for (arguments, counts) in [
        (["60", "3", "rs:a:1:0001", "rs:a:1:0002", "x"], "[1 1 0]"),
        (["60", "3", "rs:a:1:0001", "rs:a:2:0001", "x"], "[1 2 0]"),
        (["60", "3", "rs:a:1:0001", "rs:a:3:0001", "x"], "[1 3 0]"),
        (["60", "3", "rs:a:1:0001", "rs:a:4:0001", "x"], "[1 3 0]"),
    ] {
        let keys = ["one", "two", "other"];
        let answer = b.run(&scripts::COUNT_BEGUN, &keys, &arguments).await;
        assert_eq!(answer.unwrap(), counts);
    }
    assert!(b.ask(&["TTL", "one"]).await.parse::<i64>().unwrap() > 50);
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let full = ["60", "3", "rs:a:5:0001"];
    let answer = b.run(&scripts::COUNT_BEGUN, &["three"], &full).await;
    assert_eq!(answer.unwrap(), "[1]");
}

#[tokio::test]
async fn a_reply_of_remote_control_goes_to_a_client_that_waits() {
    let mut b = Bench::new().await;
    let (keys, arguments) = (["bindings", "replies"], ["k:q", "a reply", "60"]);
    let answer = b.run(&scripts::CONTROL_REPLY, &keys, &arguments).await;
    assert_eq!(answer.unwrap(), "0");
    assert_eq!(b.ask(&["EXISTS", "replies"]).await, "0");
    b.ask(&["SADD", "bindings", "k:q", "other"]).await;
    for _ in 0..2 {
        let answer = b.run(&scripts::CONTROL_REPLY, &keys, &arguments).await;
        assert_eq!(answer.unwrap(), "1");
    }
    assert_eq!(
        b.ask(&["LRANGE", "replies", "0", "-1"]).await,
        "[a reply a reply]"
    );
    assert!(b.ask(&["TTL", "replies"]).await.parse::<i64>().unwrap() > 50);
    b.ask(&["DEL", "replies"]).await;
    b.ask(&["SET", "replies", "not a list"]).await;
    let answer = b.run(&scripts::CONTROL_REPLY, &keys, &arguments).await;
    assert!(answer.is_err());
}

#[tokio::test]
async fn revocations_are_kept_up_to_a_number() {
    let mut b = Bench::new().await;
    let answer = b
        .run(&scripts::REVOKE, &["revoked"], &["60", "3", "a", "b"])
        .await;
    assert_eq!(answer.unwrap(), "2");
    b.ask(&["ZADD", "revoked", "1000", "expired"]).await;
    let answer = b
        .run(&scripts::REVOKE, &["revoked"], &["90", "3", "c", "d"])
        .await;
    assert_eq!(answer.unwrap(), "3");
    assert_eq!(b.ask(&["ZRANGE", "revoked", "0", "-1"]).await, "[b c d]");
    assert!(b.ask(&["TTL", "revoked"]).await.parse::<i64>().unwrap() > 60);
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let answer = b
        .run(&scripts::REVOKE, &["revoked"], &["90", "9", "e"])
        .await;
    assert_eq!(answer.unwrap(), "4");
}

#[tokio::test]
async fn tasks_that_no_worker_has_begun_become_revoked() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "retry", r#"{"status": "RETRY", "result": null}"#])
        .await;
    b.ask(&[
        "SET",
        "done",
        r#"{"status": "SUCCESS", "result": "PENDING"}"#,
    ])
    .await;
    b.ask(&["SET", "packed", "\0celery-compressed\0"]).await;
    b.ask(&["LPUSH", "list", "x"]).await;
    let keys = ["absent", "retry", "done", "packed", "list"];
    let arguments = ["60", "doc", "doc", "doc", "doc", "doc"];
    let answer = b.run(&scripts::REVOKE_RESULTS, &keys, &arguments).await;
    assert_eq!(answer.unwrap(), "2");
    assert_eq!(b.ask(&["MGET", "absent", "retry"]).await, "[doc doc]");
    assert!(b.ask(&["TTL", "absent"]).await.parse::<i64>().unwrap() > 50);
    let without_limit = b
        .run(&scripts::REVOKE_RESULTS, &["other"], &["0", "doc"])
        .await;
    assert_eq!(without_limit.unwrap(), "1");
    assert_eq!(b.ask(&["TTL", "other"]).await, "-1");
}

/// The header of the held list of the instance `a`, as its first claim writes it.
const HEADER: &str = "rs:a:1:1700.5:q";

impl Bench {
    /// Moves messages to the held list of the instance `a`, the first one first.
    async fn moved(&mut self, header: &str, messages: &[&str]) {
        self.ask(&["SADD", "owners", "a"]).await;
        let push = [&["LPUSH", "held", header], messages].concat();
        self.ask(&push).await;
    }

    /// Writes entries of messages without scores, and runs the script that enters them.
    async fn enter(
        &mut self,
        header: &str,
        count: usize,
        tags: &[&str],
        bad: &[&str],
    ) -> Result<String, Failure> {
        for tag in tags {
            let entry = r#"[{},"","q"]"#;
            let mut write = Cmd::new();
            write.arg(&["HSET", "unacked", tag, entry]);
            // A key of another type refuses.
            let _ = self.connection.query(&write).await;
        }
        let (count, number) = (count.to_string(), tags.len().to_string());
        let mut arguments = vec!["a", header, &count, "celery@test", "1000", "q", &number];
        arguments.extend(tags);
        arguments.extend(bad);
        let keys = ["held", "owners", "unacked", "index", "dead"];
        self.run(&scripts::ENTER_HELD, &keys, &arguments).await
    }

    async fn give_back(&mut self, header: &str, list: &str) -> Result<String, Failure> {
        let keys = ["held", "owners", "index", "dead", list];
        let arguments = ["a", header, "rs:a:", "celery@test", "1000"];
        self.run(&scripts::RETURN_HELD, &keys, &arguments).await
    }

    /// Returns how many elements the held list has, how many owners there are, and how many entries
    /// and scores.
    async fn counts(&mut self) -> String {
        let commands = ["LLEN held", "SCARD owners", "HLEN unacked", "ZCARD index"];
        let mut counts = Vec::new();
        for command in commands {
            let words: Vec<&str> = command.split(' ').collect();
            counts.push(self.ask(&words).await);
        }
        counts.join(" ")
    }
}

#[tokio::test]
async fn enter_held_writes_scores_and_deletes_the_held_list() {
    let mut b = Bench::new().await;
    b.moved(HEADER, &["{1}", "[2]", "{3}", ""]).await;
    let tags = ["rs:a:1:0001", "rs:a:1:0002"];
    let entered = b.enter(HEADER, 4, &tags, &["2", "4"]).await.unwrap();
    assert_eq!((&*entered, &*b.counts().await), ("1", "0 0 2 2"));
    let score = b.ask(&["ZSCORE", "index", tags[1]]).await;
    let now = b.ask(&["TIME"]).await;
    assert_eq!(score.split('.').next(), now[1..].split(' ').next());
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    let wanted = "queue q id  task  cause not-an-object worker celery@test time 1";
    assert_eq!(letters.matches(wanted).count(), 2, "{letters}");
    assert!(letters.contains("raw [2]"), "{letters}");
}

#[tokio::test]
async fn enter_held_without_messages_deletes_the_held_list() {
    let mut b = Bench::new().await;
    b.moved(HEADER, &[]).await;
    assert_eq!(b.enter(HEADER, 0, &[], &[]).await.unwrap(), "1");
    assert_eq!(b.counts().await, "0 0 0 0");
}

#[tokio::test]
async fn enter_held_leaves_no_entry_if_the_held_list_is_another_one() {
    let mut b = Bench::new().await;
    let tags = ["rs:a:1:0001"];
    // It is gone: another worker has returned it.
    assert_eq!(b.enter(HEADER, 1, &tags, &[]).await.unwrap(), "0");
    assert_eq!(b.counts().await, "0 0 0 0");
    // It is that of a later claim, or has the messages of two claims.
    b.moved("rs:a:2:1800.5:q", &["{1}"]).await;
    assert_eq!(b.enter(HEADER, 1, &tags, &[]).await.unwrap(), "0");
    assert_eq!(b.counts().await, "2 1 0 0");
    b.ask(&["DEL", "held"]).await;
    b.moved(HEADER, &["{1}"]).await;
    b.moved("rs:a:2:1800.5:q", &["{2}"]).await;
    assert_eq!(b.enter(HEADER, 1, &tags, &[]).await.unwrap(), "0");
    assert_eq!(b.counts().await, "4 1 0 0");
}

#[tokio::test]
async fn enter_held_that_is_sent_twice_changes_nothing_the_second_time() {
    let mut b = Bench::new().await;
    b.moved(HEADER, &["{1}", "{2}"]).await;
    let tags = ["rs:a:1:0001", "rs:a:1:0002"];
    assert_eq!(b.enter(HEADER, 2, &tags, &[]).await.unwrap(), "1");
    // One of them is acknowledged before.
    b.claim(0, "", &tags[..1]).await.unwrap();
    assert_eq!(b.enter(HEADER, 2, &tags, &[]).await.unwrap(), "0");
    assert_eq!(b.counts().await, "0 0 1 1");
    assert_eq!(b.ask(&["HKEYS", "unacked"]).await, "[rs:a:1:0002]");
}

#[tokio::test]
async fn enter_held_deletes_nothing_if_a_key_has_another_type() {
    for key in ["unacked", "index", "dead"] {
        let mut b = Bench::new().await;
        b.moved(HEADER, &["{1}", "[2]"]).await;
        b.ask(&["SET", key, "x"]).await;
        let refused = b.enter(HEADER, 2, &["rs:a:1:0001"], &["2"]).await;
        refused.unwrap_err();
        let held = b.ask(&["LRANGE", "held", "0", "-1"]).await;
        assert_eq!(held, format!("[[2] {{1}} {HEADER}]"), "{key}");
        b.ask(&["DEL", key]).await;
        assert_eq!(b.counts().await, "3 1 0 0", "{key}");
    }
}

#[tokio::test]
async fn return_held_puts_messages_to_the_head_in_their_order() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "{3}", "{4}"]).await;
    b.moved(HEADER, &["{1}", "2"]).await;
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "2");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{4} {3} 2 {1}]");
    assert_eq!(b.counts().await, "0 0 0 0");
    // The list is gone now, and an owner without a list is forgotten.
    b.ask(&["SADD", "owners", "a"]).await;
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "0");
    assert_eq!(b.counts().await, "0 0 0 0");
}

#[tokio::test]
async fn return_held_returns_one_claim_at_a_time() {
    let mut b = Bench::new().await;
    b.moved(HEADER, &["{1}"]).await;
    let later = "rs:a:2:1800.5:r";
    b.moved(later, &["{2}", "{3}"]).await;
    assert_eq!(b.give_back(later, "r").await.unwrap(), "0");
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "1");
    assert_eq!(b.counts().await, "3 1 0 0");
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "0");
    assert_eq!(b.give_back(later, "r").await.unwrap(), "2");
    assert_eq!(b.counts().await, "0 0 0 0");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{1}]");
    assert_eq!(b.ask(&["LRANGE", "r", "0", "-1"]).await, "[{3} {2}]");
}

#[tokio::test]
async fn return_held_makes_dead_letters_where_the_destination_is_not_a_list() {
    let mut b = Bench::new().await;
    b.ask(&["SET", "q", "x"]).await;
    b.moved(HEADER, &["{1}"]).await;
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "1");
    assert_eq!(b.counts().await, "0 0 0 0");
    let letters = b.ask(&["XRANGE", "dead", "-", "+"]).await;
    assert!(letters.contains("cause not-a-list q"), "{letters}");
}

#[tokio::test]
async fn return_held_runs_while_memory_is_full() {
    let mut b = Bench::new().await;
    b.moved(HEADER, &["{1}"]).await;
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(b.give_back(HEADER, "q").await.unwrap(), "1");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{1}]");
}

/// The keys of schedules.
const BEAT: [&str; 5] = ["leader", "due", "entries", "fence", "runs"];

impl Bench {
    async fn look(&mut self, instance: &str) -> String {
        let [leader, due, entries, fence, _] = BEAT;
        let keys = [leader, due, entries, fence];
        let arguments = [instance, "10000", "2"];
        let answer = self.run(&scripts::BEAT_LOOK, &keys, &arguments).await;
        let answer = answer.unwrap();
        // The time is another one each time.
        let (_, rest) = answer.split_once(' ').unwrap();
        format!("[{rest}")
    }

    async fn fire(&mut self, arguments: &[&str]) -> Result<String, Failure> {
        let [leader, due, entries, _, runs] = BEAT;
        let keys = [leader, due, entries, runs, "q"];
        let keys = &keys[..if arguments.len() > 5 { 5 } else { 4 }];
        self.run(&scripts::BEAT_FIRE, keys, arguments).await
    }

    async fn write(&mut self, arguments: &[&str]) -> String {
        let [_, due, entries, _, runs] = BEAT;
        let keys = [due, entries, runs];
        let written = self.run(&scripts::BEAT_WRITE, &keys, arguments).await;
        written.unwrap()
    }
}

#[tokio::test]
async fn beat_look_gives_the_lease_to_one_instance_and_reports_what_is_due() {
    let mut b = Bench::new().await;
    assert_eq!(b.look("a").await, "[a:1 10000 ]");
    let b_waits = b.look("b").await;
    assert!(b_waits.starts_with("[a:1 ") && b_waits.split(' ').count() == 2);
    // The same instance renews its lease, under its token.
    b.ask(&["PEXPIRE", "leader", "60000"]).await;
    assert_eq!(b.look("a").await, "[a:1 10000 ]");
    let left: i64 = b.ask(&["PTTL", "leader"]).await.parse().unwrap();
    assert!((1..=10_000).contains(&left), "{left}");
    // An instance whose name begins like that of the leader is another one.
    assert!(b.look("").await.starts_with("[a:1 "));
    // After the end of a lease the fence is a new one, also for the last leader.
    b.ask(&["DEL", "leader"]).await;
    assert_eq!(b.look("a").await, "[a:2 10000 ]");
    b.ask(&["DEL", "leader"]).await;
    assert_eq!(b.look("b").await, "[b:3 10000 ]");
    // At most two entries, the first ones that are due; and the next one that is not due yet.
    b.ask(&[
        "ZADD",
        "due",
        "3",
        "x",
        "1",
        "y",
        "2",
        "z",
        "99999999999999",
        "w",
    ])
    .await;
    b.ask(&["HSET", "entries", "y", "{}", "w", "{}"]).await;
    assert_eq!(b.look("b").await, "[b:3 10000 99999999999999 y 1 {} z 2 ]");
}

#[tokio::test]
async fn beat_fire_sends_once_and_only_for_the_leader() {
    let mut b = Bench::new().await;
    b.look("a").await;
    b.ask(&["ZADD", "due", "1000", "x"]).await;
    b.ask(&["HSET", "entries", "x", "{}"]).await;
    let fire = ["a:1", "x", "1000", "2000", "{}", "m1", "m2"];
    for token in ["a:0", "a:2", "b:1", ""] {
        let stale = [&[token], &fire[1..]].concat();
        assert_eq!(b.fire(&stale).await.unwrap(), "-1", "{token}");
    }
    let other = ["a:1", "x", "999", "2000", "{}", "m1"];
    assert_eq!(b.fire(&other).await.unwrap(), "0");
    for entry in ["{ }", ""] {
        let other = ["a:1", "x", "1000", "2000", entry, "m1"];
        assert_eq!(b.fire(&other).await.unwrap(), "0", "{entry}");
    }
    assert_eq!(b.ask(&["LLEN", "q"]).await, "0");
    assert_eq!(b.fire(&fire).await.unwrap(), "1");
    assert_eq!(b.fire(&fire).await.unwrap(), "0");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[m2 m1]");
    assert_eq!(b.ask(&["ZSCORE", "due", "x"]).await, "2000");
    let runs = b.ask(&["HGET", "runs", "x"]).await;
    assert!(runs.starts_with("2 ") && runs.len() == "2 1764370000000".len());
    // Without messages only the due time moves, and an empty one ends it.
    assert_eq!(
        b.fire(&["a:1", "x", "2000", "2500", "{}"]).await.unwrap(),
        "1"
    );
    assert_eq!(b.fire(&["a:1", "x", "2500", "", "{}"]).await.unwrap(), "1");
    assert_eq!(b.ask(&["ZCARD", "due"]).await, "0");
    assert_eq!(b.fire(&["a:1", "x", "2500", "", "{}"]).await.unwrap(), "0");
    assert_eq!(b.ask(&["HGET", "runs", "x"]).await, runs);
    // An entry that was removed is not sent; its due time can be removed.
    b.ask(&["ZADD", "due", "1000", "gone"]).await;
    let gone = ["a:1", "gone", "1000", "2000", "{}", "m"];
    assert_eq!(b.fire(&gone).await.unwrap(), "0");
    assert_eq!(b.fire(&["a:1", "gone", "1000", "", ""]).await.unwrap(), "1");
    // After the end of the lease no instance can send.
    b.ask(&["ZADD", "due", "1000", "x"]).await;
    b.ask(&["DEL", "leader"]).await;
    assert_eq!(b.fire(&fire).await.unwrap(), "-1");
    assert_eq!(b.ask(&["LLEN", "q"]).await, "2");
}

#[tokio::test]
async fn beat_fire_moves_the_due_time_although_the_queue_is_not_a_list() {
    let mut b = Bench::new().await;
    b.look("a").await;
    b.ask(&["ZADD", "due", "1000", "x"]).await;
    b.ask(&["HSET", "entries", "x", "{}"]).await;
    b.ask(&["SET", "q", "text"]).await;
    let answer = b
        .fire(&["a:1", "x", "1000", "2000", "{}", "m"])
        .await
        .unwrap();
    assert!(answer.starts_with("WRONGTYPE"), "{answer}");
    assert_eq!(b.ask(&["ZSCORE", "due", "x"]).await, "2000");
    assert_eq!(b.ask(&["EXISTS", "runs"]).await, "0");
}

#[tokio::test]
async fn beat_write_changes_only_what_was_read() {
    let mut b = Bench::new().await;
    assert_eq!(b.write(&["x", "other", "e1", "compute"]).await, "0");
    assert_eq!(b.write(&["x", "", "e1", "compute"]).await, "1");
    assert_eq!(b.ask(&["ZSCORE", "due", "x"]).await, "0");
    b.ask(&["ZADD", "due", "77", "x"]).await;
    assert_eq!(b.write(&["x", "", "e2", "keep"]).await, "0");
    assert_eq!(b.write(&["x", "e1", "e2", "keep"]).await, "1");
    assert_eq!(b.ask(&["ZSCORE", "due", "x"]).await, "77");
    assert_eq!(b.write(&["x", "e2", "e3", "stop"]).await, "1");
    assert_eq!(b.ask(&["ZCARD", "due"]).await, "0");
    // A due time that is missing is computed.
    assert_eq!(b.write(&["x", "e3", "e4", "keep"]).await, "1");
    assert_eq!(b.ask(&["ZSCORE", "due", "x"]).await, "0");
    b.ask(&["HSET", "runs", "x", "1 2"]).await;
    assert_eq!(b.write(&["x", "e4", "", "stop"]).await, "1");
    for key in ["due", "entries", "runs"] {
        assert_eq!(b.ask(&["EXISTS", key]).await, "0", "{key}");
    }
}

#[tokio::test]
async fn beat_resign_ends_only_the_callers_lease() {
    let mut b = Bench::new().await;
    b.look("a").await;
    let resign = &scripts::BEAT_RESIGN;
    assert_eq!(b.run(resign, &["leader"], &["a:2"]).await.unwrap(), "0");
    assert_eq!(b.run(resign, &["leader"], &["a:1"]).await.unwrap(), "1");
    assert_eq!(b.run(resign, &["leader"], &["a:1"]).await.unwrap(), "0");
}

#[tokio::test]
async fn schedules_run_on_a_full_server() {
    let mut b = Bench::new().await;
    b.look("a").await;
    b.ask(&["ZADD", "due", "1000", "x"]).await;
    b.ask(&["HSET", "entries", "x", "{}"]).await;
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert!(b.look("a").await.starts_with("[a:1 10000 "));
    let fire = ["a:1", "x", "1000", "2000", "{}", "m1"];
    assert_eq!(b.fire(&fire).await.unwrap(), "1");
    assert_eq!(b.write(&["x", "{}", "{ }", "keep"]).await, "1");
}

/// Documents in the forms of Python's serializers and of this project. Only the first five are a
/// SUCCESS.
const FORMS: [&[u8]; 10] = [
    b"{\"status\":  \"SUCCESS\"}",
    b"\x82\xa6status\xa7SUCCESS\xa6result\xc0",
    b"\xde\x00\x02\xa6status\xa7SUCCESS\xa6result\xc0",
    b"--- {\"status\": \"SUCCESS\",\"result\":1}",
    b"children: []\nresult: 5\nstatus: SUCCESS\ntask_id: i\n",
    b"children: []\nresult: 'a\n\n  status: SUCCESS\n\n  '\nstatus: FAILURE\n",
    b"--- {\"status\":\"FAILURE\",\"result\":{\"status\":\"SUCCESS\"}}",
    b"\x82\xa6status\xa7FAILURE\xa6result\xaestatus SUCCESS",
    b"{\"status\":\"RETRY\",\"result\":\"\\nstatus: SUCCESS\\n\"}",
    b"\0celery-compressed\0application/x-gzip\0rest",
];

#[tokio::test]
async fn a_success_is_kept_in_each_form_that_is_not_compressed() {
    let mut b = Bench::new().await;
    for (place, document) in FORMS.into_iter().enumerate() {
        let kept = place < 5;
        for key in ["stored", "settled"] {
            let mut set = Cmd::new();
            set.arg("SET").arg(key).arg(document);
            b.connection.query(&set).await.unwrap();
        }
        let stored = b.run(&scripts::STORE_RESULTS, &["stored"], &["60", "{late}"]);
        let expected = if kept { "[[1]]" } else { "[[]]" };
        assert_eq!(stored.await.unwrap(), expected, "{place}");
        b.ask(&["ZADD", "index", "1", "tag"]).await;
        let keys = ["unacked", "index", "dead", "settled"];
        let arguments = ["60", "w", "1000", "1", "results", "tag", "{late}"];
        b.run(&scripts::SETTLE, &keys, &arguments).await.unwrap();
        for key in ["stored", "settled"] {
            let is_late = b.ask(&["GET", key]).await == "{late}";
            assert_eq!(is_late, !kept, "{place}");
        }
    }
}

#[tokio::test]
async fn read_results_returns_as_much_as_fits() {
    let mut b = Bench::new().await;
    b.ask(&["MSET", "a", "{12345}", "b", "{1}", "c", "{2}"])
        .await;
    b.ask(&["LPUSH", "list", "x"]).await;
    let keys = ["none", "a", "list", "b", "c"];
    let read = async |b: &mut Bench, bytes: &str, most: &str| {
        b.run(&scripts::READ_RESULTS, &keys, &[bytes, most])
            .await
            .unwrap()
    };
    assert_eq!(read(&mut b, "100", "100").await, "[0 {12345} 0 {1} {2}]");
    assert_eq!(read(&mut b, "10", "100").await, "[0 {12345} 0 {1}]");
    assert_eq!(read(&mut b, "100", "6").await, "[0 -1 0 {1} {2}]");
    // The first one is always returned.
    let first = b.run(&scripts::READ_RESULTS, &["a", "b"], &["1", "100"]);
    assert_eq!(first.await.unwrap(), "[{12345}]");
}

/// Sorts these messages, which are expected at the head of `q`, each with its key.
async fn sort(b: &mut Bench, most: &str, messages: &[(&str, &str)]) -> String {
    let digests: Vec<String> = messages
        .iter()
        .map(|(message, _)| celery_client::redis::sha1(message.as_bytes()))
        .collect();
    let mut arguments = vec!["q.fair.", "/3", most];
    for (digest, (_, key)) in digests.iter().zip(messages) {
        arguments.extend([&**digest, key]);
    }
    b.run(&scripts::FAIR_SORT, &["q", "groups"], &arguments)
        .await
        .unwrap()
}

#[tokio::test]
async fn fair_sort_gives_each_key_a_group_and_moves_nothing_twice() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "{1}", "{2}", "{3}", "{4}"]).await;
    let messages = [("{1}", "aa"), ("{2}", "bb"), ("{3}", "aa")];
    assert_eq!(sort(&mut b, "2", &messages).await, "3");
    assert_eq!(
        b.ask(&["LRANGE", "q.fair.0/3", "0", "-1"]).await,
        "[{3} {1}]"
    );
    assert_eq!(b.ask(&["LRANGE", "q.fair.1/3", "0", "-1"]).await, "[{2}]");
    // The messages are moved once.
    assert_eq!(sort(&mut b, "2", &messages).await, "0");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{4}]");
    // All groups are taken: 0xdd is odd.
    assert_eq!(sort(&mut b, "2", &[("{4}", "dd")]).await, "1");
    assert_eq!(
        b.ask(&["LRANGE", "q.fair.1/3", "0", "-1"]).await,
        "[{4} {2}]"
    );
    assert_eq!(b.ask(&["HGETALL", "groups"]).await, "[aa 0 bb 1]");
    assert_eq!(sort(&mut b, "2", &[("{5}", "aa")]).await, "0");
    // Claims took the first messages after they were read, and a message came back.
    b.ask(&["LPUSH", "q", "{7}", "{8}", "{back}", "{9}"]).await;
    let messages = [("{6}", "aa"), ("{7}", "aa"), ("{8}", "aa"), ("{9}", "aa")];
    assert_eq!(sort(&mut b, "2", &messages).await, "2");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{9} {back}]");
}

#[tokio::test]
async fn fair_sort_leaves_a_message_whose_group_is_not_a_list() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "{1}"]).await;
    b.ask(&["SET", "q.fair.0/3", "text"]).await;
    assert_eq!(sort(&mut b, "2", &[("{1}", "aa")]).await, "0");
    assert_eq!(b.ask(&["LLEN", "q"]).await, "1");
    assert_eq!(b.ask(&["EXISTS", "groups"]).await, "0");
}

#[tokio::test]
async fn fair_sort_works_on_a_full_server() {
    let mut b = Bench::new().await;
    b.ask(&["LPUSH", "q", "{1}"]).await;
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(sort(&mut b, "2", &[("{1}", "aa")]).await, "1");
}

#[tokio::test]
async fn fair_groups_are_forgotten_when_they_are_empty() {
    let mut b = Bench::new().await;
    b.ask(&["HSET", "groups", "aa", "0", "bb", "1", "cc", "12"])
        .await;
    b.ask(&["LPUSH", "q.fair.1", "{1}"]).await;
    b.ask(&["LPUSH", "q.fair.12/3", "{1}", "{2}"]).await;
    b.ask(&["SET", "q.fair.0/3", "text"]).await;
    b.ask(&["LPUSH", "q.fair.3", "{3}"]).await;
    let groups = async |b: &mut Bench, tried: &str, most: &str| {
        let arguments = ["q.fair.", tried, most, "", "/3"];
        let groups = b.run(&scripts::FAIR_GROUPS, &["groups"], &arguments).await;
        groups.unwrap()
    };
    assert_eq!(groups(&mut b, "0", "9").await, "[[1 12] [] ]");
    assert_eq!(b.ask(&["HKEYS", "groups"]).await, "[bb cc]");
    // A list that is not in the hash is found again.
    assert_eq!(groups(&mut b, "4", "9").await, "[[1 12 3] [] ]");
    assert_eq!(groups(&mut b, "0", "9").await, "[[1 12 3] [] ]");
    assert_eq!(groups(&mut b, "0", "2").await, "[[1 12] [] ]");
    b.ask(&["DEL", "q.fair.3"]).await;
    // No worker has written these.
    let foreign = ["HSET", "groups", "dd", "70000", "ee", "012", "ff", "x"];
    b.ask(&foreign).await;
    assert_eq!(groups(&mut b, "4", "9").await, "[[1 12] [] ]");
    assert_eq!(b.ask(&["HKEYS", "groups"]).await, "[bb cc dd ee ff]");
}

/// A group is not forgotten while it cannot be read, as while its slot moves.
#[tokio::test]
async fn fair_groups_that_cannot_be_read_stay() {
    let mut b = Bench::new().await;
    b.ask(&["HSET", "groups", "aa", "0", "bb", "1"]).await;
    b.ask(&["LPUSH", "q.fair.0", "{1}"]).await;
    b.ask(&["LPUSH", "q.fair.1", "{2}"]).await;
    b.become_user(&["+@all", "~groups", "~q.fair.0"]).await;
    let arguments = ["q.fair.", "3", "9", ""];
    let groups = b.run(&scripts::FAIR_GROUPS, &["groups"], &arguments).await;
    let groups = groups.unwrap();
    assert!(groups.starts_with("[[0] [1] "), "{groups}");
    b.become_user(&["allkeys"]).await;
    let groups = b.run(&scripts::FAIR_GROUPS, &["groups"], &arguments).await;
    assert_eq!(groups.unwrap(), "[[0 1] [] ]");
}

#[tokio::test]
async fn fair_return_lets_the_groups_take_turns_and_keeps_their_order() {
    let mut b = Bench::new().await;
    b.ask(&["HSET", "groups", "aa", "0", "bb", "1", "cc", "2"])
        .await;
    b.ask(&["LPUSH", "q", "{new}"]).await;
    b.ask(&["LPUSH", "q.fair.0", "{1}", "{2}", "{3}", "{4}"])
        .await;
    b.ask(&["LPUSH", "q.fair.1", "{a}", "{b}"]).await;
    b.ask(&["SET", "q.fair.2", "text"]).await;
    // The hash does not have this one.
    b.ask(&["LPUSH", "q.fair.3/3", "{less urgent}"]).await;
    let back = async |b: &mut Bench, most: &str| {
        let arguments = ["q.fair.", "4", most, "", "/3"];
        let keys = ["groups", "q", "q/3"];
        b.run(&scripts::FAIR_RETURN, &keys, &arguments).await
    };
    assert_eq!(back(&mut b, "3").await.unwrap(), "[3 4]");
    // The group whose list is not a list has no messages.
    assert_eq!(b.ask(&["HKEYS", "groups"]).await, "[aa bb]");
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(back(&mut b, "9").await.unwrap(), "[4 0]");
    b.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    // The last message is the first to be claimed.
    assert_eq!(
        b.ask(&["LRANGE", "q", "0", "-1"]).await,
        "[{new} {4} {3} {2} {b} {1} {a}]"
    );
    assert_eq!(
        b.ask(&["LRANGE", "q/3", "0", "-1"]).await,
        "[{less urgent}]"
    );
    assert_eq!(b.ask(&["EXISTS", "groups"]).await, "0");
    assert_eq!(back(&mut b, "9").await.unwrap(), "[0 0]");
    // Nothing is lost if the queue's own key is not a list.
    b.ask(&["LPUSH", "q.fair.0", "{1}"]).await;
    b.ask(&["SET", "q", "text"]).await;
    assert!(back(&mut b, "9").await.unwrap_err().is_refusal("WRONGTYPE"));
    assert_eq!(b.ask(&["LLEN", "q.fair.0"]).await, "1");
}

#[tokio::test]
async fn fair_peek_returns_the_most_urgent_messages_up_to_a_size() {
    let mut b = Bench::new().await;
    let peek = async |b: &mut Bench, most: &str, bytes: &str| {
        let arguments = [most, bytes, "one", "60000"];
        b.run(&scripts::FAIR_PEEK, &["q", "q3", "lease"], &arguments)
            .await
            .unwrap()
    };
    assert_eq!(peek(&mut b, "10", "100").await, "[]");
    assert_eq!(b.ask(&["EXISTS", "lease"]).await, "0");
    b.ask(&["LPUSH", "q3", "{1}", "{2}", "{3}"]).await;
    assert_eq!(peek(&mut b, "10", "100").await, "[2 {1} {2} {3}]");
    assert_eq!(peek(&mut b, "2", "100").await, "[2 {1} {2}]");
    assert_eq!(peek(&mut b, "10", "4").await, "[2 {1} {2}]");
    b.ask(&["LPUSH", "q", "{4}"]).await;
    assert_eq!(peek(&mut b, "10", "1").await, "[1 {4}]");
    assert_eq!(b.ask(&["LLEN", "q3"]).await, "3");
    // Another worker gets the messages once the lease has ended. A full server has no lease.
    let other = ["9", "9", "other", "60000"];
    let other = async |b: &mut Bench| {
        let keys = ["q", "q3", "lease"];
        b.run(&scripts::FAIR_PEEK, &keys, &other).await.unwrap()
    };
    assert_eq!(other(&mut b).await, "[]");
    assert_ne!(b.ask(&["PTTL", "lease"]).await, "-1");
    b.ask(&["DEL", "lease"]).await;
    b.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;
    assert_eq!(other(&mut b).await, "[1 {4}]");
    assert_eq!(peek(&mut b, "10", "1").await, "[1 {4}]");
    b.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(other(&mut b).await, "[1 {4}]");
    assert_eq!(peek(&mut b, "10", "1").await, "[]");
}

#[tokio::test]
async fn send_again_sends_a_failure_once() {
    let mut b = Bench::new().await;
    let keys = ["result", "q", "bindings", "permanent"];
    let failure = "{\"status\": \"FAILURE\"}";
    let seen = celery_client::redis::sha1(failure.as_bytes());
    let arguments = [&*seen, "waiting", "{1}", "member"];
    let send = async |b: &mut Bench| b.run(&scripts::SEND_AGAIN, &keys, &arguments).await;
    assert_eq!(send(&mut b).await.unwrap(), "0");
    b.ask(&["SET", "result", "another", "EX", "100"]).await;
    assert_eq!(send(&mut b).await.unwrap(), "0");
    assert_eq!(b.ask(&["EXISTS", "q", "bindings"]).await, "0");

    // A queue that is not a list: the failure stays, and can be sent again later.
    b.ask(&["SET", "result", failure, "EX", "100"]).await;
    b.ask(&["SET", "q", "text"]).await;
    assert!(send(&mut b).await.is_err());
    assert_eq!(b.ask(&["GET", "result"]).await, failure);
    b.ask(&["DEL", "q"]).await;

    // A set of bindings that is not a set does not prevent it.
    b.ask(&["SET", "permanent", "text"]).await;
    assert_eq!(send(&mut b).await.unwrap(), "1");
    assert_eq!(send(&mut b).await.unwrap(), "0");
    assert_eq!(b.ask(&["LRANGE", "q", "0", "-1"]).await, "[{1}]");
    assert_eq!(b.ask(&["GET", "result"]).await, "waiting");
    assert_ne!(b.ask(&["TTL", "result"]).await, "-1");
    assert_eq!(b.ask(&["SMEMBERS", "bindings"]).await, "[member]");
}
