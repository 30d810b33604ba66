//! Single posts and batches: their keys, their repeats, and whether their outcome is known.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::Wait;
use celery_client::redis::blocking::{ClientOptions, Post, Publish};
use celery_testkit::{Fault, Proxy, RedisOptions, wait_for};

use super::{
    PLENTY, SOME_TRIES, at_leisure, calls, cli, client, client_of, post, posts, queued, redis,
    within,
};

const MODES: [Publish; 2] = [Publish::Confirmed, Publish::Once];

/// Starts a server that accepts a connection, reads up to `until`, sends `answer` and resets the
/// connection.
pub(super) fn half_server(
    enters: &'static str,
    until: &'static str,
    answer: &'static str,
) -> (String, std::thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut writer = stream.try_clone().unwrap();
        let mut read_until = |word: &str| {
            let mut seen = Vec::new();
            while !String::from_utf8_lossy(&seen).contains(word) {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                seen.push(byte[0]);
            }
        };
        read_until("HELLO\r\n");
        writer.write_all(enters.as_bytes()).unwrap();
        read_until(until);
        writer.write_all(answer.as_bytes()).unwrap();
        nix::sys::socket::setsockopt(
            &writer,
            nix::sys::socket::sockopt::Linger,
            &nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            },
        )
        .unwrap();
    });
    (url, thread)
}

#[test]
fn a_post_is_in_its_list_with_its_bindings() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    at_leisure(|wait| {
        client.publish(
            &Post {
                priority: 5,
                ..post("b")
            },
            Publish::Confirmed,
            wait,
        )
    })
    .unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
    assert_eq!(queued(&redis, "q\u{6}\u{16}3"), ["b"]);
    for set in ["_kombu.binding.q", "_kombu.binding_permanent.q"] {
        assert_eq!(cli(&redis, &["SMEMBERS", set]), "q\u{6}\u{16}\u{6}\u{16}q");
    }
    // The first post declares its queue, the second does not.
    assert_eq!(calls(&redis, "sadd"), 2);
}

#[test]
fn keys_have_the_endpoints_prefix() {
    let redis = redis();
    let endpoint = celery_client::redis::RedisEndpoint::from_url(&redis.url())
        .unwrap()
        .with_key_prefix("shop:");
    let mut client =
        celery_client::redis::blocking::Client::new(endpoint.into(), ClientOptions::default());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "shop:q"), ["a"]);
    assert_eq!(cli(&redis, &["EXISTS", "shop:_kombu.binding.q"]), "1");
}

#[test]
fn a_batch_has_an_outcome_for_each_task_in_order() {
    let redis = redis();
    cli(&redis, &["SET", "occupied", "no list"]);
    for mode in MODES {
        cli(&redis, &["DEL", "q", "rs.published.t0", "rs.published.t2"]);
        let batch = [
            post("t0"),
            Post {
                queue: "occupied".into(),
                ..post("t1")
            },
            post("t2"),
        ];
        let outcomes = at_leisure(|wait| client(&redis).publish_batch(&batch, mode, wait));
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok(), "{outcomes:?}");
        let refused = outcomes[1].as_ref().unwrap_err();
        assert_eq!(
            (refused.task_id.as_str(), refused.outcome_unknown),
            ("t1", false)
        );
        assert!(
            matches!(&*refused.cause, ClientError::Server(answer) if answer.code() == "WRONGTYPE"),
            "{refused:?}"
        );
        assert_eq!(queued(&redis, "q"), ["t0", "t2"], "{mode:?}");
    }
    assert!(
        at_leisure(|wait| client(&redis).publish_batch(&posts(0), Publish::Confirmed, wait))
            .is_empty()
    );
}

#[test]
fn a_batch_larger_than_any_buffer_arrives() {
    let redis = redis();
    let batch: Vec<Post> = (0..300)
        .map(|nth| Post {
            envelope: vec![b'x'; 64 << 10],
            ..post(&format!("t{nth}"))
        })
        .collect();
    let outcomes =
        at_leisure(|wait| client(&redis).publish_batch(&batch, Publish::Confirmed, wait));
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(cli(&redis, &["LLEN", "q"]), "300");
}

