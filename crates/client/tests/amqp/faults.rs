//! Faults of the network and of the server. No post is lost or made twice without an error that
//! says so.

use std::collections::HashMap;

use celery_client::ClientError;
use celery_client::PublishError;
use celery_client::amqp::blocking::Queue;
use celery_testkit::{Cut, Fault, Proxy, wait_for};

use super::*;

/// Time for a call that must fail.
const SHORT: Duration = Duration::from_millis(700);

/// Compares outcomes with the queue: a confirmed post is there once, a failed one is not there, and
/// one with an unknown outcome is there once at most.
fn check(outcomes: &[(String, Result<(), PublishError>)], found: &[String]) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for id in found {
        *counts.entry(id).or_default() += 1;
    }
    for (id, outcome) in outcomes {
        let count = counts.remove(&**id).unwrap_or_default();
        match outcome {
            Ok(()) => assert_eq!(count, 1, "{id} was confirmed"),
            Err(error) if error.outcome_unknown => assert!(count <= 1, "{id}: {error}"),
            Err(error) => assert_eq!(count, 0, "{id}: {error}"),
        }
    }
    assert!(counts.is_empty(), "{counts:?}");
}

#[test]
fn connections_that_are_cut_lose_nothing_unnoticed() {
    let node = shared();
    let proxy = Proxy::to_port(node.port()).unwrap();
    let mut client = client(&node.url_on(proxy.port()));
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    let mut outcomes = Vec::new();
    let mut publish = |client: &mut Client, id: String| {
        let outcome = within(LONG, |wait| client.publish(&post("q", &id), wait));
        outcomes.push((id, outcome.clone()));
        outcome
    };
    for round in 0..12 {
        // Cut before the server sees the post, or after: the client cannot tell.
        for cut in [Cut::Request, Cut::Answer] {
            let id = format!("cut-{round}-{cut:?}");
            proxy.cut_at(&id, cut);
            let failed = publish(&mut client, id).unwrap_err();
            assert!(failed.outcome_unknown, "{failed}");
        }
        publish(&mut client, format!("after-{round}")).unwrap();
        // Cut between two posts: the next one notices before it writes.
        match round % 3 {
            0 => {
                proxy.reset_all();
                let gone = || node.connections().unwrap() == 0;
                wait_for(LONG, "the end of the connection", gone).unwrap();
            }
            1 => node.close_connections().unwrap(),
            _ => {}
        }
        wait_for(LONG, "the client's end of the connection", || {
            round % 3 == 2 || !client.is_connected()
        })
        .unwrap();
        publish(&mut client, format!("next-{round}")).unwrap();
    }
    assert_eq!(proxy.cuts(), 24);
    let found = drain(&mut client, "q");
    check(&outcomes, &found);
    // The server has carried out what was cut only after it.
    for round in 0..12 {
        assert!(found.contains(&format!("cut-{round}-Answer")));
        assert!(!found.contains(&format!("cut-{round}-Request")));
    }
}

#[test]
fn a_batch_that_is_cut_reports_each_post() {
    let node = shared();
    let proxy = Proxy::to_port(node.port()).unwrap();
    let mut client = client(&node.url_on(proxy.port()));
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    let mut outcomes = Vec::new();
    for (round, cut) in [(0, Cut::Request), (1, Cut::Answer), (2, Cut::Request)] {
        let posts: Vec<_> = (0..2_000)
            .map(|n| post("q", &format!("id-{round}-{n:04}")))
            .collect();
        proxy.cut_at(&format!("id-{round}-1000"), cut);
        let results = within(LONG, |wait| client.publish_batch(&posts, wait));
        assert!(
            results
                .iter()
                .any(|result| matches!(result, Err(e) if e.outcome_unknown))
        );
        outcomes.extend(posts.into_iter().map(|post| post.task_id).zip(results));
    }
    let found = drain(&mut client, "q");
    check(&outcomes, &found);

    // Bytes that drip arrive as a whole.
    proxy.set(Fault::Drip(Duration::from_micros(200)));
    within(LONG, |wait| client.publish(&post("q", "drip"), wait)).unwrap();
    proxy.set(Fault::None);
    assert_eq!(drain(&mut client, "q"), ["drip"]);
}

