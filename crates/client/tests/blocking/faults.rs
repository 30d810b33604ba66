//! Slow, silent and loading servers: deadlines hold, and errors report the true outcome.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::{Interrupt, Interrupted, Wait};
use celery_client::redis::blocking::{Client, ClientOptions, Post, Publish};
use celery_testkit::{Fault, Proxy, Redis, RedisOptions, wait_for};

use super::scripted::{ENTER, POSTED, scripted};
use super::{
    PLENTY, SOME_TRIES, at_leisure, cli, client, client_of, client_with, old_redis, post, queued,
    redis, within,
};

fn proxied() -> (Redis, Proxy, String) {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let url = format!("redis://127.0.0.1:{}", proxy.port());
    (redis, proxy, url)
}

/// Returns a client whose connection is open.
fn connected(url: &str, options: ClientOptions) -> Client {
    let mut client = client_with(url, options);
    at_leisure(|wait| client.ping(wait)).unwrap();
    client
}

#[test]
fn once_does_not_wait_for_a_silent_connection() {
    let (redis, proxy, url) = proxied();
    let mut client = connected(&url, ClientOptions::default());
    proxy.strand_all();
    within(Duration::from_secs(5), |wait| {
        client.publish(&post("a"), Publish::Once, wait)
    })
    .unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
}

#[test]
fn once_without_an_answer_names_the_whole_time_limit() {
    let url = scripted(&[&[ENTER], &[ENTER], &[ENTER]]);
    let limit = Duration::from_millis(1500);
    let error = within(limit, |wait| {
        client_of(&url).publish(&post("a"), Publish::Once, wait)
    })
    .unwrap_err();
    assert!(
        error.outcome_unknown
            && matches!(*error.cause, ClientError::Timeout { after, .. } if after == limit),
        "{error}"
    );
}

