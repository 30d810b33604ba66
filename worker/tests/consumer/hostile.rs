//! Messages that become large, meet bugs, or come again and again; and what is dropped.

use std::time::Duration;

use celery_protocol::compression::Compression;
use celery_protocol::message::{EncodeOptions, mark_redelivered};
use celery_protocol::serializer::Serializer;
use celery_testkit::RedisOptions;
use celery_worker::Phase;
use celery_worker::delivery::Verdict;

use crate::rig::{Broker, DEADLINE, json, message, task};

/// What each of the bombs becomes.
const BOMB: usize = 256 << 10;

#[tokio::test]
async fn of_250_bombs_no_more_are_read_than_fit() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut bomb = task("bomb-000");
    bomb.args = json(&format!("[{:?}]", "x".repeat(BOMB)));
    let options = EncodeOptions::new("celery", "bomb-000").compression(Some(Compression::Zlib));
    let bomb = String::from_utf8(bomb.encode_redis(&options).unwrap()).unwrap();
    let bombs: Vec<_> = (0..250)
        .map(|n| {
            bomb.replace("bomb-000", &format!("bomb-{n:03}"))
                .into_bytes()
        })
        .collect();
    assert!(bombs[0].len() < 4096, "{} bytes", bombs[0].len());
    broker.push("celery", &bombs).await;
    let mut options = broker.options();
    options.held_bytes = 4 * BOMB;
    let mut rig = broker.consume(options);
    for n in 0..249 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.id, format!("bomb-{n:03}"));
        // The fourth may be read while there is almost room, and is one too many.
        let in_memory = 1 + rig.deliveries.len();
        assert!(in_memory <= 5, "{in_memory} are in memory");
        rig.settler.finish(delivery, Verdict::Ignore);
    }
    // A stop with some unread: they go back as they came.
    let mut last = rig.next().await;
    for _ in 0..2 {
        rig.settler.finish(last, Verdict::Reject { requeue: true });
        last = rig.next().await;
    }
    rig.settler.finish(last, Verdict::Ignore);
    broker.until_clean().await;
}

#[tokio::test]
async fn what_was_read_without_harm_is_not_counted() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let options = EncodeOptions::new("celery", "tag").compression(Some(Compression::Zlib));
    let raw = task("a").encode_redis(&options).unwrap();
    let raw = mark_redelivered(&raw).unwrap().raw;
    broker.push("celery", &[raw]).await;
    let mut rig = broker.consume(broker.options());
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    assert_eq!(broker.ask(&["KEYS", "*:read"]).await, "[]");
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
}

#[tokio::test]
async fn what_was_not_read_goes_back_as_it_came() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let messages: Vec<_> = (0..9)
        .map(|n| message(&task(&n.to_string()), "celery"))
        .collect();
    broker.push("celery", &messages).await;
    let before = broker.ask(&["LRANGE", "celery", "0", "-1"]).await;
    let mut options = broker.options();
    options.held_bytes = 1;
    let mut rig = broker.consume(options);
    let delivery = rig.next().await;
    broker.until(&["LLEN", "celery"], "0").await;
    rig.shutdown.advance(Phase::Warm);
    rig.settler
        .finish(delivery, Verdict::GiveBack { started: false });
    let settler = rig.settler;
    while let Some(delivery) = rig.deliveries.recv().await {
        settler.finish(delivery, Verdict::GiveBack { started: false });
    }
    assert_eq!(rig.consumer.close(DEADLINE).await, Default::default());
    assert_eq!(broker.ask(&["LLEN", "celery"]).await, "9");
    let after = broker.ask(&["LRANGE", "celery", "0", "-1"]).await;
    assert_eq!(before.len(), after.len());
    assert!(!after.contains("redelivered"), "{after}");
}

