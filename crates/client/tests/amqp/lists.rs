//! Lists of servers, which are tried in turn.

use std::io::Write as _;
use std::net::TcpListener;

use celery_client::ClientError;
use celery_client::blocking::CircuitOptions;
use celery_testkit::free_port;

use super::*;

fn closed() -> String {
    format!("amqp://127.0.0.1:{}", free_port().unwrap())
}

#[test]
fn another_server_of_the_list_serves_the_call() {
    let (mut first, second) = (node(), node());
    let url = format!("{};{};{}", closed(), first.url(), second.url());
    let mut client = client(&url);
    within(LONG, |wait| client.publish(&post("q", "id-1"), wait)).unwrap();
    // The server that was reached last is asked first.
    within(LONG, |wait| client.close(wait)).unwrap();
    assert_eq!(drain(&mut client, "q"), ["id-1"]);
    first.kill9();
    // The connection may be lost in the middle of the first post.
    let posted = within(LONG, |wait| client.publish(&post("q", "id-2"), wait));
    if posted.is_err() {
        within(LONG, |wait| client.publish(&post("q", "id-2"), wait)).unwrap();
    }
    let mut other = super::client(&second.url());
    assert_eq!(drain(&mut other, "q"), ["id-2"]);
}

#[test]
fn a_silent_server_leaves_time_for_the_others_and_each_is_named() {
    // It accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_url = format!("amqp://{}", silent.local_addr().unwrap());
    let node = shared();
    let time = Duration::from_secs(10);
    let urls = format!("{silent_url};{}", node.url());
    let mut client = with_options(&urls, |options| options.connect_timeout = time);
    within(LONG, |wait| client.ping(wait)).unwrap();

    // All of them fail: the error names each, and the circuit is that of the list.
    let refusing = node.url().replace("guest:guest", "guest:hunter2");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let other_url = format!("amqp://{}", other.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in other.incoming() {
            let _ = stream
                .unwrap()
                .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let time = Duration::from_millis(900);
    let urls = [closed(), silent_url, refusing.clone(), other_url].join(";");
    let circuit = CircuitOptions {
        failures: 1,
        cooldown: LONG,
    };
    let mut client = with_options(&urls, |options| {
        options.connect_timeout = time;
        options.circuit = circuit;
    });
    let failed = within(LONG, |wait| client.ping(wait)).unwrap_err();
    let ClientError::Connect { reason, .. } = &failed else {
        panic!("{failed}");
    };
    assert_eq!(reason.matches("127.0.0.1:").count(), 4, "{reason}");
    for why in ["refused (os", "took longer", "credentials", "unexpected"] {
        assert!(reason.contains(why), "{why}: {reason}");
    }
    assert!(!failed.to_string().contains("hunter2"), "{failed}");
    let open = within(LONG, |wait| client.ping(wait)).unwrap_err();
    assert!(matches!(open, ClientError::CircuitOpen { .. }), "{open}");
    let mut alone = with_options(&node.url(), |options| options.circuit = circuit);
    within(LONG, |wait| alone.ping(wait)).unwrap();

    let refused = format!("{refusing};{refusing}");
    let refused = within(LONG, |wait| super::client(&refused).ping(wait));
    assert!(
        matches!(refused, Err(ClientError::Auth { .. })),
        "{refused:?}"
    );
}
