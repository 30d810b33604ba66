//! Chords in the keys of Celery's backend, which Python's workers count in, too.

use celery_protocol::message::mark_redelivered;

use super::Redis;
use crate::behaviour::chords::{body, member, the_body_comes_and_ends_the_chord};
use crate::broker::{Backend, Broker};
use crate::rig::{Rig, failed, message, post, succeeded, task};

#[tokio::test]
async fn members_that_python_counted_are_counted() {
    let mut broker = Redis::start().await;
    // One member was counted by a Python worker.
    broker
        .ask(&[
            "ZADD",
            "celery-taskset-meta-g.j",
            "1",
            r#"[1, "p", "SUCCESS", 12345678901234567890]"#,
        ])
        .await;
    broker
        .ask(&["SADD", "celery-taskset-meta-g.d", "p:1"])
        .await;
    broker.backend().begin_chord("g", 3).await;
    let mut rig = Rig::start(broker.options());
    let ours = [("late", 2), ("first", 0)].map(|(id, index)| member(id, index, &body()));
    post(&mut broker, "celery", &ours).await;
    for result in ["7", "null"] {
        let delivery = rig.next().await;
        rig.settler.finish(delivery, succeeded(result));
    }
    the_body_comes_and_ends_the_chord(&mut broker, &mut rig).await;
    assert_eq!(
        broker.ask(&["GET", "celery-taskset-meta-g.c"]).await,
        "done"
    );
}

#[tokio::test]
async fn a_claim_that_died_with_its_worker_is_found_again() {
    let mut broker = Redis::start().await;
    broker.backend().begin_chord("g", 1).await;
    broker
        .ask(&[
            "ZADD",
            "celery-taskset-meta-g.j",
            "0",
            r#"[1,"a","SUCCESS",5]"#,
        ])
        .await;
    broker
        .ask(&["SADD", "celery-taskset-meta-g.d", "a:0"])
        .await;
    broker
        .ask(&["SET", "celery-taskset-meta-g.c", "rs:a:0", "EX", "30"])
        .await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[member("a", 0, &body())]).await;
    assert_eq!(rig.finish(2).await, ["a", "body"]);
    broker.until_clean().await;
}

#[tokio::test]
async fn a_body_that_another_worker_claimed_is_left_to_it() {
    let mut broker = Redis::start().await;
    broker.backend().begin_chord("g", 1).await;
    broker
        .ask(&[
            "SET",
            "celery-taskset-meta-g.c",
            "0123456789abcdef",
            "EX",
            "30",
        ])
        .await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[member("a", 0, &body()), task("b")]).await;
    assert_eq!(rig.finish(2).await, ["a", "b"]);
    broker.until_clean().await;
    assert_eq!(
        broker.ask(&["EXISTS", "celery-taskset-meta-g.j"]).await,
        "1"
    );
    assert!(rig.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn a_late_copy_of_a_member_begins_no_chord() {
    let mut broker = Redis::start().await;
    broker.backend().begin_chord("g", 1).await;
    let mut rig = Rig::start(broker.options());
    let task = member("a", 0, &body());
    post(&mut broker, "celery", std::slice::from_ref(&task)).await;
    assert_eq!(rig.finish(2).await, ["a", "body"]);
    broker.until_clean().await;
    let copy = mark_redelivered(&message::<Redis>(&task, "celery")).unwrap();
    broker.push("celery", &[copy.raw]).await;
    assert_eq!(rig.finish(1).await, ["a"]);
    broker.until_clean().await;
    assert_eq!(broker.backend().open_chords().await, 0);
    assert!(rig.deliveries.try_recv().is_err());
}

#[tokio::test]
async fn a_failed_chord_keeps_the_results_of_its_members() {
    let mut broker = Redis::start().await;
    broker.backend().begin_chord("g", 2).await;
    let mut rig = Rig::start(broker.options());
    let header = [member("a", 0, &body()), member("b", 1, &body())];
    post(&mut broker, "celery", &header).await;
    let first = rig.next().await;
    rig.settler.finish(first, failed());
    assert_eq!(rig.finish(1).await, ["b"]);
    broker.until_status("body", "FAILURE").await;
    for (part, kept) in [("j", "1"), ("d", "1"), ("s", "0")] {
        let key = format!("celery-taskset-meta-g.{part}");
        assert_eq!(broker.ask(&["EXISTS", &key]).await, kept, "{key}");
    }
    let kept = broker.ask(&["ZCARD", "celery-taskset-meta-g.j"]).await;
    assert_eq!(kept, "2");
}
