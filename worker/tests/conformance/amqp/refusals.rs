//! What RabbitMQ does not take, and what it drops.

use std::collections::BTreeSet;
use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use celery_protocol::amqp::{Frame, FrameKind, Table};
use celery_protocol::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::rig::{json, post, succeeded, task};

/// Returns a task whose success is followed by a task in a queue.
fn followed(id: &str, queue: &str) -> Task {
    let mut task = task(id);
    let callback = serde_json::json!([{
        "task": "proj.echo", "args": [], "kwargs": {}, "options": { "queue": queue },
    }]);
    task.embed.callbacks = Some(json(&callback.to_string()));
    task
}

/// Finishes the next delivery, which is that of a task.
async fn finish(rig: &mut Rig, id: &str, result: &str) {
    let delivery = rig.next().await;
    assert_eq!(delivery.task.id, id);
    rig.settler.finish(delivery, succeeded(result));
}

/// Waits until a queue has this number of messages.
async fn until_ready(broker: &mut Classic, queue: &str, count: usize) {
    broker.until_depth(queue, count, 0).await;
}

#[tokio::test]
async fn a_message_whose_follow_up_has_no_place_is_not_acknowledged() {
    // The text of a result that is too large for this server, also as a dead letter.
    let large = format!("\"{}\"", "x".repeat(200_000));
    let node = RabbitMqOptions::new().set("max_message_size", "100000");
    let mut broker = Classic::alone(node.start().unwrap()).await;
    let full = || {
        let mut queue = Queue::durable("full");
        queue.arguments.set("x-max-length", &1).unwrap();
        queue.arguments.set("x-overflow", "reject-publish").unwrap();
        queue
    };
    broker
        .with(async |connection| {
            connection.declare_queue(LOOKS, &full()).await?.unwrap();
            Ok(())
        })
        .await;
    let filler = Classic::message(&task("filler"), &EncodeOptions::new("full", "filler"));
    broker.push("full", &[filler]).await;
    let mut options = broker.options();
    let celery_worker::consumer::Transport::Amqp(amqp) = &mut options.transport else {
        panic!("another transport");
    };
    amqp.create_missing = None;
    broker
        .with(async |connection| {
            Classic::declare(connection, "celery").await?;
            Classic::declare(connection, "taking").await
        })
        .await;
    let mut rig = Rig::start(options);

    // A queue that is full, and a message that closes the channel.
    for (queue, first) in [("full", "5"), ("taking", &*large)] {
        post(&mut broker, "celery", &[followed("a", queue)]).await;
        finish(&mut rig, "a", first).await;
        let again = rig.next().await;
        assert!(again.task.redelivered, "{queue}");
        if queue == "full" {
            // It was offered on another connection, too.
            let log = broker.own().log();
            let opened = log.matches("client-provided name: celery@test/complete");
            assert!(opened.count() > 1, "{log}");
        }
        let purge = Method::QueuePurge {
            ticket: Reserved::default(),
            queue: Short::new(queue).unwrap(),
            no_wait: false,
        };
        broker
            .with(async |connection| {
                connection.ask_opening(LOOKS, &purge).await?.unwrap();
                Ok(())
            })
            .await;
        rig.settler.finish(again, succeeded("5"));
        until_ready(&mut broker, queue, 1).await;
        broker.until_clean().await;
    }
    assert_eq!(broker.dead().await, []);

    // A queue that is missing: the task has run, and what follows becomes a dead letter.
    post(&mut broker, "celery", &[followed("b", "missing")]).await;
    finish(&mut rig, "b", "5").await;
    broker.until_clean().await;
    assert_eq!(broker.result("b").await["status"], "SUCCESS");
    let dead = broker.dead().await;
    let named = dead.iter().map(|it| (&*it.queue, &*it.task, &*it.cause));
    let named: Vec<_> = named.collect();
    assert_eq!(named, [("missing", "proj.echo", "unroutable")]);
}

