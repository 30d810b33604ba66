//! Messages that are malformed or large, or have a content type that is not accepted.

use celery_protocol::compression::Compression;
use celery_protocol::message::EncodeOptions;
use celery_protocol::serializer::Serializer;
use celery_worker::delivery::Outcome;

use crate::broker::Broker;
use crate::rig::{Rig, json, message, rejected, succeeded, task};

/// The size of each bomb once it is decompressed.
const BOMB: usize = 256 << 10;

pub async fn every_malformed_message_ends_and_none_stops_the_others<B: Broker>() {
    let (mut messages, letters) = B::malformed();
    let count = messages.len();
    messages.push(message::<B>(&task("last"), "celery"));
    let mut broker = B::start().await;
    broker.push("celery", &messages).await;
    let mut rig = Rig::start(broker.options());
    let mut delivered = 0;
    loop {
        let delivery = rig.next().await;
        let last = delivery.task.id == "last";
        rig.settler.finish(delivery, succeeded("1"));
        if last {
            break;
        }
        delivered += 1;
    }
    broker.until_clean().await;
    let dead = broker.dead().await;
    assert_eq!(delivered + dead.len(), count);
    for letter in letters {
        assert!(dead.contains(&letter), "{letter:?} is not in {dead:?}");
    }
}

pub async fn of_250_bombs_no_more_are_read_than_fit<B: Broker>() {
    let mut broker = B::start().await;
    let bombs: Vec<_> = (0..250)
        .map(|n| {
            let mut bomb = task(&format!("bomb-{n:03}"));
            bomb.args = json(&format!("[{:?}]", "x".repeat(BOMB)));
            let options =
                EncodeOptions::new("celery", &bomb.id).compression(Some(Compression::Zlib));
            assert!(bomb.encode_redis(&options).unwrap().len() < 4096);
            B::message(&bomb, &options)
        })
        .collect();
    broker.push("celery", &bombs).await;
    let mut options = broker.options();
    options.held_bytes = 4 * BOMB;
    let mut rig = Rig::start(options);
    for n in 0..249 {
        let delivery = rig.next().await;
        assert_eq!(delivery.task.id, format!("bomb-{n:03}"));
        // A message is read while the memory in use is below the limit, and may then exceed it. So
        // there may be one more than the four that fit.
        let in_memory = 1 + rig.deliveries.len();
        assert!(in_memory <= 5, "{in_memory} are in memory");
        rig.settler.finish(delivery, Outcome::Ignored);
    }
    let mut last = rig.next().await;
    for _ in 0..2 {
        rig.settler.finish(last, rejected(true));
        last = rig.next().await;
    }
    rig.settler.finish(last, Outcome::Ignored);
    broker.until_clean().await;
}

pub async fn only_accepted_content_is_read<B: Broker>() {
    let mut broker = B::start().await;
    let mut options = broker.options();
    options.accept_content = vec![Serializer::Msgpack, Serializer::Yaml];
    let mut rig = Rig::start(options);
    let all = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
    let messages = all.map(|serializer| {
        let tag = format!("tag-{}", serializer.name());
        let options = EncodeOptions::new("celery", &tag).serializer(serializer);
        B::message(&task(serializer.name()), &options)
    });
    broker.push("celery", &messages).await;
    for name in ["msgpack", "yaml"] {
        let delivery = rig.next().await;
        assert_eq!(
            (&*delivery.task.id, delivery.task.args.get()),
            (name, "[2,3]")
        );
        rig.settler.finish(delivery, succeeded("5"));
    }
    broker.until_clean().await;
    let refused = broker.result("json").await;
    assert_eq!(refused["result"]["exc_type"], "ContentDisallowed");
    assert_eq!(broker.dead().await.len(), 1);
}
