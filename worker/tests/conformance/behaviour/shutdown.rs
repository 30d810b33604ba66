//! The messages that go back when a worker stops.

use std::future::pending;
use std::time::Duration;

use celery_worker::Phase;
use celery_worker::consumer::Left;
use celery_worker::delivery::Outcome;

use crate::broker::Broker;
use crate::rig::{DEADLINE, Rig, post, succeeded, task, tasks};

/// Asserts that the next worker gets all messages that the last one gave back.
async fn arrives<B: Broker>(broker: &mut B, count: usize) {
    broker.until_depth("celery", count, 0).await;
    let mut wanted: Vec<_> = (0..count).map(|n| n.to_string()).collect();
    wanted.sort_unstable();
    let mut rig = Rig::start(broker.options());
    let mut ids = rig.finish(count).await;
    ids.sort_unstable();
    assert_eq!(ids, wanted);
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}

pub async fn tasks_that_have_not_begun_go_back<B: Broker>() {
    let mut broker = B::start().await;
    post(&mut broker, "celery", &tasks(12)).await;
    Rig::start(broker.options()).give_back(12).await;
    arrives(&mut broker, 12).await;
}

pub async fn unread_messages_go_back<B: Broker>() {
    let mut broker = B::start().await;
    post(&mut broker, "celery", &tasks(9)).await;
    let mut options = broker.options();
    options.held_bytes = 1;
    let rig = Rig::start(options);
    rig.give_back(1).await;
    arrives(&mut broker, 9).await;
}

pub async fn a_worker_that_drains_takes_no_more_and_ends_what_it_has<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.shutdown.advance(Phase::Draining);
    assert!(rig.next_or_end().await.is_none());
    post(&mut broker, "celery", &[task("b")]).await;
    rig.settler.finish(delivery, succeeded("5"));
    assert_eq!(rig.consumer.close(DEADLINE).await, Left::default());
    broker.until_depth("celery", 1, 0).await;
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}

pub async fn a_stop_without_a_broker_ends_and_reports_what_is_left<B: Broker>() {
    let mut broker = B::start_durable().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_millis(500));
    let mut rig = Rig::start(options.clone());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    broker.crash().await;
    rig.shutdown.advance(Phase::Cold);
    let closing = rig.consumer.close(Duration::from_millis(50));
    let left = tokio::time::timeout(DEADLINE, closing).await;
    assert_eq!(left.expect("the consumer does not end").held, 1);
    drop((delivery, rig.settler, rig.deliveries));
    broker.restart().await;
    let mut rig = Rig::start(options);
    assert_eq!(rig.finish(1).await, ["a"]);
    broker.until_clean().await;
}

pub async fn tasks_that_have_begun_go_back_marked<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
    // After the shutdown has begun, messages that are given back stay in the queue.
    rig.shutdown.advance(Phase::Warm);
    rig.settler.finish(delivery, Outcome::Interrupted);
    assert_eq!(rig.consumer.close(DEADLINE).await, Left::default());
    broker.until_depth("celery", 1, 0).await;
    let mut rig = Rig::start(broker.options());
    assert!(rig.next().await.task.redelivered);
}

pub async fn deliveries_without_a_verdict_at_the_end_are_given_back<B: Broker>() {
    let mut broker = B::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.shutdown.advance(Phase::Cold);
    let left = rig.consumer.close(Duration::from_millis(50)).await;
    assert_eq!((left.returned, left.held), (1, 0));
    broker.until_depth("celery", 1, 0).await;
    let mut rig = Rig::start(broker.options());
    let again = rig.next().await;
    assert!(again.task.redelivered);
    drop(delivery);
}
