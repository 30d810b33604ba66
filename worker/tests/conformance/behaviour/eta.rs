//! Messages that wait for their ETA.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use celery_worker::Phase;
use celery_worker::consumer::Left;

use crate::broker::{Backend, Broker};
use crate::rig::{DEADLINE, Rig, post, succeeded, task};

fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_micros().try_into().unwrap()
}

/// Returns a task that is due in a thousand years.
fn far(id: &str) -> Task {
    let mut task = task(id);
    task.eta = Some(Timestamp::parse("2999-01-01T00:00:00Z").unwrap());
    task
}

/// Returns a task that is due `later` microseconds after `then`.
fn due(id: &str, then: i64, later: i64) -> Task {
    let mut task = task(id);
    task.eta = Some(Timestamp::from_unix_micros(then + later));
    task
}

pub async fn a_message_with_an_eta_waits_without_a_place<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 1;
    let mut rig = Rig::start(options);
    rig.consumer.connected().await;
    let soon = due("soon", now_micros(), 3_000_000);
    post(&mut broker, "celery", &[far("far"), soon, task("now")]).await;
    assert_eq!(rig.finish(1).await, ["now"]);
    broker.until_waiting(&rig, 2).await;
    assert_eq!(rig.finish(1).await, ["soon"]);
    broker.until_waiting(&rig, 1).await;
    // A worker that drains leaves the waiting message to others.
    rig.shutdown.advance(Phase::Draining);
    assert_eq!(rig.consumer.close(DEADLINE).await, Left::default());
    let other = Rig::start(broker.options());
    broker.until_waiting(&other, 1).await;
    assert_eq!(broker.backend().stored_results().await, 2);
}

pub async fn no_task_runs_before_its_eta_and_all_run_then<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 2;
    let mut rig = Rig::start(options);
    rig.consumer.connected().await;
    let then = now_micros() + 3_000_000;
    let late: Vec<_> = (0..6).map(|n| due(&n.to_string(), then, n)).collect();
    post(&mut broker, "celery", &late).await;
    broker.until_waiting(&rig, 6).await;
    // More messages become due at once than there is room for.
    let mut ids = Vec::new();
    for _ in 0..6 {
        let delivery = rig.next().await;
        assert!(now_micros() >= then);
        let depth = broker.depth("celery").await;
        assert!(depth.unacknowledged <= 2 || B::PREFETCHES, "{depth:?}");
        ids.push(delivery.task.id.clone());
        rig.settler.finish(delivery, succeeded("1"));
    }
    ids.sort_unstable();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5"]);
    broker.until_clean().await;
}

pub async fn the_number_that_waits_for_an_eta_is_limited<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.held = 1;
    options.eta_task_limit = Some(2);
    let rig = Rig::start(options);
    post(&mut broker, "celery", &["a", "b", "c", "d"].map(far)).await;
    broker.until_waiting(&rig, 2).await;
    // This is time enough for another message to be parked.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.consumer.parked(), 2);
    assert!(broker.depth("celery").await.ready >= 1);
}

pub async fn tasks_that_wait_with_a_dead_worker_are_run_by_another<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    B::rescue_after(&mut options, Duration::from_millis(500));
    let dying = Rig::start(options.clone());
    dying.consumer.connected().await;
    let soon = due("soon", now_micros(), 3_000_000);
    post(&mut broker, "celery", &[soon]).await;
    broker.until_waiting(&dying, 1).await;
    drop(dying);
    let mut rig = Rig::start(options);
    assert_eq!(rig.finish(1).await, ["soon"]);
    broker.until_clean().await;
}

pub async fn waiting_tasks_survive_a_restart_of_the_broker<B: Broker>() {
    let mut broker = B::start_durable().await;
    let mut rig = Rig::start(broker.options());
    rig.consumer.connected().await;
    let soon = due("soon", now_micros(), 4_000_000);
    post(&mut broker, "celery", &[soon]).await;
    broker.until_waiting(&rig, 1).await;
    broker.crash().await;
    broker.restart().await;
    rig.work_until(async {
        broker.until_status("soon", "SUCCESS").await;
        broker.until_clean().await;
    })
    .await;
}
