//! What Redis refuses for good: it concerns what was refused, and nothing else.

use std::time::Duration;

use celery_protocol::message::Task;
use celery_testkit::{Cut, Proxy, RedisOptions};
use celery_worker::delivery::Verdict;

use crate::rig::{Broker, json, message, task};

#[tokio::test]
async fn without_the_right_to_publish_tasks_are_done_once() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let options = broker.options_as(&["~*", "+@all", "resetchannels"]).await;
    let mut rig = broker.consume(options);
    let mut first = task("a");
    first.embed.callbacks = Some(json(
        r#"[{"task":"proj.add","args":[1],"kwargs":{},"options":{"task_id":"then"}}]"#,
    ));
    broker.push("celery", &[message(&first, "celery")]).await;
    assert_eq!(rig.finish(2).await, ["a", "then"]);
    broker.until_clean().await;
    for id in ["a", "then"] {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
    let delivery = rig.deliveries.try_recv();
    assert!(delivery.is_err(), "{delivery:?}");
}

#[tokio::test]
async fn a_queue_whose_key_is_no_list_does_not_keep_the_others() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker.ask(&["SET", "string", "x"]).await;
    let mut options = broker.options();
    options.queues = vec!["string".into(), "celery".into()];
    let mut rig = broker.consume(options);
    for id in ["a", "b"] {
        broker.push("celery", &[message(&task(id), "celery")]).await;
        assert_eq!(rig.finish(1).await, [id]);
    }
    assert_eq!(broker.ask(&["GET", "string"]).await, "x");
    broker.ask(&["DEL", "string"]).await;
    broker
        .push("string", &[message(&task("c"), "string")])
        .await;
    assert_eq!(rig.finish(1).await, ["c"]);
    broker.until_clean().await;
}

/// The only member of the header of a chord.
fn member(id: &str, group: &str) -> Task {
    let mut member = task(id);
    member.group = Some(group.into());
    member.group_index = Some(0);
    let body = format!(r#"{{"task":"proj.xsum","options":{{"task_id":"body-{group}"}}}}"#);
    member.embed.chord = Some(json(&body));
    member
}

#[tokio::test]
async fn a_group_that_is_none_keeps_no_other_chord() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    broker
        .ask(&["LPUSH", "celery-taskset-meta-broken", "no group"])
        .await;
    for group in ["broken", "sound"] {
        let size = format!("celery-taskset-meta-{group}.s");
        broker.ask(&["SET", &size, "1"]).await;
    }
    let mut rig = broker.consume(broker.options());
    let members = ["broken", "sound"].map(|group| message(&member(group, group), "celery"));
    broker.push("celery", &members).await;
    assert_eq!(rig.finish(3).await, ["broken", "sound", "body-sound"]);
    broker.until_clean().await;
    assert_eq!(broker.result("broken").await["status"], "SUCCESS");
    // The body that will not be called.
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    assert!(letters.contains("cause follow-up"), "{letters}");
    assert!(letters.contains("body-broken"), "{letters}");
}

#[tokio::test]
async fn a_follow_up_that_is_refused_keeps_only_its_own_task() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let keys = ["~celery*", "~unacked*", "~rs.*", "&*", "+@all"];
    let mut options = broker.options_as(&keys).await;
    options.lease = Duration::from_millis(500);
    let mut rig = broker.consume(options);
    let mut bad = task("bad");
    bad.embed.callbacks = Some(json(
        r#"[{"task":"proj.add","args":[1],"kwargs":{},"options":{"task_id":"then","queue":"forbidden"}}]"#,
    ));
    let mut messages: Vec<Vec<u8>> = (0..20)
        .map(|n| message(&task(&n.to_string()), "celery"))
        .collect();
    messages.insert(7, message(&bad, "celery"));
    broker.push("celery", &messages).await;
    // All verdicts in one batch.
    let mut deliveries = Vec::new();
    for _ in 0..21 {
        deliveries.push(rig.next().await);
    }
    for delivery in deliveries {
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
    broker.until(&["HLEN", "unacked"], "1").await;
    for id in ["0", "6", "7", "19"] {
        assert_eq!(broker.result(id).await["status"], "SUCCESS");
    }
    // It comes back, and its deliveries are counted.
    for _ in 0..5 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.id, "bad");
        let delivery = rig.settler.begin(delivery).await.unwrap();
        rig.settler.finish(delivery, Verdict::Success(json("1")));
    }
    let delivery = rig.next().await;
    assert!(rig.settler.begin(delivery).await.is_none());
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "1");
}

#[tokio::test]
async fn lost_answers_alone_poison_no_message() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let proxy = Proxy::to_port(broker.redis.port()).unwrap();
    let mut rig =
        broker.consume(broker.options_by(&format!("redis://127.0.0.1:{}/0", proxy.port())));
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    // Five times it comes back, and the answer to each count is lost.
    for times in 0..=5 {
        proxy.cut_at("rs.redelivered.", Cut::Answer);
        let delivery = rig.next().await;
        let delivery = rig.settler.begin(delivery).await.unwrap();
        assert_eq!(proxy.cuts(), times);
        let verdict = match times {
            5 => Verdict::Success(json("1")),
            _ => Verdict::GiveBack { started: true },
        };
        rig.settler.finish(delivery, verdict);
    }
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["status"], "SUCCESS");
}
