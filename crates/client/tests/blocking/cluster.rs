//! A Redis Cluster: every call stays in the slot of the keys, and follows it through failovers of
//! every kind and to another node.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use celery_client::ClientError;
use celery_client::redis::RedisEndpoint;
use celery_client::redis::blocking::{Client, ClientOptions, Post, Publish, Revoke};
use celery_protocol::control::Request;
use celery_testkit::{Redis, RedisCluster, RedisOptions, ServerName, wait_for};

use super::{
    FAILOVER, PLENTY, at_leisure, client_of, client_with, post, post_again, posts, queued, within,
};

const PREFIX: &str = "{celery}:";
const QUEUE: &str = "{celery}:q";

/// A final result.
const DONE: &str = r#"{"status": "SUCCESS", "result": 5, "task_id": "a"}"#;

fn cluster(options: &RedisOptions, replicas: usize) -> RedisCluster {
    RedisCluster::start(options, PREFIX, replicas).unwrap()
}

/// Asserts that a node has keys under the prefix only, and that the others have none.
fn assert_only_prefixed(cluster: &RedisCluster, owner: usize) {
    for (index, node) in cluster.nodes().iter().enumerate() {
        let keys = node.cli(&["KEYS", "*"]).unwrap();
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if index == owner {
            assert!(!keys.is_empty());
            let bare = keys.iter().filter(|key| !key.starts_with(PREFIX));
            assert_eq!(bare.count(), 0, "{keys:?}");
        } else {
            assert_eq!(keys, [""; 0], "of node {index}");
        }
    }
}

#[test]
fn every_call_stays_in_the_slot_of_the_keys() {
    let cluster = cluster(&RedisOptions::new().password("secret"), 0);
    let mut client = client_of(&cluster.url());
    at_leisure(|wait| {
        client
            .publish(&post("a"), Publish::Confirmed, wait)
            .unwrap();
        client.publish(&post("b"), Publish::Once, wait).unwrap();
        for mode in [Publish::Confirmed, Publish::Once] {
            let outcomes = client.publish_batch(&posts(3), mode, wait);
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        }
        client.publish_later(&post("c"), wait).unwrap();
        assert_eq!(client.collect(wait), []);
        assert_eq!(client.queue_length("q", wait), Ok(9));
        assert_eq!(client.held_tasks(wait), Ok(0));
        let owner = &cluster.nodes()[0];
        let key = client.keys().result("a");
        owner.cli(&["SET", &key, DONE]).unwrap();
        let mut listener = client_of(&cluster.url());
        let pause = Duration::from_millis(100);
        let stored = client.wait_result(&mut listener, "a", pause, wait);
        assert_eq!(stored, Ok(DONE.as_bytes().to_vec()));
        let ids = ["a".to_owned(), "b".to_owned()];
        let mut found = Vec::new();
        let each = |_, document: Option<_>| found.push(document.is_some());
        client.get_results(&ids, each, wait).unwrap();
        assert_eq!(found, [true, false]);
        assert_eq!(client.remove_result("a", DONE.as_bytes(), wait), Ok(true));
        client.forget_all(&ids, wait).unwrap();
        client.save_group("g", b"[]", PLENTY, wait).unwrap();
        assert_eq!(client.get_group("g", wait), Ok(Some(b"[]".to_vec())));
        assert_eq!(client.delete_group("g", wait), Ok(true));
        let revoke = Revoke {
            task_ids: &["a"],
            terminate: false,
            signal: "SIGTERM",
        };
        assert_eq!(client.revoke(&revoke, wait), Ok(0));
        let ping = Request::new("ping");
        let answers = client.ask_workers(ping, None, pause, wait).unwrap();
        assert!(answers.is_empty());
        assert_eq!(client.count_dead_letters(wait), Ok(0));
    });
    assert_only_prefixed(&cluster, 0);
    assert_eq!(at_leisure(|wait| client.purge("q", wait)), Ok(9));
}