#[tokio::test]
async fn a_message_that_meets_a_bug_is_a_dead_letter_and_stops_nobody() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    let named = |name: &str| {
        let mut task = task(name);
        task.name = name.to_owned();
        message(&task, "celery")
    };
    let messages = [named("bug"), named("bug later"), named("fine")];
    broker.push("celery", &messages).await;
    assert_eq!(rig.finish(2).await, ["bug later", "fine"]);
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "2");
    let letters = broker.ask(&["XRANGE", "celery.dead", "-", "+"]).await;
    assert_eq!(letters.matches("cause bug").count(), 2, "{letters}");
    for id in ["bug", "bug later"] {
        assert_eq!(
            broker.result(id).await["result"]["exc_type"],
            "RuntimeError"
        );
    }
    assert_eq!(broker.result("fine").await["status"], "SUCCESS");
    assert!(rig.shutdown.is_running());
}

#[tokio::test]
async fn only_the_content_that_is_accepted_is_read() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.accept_content = vec![Serializer::Msgpack, Serializer::Yaml];
    let mut rig = broker.consume(options);
    let all = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
    let messages = all.map(|serializer| {
        let tag = format!("tag-{}", serializer.name());
        let options = EncodeOptions::new("celery", &tag).serializer(serializer);
        task(serializer.name()).encode_redis(&options).unwrap()
    });
    broker.push("celery", &messages).await;
    for name in ["msgpack", "yaml"] {
        let delivery = rig.next().await;
        assert_eq!(
            (&*delivery.task.id, delivery.task.args.get()),
            (name, "[2,3]")
        );
        rig.settler.finish(delivery, Verdict::Success(json("5")));
    }
    broker.until_clean().await;
    let refused = broker.result("json").await;
    assert_eq!(refused["result"]["exc_type"], "ContentDisallowed");
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "1");
}

#[tokio::test]
async fn what_puts_itself_back_may_do_so_for_ever() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    for times in 0..20 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.redelivered, times > 0);
        let delivery = rig.settler.begin(delivery).await.unwrap();
        rig.settler
            .finish(delivery, Verdict::Reject { requeue: true });
    }
    let delivery = rig.next().await;
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.ask(&["XLEN", "celery.dead"]).await, "0");
}

#[tokio::test]
async fn a_delivery_that_is_dropped_goes_back_as_if_it_had_begun() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut rig = broker.consume(broker.options());
    broker
        .push("celery", &[message(&task("a"), "celery")])
        .await;
    drop(rig.next().await);
    let delivery = rig.next().await;
    assert!(delivery.task.redelivered);
    rig.settler.finish(delivery, Verdict::Success(json("1")));
    broker.until_clean().await;
}

#[tokio::test]
async fn after_a_freeze_nothing_begins_whose_lease_was_lost() {
    let mut broker = Broker::start(RedisOptions::new()).await;
    let mut options = broker.options();
    options.lease = Duration::from_millis(600);
    let mut rig = broker.consume(options);
    broker
        .push(
            "celery",
            &[message(&task("a"), "celery"), message(&task("b"), "celery")],
        )
        .await;
    let (a, b) = (rig.next().await, rig.next().await);
    let entries = broker.ask(&["HGETALL", "unacked"]).await;
    let tag_of = |id: &str| {
        let place = entries.find(&format!("tag-{id}")).unwrap();
        let start = entries[..place].rfind("rs:").unwrap();
        entries[start..].split(' ').next().unwrap().to_owned()
    };
    broker.ask(&["HDEL", "unacked", &tag_of("a")]).await;
    broker.ask(&["ZREM", "unacked_index", &tag_of("a")]).await;
    // All roles stand still, as when the process is stopped.
    std::thread::sleep(Duration::from_millis(700));
    assert!(rig.settler.begin(a).await.is_none());
    let b = rig.settler.begin(b).await.unwrap();
    rig.settler.finish(b, Verdict::Success(json("1")));
    broker.until_clean().await;
    assert_eq!(broker.ask(&["EXISTS", "celery-task-meta-a"]).await, "0");
}
