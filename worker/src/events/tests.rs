//! Tests of the buffer and of the role, without a broker.

use std::time::Duration;

use celery_protocol::events::Message;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::broker::events::EventChannel;
use crate::monitor::{Observer, Of, Pulses};
use crate::task::testing;

/// A channel that passes on what is published. Each batch waits for a permit.
struct Heard(mpsc::UnboundedSender<Message>, Arc<tokio::sync::Semaphore>);

impl EventChannel for Heard {
    fn publish<'a>(&'a mut self, messages: &'a [Message]) -> BoxFuture<'a, ()> {
        let publish = async move {
            self.1.acquire().await.unwrap().forget();
            for message in messages {
                self.0.send(message.clone()).unwrap();
            }
        };
        publish.boxed()
    }
}

/// Returns the events of a message.
fn read(message: &Message) -> Vec<Value> {
    match serde_json::from_slice(&message.body).unwrap() {
        Value::Array(events) => events,
        event => vec![event],
    }
}

fn task(id: &str) -> Arc<celery_protocol::message::Task> {
    let mut task = testing::task("t", "[1]");
    task.id = id.to_owned();
    Arc::new(task)
}

#[test]
fn nothing_is_kept_until_events_are_enabled() {
    let events = Events::of("w@h");
    let (task, queue) = (task("a"), Arc::from("celery"));
    let of = Of {
        task: &task,
        queue: &queue,
        run: None,
    };
    let waiting = || events.0.as_ref().unwrap().waiting().events.len();
    events.received(of);
    assert_eq!(waiting(), 0);
    assert!(events.enable());
    assert!(!events.enable());
    events.received(of);
    events.started(of);
    assert_eq!(waiting(), 2);
    assert!(events.disable());
    assert!(!events.disable());
    events.ignored(of);
    events.revoked(of, &crate::monitor::Revocation::Expired);
    assert_eq!(waiting(), 2);
    Events::default().received(of);
    assert!(!Events::default().enable());
}

#[test]
fn the_buffer_is_bounded_and_messages_have_24_events() {
    let mut waiting = Waiting::default();
    for _ in 0..60 {
        waiting.add(b"{}".to_vec());
    }
    let sizes = |messages: Vec<Vec<u8>>| -> Vec<usize> {
        let count = |message: &Vec<u8>| serde_json::from_slice::<Vec<Value>>(message);
        messages.iter().map(|it| count(it).unwrap().len()).collect()
    };
    assert_eq!(sizes(waiting.take(2)), [24, 24]);
    assert_eq!(sizes(waiting.take(2)), [12]);
    assert_eq!(waiting.bytes, 0);
    for size in [MOST_BYTES + 1, MOST_BYTES - 1, 2, 1, 1] {
        waiting.add(vec![b' '; size]);
    }
    assert_eq!(waiting.events.len(), 2);
    assert_eq!((waiting.bytes, waiting.dropped), (MOST_BYTES, 3));
}

#[tokio::test]
async fn a_worker_announces_itself_and_its_tasks_and_signs_off() {
    let events = Events::of("w@h");
    let (heard, mut messages) = mpsc::unbounded_channel();
    let permits = Arc::new(tokio::sync::Semaphore::new(1));
    let (end, ended) = oneshot::channel();
    let channel = Heard(heard, Arc::clone(&permits));
    let pulse = Pulses::default().watch("events");
    let role = tokio::spawn(serve(events.clone(), Box::new(channel), pulse, ended));
    events.enable();
    let online = messages.recv().await.unwrap();
    assert_eq!(online.routing_key, "worker.online");
    assert_eq!(read(&online)[0]["type"], "worker-online");

    // The broker takes nothing, and no task waits for it.
    let queue = Arc::from("celery");
    events.running(2);
    for id in ["a", "b", "c"] {
        let task = task(id);
        let of = Of {
            task: &task,
            queue: &queue,
            run: None,
        };
        events.received(of);
        events.started(of);
    }
    drop(end);
    permits.add_permits(1_000);
    let mut seen = Vec::new();
    while let Ok(Some(message)) =
        tokio::time::timeout(Duration::from_secs(30), messages.recv()).await
    {
        seen.extend(read(&message));
    }
    role.await.unwrap();
    seen.retain(|event| event["type"] != "worker-heartbeat");
    let of_tasks: Vec<String> = seen
        .iter()
        .filter_map(|event| {
            Some(format!(
                "{} {}",
                event["type"].as_str()?,
                event["uuid"].as_str()?
            ))
        })
        .collect();
    let expected = ["a", "b", "c"]
        .map(|id| [format!("task-received {id}"), format!("task-started {id}")])
        .concat();
    assert_eq!(of_tasks, expected);
    let offline = seen.last().unwrap();
    assert_eq!(offline["type"], "worker-offline");
    assert_eq!(
        (&offline["active"], &offline["processed"]),
        (&2.into(), &3.into())
    );
    let clocks: Vec<u64> = seen
        .iter()
        .filter_map(|event| event["clock"].as_u64())
        .collect();
    assert!(clocks.is_sorted_by(|one, next| one < next), "{clocks:?}");
}