#[test]
fn a_connection_killed_between_posts_is_replaced_unnoticed() {
    let redis = redis();
    for mode in MODES {
        let mut client = client(&redis);
        at_leisure(|wait| client.publish(&post(&format!("{mode:?}-before")), mode, wait)).unwrap();
        cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
        at_leisure(|wait| client.publish(&post(&format!("{mode:?}-after")), mode, wait)).unwrap();
    }
    assert_eq!(cli(&redis, &["LLEN", "q"]), "4");
}

#[test]
fn once_posts_a_task_only_once_also_when_the_caller_repeats_it() {
    let redis = redis();
    let mut client = client(&redis);
    for _ in 0..3 {
        at_leisure(|wait| client.publish(&post("a"), Publish::Once, wait)).unwrap();
        cli(&redis, &["SCRIPT", "FLUSH"]);
    }
    let outcomes = at_leisure(|wait| {
        client.publish_batch(&[post("b"), post("a"), post("c")], Publish::Once, wait)
    });
    assert!(outcomes.iter().all(Result::is_ok));
    assert_eq!(queued(&redis, "q").len(), 3);
    assert_eq!(cli(&redis, &["EXISTS", "rs.published.a"]), "1");
    let left: i64 = cli(&redis, &["TTL", "rs.published.a"]).parse().unwrap();
    assert!((3000..=3600).contains(&left), "{left}");
}

#[test]
fn an_answer_cut_off_leaves_the_outcome_unknown() {
    for (answer, what) in [("", "nothing"), (":", "half an answer")] {
        let (url, server) = half_server("+PONG\r\n", "{\"a\":1}\r\n", answer);
        let error =
            at_leisure(|wait| client_of(&url).publish(&post("a"), Publish::Confirmed, wait))
                .unwrap_err();
        assert!(error.outcome_unknown, "{what}: {error}");
        assert_eq!(error.task_id, "a");
        assert!(
            matches!(*error.cause, ClientError::Disconnected { .. }),
            "{what}: {error}"
        );
        server.join().unwrap();
    }
}

#[test]
fn an_invalid_answer_leaves_the_outcome_unknown() {
    let (url, server) = half_server("+PONG\r\n", "{\"a\":1}\r\n", ":1\r\n:1\r\n$1\r\nx\r\n");
    let error = at_leisure(|wait| client_of(&url).publish(&post("a"), Publish::Confirmed, wait))
        .unwrap_err();
    assert!(
        error.outcome_unknown && matches!(*error.cause, ClientError::Protocol(_)),
        "{error}"
    );
    server.join().unwrap();
}

#[test]
fn outcomes_answered_before_the_connection_broke_are_known() {
    let (url, server) = half_server(
        "+PONG\r\n",
        "{\"t2\":1}\r\n",
        ":1\r\n:1\r\n:1\r\n-OOM full\r\n",
    );
    // Each task goes to a list of its own, by a command of its own.
    let mut batch = posts(3);
    (batch[1].priority, batch[2].priority) = (3, 6);
    let outcomes = within(SOME_TRIES, |wait| {
        client_of(&url).publish_batch(&batch, Publish::Confirmed, wait)
    });
    assert!(outcomes[0].is_ok());
    assert!(!outcomes[1].as_ref().unwrap_err().outcome_unknown);
    assert!(outcomes[2].as_ref().unwrap_err().outcome_unknown);
    server.join().unwrap();
}

#[test]
fn a_silent_server_uses_up_the_deadline_and_leaves_the_outcome_unknown() {
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.ping(wait)).unwrap();
    redis.pause();
    let error = within(Duration::from_millis(300), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    redis.resume();
    assert!(
        error.outcome_unknown && matches!(*error.cause, ClientError::Timeout { .. }),
        "{error}"
    );
    // Redis did execute the post, which shows why the client must not repeat it by itself.
    wait_for(PLENTY, "the late post", || queued(&redis, "q") == ["a"]).unwrap();
    // The connection with the late answer is not used again.
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "b"]);
}

