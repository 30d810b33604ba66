//! Connecting: addresses, credentials, databases, and servers that are down or fail during the
//! login.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use celery_client::ClientError;
use celery_client::redis::blocking::Publish;
use celery_testkit::{RedisOptions, free_port};

use super::{at_leisure, cli, client, client_of, post, queued, redis, within};

#[test]
fn name_address_and_socket_all_connect() {
    let redis = redis();
    let port = redis.port();
    let socket = format!("redis+socket://{}?virtual_host=0", redis.socket().display());
    for url in [
        format!("redis://localhost:{port}"),
        format!("redis://127.0.0.1:{port}"),
        socket,
    ] {
        at_leisure(|wait| client_of(&url).ping(wait))
            .unwrap_or_else(|error| panic!("{url}: {error}"));
    }
}

#[test]
fn databases_are_selected_again_on_every_connection() {
    let redis = redis();
    let mut client = client_of(&redis.url_of_db(3));
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cli(&redis, &["CLIENT", "KILL", "TYPE", "normal"]);
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q").len(), 0);
    assert_eq!(cli(&redis, &["-n", "3", "LLEN", "q"]), "2");
}

#[test]
fn a_database_that_does_not_exist_is_a_configuration_error() {
    let error = at_leisure(|wait| client_of(&redis().url_of_db(99)).ping(wait)).unwrap_err();
    assert!(
        matches!(&error, ClientError::Config(config) if config.to_string().contains("database")),
        "{error}"
    );
}

#[test]
fn a_surplus_answer_answers_no_later_command() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        // Each connection gets PONG for its greeting, then an answer and a surplus one.
        for _ in 0..2 {
            let mut stream = server.accept().unwrap().0;
            for answer in ["+PONG\r\n", ":1\r\n:0\r\n"] {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
            // Waits until the client closes the connection or sends another command.
            let _ = stream.read(&mut [0; 4096]).unwrap();
        }
    });
    let mut client = client_of(&format!("redis://127.0.0.1:{port}"));
    for _ in 0..2 {
        assert!(at_leisure(|wait| client.forget("x", wait)).unwrap());
    }
    drop(client);
    serving.join().unwrap();
}

#[test]
fn a_late_answer_answers_no_later_command() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    let serving = std::thread::spawn(move || {
        let enter = || {
            let mut stream = server.accept().unwrap().0;
            for answer in ["+PONG\r\n", ""] {
                let _ = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            }
            stream
        };
        let mut late = enter();
        // The client must close this connection. Any command on it would get the answer to the
        // first one.
        if late.read(&mut [0; 4096]).unwrap() > 0 {
            late.write_all(b"$5\r\nstale\r\n").unwrap();
        } else {
            enter().write_all(b"$5\r\nfresh\r\n").unwrap();
        }
    });
    let mut client = client_of(&format!("redis://127.0.0.1:{port}"));
    let timeout = within(Duration::from_secs(2), |wait| client.get_result("x", wait)).unwrap_err();
    assert!(matches!(timeout, ClientError::Timeout { .. }), "{timeout}");
    let answer = at_leisure(|wait| client.get_result("x", wait)).unwrap();
    assert_eq!(answer.as_deref(), Some(&b"fresh"[..]));
    serving.join().unwrap();
}

#[test]
fn only_the_right_password_logs_in_and_none_is_printed() {
    let redis = RedisOptions::new().password("s p@ce/ü").start().unwrap();
    let port = redis.port();
    at_leisure(|wait| {
        client_of(&format!("redis://:s%20p%40ce%2F%C3%BC@127.0.0.1:{port}")).ping(wait)
    })
    .unwrap();
    for url in [
        format!("redis://:wrong-pw@127.0.0.1:{port}"),
        format!("redis://127.0.0.1:{port}"),
        format!("redis://stranger:wrong-pw@127.0.0.1:{port}"),
    ] {
        let error = within(Duration::from_secs(5), |wait| {
            client_of(&url).publish(&post("a"), Publish::Confirmed, wait)
        })
        .unwrap_err();
        assert!(
            matches!(*error.cause, ClientError::Auth { .. }),
            "{url}: {error}"
        );
        assert!(!error.outcome_unknown && !format!("{error} {error:?}").contains("wrong-pw"));
    }
}

#[test]
fn a_password_for_a_server_without_one_is_an_error() {
    let redis = redis();
    let error =
        at_leisure(|wait| client_of(&format!("redis://:pw@127.0.0.1:{}", redis.port())).ping(wait))
            .unwrap_err();
    assert!(matches!(error, ClientError::Auth { .. }), "{error}");
}

#[test]
fn without_a_listener_nothing_is_posted() {
    let url = format!("redis://127.0.0.1:{}", free_port().unwrap());
    for url in [url.as_str(), "unix:///nonexistent/redis.sock"] {
        let error = within(Duration::from_secs(5), |wait| {
            client_of(url).publish(&post("a"), Publish::Confirmed, wait)
        })
        .unwrap_err();
        assert!(
            !error.outcome_unknown && matches!(*error.cause, ClientError::Connect { .. }),
            "{url}: {error}"
        );
    }
}

#[test]
fn an_unknown_host_name_is_an_error() {
    let error = within(Duration::from_secs(3), |wait| {
        client_of("redis://no-such-host.invalid").ping(wait)
    })
    .unwrap_err();
    assert!(matches!(error, ClientError::Connect { .. }), "{error}");
}

#[test]
fn a_silent_server_leaves_no_unknown_outcome() {
    // The kernel completes the connection although the listener never accepts it.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let error = within(Duration::from_millis(300), |wait| {
        client_of(&url).publish(&post("a"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    // The post was not sent before the first answer of the server, so the outcome is known.
    assert!(
        !error.outcome_unknown && matches!(*error.cause, ClientError::Connect { .. }),
        "{error}"
    );
}

#[test]
fn posting_works_again_after_a_restart() {
    let mut redis = RedisOptions::new().aof().start().unwrap();
    let mut client = client(&redis);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    redis.kill9();
    let error = within(Duration::from_secs(5), |wait| {
        client.publish(&post("b"), Publish::Confirmed, wait)
    })
    .unwrap_err();
    assert!(!error.outcome_unknown, "{error}");
    redis.restart().unwrap();
    at_leisure(|wait| client.publish(&post("c"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&redis, "q"), ["a", "c"]);
}
