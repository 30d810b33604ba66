//! Messages whose worker is gone, and messages that kill their workers.

use std::time::Duration;

use celery_protocol::message::mark_redelivered;
use celery_testkit::RedisOptions;
use celery_worker::delivery::Verdict;

use crate::rig::{Broker, DEADLINE, json, message, task};

/// An entry as kombu writes it, held since `score`.
async fn orphan(broker: &mut Broker, tag: &str, score: &str, entry: &[u8]) {
    broker
        .ask(&[b"HSET", b"unacked".as_slice(), tag.as_bytes(), entry])
        .await;
    broker.ask(&["ZADD", "unacked_index", score, tag]).await;
}

fn entry(id: &str) -> Vec<u8> {
    [
        b"[",
        message(&task(id), "celery").as_slice(),
        br#", "", "celery"]"#,
    ]
    .concat()
}

#[tokio::test]
async fn a_python_orphan_is_restored_after_the_visibility_timeout() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
    orphan(&mut broker, "0b0e6d1f", "1000", &entry("old")).await;
    let fresh = broker.ask(&["TIME"]).await;
    let fresh = fresh
        .trim_start_matches('[')
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    orphan(&mut broker, "7c1d4a2e", &fresh, &entry("fresh")).await;
    let mut rig = broker.consume(options);
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    assert_eq!(delivery.task.id, "old");
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker
        .until_like(&["HKEYS", "unacked"], |keys| keys == "[7c1d4a2e]")
        .await;
}

#[tokio::test]
async fn an_orphan_of_ours_is_restored_after_the_lease() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
    let mut dying = broker.consume(options.clone());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let lost = dying.next().await;
    // As when the process is killed: nothing is given back.
    let settler = dying.settler.clone();
    drop(dying);
    let mut rig = broker.consume(options);
    let delivery = rig.next().await;
    assert_eq!(
        (delivery.task.id.as_str(), delivery.task.redelivered),
        ("a", true)
    );
    settler.finish(lost, Verdict::Success(json("1")));
    rig.settler.finish(delivery, Verdict::Success(json("2")));
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["result"], 2);
}

/// The score in `[tag score]`; 0 if there is none.
fn score(answer: &str) -> f64 {
    let score = answer.trim_end_matches(']').rsplit(' ').next();
    score.and_then(|score| score.parse().ok()).unwrap_or(0.0)
}

#[tokio::test]
async fn a_held_task_keeps_its_lease() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(600);
    let mut rig = broker.consume(options.clone());
    let other = broker.consume(options);
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let mut other = other;
    let (delivery, settler) = tokio::select! {
        delivery = rig.deliveries.recv() => (delivery.unwrap(), rig.settler.clone()),
        delivery = other.deliveries.recv() => (delivery.unwrap(), other.settler.clone()),
    };
    let held = ["ZRANGE", "unacked_index", "0", "0", "WITHSCORES"];
    let since = score(&broker.ask(&held).await);
    // Held for five leases, swept all the while: nobody else gets it.
    tokio::select! {
        () = broker.until_like(&held, |answer| score(answer) > since + 3.0) => {}
        _ = rig.deliveries.recv() => panic!("delivered twice"),
        _ = other.deliveries.recv() => panic!("delivered twice"),
    }
    settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.result("a").await["result"], 1);
}

#[tokio::test]
async fn a_verdict_after_the_lease_was_lost_changes_nothing() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push(
            "celery",
            &[message(&task("a"), "celery"), message(&task("b"), "celery")],
        )
        .await;
    let (first, second) = (rig.next().await, rig.next().await);
    // Somebody restores both, as Python would.
    broker.ask(&["DEL", "unacked", "unacked_index"]).await;
    rig.settler.finish(first, Verdict::Success(json("1")));
    let countdown = Duration::ZERO;
    rig.settler.finish(
        second,
        Verdict::Retry {
            countdown,
            reason: None,
            traceback: None,
            max_retries: None,
        },
    );
    rig.shutdown.advance(celery_worker::Phase::Warm);
    assert_eq!(rig.consumer.close(DEADLINE).await, Default::default());
    assert_eq!(broker.ask(&["DBSIZE"]).await, "0");
}

#[tokio::test]
async fn an_unreadable_orphan_is_a_dead_letter() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
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
    let rig = broker.consume(options);
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "3");
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    for cause in ["cause unacked-entry", "cause envelope", "cause no-binding"] {
        assert!(letters.contains(cause), "{cause} is not in {letters}");
    }
    drop(rig);
}

#[tokio::test]
async fn one_bad_orphan_does_not_keep_the_others() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
    // To a key that is no list, by a binding key that is no set, under a tag that is no UTF-8.
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
    let mut rig = broker.consume(options);
    assert_eq!(rig.finish(1).await, ["good"]);
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "3");
}

#[tokio::test]
async fn the_redelivered_keep_their_place_before_the_others() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let marked = mark_redelivered(&message(&task("again"), "celery")).unwrap();
    let messages = [marked.raw, message(&task("new"), "celery")];
    broker.push("celery", &messages).await;
    let mut rig = broker.consume(broker.options());
    assert_eq!(rig.finish(2).await, ["again", "new"]);
}

#[tokio::test]
async fn a_message_that_comes_back_too_often_is_a_dead_letter() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    for times in 0..=5 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.redelivered, times > 0);
        let delivery = rig.settler.begin(delivery).await.unwrap();
        rig.settler
            .finish(delivery, Verdict::GiveBack { started: true });
    }
    let delivery = rig.next().await;
    assert!(rig.settler.begin(delivery).await.is_none());
    broker.until(&["XLEN", "celery.dead"], "1").await;
    broker.until_clean().await;
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    assert!(letters.contains("cause poison"), "{letters}");
    assert_eq!(
        broker.result("a").await["result"]["exc_type"],
        "WorkerLostError"
    );
}

#[tokio::test]
async fn what_only_waited_beside_a_message_that_kills_is_not_counted() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(500);
    let mut rig = broker.consume(options.clone());
    broker
        .push("celery", &[message(&task("waits"), "celery")])
        .await;
    for _ in 0..8 {
        // Delivered, not begun; and its worker dies.
        let waits = rig.next().await;
        rig = broker.consume(options.clone());
        drop(waits);
    }
    let delivery = rig.next().await;
    let delivery = rig.settler.begin(delivery).await.unwrap();
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.result("waits").await["status"], "SUCCESS");
}

#[tokio::test]
async fn what_has_no_verdict_at_the_end_is_given_back() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    let delivery = rig.next().await;
    rig.shutdown.advance(celery_worker::Phase::Cold);
    let left = rig.consumer.close(Duration::from_millis(50)).await;
    assert_eq!((left.returned, left.held), (1, 0));
    assert!(
        broker
            .ask(&["LRANGE", "celery", "0", "-1"])
            .await
            .contains(r#""redelivered":true"#)
    );
    assert_eq!(
        broker.ask(&["EXISTS", "unacked", "unacked_index"]).await,
        "0"
    );
    drop(delivery);
}
