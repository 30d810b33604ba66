//! Lost scripts, lost answers and a full server.

use celery_client::aio::scripts;
use celery_testkit::{Cut, Proxy};

use super::{Redis, redis};
use crate::broker::{Backend, Broker};
use crate::rig::{NEVER, Rig, post, task, tasks};

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(broker.options());
    for id in ["a", "b"] {
        post(&mut broker, "celery", &[task(id)]).await;
        assert_eq!(rig.finish(1).await, [id]);
        broker.until_clean().await;
        broker.ask(&["SCRIPT", "FLUSH"]).await;
    }
}

#[tokio::test]
async fn a_full_server_is_drained() {
    let mut broker = Redis::start().await;
    post(&mut broker, "celery", &tasks(500)).await;
    broker.ask(&["CONFIG", "SET", "maxmemory", "1mb"]).await;
    let mut rig = Rig::start(broker.options());
    rig.work_until(broker.until_clean()).await;
    assert_eq!(broker.backend().stored_results().await, 500);
}

#[tokio::test]
async fn an_unanswered_claim_is_recovered() {
    let mut broker = Redis::start().await;
    let proxy = Proxy::to_port(broker.server.port()).unwrap();
    let mut options = Redis::options_by(&format!("redis://127.0.0.1:{}/0", proxy.port()));
    // Only the bell may bring the messages, and no sweeper.
    redis(&mut options).lease = NEVER;
    redis(&mut options).safety_claim = NEVER;
    let mut rig = Rig::start(options);
    rig.consumer.connected().await;
    proxy.cut_at(scripts::ACK_CLAIM.sha(), Cut::Answer);
    post(&mut broker, "celery", &tasks(20)).await;
    rig.work_until(broker.until_clean()).await;
    assert_eq!(proxy.cuts(), 1);
    assert_eq!(broker.backend().stored_results().await, 20);
}
