//! Logins, refusals, TLS, and servers that are something else.

use std::io::{Read, Write};
use std::net::TcpListener;

use celery_client::ClientError;
use celery_client::blocking::{CircuitOptions, Interrupt, Interrupted};
use celery_testkit::{ServerName, free_port};

use super::*;

fn error(url: &str) -> ClientError {
    let short = Duration::from_secs(10);
    let mut client = with_options(url, |options| options.connect_timeout = short);
    within(LONG, |wait| client.ping(wait)).unwrap_err()
}

#[test]
fn a_refused_login_names_its_reason() {
    let node = RabbitMqOptions::new()
        .tls(ServerName::Right)
        .start()
        .unwrap();
    let port = node.port();
    within(LONG, |wait| client(&node.url()).ping(wait)).unwrap();

    let refused = error(&format!("amqp://guest:hunter2@127.0.0.1:{port}//"));
    assert!(matches!(refused, ClientError::Auth { .. }), "{refused}");
    let shown = refused.to_string();
    assert!(
        shown.contains("ACCESS_REFUSED") && !shown.contains("hunter2"),
        "{shown}"
    );

    let refused = error(&format!("amqp://guest:guest@127.0.0.1:{port}/none"));
    assert!(
        matches!(&refused, ClientError::Broker(close) if close.code == 530),
        "{refused}"
    );

    let mut orderly = client(&node.url());
    within(LONG, |wait| orderly.close(wait)).unwrap();
    within(LONG, |wait| orderly.publish(&post("q", "id"), wait)).unwrap();
    assert_eq!(drain(&mut orderly, "q"), ["id"]);
    let warnings = || node.log().matches("unexpectedly closed").count();
    let before = warnings();
    within(LONG, |wait| orderly.close(wait)).unwrap();
    assert!(!orderly.is_connected());
    let gone = || node.connections().unwrap() == 0;
    celery_testkit::wait_for(LONG, "the end of all connections", gone).unwrap();
    let after = warnings();

    let vhost = node.add_vhost().unwrap();
    within(LONG, |wait| client(&vhost.url()).ping(wait)).unwrap();

    assert_eq!(after, before, "{}", node.log());

    let nowhere = free_port().unwrap();
    let refused = error(&format!("amqp://127.0.0.1:{nowhere}"));
    assert!(matches!(refused, ClientError::Connect { .. }), "{refused}");

    // With TLS, and with the wrong idea about it.
    let tls = node.tls_url().unwrap();
    let ca = node.certificates().unwrap().ca();
    let trusted = format!("{tls}?ssl_ca_certs={}", ca.display());
    let mut secure = client(&trusted);
    within(LONG, |wait| secure.publish(&post("q", "id"), wait)).unwrap();
    assert_eq!(drain(&mut secure, "q"), ["id"]);
    let untrusted = error(&tls);
    assert!(matches!(untrusted, ClientError::Tls { .. }), "{untrusted}");
    let port_of_tls = tls.rsplit(':').next().unwrap().trim_end_matches('/');
    let plain = error(&format!("amqp://127.0.0.1:{port_of_tls}"));
    assert!(plain.to_string().contains("amqps://"), "{plain}");
    let secure = error(&format!(
        "amqps://127.0.0.1:{port}?ssl_ca_certs={}",
        ca.display()
    ));
    assert!(secure.to_string().contains("amqp://"), "{secure}");
}

#[test]
fn a_server_that_is_something_else_is_refused() {
    for (answer, expected) in [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "unexpected answer",
        ),
        (b"AMQP\x03\x01\0\0", "AMQP 0-9-1"),
        (b"-ERR unknown command\r\n", "unexpected answer"),
        (b"\x01\0\0\xff\xff\xff\xff", "larger than"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut tcp, _) = listener.accept().unwrap();
            tcp.read_exact(&mut [0; 8]).unwrap();
            tcp.write_all(answer).unwrap();
            // Until the client has gone.
            let _ = tcp.read(&mut [0]);
        });
        let refused = error(&format!("amqp://127.0.0.1:{port}"));
        assert!(refused.to_string().contains(expected), "{refused}");
        server.join().unwrap();
    }
}

#[test]
fn a_silent_server_costs_the_time_of_connecting_only() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let time = Duration::from_millis(300);
    let url = format!("amqp://127.0.0.1:{port}");
    let mut client = with_options(&url, |options| options.connect_timeout = time);
    let failed = within(LONG, |wait| client.publish(&post("q", "id"), wait)).unwrap_err();
    assert!(!failed.outcome_unknown);
    assert!(
        matches!(*failed.cause, ClientError::Connect { .. }),
        "{failed}"
    );
    drop(listener);
}

#[test]
fn a_server_that_is_away_is_not_asked_while_its_circuit_is_open() {
    let mut node = node();
    let url = node.url();
    let mut client = with_options(&url, |options| {
        options.circuit = CircuitOptions {
            failures: 2,
            cooldown: LONG,
        };
    });
    within(LONG, |wait| client.ping(wait)).unwrap();
    node.kill9();
    let mut fail = |interrupt: &mut dyn Interrupt| {
        let mut wait = Wait::new(LONG, interrupt);
        *client
            .publish(&post("q", "id"), &mut wait)
            .unwrap_err()
            .cause
    };
    // The first post may still see the end of its connection.
    while !matches!(fail(&mut NeverInterrupt), ClientError::Connect { .. }) {}
    let second = fail(&mut NeverInterrupt);
    assert!(matches!(second, ClientError::Connect { .. }), "{second}");
    // This call would be interrupted if it waited.
    let open = fail(&mut Always);
    assert!(
        matches!(&open, ClientError::CircuitOpen { failures: 2, .. }),
        "{open}"
    );
}

/// Ends each call that waits.
struct Always;

impl Interrupt for Always {
    fn check(&mut self) -> Result<(), Interrupted> {
        Err(Interrupted)
    }
}