#[test]
fn once_survives_a_lost_answer() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let mut client = client_of(&format!("redis://127.0.0.1:{}", proxy.port()));
    at_leisure(|wait| client.ping(wait)).unwrap();
    // The delayed answer ensures that the reset comes when the request is executed but not
    // answered.
    proxy.set(Fault::Latency(Duration::from_millis(100)));
    let posted = std::thread::spawn(move || {
        at_leisure(|wait| client.publish(&post("a"), Publish::Once, wait))
    });
    wait_for(PLENTY, "the first push", || queued(&redis, "q") == ["a"]).unwrap();
    proxy.set(Fault::None);
    proxy.reset_all();
    posted.join().unwrap().unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
}

#[test]
fn a_full_memory_is_waited_for_and_then_reported() {
    let redis = RedisOptions::new().maxmemory("1").start().unwrap();
    for mode in MODES {
        let mut client = client(&redis);
        let error = within(SOME_TRIES, |wait| client.publish(&post("a"), mode, wait)).unwrap_err();
        assert!(!error.outcome_unknown, "{error}");
        assert!(
            matches!(&*error.cause, ClientError::Server(answer) if answer.code() == "OOM"),
            "{mode:?}: {error}"
        );
        let posted =
            std::thread::spawn(move || at_leisure(|wait| client.publish(&post("a"), mode, wait)));
        wait_for(PLENTY, "a refusal", || {
            cli(&redis, &["INFO", "errorstats"]).contains("errorstat_OOM")
        })
        .unwrap();
        cli(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
        posted.join().unwrap().unwrap();
        cli(&redis, &["CONFIG", "SET", "maxmemory", "1"]);
        cli(&redis, &["DEL", "rs.published.a"]);
    }
    assert_eq!(queued(&redis, "q"), ["a", "a"]);
}

#[test]
fn a_post_to_a_replica_is_repeated_on_a_new_connection() {
    let primary = redis();
    let replica = RedisOptions::new()
        .replica_of(primary.port())
        .start()
        .unwrap();
    let mut client = client(&replica);
    let error = within(SOME_TRIES, |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(
        !error.outcome_unknown && error.to_string().contains("READONLY"),
        "{error}"
    );
    let posted = std::thread::spawn(move || {
        at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait))
    });
    cli(&replica, &["REPLICAOF", "NO", "ONE"]);
    posted.join().unwrap().unwrap();
    assert_eq!(queued(&replica, "q"), ["a"]);
}

#[test]
fn a_full_server_leaves_no_unknown_outcome() {
    let redis = RedisOptions::new().set("maxclients", "1").start().unwrap();
    let mut first = client(&redis);
    at_leisure(|wait| first.ping(wait)).unwrap();
    let error = within(SOME_TRIES, |wait| {
        client(&redis).publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(!error.outcome_unknown, "{error}");
    at_leisure(|wait| first.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
}

#[test]
fn a_refused_binding_does_not_prevent_the_post() {
    let redis = redis();
    cli(
        &redis,
        &["ACL", "SETUSER", "poster", "on", ">pw", "~*", "+lpush"],
    );
    let mut client = client_of(&format!("redis://poster:pw@127.0.0.1:{}", redis.port()));
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a"]);
    assert_eq!(cli(&redis, &["EXISTS", "_kombu.binding.q"]), "0");
}

#[test]
fn an_interrupt_ends_a_post_and_the_connection() {
    struct Second(u32);
    impl celery_client::blocking::Interrupt for Second {
        fn check(&mut self) -> Result<(), celery_client::blocking::Interrupted> {
            self.0 += 1;
            if self.0 < 2 {
                Ok(())
            } else {
                Err(celery_client::blocking::Interrupted)
            }
        }
    }
    let redis = redis();
    let mut client = client(&redis);
    at_leisure(|wait| client.ping(wait)).unwrap();
    redis.pause();
    let error = client
        .publish(
            &post("a"),
            Publish::Confirmed,
            &mut Wait::new(PLENTY, &mut Second(0)),
        )
        .unwrap_err();
    redis.resume();
    assert!(
        error.outcome_unknown && *error.cause == ClientError::Interrupted,
        "{error}"
    );
    at_leisure(|wait| client.ping(wait)).unwrap();
}