#[test]
fn a_server_that_freezes_or_restarts_costs_the_deadline_at_most() {
    let mut node = node();
    let mut client = client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    within(LONG, |wait| client.publish(&post("q", "before"), wait)).unwrap();

    node.pause();
    let failed = within(SHORT, |wait| client.publish(&post("q", "frozen"), wait)).unwrap_err();
    node.resume();
    assert!(failed.outcome_unknown, "{failed}");
    assert!(
        matches!(*failed.cause, ClientError::Timeout { .. }),
        "{failed}"
    );
    within(LONG, |wait| client.publish(&post("q", "thawed"), wait)).unwrap();

    node.kill9();
    wait_for(LONG, "the end of the connection", || !client.is_connected()).unwrap();
    let failed = within(SHORT, |wait| client.publish(&post("q", "down"), wait)).unwrap_err();
    assert!(!failed.outcome_unknown, "{failed}");
    node.restart().unwrap();
    // Confirmed posts have outlived the crash.
    within(LONG, |wait| client.publish(&post("q", "after"), wait)).unwrap();
    let mut found = drain(&mut client, "q");
    found.retain(|id| id != "frozen");
    assert_eq!(found, ["before", "thawed", "after"]);
}

#[test]
fn an_alarm_is_reported_as_such() {
    let node = node();
    let mut client = client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    within(LONG, |wait| client.publish(&post("q", "before"), wait)).unwrap();
    node.alarm(true).unwrap();

    // A post finds out: it was written, so its outcome is unknown. The alarm takes a moment to reach
    // the connection.
    let mut failed = None;
    wait_for(LONG, "a post that is blocked", || {
        failed = within(SHORT, |wait| client.publish(&post("q", "blocked"), wait)).err();
        failed.is_some()
    })
    .unwrap();
    let failed = failed.unwrap();
    assert!(failed.outcome_unknown, "{failed}");
    assert!(
        matches!(*failed.cause, ClientError::Blocked { .. }),
        "{failed}"
    );
    // Everything but posts is served.
    within(LONG, |wait| client.ping(wait)).unwrap();

    // A connection that knows of the alarm writes no post.
    let url = node.url();
    let waiting = std::thread::spawn(move || {
        let mut other = super::client(&url);
        within(LONG, |wait| other.publish(&post("q", "waited"), wait))
    });
    let blocked = || node.connections().unwrap() >= 2;
    wait_for(LONG, "the other connection", blocked).unwrap();
    node.alarm(false).unwrap();
    waiting.join().unwrap().unwrap();
    within(LONG, |wait| client.publish(&post("q", "after"), wait)).unwrap();
    let mut found = drain(&mut client, "q");
    found.retain(|id| id != "blocked");
    found.sort();
    assert_eq!(found, ["after", "before", "waited"]);
}

#[test]
fn a_withdrawn_permission_refuses_posts_until_it_is_given_back() {
    let node = shared();
    let may_write = |pattern: &str| node.permit("guest", [".*", pattern, ".*"]).unwrap();
    let mut client = client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    within(LONG, |wait| client.publish(&post("q", "before"), wait)).unwrap();

    // A channel remembers what it was allowed; another connection asks the server.
    may_write("^nothing$");
    let mut other = super::client(&node.url());
    for id in ["refused", "again"] {
        let refused = within(LONG, |wait| other.publish(&post("q", id), wait)).unwrap_err();
        let closed = matches!(&*refused.cause, ClientError::Broker(close) if close.code == 403);
        assert!(closed && !refused.outcome_unknown, "{refused}");
    }

    may_write(".*");
    within(LONG, |wait| other.publish(&post("q", "after"), wait)).unwrap();
    assert_eq!(drain(&mut client, "q"), ["before", "after"]);
}

#[test]
fn heartbeats_keep_a_waiting_connection_and_end_a_dead_one() {
    let node = RabbitMqOptions::new()
        .set("heartbeat", "2")
        .start()
        .unwrap();
    let proxy = Proxy::to_port(node.port()).unwrap();
    let url = format!("amqp://127.0.0.1:{}/?heartbeat=1", proxy.port());
    let mut client = client(&url);
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    // Longer than three intervals, after which the server would close a silent connection.
    let quiet = within(Duration::from_secs(5), |wait| {
        client.receive("q", wait, |_| panic!("the queue is empty"))
    });
    assert!(
        matches!(quiet, Err(ClientError::Timeout { .. })),
        "{quiet:?}"
    );
    assert_eq!(proxy.accepted(), 1);

    within(LONG, |wait| client.ping(wait)).unwrap();
    proxy.strand_all();
    let dead = within(LONG, |wait| client.publish(&post("q", "id"), wait)).unwrap_err();
    assert!(dead.outcome_unknown, "{dead}");
    assert!(dead.to_string().contains("heartbeat"), "{dead}");
}
