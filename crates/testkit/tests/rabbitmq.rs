//! A private RabbitMQ node.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use celery_testkit::RabbitMq;

/// Opens a connection and returns the first bytes that the node sends.
fn greeting(port: u16) -> [u8; 11] {
    let mut tcp = TcpStream::connect(("127.0.0.1", port)).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tcp.write_all(b"AMQP\0\0\x09\x01").unwrap();
    let mut first = [0; 11];
    tcp.read_exact(&mut first).unwrap();
    first
}

#[test]
fn a_node_starts_serves_restarts_and_leaves_nothing_behind() {
    let mut node = RabbitMq::start(celery_testkit::RabbitMqOptions::new()).unwrap();
    // A method frame on channel 0 with connection.start.
    let start = greeting(node.port());
    assert_eq!((start[0], &start[7..]), (1, &[0, 10, 0, 10][..]));

    let vhost = node.add_vhost().unwrap();
    assert_eq!(node.ready_messages(&vhost, "none").unwrap(), None);
    let failed = node.eval("no:such()").unwrap_err();
    assert!(failed.to_string().contains("undef"), "{failed}");

    node.kill9();
    assert!(node.eval("node()").is_err());
    node.restart().unwrap();
    greeting(node.port());
    let names = node
        .eval("[binary_to_list(V) || V <- rabbit_vhost:list_names()]")
        .unwrap();
    assert!(names.contains(&vhost), "{names}");

    let pid = node.pid();
    drop(node);
    assert!(fs::metadata(format!("/proc/{pid}")).is_err());
}

#[test]
fn a_wrong_setting_is_reported_with_the_nodes_words() {
    let options = celery_testkit::RabbitMqOptions::new().set("no.such.setting", "1");
    let error = options.start().unwrap_err();
    assert!(error.to_string().contains("no.such.setting"), "{error}");
}

#[test]
fn nodes_of_a_cluster_can_be_killed_one_at_a_time() {
    let options = celery_testkit::RabbitMqOptions::new();
    let mut nodes = options.start_cluster(3).unwrap();
    let running = |node: &RabbitMq| node.eval("length(rabbit_nodes:all_running())").unwrap();
    nodes[0].kill9();
    assert_eq!(running(&nodes[1]), "2");
    nodes[0].restart().unwrap();
    for node in &nodes {
        assert_eq!(running(node), "3");
        greeting(node.port());
    }
}