#[test]
fn a_result_is_heard_from_another_node() {
    let cluster = cluster(&RedisOptions::new(), 0);
    let mut client = client_of(&cluster.url());
    let key = client.keys().result("a");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut listener = client_of(&cluster.url());
            let pause = Duration::from_secs(1);
            at_leisure(|wait| client.wait_result(&mut listener, "a", pause, wait))
        });
        let owner = &cluster.nodes()[0];
        wait_for(PLENTY, "a subscription", || {
            owner
                .cli(&["PUBSUB", "NUMSUB", &key])
                .unwrap()
                .ends_with("\n1")
        })
        .unwrap();
        // A message of a channel reaches all nodes.
        cluster.nodes()[1].cli(&["PUBLISH", &key, DONE]).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(DONE.as_bytes().to_vec()));
    });
}

#[test]
fn posts_follow_an_ordered_failover() {
    let cluster = cluster(&RedisOptions::new(), 1);
    let mut client = client_of(&cluster.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cluster.fail_over(3).unwrap();
    cluster.wait_for_owner(3).unwrap();
    // The old owner is a replica now, and refuses the post. One call finds the new owner.
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&cluster.nodes()[3], QUEUE), ["a", "b"]);
}

#[test]
fn posts_follow_the_crash_of_the_owner() {
    let mut cluster = cluster(&RedisOptions::new(), 1);
    let mut options = ClientOptions::default();
    options.replicas = 1;
    let mut client = client_with(&cluster.url(), options);
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    let mut client = client_of(&cluster.url());
    at_leisure(|wait| client.ping(wait)).unwrap();
    cluster.expect_fault(true).unwrap();
    let begin = Instant::now();
    cluster.node(0).kill9();
    post_again(&mut client, "b");
    println!("posts went on after {:?}", begin.elapsed());
    assert_eq!(queued(&cluster.nodes()[3], QUEUE), ["a", "b"]);
}

