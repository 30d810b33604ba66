//! Results on another server than the broker's: a Redis beside any broker.

use celery_worker::consumer::Results;
use serde_json::Value;

use crate::broker::{Backend, Broker};
use crate::redis::Redis;
use crate::rig::{Rig, json, post, succeeded, task};

pub async fn states_and_results_are_stored_there<B: Broker>() {
    let (mut broker, mut backend) = (B::start().await, Redis::start().await);
    let mut options = broker.options();
    options.results = Results::Server(backend.endpoint.clone());
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    rig.settler
        .store_state(&delivery.task, "PROGRESS", json(r#"{"done":1}"#))
        .await
        .unwrap();
    let stored = backend.stored_result("a").await;
    assert_eq!(
        (&stored["status"], &stored["date_done"]),
        (&"PROGRESS".into(), &Value::Null)
    );
    rig.settler.finish(delivery, succeeded("5"));
    broker.until_clean().await;
    assert_eq!(backend.stored_result("a").await["status"], "SUCCESS");
    assert_eq!(broker.backend().stored_results().await, 0);
}

pub async fn nothing_is_acknowledged_before_its_result_is_stored<B: Broker>() {
    let (mut broker, mut backend) = (B::start().await, Redis::start_durable().await);
    let mut options = broker.options();
    options.results = Results::Server(backend.endpoint.clone());
    let mut rig = Rig::start(options);
    rig.consumer.connected().await;
    post(&mut broker, "celery", &[task("a")]).await;
    let delivery = rig.next().await;
    backend.crash().await;
    rig.settler.finish(delivery, succeeded("5"));
    // This is time enough for an ack that does not wait.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    broker.until_depth("celery", 0, 1).await;
    backend.restart().await;
    broker.until_clean().await;
    assert_eq!(backend.stored_result("a").await["status"], "SUCCESS");
}

pub async fn chords_are_kept_there<B: Broker>() {
    let (mut broker, mut backend) = (B::start().await, Redis::start().await);
    let mut options = broker.options();
    options.results = Results::Server(backend.endpoint.clone());
    let mut rig = Rig::start(options);
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"celery.chord","args":[],"subtask_type":"chord","options":{},"kwargs":{"kwargs":{},
             "header":[{"task":"proj.add","args":[10],"kwargs":{},"options":{"task_id":"x"}},
                       {"task":"proj.add","args":[20],"kwargs":{},"options":{"task_id":"y"}}],
             "body":{"task":"proj.xsum","args":[],"kwargs":{},"options":{"task_id":"body"}}}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    let header = [rig.next().await, rig.next().await];
    assert_eq!(backend.open_chords().await, 1);
    assert_eq!(broker.backend().open_chords().await, 0);
    for delivery in header {
        rig.settler.finish(delivery, succeeded("5"));
    }
    assert_eq!(rig.finish(1).await, ["body"]);
    broker.until_clean().await;
    assert_eq!(backend.stored_result("body").await["status"], "SUCCESS");
    assert_eq!(backend.open_chords().await, 0);
    assert_eq!(broker.backend().stored_results().await, 0);
}
