//! A broker that is away costs a few attempts, and nothing more until one call finds it back.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use celery_client::ClientError;
use celery_client::blocking::{CircuitOptions, unreached};
use celery_client::redis::blocking::{Client, ClientOptions, Publish};
use celery_testkit::{Fault, Proxy, RedisOptions, wait_for};

use super::{PLENTY, SOME_TRIES, at_leisure, cli, client_with, post, queued, redis, within};

/// Attempts of the first call that fails to connect, of the second and of the third.
const ATTEMPTS: [u64; 3] = [4, 1, 1];

fn options(cooldown: Duration) -> ClientOptions {
    let mut options = ClientOptions::default();
    options.circuit = CircuitOptions {
        failures: 3,
        cooldown,
    };
    options
}

fn url(proxy: &Proxy) -> String {
    format!("redis://127.0.0.1:{}", proxy.port())
}

fn cause(client: &mut Client, id: &str) -> Option<ClientError> {
    let posted = at_leisure(|wait| client.publish(&post(id), Publish::Confirmed, wait));
    posted.err().map(|error| {
        assert!(!error.outcome_unknown, "{error}");
        *error.cause
    })
}

fn is_open(error: Option<&ClientError>) -> bool {
    matches!(error, Some(ClientError::CircuitOpen { .. }))
}

#[test]
fn a_thousand_posts_to_a_dead_broker_make_six_attempts() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    proxy.set(Fault::Reset);
    let options = options(PLENTY);
    let mut client = client_with(&url(&proxy), options.clone());
    let begin = Instant::now();
    let causes: Vec<_> = (0..1000).map(|_| cause(&mut client, "a")).collect();
    println!(
        "1,000 posts to a dead broker: {:?} in all, with {:?} to connect",
        begin.elapsed(),
        options.connect_timeout
    );
    assert!(
        causes[..3]
            .iter()
            .all(|cause| matches!(cause, Some(ClientError::Connect { .. })))
    );
    assert!(causes[3..].iter().all(|cause| is_open(cause.as_ref())));
    assert_eq!(proxy.accepted(), ATTEMPTS.iter().sum::<u64>());
    // The error and the list for phpinfo say how often, since when and why.
    let [(server, state)] = &unreached(options.circuit)[..] else {
        panic!("one server is away");
    };
    assert_eq!(*server, format!("127.0.0.1:{}", proxy.port()));
    assert!(state.retry_after.is_some_and(|left| left <= PLENTY));
    let Some(Some(ClientError::CircuitOpen {
        failures, reason, ..
    })) = causes.last()
    else {
        panic!("{:?}", causes.last());
    };
    assert_eq!((failures, reason), (&state.failures, &state.reason));
    assert_eq!(*failures, 3);
}

#[test]
fn the_first_post_after_the_cooldown_finds_the_broker_back() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    proxy.set(Fault::Reset);
    let mut client = client_with(&url(&proxy), options(Duration::from_millis(300)));
    for _ in 0..3 {
        assert!(!is_open(cause(&mut client, "a").as_ref()));
    }
    assert!(is_open(cause(&mut client, "b").as_ref()));
    // The broker is still away: one attempt, and another cooldown.
    wait_for(PLENTY, "a failed probe", || {
        !is_open(cause(&mut client, "c").as_ref())
    })
    .unwrap();
    assert_eq!(proxy.accepted(), 7);
    assert!(is_open(cause(&mut client, "d").as_ref()));
    proxy.set(Fault::None);
    let refused = std::cell::Cell::new(0);
    wait_for(PLENTY, "a post that arrives", || {
        let error = cause(&mut client, "e");
        refused.set(refused.get() + u32::from(is_open(error.as_ref())));
        assert!(error.is_none() || is_open(error.as_ref()), "{error:?}");
        error.is_none()
    })
    .unwrap();
    println!("{} posts were refused until then", refused.get());
    assert_eq!(queued(&redis, "q"), ["e"]);
    assert!(unreached(options(PLENTY).circuit).is_empty());
}

#[test]
fn a_silent_broker_is_asked_once() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    proxy.set(Fault::Silence);
    let mut options = options(PLENTY);
    options.connect_timeout = Duration::from_millis(100);
    let mut client = client_with(&url(&proxy), options.clone());
    let causes: Vec<_> = (0..1000).map(|_| cause(&mut client, "a")).collect();
    assert!(matches!(causes[0], Some(ClientError::Connect { .. })));
    assert!(causes[1..].iter().all(|cause| is_open(cause.as_ref())));
    assert_eq!(proxy.accepted(), 1);
    let [(_, state)] = &unreached(options.circuit)[..] else {
        panic!("one server is away");
    };
    assert_eq!(state.failures, 1);
    assert!(state.retry_after.is_some());
    assert!(
        state.reason.contains("took longer than"),
        "{}",
        state.reason
    );
    // The first post after the cooldown finds the broker back.
    proxy.set(Fault::None);
    options.circuit.cooldown = Duration::ZERO;
    let mut client = client_with(&url(&proxy), options.clone());
    assert!(cause(&mut client, "b").is_none());
    assert_eq!(queued(&redis, "q"), ["b"]);
    assert!(unreached(options.circuit).is_empty());
}

