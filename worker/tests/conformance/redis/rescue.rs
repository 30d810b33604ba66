//! Messages that a worker holds according to `unacked`.

use std::future::pending;
use std::time::Duration;

use celery_protocol::compression::Compression;
use celery_protocol::message::{EncodeOptions, mark_redelivered};
use celery_worker::Phase;
use celery_worker::consumer::Left;
use celery_worker::delivery::Outcome;

use super::{Redis, redis};
use crate::broker::Broker;
use crate::rig::{DEADLINE, Rig, message, post, succeeded, task};

/// Writes an entry as kombu does, held since `score`.
async fn orphan(broker: &mut Redis, tag: &str, score: &str, entry: &[u8]) {
    broker
        .ask(&[b"HSET", b"unacked".as_slice(), tag.as_bytes(), entry])
        .await;
    broker.ask(&["ZADD", "unacked_index", score, tag]).await;
}

fn entry(id: &str) -> Vec<u8> {
    [
        b"[",
        message::<Redis>(&task(id), "celery").as_slice(),
        br#", "", "celery"]"#,
    ]
    .concat()
}

#[tokio::test]
async fn a_python_orphan_is_restored_after_the_visibility_timeout() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(500);
    orphan(&mut broker, "0b0e6d1f", "1000", &entry("old")).await;
    let fresh = broker.ask(&["TIME"]).await;
    let fresh = fresh
        .trim_start_matches('[')
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    orphan(&mut broker, "7c1d4a2e", &fresh, &entry("fresh")).await;
    let mut rig = Rig::start(options);
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    assert_eq!(delivery.task.id, "old");
    rig.settler.finish(delivery, succeeded("1"));
    broker.until(&["HKEYS", "unacked"], "[7c1d4a2e]").await;
}

#[tokio::test]
async fn an_unreadable_orphan_is_a_dead_letter() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(500);
    orphan(&mut broker, "a", "1000", b"not an entry").await;
    orphan(
        &mut broker,
        "b",
        "1001",
        br#"[{"headers": 1}, "", "celery"]"#,
    )
    .await;
    orphan(
        &mut broker,
        "c",
        "1002",
        br#"[{"headers": {}}, "named", "nowhere"]"#,
    )
    .await;
    broker
        .ask(&["ZADD", "unacked_index", "1003", "without-body"])
        .await;
    let rig = Rig::start(options);
    broker.until_clean().await;
    assert_eq!(broker.dead().await.len(), 3);
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    for cause in ["cause unacked-entry", "cause envelope", "cause no-binding"] {
        assert!(letters.contains(cause), "{cause} is not in {letters}");
    }
    drop(rig);
}

#[tokio::test]
async fn one_bad_orphan_does_not_stop_the_others() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(500);
    // The entries have faults: the first goes to a key that is not a list. The second has a binding
    // key that is not a set, the third a tag that is not UTF-8.
    broker.ask(&["SET", "string", "x"]).await;
    broker.ask(&["SET", "_kombu.binding.named", "x"]).await;
    for (tag, entry) in [
        (
            b"a".as_slice(),
            br#"[{"headers": {}}, "", "string"]"#.as_slice(),
        ),
        (b"b", br#"[{"headers": {}}, "named", "celery"]"#),
        (b"\xff\xfe", br#"[{"headers": {}}, "", ""]"#),
        (b"z", &entry("good")),
    ] {
        broker
            .ask(&[b"HSET", b"unacked".as_slice(), tag, entry])
            .await;
        broker
            .ask(&[b"ZADD", b"unacked_index".as_slice(), b"1000", tag])
            .await;
    }
    let mut rig = Rig::start(options);
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    assert_eq!(broker.dead().await.len(), 3);
}

#[tokio::test]
async fn a_verdict_after_the_lease_was_lost_changes_nothing() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a"), task("b")]).await;
    let (first, second) = (rig.next().await, rig.next().await);
    // Another worker restores both, as Python would.
    broker.ask(&["DEL", "unacked", "unacked_index"]).await;
    rig.settler.finish(first, succeeded("1"));
    let countdown = Duration::ZERO;
    rig.settler.finish(
        second,
        Outcome::Retry {
            countdown,
            reason: None,
            max_retries: None,
            arguments: None,
        },
    );
    rig.shutdown.advance(Phase::Warm);
    assert_eq!(rig.consumer.close(DEADLINE).await, Left::default());
    assert_eq!(broker.ask(&["DBSIZE"]).await, "0");
}

#[tokio::test]
async fn redelivered_messages_stay_before_the_others() {
    let mut broker = Redis::start().await;
    let marked = mark_redelivered(&message::<Redis>(&task("again"), "celery")).unwrap();
    let messages = [marked.raw, message::<Redis>(&task("new"), "celery")];
    broker.push("celery", &messages).await;
    let mut rig = Rig::start(broker.options());
    assert_eq!(rig.finish(2).await, ["again", "new"]);
}

#[tokio::test]
async fn after_a_freeze_no_task_begins_whose_lease_was_lost() {
    let mut broker = Redis::start().await;
    let mut options = broker.options();
    redis(&mut options).lease = Duration::from_millis(600);
    let mut rig = Rig::start(options);
    post(&mut broker, "celery", &[task("a"), task("b")]).await;
    let (a, b) = (rig.next().await, rig.next().await);
    let entries = broker.ask(&["HGETALL", "unacked"]).await;
    let tag_of = |id: &str| {
        let place = entries.find(&format!("tag-{id}")).unwrap();
        let start = entries[..place].rfind("rs:").unwrap();
        entries[start..].split(' ').next().unwrap().to_owned()
    };
    broker.ask(&["HDEL", "unacked", &tag_of("a")]).await;
    broker.ask(&["ZREM", "unacked_index", &tag_of("a")]).await;
    // All roles stand still, as if the process were stopped.
    std::thread::sleep(Duration::from_millis(700));
    assert!(rig.settler.begin(a, pending()).await.is_none());
    let b = rig.settler.begin(b, pending()).await.unwrap();
    rig.settler.finish(b, succeeded("1"));
    broker.until_clean().await;
    assert_eq!(broker.result("a").await, serde_json::Value::Null);
}

#[tokio::test]
async fn messages_that_were_read_without_harm_are_not_counted() {
    let mut broker = Redis::start().await;
    let options = EncodeOptions::new("celery", "tag").compression(Some(Compression::Zlib));
    let raw = task("a").encode_redis(&options).unwrap();
    let raw = mark_redelivered(&raw).unwrap().raw;
    broker.push("celery", &[raw]).await;
    let mut rig = Rig::start(broker.options());
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    assert_eq!(broker.ask(&["KEYS", "*:read"]).await, "[]");
    rig.settler.finish(delivery, succeeded("1"));
    broker.until_clean().await;
}

#[tokio::test]
async fn a_message_may_begin_once_and_five_times_again() {
    let mut broker = Redis::start().await;
    let mut rig = Rig::start(broker.options());
    post(&mut broker, "celery", &[task("a")]).await;
    for _ in 0..=5 {
        let delivery = rig.next().await;
        let delivery = rig.settler.begin(delivery, pending()).await.unwrap();
        rig.settler.finish(delivery, Outcome::Interrupted);
    }
    let delivery = rig.next().await;
    assert!(rig.settler.begin(delivery, pending()).await.is_none());
    broker.until_dead(1).await;
}
