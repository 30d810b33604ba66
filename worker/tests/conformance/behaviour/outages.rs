//! Outages of the broker and their consequences.

use std::time::Duration;

use crate::broker::{Backend, Broker};
use crate::rig::{Rig, post, succeeded, task, tasks};

pub async fn killed_connections_lose_nothing<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 20;
    B::rescue_after(&mut options, Duration::from_secs(2));
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &tasks(2_000)).await;
    for _ in 0..40 {
        rig.finish(50).await;
        broker.cut_connections().await;
    }
    rig.work_until(broker.until_clean()).await;
    assert_eq!(broker.backend().stored_results().await, 2_000);
    assert_eq!(broker.dead().await, []);
}

pub async fn a_verdict_from_before_a_cut_changes_no_other_message<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 1;
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &tasks(20)).await;
    for _ in 0..10 {
        let before = rig.next().await;
        broker.cut_connections().await;
        rig.consumer.connected().await;
        rig.settler.finish(before, succeeded("1"));
    }
    rig.work_until(broker.until_clean()).await;
    assert_eq!(broker.backend().stored_results().await, 20);
    assert_eq!(broker.dead().await, []);
}

pub async fn an_idle_worker_gets_a_message_after_its_connections_were_killed<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::without_polling(&mut options);
    let mut rig = Rig::start(options);
    rig.consumer.connected().await;
    for id in ["a", "b", "c"] {
        broker.until_clean().await;
        broker.cut_connections().await;
        post(&mut broker, "celery", &[task(id)]).await;
        assert_eq!(rig.finish(1).await, [id]);
    }
    broker.until_clean().await;
}

pub async fn a_crash_loses_nothing<B: Broker>() {
    let mut broker = B::start_durable().await;
    let mut options = broker.options();
    options.held = 50;
    B::rescue_after(&mut options, Duration::from_secs(2));
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &tasks(500)).await;
    rig.finish(100).await;
    let held = rig.next().await;
    broker.crash().await;
    rig.settler.finish(held, succeeded("1"));
    be_refused().await;
    broker.restart().await;
    post(&mut broker, "celery", &[task("last")]).await;
    // Everything that the crash interrupted comes back within a lease or two.
    rig.work_until(async {
        broker.until_status("last", "SUCCESS").await;
        broker.until_clean().await;
    })
    .await;
    assert_eq!(broker.backend().stored_results().await, 501);
}

pub async fn tasks_done_while_the_broker_was_frozen_are_settled<B: Broker>() {
    let mut broker = B::start_durable().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &tasks(3)).await;
    let held = [rig.next().await, rig.next().await, rig.next().await];
    broker.freeze().await;
    for delivery in held {
        rig.settler.finish(delivery, succeeded("1"));
    }
    // The freeze is longer than the wait for an answer, and shorter than a lease.
    tokio::time::sleep(Duration::from_secs(8)).await;
    broker.thaw().await;
    rig.work_until(broker.until_clean()).await;
    assert_eq!(broker.backend().stored_results().await, 3);
    post(&mut broker, "celery", &[task("after")]).await;
    rig.work_until(broker.until_status("after", "SUCCESS"))
        .await;
    assert_eq!(broker.dead().await, []);
}

pub async fn a_broker_that_comes_late_is_waited_for<B: Broker>() {
    let mut broker = B::start_durable().await;
    broker.crash().await;
    let mut rig = Rig::start(broker.options());
    be_refused().await;
    assert!(!rig.consumer.is_connected());
    assert!(rig.shutdown.is_running());
    broker.restart().await;
    rig.consumer.connected().await;
    post(&mut broker, "celery", &[task("a")]).await;
    assert_eq!(rig.finish(1).await, ["a"]);
    broker.until_clean().await;
}

/// Lets a worker try for a while.
async fn be_refused() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}