#[test]
fn a_caller_without_time_says_nothing_about_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let mut client = client_with(&url, options(PLENTY));
    for _ in 0..6 {
        let error = within(Duration::from_millis(20), |wait| client.ping(wait)).unwrap_err();
        assert!(matches!(error, ClientError::Connect { .. }), "{error}");
    }
}

#[test]
fn a_server_that_refuses_is_asked_every_time() {
    let redis = RedisOptions::new().password("secret").start().unwrap();
    let port = redis.port();
    for url in [
        format!("redis://127.0.0.1:{port}"),
        format!("redis://:wrong@127.0.0.1:{port}"),
    ] {
        let mut client = client_with(&url, options(PLENTY));
        for _ in 0..6 {
            let error = at_leisure(|wait| client.ping(wait)).unwrap_err();
            assert!(matches!(error, ClientError::Auth { .. }), "{error}");
        }
    }
    // Refusals that Redis gives after the login leave the connection open.
    let full = RedisOptions::new().maxmemory("1").start().unwrap();
    let mut client = client_with(&full.url(), options(PLENTY));
    at_leisure(|wait| client.ping(wait)).unwrap();
    for _ in 0..4 {
        let error = within(SOME_TRIES, |wait| {
            client.publish(&post("a"), Publish::Confirmed, wait)
        })
        .unwrap_err();
        assert!(!is_open(Some(&*error.cause)), "{error}");
    }
    assert!(unreached(options(PLENTY).circuit).is_empty());
}

#[test]
fn an_open_connection_is_used_although_the_circuit_is_open() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let mut connected = client_with(&url(&proxy), options(PLENTY));
    assert_eq!(cause(&mut connected, "a"), None);
    proxy.set(Fault::Reset);
    let mut other = client_with(&url(&proxy), options(PLENTY));
    for _ in 0..4 {
        let _ = cause(&mut other, "lost");
    }
    assert!(is_open(cause(&mut other, "lost").as_ref()));
    assert_eq!(cause(&mut connected, "b"), None);
    assert_eq!(queued(&redis, "q"), ["a", "b"]);
}

#[test]
fn a_wait_for_a_result_ends_at_once_or_outlasts_the_outage() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    let options = options(Duration::from_millis(200));
    let mut client = client_with(&url(&proxy), options.clone());
    let mut listener = client_with(&url(&proxy), options.clone());
    let stored = r#"{"status": "SUCCESS", "result": 1}"#;
    let key = "celery-task-meta-x";
    // This wait has reached the server, and the circuit opens meanwhile.
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            wait_for(PLENTY, "a listener", || {
                cli(&redis, &["PUBSUB", "NUMSUB", key]).ends_with('1')
            })
            .unwrap();
            proxy.set(Fault::Reset);
            proxy.reset_all();
            let before = proxy.accepted();
            wait_for(PLENTY, "three calls that fail", || {
                proxy.accepted() >= before + ATTEMPTS.iter().sum::<u64>()
            })
            .unwrap();
            cli(&redis, &["SET", key, stored]);
            proxy.set(Fault::None);
        });
        let interval = Duration::from_millis(500);
        at_leisure(|wait| client.wait_result(&mut listener, "x", interval, wait))
    });
    assert_eq!(result.unwrap(), stored.as_bytes());
    // Another wait finds it open.
    proxy.set(Fault::Reset);
    proxy.reset_all();
    let mut away = options;
    away.circuit.cooldown = PLENTY;
    let mut client = client_with(&url(&proxy), away.clone());
    let mut listener = client_with(&url(&proxy), away);
    for _ in 0..4 {
        let _ = cause(&mut client, "lost");
    }
    let before = proxy.accepted();
    let interval = Duration::from_millis(500);
    let error = at_leisure(|wait| client.wait_result(&mut listener, "x", interval, wait));
    assert!(is_open(error.as_ref().err()), "{error:?}");
    assert_eq!(proxy.accepted(), before);
}

#[test]
fn without_options_every_call_asks() {
    let redis = redis();
    let proxy = Proxy::to_port(redis.port()).unwrap();
    proxy.set(Fault::Reset);
    let mut client = client_with(&url(&proxy), ClientOptions::default());
    for call in 1..=4 {
        let error = cause(&mut client, "a");
        assert!(matches!(error, Some(ClientError::Connect { .. })));
        assert_eq!(proxy.accepted(), 4 * call);
    }
}