#[test]
fn the_check_of_an_idle_connection_leaves_time_for_another() {
    let (redis, proxy, url) = proxied();
    let mut options = ClientOptions::default();
    options.idle_check = Duration::ZERO;
    options.connect_timeout = PLENTY;
    let mut client = connected(&url, options);
    proxy.strand_all();
    within(Duration::from_secs(2), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
}

#[test]
fn leaving_a_channel_leaves_time_for_another_connection() {
    const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n";
    // In RESP3, no connection has to be left.
    let redis = old_redis();
    cli(
        &redis,
        &[
            "SET",
            "celery-task-meta-id-1",
            r#"{"status": "SUCCESS", "result": 1}"#,
        ],
    );
    for posts in [true, false] {
        // The server never answers UNSUBSCRIBE.
        let mut listener = client_of(&scripted(&[
            &[ENTER, ("SUBSCRIBE", SUBSCRIBED)],
            &[ENTER, ("\r\n", POSTED)],
        ]));
        let interval = Duration::from_millis(500);
        at_leisure(|wait| client(&redis).wait_result(&mut listener, "id-1", interval, wait))
            .unwrap();
        within(Duration::from_secs(2), |wait| {
            if posts {
                let posted = listener.publish(&post("a"), Publish::Confirmed, wait);
                posted.map_err(ClientError::from)
            } else {
                listener.forget("x", wait).map(drop)
            }
        })
        .unwrap();
    }
}

#[test]
fn a_byte_a_second_does_not_extend_the_deadline() {
    let (redis, proxy, url) = proxied();
    let mut open = connected(&url, ClientOptions::default());
    proxy.set(Fault::Drip(Duration::from_secs(1)));
    let limit = Duration::from_millis(1500);
    let error = within(limit, |wait| {
        client_of(&url).publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        !error.outcome_unknown && matches!(*error.cause, ClientError::Connect { .. }),
        "{error}"
    );
    let error = within(limit, |wait| {
        open.publish(&post("b"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        error.outcome_unknown && matches!(*error.cause, ClientError::Timeout { .. }),
        "{error}"
    );
    let error = within(limit, |wait| open.get_result("x", wait)).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    // Redis does not execute half a command.
    proxy.reset_all();
    wait_for(PLENTY, "the end of all connections", || proxy.open() == 0).unwrap();
    assert_eq!(queued(&redis, "q").len(), 0);
}

#[test]
fn a_distant_server_is_waited_for_as_long_as_there_is_time() {
    let (redis, proxy, url) = proxied();
    let mut options = ClientOptions::default();
    options.connect_timeout = PLENTY;
    proxy.set(Fault::Latency(Duration::from_secs(2)));
    let mut client = client_with(&url, options);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
    for latency in [2, 30] {
        proxy.set(Fault::Latency(Duration::from_secs(latency)));
        let id = format!("b{latency}");
        let error = within(Duration::from_millis(500), |wait| {
            client.publish(&post(&id), Publish::Confirmed, wait)
        })
        .unwrap_err();
        // With 2 s of latency, the post is sent on the open connection. The next connection cannot
        // be opened in time, so nothing is sent on it.
        assert_eq!(error.outcome_unknown, latency == 2, "{error}");
    }
}

#[test]
fn a_post_that_is_cut_off_is_not_queued_and_not_unknown() {
    let (redis, proxy, url) = proxied();
    let mut client = connected(&url, ClientOptions::default());
    proxy.set(Fault::Silence);
    // The post exceeds what the system buffers hold.
    let large = Post {
        envelope: vec![b'x'; 64 << 20],
        ..post("large")
    };
    let outcomes = within(SOME_TRIES, |wait| {
        client.publish_batch(
            &[post("small"), large, post("behind")],
            Publish::Confirmed,
            wait,
        )
    });
    let unknown = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().unwrap_err().outcome_unknown);
    assert_eq!(unknown.collect::<Vec<_>>(), [true, false, false]);
    // The bytes already sent arrive, followed by the end of the stream.
    proxy.set(Fault::None);
    wait_for(PLENTY, "the small message", || {
        queued(&redis, "q") == ["small"]
    })
    .unwrap();
    proxy.reset_all();
    wait_for(PLENTY, "the end of the connection", || proxy.open() == 0).unwrap();
    assert_eq!(queued(&redis, "q"), ["small"]);
}

#[test]
fn a_server_that_loads_or_cannot_save_is_waited_for() {
    const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
    const MISCONF: &str = "-MISCONF Redis is configured to save RDB snapshots\r\n";
    let url = scripted(&[
        &[("HELLO\r\n", LOADING)],
        &[
            ENTER,
            ("{\"a\":1}\r\n", LOADING),
            ("", LOADING),
            ("", LOADING),
        ],
        // A server that loads may have become a replica, so its connection is replaced.
        &[
            ENTER,
            ("{\"a\":1}\r\n", ":1\r\n:1\r\n"),
            ("", MISCONF),
            ("{\"a\":1}\r\n", ":1\r\n"),
        ],
    ]);
    at_leisure(|wait| client_of(&url).publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    // If loading takes longer than the deadline, the error is reported.
    let url = scripted(&[&[
        ENTER,
        ("{\"a\":1}\r\n", ":1\r\n:1\r\n"),
        ("", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
        ("{\"a\":1}\r\n", MISCONF),
    ]]);
    let error = within(SOME_TRIES, |wait| {
        client_of(&url).publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        !error.outcome_unknown
            && matches!(&*error.cause, ClientError::Server(answer) if answer.code() == "MISCONF"),
        "{error}"
    );
}

#[test]
fn a_changed_password_refuses_new_connections_only() {
    let redis = RedisOptions::new().password("old-secret").start().unwrap();
    let mut client = client(&redis);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cli(&redis, &["CONFIG", "SET", "requirepass", "new-secret"]);
    // Redis keeps connections that have logged in.
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    let kill = ["-a", "new-secret", "CLIENT", "KILL", "TYPE", "normal"];
    cli(&redis, &kill);
    for mode in [Publish::Confirmed, Publish::Once] {
        let error = within(Duration::from_secs(5), |wait| {
            client.publish(&post("c"), mode, wait)
        })
        .unwrap_err();
        assert!(
            !error.outcome_unknown && matches!(*error.cause, ClientError::Auth { .. }),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    let mut other = client_of(&format!("redis://:new-secret@127.0.0.1:{}", redis.port()));
    at_leisure(|wait| other.publish(&post("d"), Publish::Confirmed, wait)).unwrap();
}

#[test]
fn a_server_that_pauses_its_clients_is_waited_for() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.ping(wait)).unwrap();
    cli(&redis, &["CLIENT", "PAUSE", "300", "WRITE"]);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cli(&redis, &["CLIENT", "PAUSE", "100000", "WRITE"]);
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("b"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(error.outcome_unknown, "{error}");
    cli(&redis, &["CLIENT", "UNPAUSE"]);
    at_leisure(|wait| client.publish(&post("c"), Publish::Confirmed, wait)).unwrap();
    assert!(queued(&redis, "q").ends_with(&["c".to_owned()]));
}

#[test]
fn an_interrupt_is_served_while_bytes_keep_coming() {
    struct AtOnce;
    impl Interrupt for AtOnce {
        fn check(&mut self) -> Result<(), Interrupted> {
            Err(Interrupted)
        }
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let serving = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut stream = listener.accept().unwrap().0;
        for answer in ["+PONG\r\n", "+PONG\r\n", "$500000000\r\n"] {
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        }
        // The server writes as fast as the client reads, so that the client never has to wait for
        // bytes.
        while stream.write_all(&[b'x'; 64]).is_ok() {
            std::thread::yield_now();
        }
    });
    let mut client = connected(&url, ClientOptions::default());
    let error = client
        .get_result("x", &mut Wait::new(PLENTY, &mut AtOnce))
        .unwrap_err();
    assert_eq!(error, ClientError::Interrupted);
    drop(client);
    serving.join().unwrap();
}
