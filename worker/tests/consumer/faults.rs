//! Outages of Redis and what follows from them.

use std::collections::HashSet;
use std::time::Duration;

use celery_client::aio::scripts;
use celery_testkit::{Cut, Proxy, RedisOptions};
use celery_worker::delivery::Verdict;

use crate::rig::{Broker, json, message, task};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

/// Finishes deliveries until every one of these ids was delivered at least once.
async fn finish_all(rig: &mut crate::rig::Rig, count: usize) {
    let mut missing: HashSet<String> = (0..count).map(|n| n.to_string()).collect();
    while !missing.is_empty() {
        let delivery = rig.next().await;
        missing.remove(&delivery.task.id);
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
}

async fn push(broker: &mut Broker, count: usize) {
    let messages: Vec<_> = (0..count)
        .map(|n| message(&task(&n.to_string()), "celery"))
        .collect();
    broker.push("celery", &messages).await;
}

#[tokio::test]
async fn killed_connections_lose_nothing() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.held = 20;
    options.lease = Duration::from_secs(2);
    let mut rig = broker.consume(options);
    push(&mut broker, 2_000).await;
    let mut missing: HashSet<String> = (0..2_000).map(|n| n.to_string()).collect();
    let mut seen = 0;
    while !missing.is_empty() {
        let delivery = rig.next().await;
        missing.remove(&delivery.task.id);
        seen += 1;
        if seen % 50 == 0 {
            broker
                .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
                .await;
        }
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
    broker.until_clean().await;
    for id in ["0", "999", "1999"] {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
}

#[tokio::test]
async fn an_idle_worker_hears_of_a_message_after_its_connections_were_killed() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.safety_claim = NEVER;
    let mut rig = broker.consume(options);
    rig.consumer.connected().await;
    for id in ["a", "b", "c"] {
        broker
            .ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"])
            .await;
        broker.push("celery", &[message(&task(id), "celery")]).await;
        assert_eq!(rig.finish(1).await, [id]);
    }
    broker.until_clean().await;
}

#[tokio::test]
async fn a_restart_with_aof_loses_nothing() {
    let mut broker = Broker::start(RedisOptions::new().aof()).await;
    let mut options = broker.options();
    options.held = 50;
    options.lease = Duration::from_secs(2);
    let mut rig = broker.consume(options);
    push(&mut broker, 500).await;
    for _ in 0..100 {
        let delivery = rig.next().await;
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
    let held = rig.next().await;
    broker.redis.kill9();
    rig.settler.finish(held, Verdict::Success(json("1")));
    broker.redis.restart().unwrap();
    broker
        .push("celery", &[message(&task("last"), "celery")])
        .await;
    loop {
        let delivery = rig.next().await;
        let last = delivery.task.id == "last";
        rig.settler.finish(delivery, Verdict::Success(json("1")));
        if last {
            break;
        }
    }
    // Whatever the kill left half done comes back within a lease or two.
    let rest = async {
        while let Some(delivery) = rig.deliveries.recv().await {
            rig.settler.finish(delivery, Verdict::Success(json("1")));
        }
    };
    tokio::select! {
        () = rest => panic!("the deliveries ended"),
        () = broker.until_clean() => {}
    }
    let results = broker.ask(&["KEYS", "celery-task-meta-*"]).await;
    assert_eq!(results.split(' ').count(), 501);
}

#[tokio::test]
async fn a_broker_that_comes_late_is_waited_for() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.redis.kill9();
    let mut rig = broker.consume(broker.options());
    assert!(!rig.consumer.is_connected());
    broker.redis.restart().unwrap();
    rig.consumer.connected().await;
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    assert_eq!(rig.finish(1).await, ["a"]);
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    for id in ["a", "b"] {
        broker.push("celery", &[message(&task(id), "celery")]).await;
        assert_eq!(rig.finish(1).await, [id]);
        broker.until_clean().await;
        broker.ask(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn a_full_server_is_drained() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    push(&mut broker, 500).await;
    broker.ask(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let mut rig = broker.consume(broker.options());
    finish_all(&mut rig, 500).await;
    broker.until_clean().await;
    assert_eq!(broker.result("499").await["status"], "SUCCESS");
}

#[tokio::test]
async fn an_unanswered_claim_is_recovered() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let proxy = Proxy::to_port(broker.redis.port()).unwrap();
    let mut options = broker.options_by(&format!("redis://127.0.0.1:{}/0", proxy.port()));
    // Neither a sweeper nor anything but the bell may be what brings the messages.
    options.lease = NEVER;
    options.safety_claim = NEVER;
    let mut rig = broker.consume(options);
    rig.consumer.connected().await;
    proxy.cut_at(scripts::ACK_CLAIM.sha(), Cut::Answer);
    push(&mut broker, 20).await;
    finish_all(&mut rig, 20).await;
    assert_eq!(proxy.cuts(), 1);
    broker.until_clean().await;
}

#[tokio::test]
async fn without_tracking_the_queues_are_polled() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker
        .ask(&["ACL", "SETUSER", "default", "-client|tracking"])
        .await;
    let mut options = broker.options();
    options.safety_claim = NEVER;
    let mut rig = broker.consume(options);
    rig.consumer.connected().await;
    for id in ["a", "b"] {
        broker.push("celery", &[message(&task(id), "celery")]).await;
        assert_eq!(rig.finish(1).await, [id]);
    }
    broker.until_clean().await;
}