#[test]
fn posts_follow_when_the_owner_is_frozen() {
    let cluster = cluster(&RedisOptions::new(), 1);
    let mut client = client_of(&cluster.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cluster.expect_fault(true).unwrap();
    cluster.nodes()[0].pause();
    post_again(&mut client, "b");
    cluster.nodes()[0].resume();
    assert!(queued(&cluster.nodes()[3], QUEUE).contains(&"b".to_owned()));
    wait_for(FAILOVER, "the old owner to be a replica", || {
        let role = cluster.nodes()[0].cli(&["ROLE"]).unwrap();
        role.starts_with("slave")
    })
    .unwrap();
    post_again(&mut client, "c");
    assert!(queued(&cluster.nodes()[3], QUEUE).contains(&"c".to_owned()));
}

#[test]
fn an_owner_that_is_cut_off_does_not_keep_its_clients() {
    let cluster = cluster(&RedisOptions::new(), 0);
    let mut client = client_of(&cluster.url());
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    cluster.cut_off_owner(2).unwrap();
    // It still names itself. The other nodes know better, and are asked before it is asked again.
    at_leisure(|wait| client.publish(&post("b"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&cluster.nodes()[2], QUEUE), ["b"]);
}

#[test]
fn calls_follow_a_slot_that_moves() {
    let cluster = cluster(&RedisOptions::new(), 0);
    let mut client = client_of(&cluster.url());
    let mut reader = client_of(&cluster.url());
    at_leisure(|wait| {
        client
            .publish(&post("a"), Publish::Confirmed, wait)
            .unwrap();
        assert_eq!(reader.get_result("a", wait), Ok(None));
    });
    cluster.begin_move(0, 2).unwrap();
    let old = &cluster.nodes()[0];
    // The new key belongs to the new owner already, but not the slot.
    let ask = old.cli(&["SET", &client.keys().result("x"), "1"]);
    assert!(ask.unwrap_err().to_string().contains("ASK"));
    let mut batching = client_of(&cluster.url());
    let mut pipelining = client_of(&cluster.url());
    let to = |queue: &str, id: &str| Post {
        queue: queue.into(),
        ..post(id)
    };
    // The old owner accepts a post to the list that it has, and refuses the others.
    let several = |queue: &str| [to("q", queue), to(queue, "x"), to(queue, "y")];
    thread::scope(|scope| {
        let posting = scope.spawn(|| {
            let post = to("other", "b");
            at_leisure(|wait| client.publish(&post, Publish::Confirmed, wait))
        });
        let batching = scope.spawn(|| {
            let posts = several("batch");
            at_leisure(|wait| batching.publish_batch(&posts, Publish::Confirmed, wait))
        });
        let pipelining = scope.spawn(|| {
            at_leisure(|wait| {
                for post in several("pipe") {
                    pipelining.publish_later(&post, wait).unwrap();
                }
                pipelining.collect(wait)
            })
        });
        wait_for(PLENTY, "refusals of each post", || {
            let stats = old.cli(&["INFO", "errorstats"]).unwrap();
            let asks = stats
                .lines()
                .find_map(|line| line.strip_prefix("errorstat_ASK:count="));
            asks.is_some_and(|count| count.trim().parse::<u32>().unwrap() > 20)
        })
        .unwrap();
        cluster.end_move(0, 2).unwrap();
        posting.join().unwrap().unwrap();
        assert_eq!(batching.join().unwrap(), [Ok(()), Ok(()), Ok(())]);
        assert_eq!(pipelining.join().unwrap(), []);
    });
    let owner = &cluster.nodes()[2];
    let key = client.keys().result("a");
    owner.cli(&["SET", &key, DONE]).unwrap();
    at_leisure(|wait| {
        let mut found = Vec::new();
        let each = |_, document: Option<_>| found.push(document.is_some());
        reader.get_results(&["a".to_owned()], each, wait).unwrap();
        assert_eq!(found, [true]);
        client
            .publish(&post("c"), Publish::Confirmed, wait)
            .unwrap();
    });
    let mut in_queue = queued(owner, QUEUE);
    in_queue.sort();
    assert_eq!(in_queue, ["a", "batch", "c", "pipe"]);
    assert_eq!(queued(owner, "{celery}:other"), ["b"]);
    for queue in ["{celery}:batch", "{celery}:pipe"] {
        assert_eq!(queued(owner, queue), ["x", "y"]);
    }
}

#[test]
fn what_the_nodes_say_is_in_the_error() {
    let mut cluster = cluster(&RedisOptions::new().password("hunter2"), 0);
    let right = cluster.url();
    let no_login = right.replace(":hunter2@", "");
    let ports = cluster.nodes().iter().map(Redis::port).collect::<Vec<_>>();
    let single = RedisOptions::new().start().unwrap();
    let of_single = format!(
        "redis+cluster://127.0.0.1:{}?prefix={PREFIX}",
        single.port()
    );
    let why = |url: &str| {
        let failed = within(PLENTY, |wait| {
            client_of(url).publish(&post("a"), Publish::Confirmed, wait)
        });
        let why = failed.unwrap_err().to_string();
        assert!(
            why.contains("redis+cluster://") && !why.contains("hunter2"),
            "{why}"
        );
        why
    };
    // A wrong login does not keep the right one from the same nodes.
    let mut options = ClientOptions::default();
    options.circuit.failures = 1;
    let wrong = right.replace(":hunter2@", ":hunter3@");
    for (url, word) in [(&no_login, "NOAUTH"), (&wrong, "WRONGPASS")] {
        let mut client = client_with(url, options.clone());
        let failed = within(PLENTY, |wait| client.ping(wait));
        let Err(ClientError::Auth { endpoint, answer }) = failed else {
            panic!("{failed:?}");
        };
        assert!(endpoint.contains("redis+cluster://"), "{endpoint}");
        let said = answer.to_string();
        assert!(said.contains(word) && !said.contains("hunter"), "{said}");
        assert!(said.contains(&ports[1].to_string()), "{said}");
        let mut client = client_with(&right, options.clone());
        assert_eq!(at_leisure(|wait| client.ping(wait)), Ok(()));
    }
    // Nor does a user without the right to ask.
    cluster.nodes().iter().for_each(|node| {
        let rights = [
            "ACL", "SETUSER", "poor", "on", ">p", "~*", "&*", "+@all", "-cluster",
        ];
        node.cli(&rights).unwrap();
    });
    let poor = right.replace(":hunter2@", "poor:p@");
    let mut client = client_with(&poor, options.clone());
    let failed = within(PLENTY, |wait| client.ping(wait)).unwrap_err();
    assert!(failed.to_string().contains("NOPERM"), "{failed}");
    let mut client = client_with(&right, options);
    assert_eq!(at_leisure(|wait| client.ping(wait)), Ok(()));
    let said = why(&of_single);
    assert!(said.contains("cluster support disabled"), "{said}");
    // The slot has no owner.
    let other = right.replace(PREFIX, "{other}:");
    let slot = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", "{other}:"]);
    for node in cluster.nodes() {
        let slot = slot.as_ref().unwrap();
        node.cli(&["CLUSTER", "DELSLOTS", slot]).unwrap();
    }
    let said = why(&other);
    assert_eq!(
        said.matches("it knows no owner of this slot").count(),
        3,
        "{said}"
    );
    for node in 0..3 {
        cluster.node(node).kill9();
    }
    let said = why(&right);
    assert_eq!(said.matches("refused").count(), 3, "{said}");
    assert!(
        ports.iter().all(|port| said.contains(&port.to_string())),
        "{said}"
    );
}

#[test]
fn no_call_exceeds_its_deadline_because_of_silent_nodes() {
    let cluster = cluster(&RedisOptions::new(), 0);
    let mut options = ClientOptions::default();
    options.connect_timeout = Duration::from_secs(1);
    let mut client = client_with(&cluster.url(), options);
    cluster.nodes().iter().for_each(Redis::pause);
    // `within` fails if the call takes much longer.
    let failed = within(Duration::from_secs(2), |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    });
    cluster.nodes().iter().for_each(Redis::resume);
    let said = failed.unwrap_err().to_string();
    assert!(
        said.contains("no node of the cluster knows where"),
        "{said}"
    );
    at_leisure(|wait| client.publish(&post("a"), Publish::Confirmed, wait)).unwrap();
}

#[test]
fn a_node_with_tls_is_found_by_the_name_that_it_announces() {
    let node = RedisOptions::new()
        .cluster()
        .tls(ServerName::Right)
        .set("tls-cluster", "yes")
        .set("cluster-announce-hostname", "localhost")
        .set("cluster-preferred-endpoint-type", "hostname")
        .start()
        .unwrap();
    node.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
        .unwrap();
    let ca = node.certificates().unwrap().ca();
    let url = format!(
        "rediss+cluster://localhost:{}?prefix={PREFIX}&ssl_ca_certs={}",
        node.tls_port().unwrap(),
        ca.display()
    );
    // A node that has just started refuses posts for two seconds.
    at_leisure(|wait| client_of(&url).publish(&post("a"), Publish::Confirmed, wait)).unwrap();
    assert_eq!(queued(&node, QUEUE), ["a"]);
}

#[test]
fn a_prefix_with_a_hash_tag_must_be_known() {
    let endpoint = RedisEndpoint::from_url("redis+cluster://localhost:1").unwrap();
    let mut client = Client::new(Arc::new(endpoint), ClientOptions::default());
    let failed = within(PLENTY, |wait| {
        client.publish(&post("a"), Publish::Confirmed, wait)
    });
    let failed = failed.unwrap_err();
    assert!(matches!(*failed.cause, ClientError::Config(_)), "{failed}");
}
