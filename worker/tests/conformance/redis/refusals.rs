//! Permanent refusals by Redis: each concerns only the refused command.

use std::future::pending;
use std::time::Duration;

use celery_protocol::message::Task;
use celery_testkit::{Cut, Proxy};
use celery_worker::delivery::Outcome;

use super::{Redis, redis};
use crate::broker::Broker;
use crate::rig::{Rig, json, message, post, succeeded, task};

#[tokio::test]
async fn a_follow_up_to_a_key_that_is_not_a_list_does_not_repeat_its_parent() {
    let mut broker = Redis::start().await;
    broker.ask(&["SET", "taken", "x"]).await;
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(500);
    let mut rig = Rig::start(options);
    let mut first = task("first");
    first.embed.chain = Some(json(
        r#"[{"task":"proj.mul","args":[4],"kwargs":{},"options":{"queue":"taken"}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(1).await, ["first"]);
    broker.until_clean().await;
    assert_eq!(broker.result("first").await["status"], "SUCCESS");
    assert_eq!(broker.dead().await.len(), 1);
}

#[tokio::test]
async fn without_the_right_to_publish_tasks_are_done_once() {
    let mut broker = Redis::start().await;
    let options = broker.options_as(&["~*", "+@all", "resetchannels"]).await;
    let mut rig = Rig::start(options);
    let mut first = task("a");
    first.embed.callbacks = Some(json(
        r#"[{"task":"proj.add","args":[1],"kwargs":{},"options":{"task_id":"then"}}]"#,
    ));
    post(&mut broker, "celery", &[first]).await;
    assert_eq!(rig.finish(2).await, ["a", "then"]);
    broker.until_clean().await;
    for id in ["a", "then"] {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
    let delivery = rig.deliveries.try_recv();
    assert!(delivery.is_err(), "{delivery:?}");
}

#[tokio::test]
async fn a_queue_whose_key_is_not_a_list_does_not_stop_the_others() {
    let mut broker = Redis::start().await;
    broker.ask(&["SET", "string", "x"]).await;
    let mut options = broker.options();
    options.queues = vec!["string".into(), "celery".into()];
    let mut rig = Rig::start(options);
    for id in ["a", "b"] {
        post(&mut broker, "celery", &[task(id)]).await;
        assert_eq!(rig.finish(1).await, [id]);
    }
    assert_eq!(broker.ask(&["GET", "string"]).await, "x");
    broker.ask(&["DEL", "string"]).await;
    post(&mut broker, "string", &[task("c")]).await;
    assert_eq!(rig.finish(1).await, ["c"]);
    broker.until_clean().await;
}

/// Returns the only member of the header of a chord.
fn member(id: &str, group: &str) -> Task {
    let mut member = task(id);
    member.group = Some(group.into());
    member.group_index = Some(0);
    let body = format!(r#"{{"task":"proj.xsum","options":{{"task_id":"body-{group}"}}}}"#);
    member.embed.chord = Some(json(&body));
    member
}

#[tokio::test]
async fn a_queue_whose_key_is_not_a_list_is_not_deleted_at_the_start() {
    let mut broker = Redis::start().await;
    broker.ask(&["SET", "string", "x"]).await;
    post(&mut broker, "celery", &[task("old")]).await;
    let mut options = broker.options();
    options.queues = vec!["string".into(), "celery".into()];
    options.purge = true;
    let mut rig = Rig::start(options);
    broker.until_depth("celery", 0, 0).await;
    post(&mut broker, "celery", &[task("new")]).await;
    assert_eq!(rig.finish(1).await, ["new"]);
    assert_eq!(broker.ask(&["GET", "string"]).await, "x");
}

#[tokio::test]
async fn a_malformed_group_stops_no_other_chord() {
    let mut broker = Redis::start().await;
    broker
        .ask(&["LPUSH", "celery-taskset-meta-broken", "no group"])
        .await;
    for group in ["broken", "sound"] {
        let size = format!("celery-taskset-meta-{group}.s");
        broker.ask(&["SET", &size, "1"]).await;
    }
    let mut rig = Rig::start(broker.options());
    let members =
        ["broken", "sound"].map(|group| message::<Redis>(&member(group, group), "celery"));
    broker.push("celery", &members).await;
    assert_eq!(rig.finish(3).await, ["broken", "sound", "body-sound"]);
    broker.until_clean().await;
    assert_eq!(broker.result("broken").await["status"], "SUCCESS");
    // The body will not be called.
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    assert!(letters.contains("cause follow-up"), "{letters}");
    assert!(letters.contains("body-broken"), "{letters}");
}

#[tokio::test]
async fn a_refused_follow_up_stops_only_its_own_task() {
    let mut broker = Redis::start().await;
    let keys = ["~celery*", "~unacked*", "~rs.*", "&*", "+@all"];
    let mut options = broker.options_as(&keys).await;
    redis(&mut options).lease = Duration::from_millis(500);
    let mut rig = Rig::start(options);
    let mut bad = task("bad");
    bad.embed.callbacks = Some(json(
        r#"[{"task":"proj.add","args":[1],"kwargs":{},"options":{"task_id":"then","queue":"forbidden"}}]"#,
    ));
    let mut messages: Vec<Vec<u8>> = (0..20)
        .map(|n| message::<Redis>(&task(&n.to_string()), "celery"))
        .collect();
    messages.insert(7, message::<Redis>(&bad, "celery"));
    broker.push("celery", &messages).await;
    // All verdicts go in one batch.
    let mut deliveries = Vec::new();
    for _ in 0..21 {
        deliveries.push(rig.next().await);
    }
    for delivery in deliveries {
        rig.settler.finish(delivery, succeeded("1"));
    }
    broker.until(&["HLEN", "unacked"], "1").await;
    for id in ["0", "6", "7", "19"] {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
    // The message comes back, and its deliveries are counted.
    for _ in 0..5 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.id, "bad");
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        rig.settler.finish(delivery, succeeded("1"));
    }
    let delivery = rig.next().await;
    assert!(rig.settler.begin(delivery, pending()).await.is_none());
    broker.until_clean().await;
    assert_eq!(broker.dead().await.len(), 1);
}

#[tokio::test]
async fn lost_answers_alone_do_not_make_a_message_poison() {
    let mut broker = Redis::start().await;
    let proxy = Proxy::to_port(broker.server.port()).unwrap();
    let mut rig = Rig::start(Redis::options_by(&format!(
        "redis://127.0.0.1:{}/0",
        proxy.port()
    )));
    post(&mut broker, "celery", &[task("a")]).await;
    // The message comes back five times, and the answer to each count is lost.
    for times in 0..=5 {
        proxy.cut_at("rs.redelivered.", Cut::Answer);
        let delivery = rig.next().await;
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        assert_eq!(proxy.cuts(), times);
        let outcome = match times {
            5 => succeeded("1"),
            _ => Outcome::Interrupted,
        };
        rig.settler.finish(delivery, outcome);
    }
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}
