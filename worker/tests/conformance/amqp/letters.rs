//! Dead letters: what they keep of their messages.

use super::*;
use crate::rig::{post, task};

/// Returns the properties of the oldest letter that matter here: the mode of delivery, and the time
/// after which it expires.
async fn letter(broker: &Classic) -> (Option<u8>, Option<String>) {
    broker
        .with(async |connection| {
            let get = Method::BasicGet {
                ticket: Reserved::default(),
                queue: Short::new("celery.dead").unwrap(),
                no_ack: true,
            };
            let Ok(Reply::Got(delivery, _)) = connection.ask_opening(LOOKS, &get).await? else {
                panic!("no letter in the queue");
            };
            let properties = delivery.content.properties().unwrap();
            let expiration = properties.expiration.map(|it| it.text().into_owned());
            Ok((properties.delivery_mode, expiration))
        })
        .await
}

#[tokio::test]
async fn a_dead_letter_outlives_the_time_at_which_its_task_expires() {
    let mut broker = Classic::start().await;
    let _rig = Rig::start(broker.options());
    let mut unknown = task("stranger");
    unknown.name = "unknown".into();
    let mut message = Classic::message(&unknown, &EncodeOptions::new("celery", "stranger"));
    message.expiration = Some("3600000".to_owned());
    broker.push("celery", &[message]).await;
    broker.until_depth("celery.dead", 1, 0).await;
    assert_eq!(letter(&broker).await, (Some(2), None));
    broker.until_depth("celery", 0, 0).await;
}

#[tokio::test]
async fn a_message_whose_headers_fill_a_frame_becomes_a_dead_letter() {
    /// The largest frame of RabbitMQ, without what frames and other properties need.
    const ROOM: usize = 131_072 - 200;
    let mut broker = Classic::start().await;
    let mut rig = Rig::start(broker.options());
    let mut unknown = task("stranger");
    unknown.name = "unknown".into();
    let mut message = Classic::message(&unknown, &EncodeOptions::new("celery", "stranger"));
    let headers = message.headers.take().unwrap();
    let mut fields = headers.as_table().to_fields().unwrap();
    // Its name, its type and its length need ten bytes.
    let large = "x".repeat(ROOM - headers.len() - 10);
    fields.set("large", &large).unwrap();
    message.headers = Some(TableBuf::from_fields(&fields).unwrap());
    broker.push("celery", &[message]).await;
    broker.until_clean().await;
    let letter = DeadLetter::of("stranger", "unknown", "not-registered");
    assert_eq!(broker.dead().await, [letter]);
    post(&mut broker, "celery", &[task("good")]).await;
    assert_eq!(rig.finish(1).await, ["good"]);
}