/// A relay before a server. It closes the first connections over which a text is sent, as a server
/// does for a message that it cannot handle.
async fn relay(port: u16, text: &'static str, times: usize) -> u16 {
    let left = Arc::new(AtomicUsize::new(times));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let left = Arc::clone(&left);
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                let (mut answers, mut to_server) = server.into_split();
                let (mut requests, mut to_client) = client.into_split();
                let mut back = tokio::spawn(async move {
                    let _ = tokio::io::copy(&mut answers, &mut to_client).await;
                    to_client
                });
                let (mut seen, mut room) = (Vec::new(), vec![0; 65_536]);
                while let Ok(count @ 1..) = requests.read(&mut room).await {
                    seen.extend_from_slice(&room[..count]);
                    let has_text = seen.windows(text.len()).any(|part| part == text.as_bytes());
                    let next = |left: usize| left.checked_sub(1);
                    if has_text && left.fetch_update(Relaxed, Relaxed, next).is_ok() {
                        // The server gets nothing of the message, and its last answers arrive first.
                        drop(to_server);
                        let mut to_client = (&mut back).await.unwrap();
                        let _ = to_client.write_all(&close()).await;
                        let _ = requests.read(&mut room).await;
                        return;
                    }
                    let keep = seen.len().saturating_sub(text.len());
                    seen.drain(..keep);
                    if to_server.write_all(&room[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address.port()
}

/// Returns the options of a worker whose connections go through a [`relay`].
async fn through_relay(broker: &Classic, text: &'static str, times: usize) -> ConsumerOptions {
    let relay = relay(broker.vhost.port(), text, times).await;
    let url = broker.vhost.url_on(relay);
    let endpoint = Arc::new(AmqpEndpoint::from_url(&url).unwrap());
    let mut options = ConsumerOptions::new(endpoint, "celery@test");
    options.results = broker.options().results;
    options
}

/// Returns the frame with which a server closes a connection.
fn close() -> Vec<u8> {
    let mut payload = Vec::new();
    let close = Method::ConnectionClose {
        reply_code: 541,
        reply_text: Short::new("INTERNAL_ERROR").unwrap(),
        class_id: 0,
        method_id: 0,
    };
    close.write(&mut payload);
    let mut frame = Vec::new();
    let method = Frame {
        kind: FrameKind::Method,
        channel: 0,
        payload: &payload,
    };
    method.write(&mut frame, 131_072).unwrap();
    frame
}

#[tokio::test]
async fn a_message_that_costs_every_connection_is_refused_and_stops_no_other() {
    const MARK: &str = "this closes the connection";
    let mut broker = Classic::start().await;
    let mut rig = Rig::start(through_relay(&broker, MARK, usize::MAX).await);
    post(
        &mut broker,
        "celery",
        &[followed("bad", "bad"), followed("good", "good")],
    )
    .await;
    let (bad, good) = (rig.next().await, rig.next().await);
    rig.settler.finish(bad, succeeded(&format!("\"{MARK}\"")));
    rig.settler.finish(good, succeeded("5"));
    until_ready(&mut broker, "good", 1).await;
    let again = rig.next().await;
    assert!(again.task.redelivered);
    assert_eq!(again.task.id, "bad");
    rig.settler.finish(again, succeeded("5"));
    until_ready(&mut broker, "bad", 1).await;
    broker.until_clean().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_while_a_queue_is_created_repeats_no_task() {
    let mut broker = Classic::start().await;
    broker
        .with(async |connection| Classic::declare(connection, "celery").await)
        .await;
    // The kind of the exchange that belongs to a queue. The queue is there already.
    let mut rig = Rig::start(through_relay(&broker, "direct", 1).await);
    post(&mut broker, "celery", &[followed("a", "new")]).await;
    finish(&mut rig, "a", "5").await;
    until_ready(&mut broker, "new", 1).await;
    broker.until_clean().await;
    let again = rig.deliveries.try_recv();
    assert!(again.is_err(), "{again:?}");
}

/// Posts a task that is due in years, and waits until RabbitMQ keeps it.
async fn kept(broker: &mut Classic, rig: &Rig, count: usize) {
    let mut far = task("far");
    far.eta = Some(Timestamp::parse("2999-01-01T00:00:00Z").unwrap());
    post(broker, "celery", &[far]).await;
    broker.until_clean().await;
    broker.until_waiting(rig, count).await;
    assert_eq!(rig.consumer.parked(), 0);
}

#[tokio::test]
async fn a_task_waits_in_rabbitmq_although_its_levels_are_not_complete() {
    let mut broker = Classic::start().await;
    broker
        .with(async |connection| Classic::declare(connection, "celery").await)
        .await;
    let rig = Rig::start(through_relay(&broker, "celery_delayed_27", 1).await);
    // What another program has declared before it was ended. Its queues have another type.
    let name = Short::new("celery_delayed_27").unwrap();
    let entrance = Method::ExchangeDeclare {
        ticket: Reserved::default(),
        exchange: name,
        kind: Short::new("topic").unwrap(),
        passive: false,
        durable: true,
        auto_delete: false,
        internal: false,
        no_wait: false,
        arguments: Table::default(),
    };
    broker
        .with(async |connection| {
            connection.ask_opening(LOOKS, &entrance).await?.unwrap();
            let mut queue = Queue::durable("celery_delayed_27");
            queue.arguments.set("x-queue-type", "classic").unwrap();
            connection.declare_queue(LOOKS, &queue).await?.unwrap();
            Ok(())
        })
        .await;
    kept(&mut broker, &rig, 1).await;
    kept(&mut broker, &rig, 2).await;
}

#[tokio::test]
async fn what_only_waited_in_killed_workers_is_not_dropped() {
    const TASKS: usize = 30;
    let mut broker = Quorum::start().await;
    broker
        .with(async |connection| {
            // What RabbitMQ 4 does by default.
            let mut queue = Queue::durable("celery");
            queue.arguments.set("x-queue-type", "quorum").unwrap();
            queue.arguments.set("x-delivery-limit", &20).unwrap();
            connection.declare_queue(LOOKS, &queue).await?.unwrap();
            Ok(())
        })
        .await;
    let tasks: Vec<Task> = (0..TASKS).map(|n| task(&n.to_string())).collect();
    post(&mut broker, "celery", &tasks).await;
    for _ in 0..25 {
        let mut rig = Rig::start(broker.options());
        let mut waiting = Vec::new();
        while waiting.len() < TASKS {
            waiting.push(rig.next().await);
        }
        // Messages that were published anew are acknowledged.
        broker.until_depth("celery", 0, TASKS).await;
        drop(rig);
        broker.until_depth("celery", TASKS, 0).await;
    }
    let mut rig = Rig::start(broker.options());
    let ids: BTreeSet<String> = rig.finish(TASKS).await.into_iter().collect();
    assert_eq!(ids.len(), TASKS);
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}

#[tokio::test]
async fn no_more_starts_are_counted_than_there_could_have_been() {
    const TASKS: usize = 20;
    let mut broker = Classic::start().await;
    let tasks: Vec<Task> = (0..TASKS).map(|n| task(&n.to_string())).collect();
    post(&mut broker, "celery", &tasks).await;
    let mut options = broker.options();
    let celery_worker::consumer::Transport::Amqp(amqp) = &mut options.transport else {
        panic!("another transport");
    };
    amqp.slots = 1;
    for _ in 0..8 {
        let mut rig = Rig::start(options.clone());
        let mut begun = Vec::new();
        for _ in 0..TASKS {
            let delivery = rig.next().await;
            begun.extend(rig.settler.begin(delivery, pending()).await);
        }
        // As after a kill of the process, nothing is given back.
        drop(rig);
        drop(begun);
        broker.until_depth("celery", TASKS, 0).await;
    }
    let mut rig = Rig::start(options);
    let ids: BTreeSet<String> = rig.finish(TASKS).await.into_iter().collect();
    assert_eq!(ids.len(), TASKS);
    broker.until_clean().await;
    assert_eq!(broker.dead().await, []);
}
