//! A private RabbitMQ node.

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs};

use celery_testkit::{RabbitMq, wait_for};

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
    assert_eq!(vhost.ready_messages("none").unwrap(), None);
    let failed = node.eval("no:such()").unwrap_err();
    assert!(failed.to_string().contains("undef"), "{failed}");

    node.kill9();
    assert!(node.eval("node()").is_err());
    node.restart().unwrap();
    greeting(node.port());
    let names = node
        .eval("[binary_to_list(V) || V <- rabbit_vhost:list_names()]")
        .unwrap();
    assert!(names.contains(vhost.name()), "{names}");

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

/// Runs this test in two processes whose runner is a shell with the name of nextest, and kills it.
#[test]
fn processes_of_a_run_share_a_node_that_ends_with_the_run() {
    const PART: &str = "TESTKIT_PART";
    const PATIENCE: Duration = Duration::from_mins(1);
    if let Some(file) = env::var_os(PART) {
        let vhost = RabbitMq::shared().unwrap();
        let node = vhost.eval("os:getpid()").unwrap();
        let part = format!("{} {} {node}\n", vhost.port(), vhost.name());
        fs::write(file, part).unwrap();
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::copy("/bin/bash", path("nextest")).unwrap();
    let test = "processes_of_a_run_share_a_node_that_ends_with_the_run";
    let script = format!(
        "for part in one two; do {PART}=$2/$part \"$1\" --exact {test} & done; wait; \
         {PART}=$2/three \"$1\" --exact {test}; read -r _"
    );
    let mut runner = Command::new(path("nextest"))
        .args(["-c", &script, "runner"])
        .args([&env::current_exe().unwrap(), folder.path()])
        .env("NEXTEST", "1")
        .env("TMPDIR", folder.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let part = |name: &str| fs::read_to_string(path(name)).unwrap_or_default();
    let all = || ["one", "two", "three"].map(part);
    // A node takes seconds to start.
    let complete = || all().iter().all(|part| part.ends_with('\n'));
    wait_for(2 * PATIENCE, "three processes", complete).unwrap();
    let all = all();
    let words: Vec<Vec<&str>> = all
        .iter()
        .map(|it| it.split_whitespace().collect())
        .collect();
    let [port, vhost, pid] = words[0][..] else {
        panic!("{all:?}");
    };
    for other in &words[1..] {
        assert_eq!((other[0], other[2]), (port, pid));
        assert_ne!(other[1], vhost);
    }
    greeting(port.parse().unwrap());

    runner.kill().unwrap();
    runner.wait().unwrap();
    wait_for(PATIENCE, "the end of the node", || {
        TcpStream::connect(("127.0.0.1", port.parse().unwrap())).is_err()
    })
    .unwrap();
    wait_for(PATIENCE, "the end of its files", || {
        fs::read_dir(folder.path()).unwrap().count() == 4
    })
    .unwrap();
}
