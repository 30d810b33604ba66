//! Messages from queues.

use celery_client::ClientError;
use celery_client::amqp::blocking::{Flow, Queue};

use super::*;

#[test]
fn messages_are_taken_looked_at_and_received() {
    let node = shared();
    let mut client = client(&node.url());
    let missing = within(LONG, |wait| client.get("none", wait));
    assert!(matches!(missing, Err(ClientError::Broker(close)) if close.code == 404));
    assert_eq!(
        within(LONG, |wait| client.queue_state("none", wait)),
        Ok(None)
    );

    let mut reply = Queue::durable("reply");
    reply.auto_delete = true;
    reply.arguments.set("x-expires", &3_600_000).unwrap();
    let state = within(LONG, |wait| client.declare_queue(&reply, wait)).unwrap();
    assert_eq!((&*state.name, state.messages), ("reply", 0));
    assert_eq!(within(LONG, |wait| client.peek("reply", wait)), Ok(None));
    let posts: Vec<_> = (0..5).map(|n| post("reply", &format!("id-{n}"))).collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));

    // A look leaves the message where it was.
    for redelivered in [false, true] {
        let seen = within(LONG, |wait| client.peek("reply", wait))
            .unwrap()
            .unwrap();
        assert_eq!(
            (task(&seen).id, seen.redelivered),
            ("id-0".to_owned(), redelivered)
        );
    }
    let taken = within(LONG, |wait| client.get("reply", wait))
        .unwrap()
        .unwrap();
    assert_eq!(task(&taken).id, "id-0");

    // The rest stays in the queue, which the end of its last consumer would delete; so another
    // consumer is there.
    let mut other = super::client(&node.url());
    let watch = std::thread::spawn(move || {
        let mut ids = Vec::new();
        let received = within(LONG, |wait| {
            other.receive("reply", wait, |delivery| {
                ids.push(task(&delivery).id);
                if ids.last().is_some_and(|id| id == "last") {
                    Flow::Stop
                } else {
                    Flow::More
                }
            })
        });
        (received, ids)
    });
    let last = post("reply", "last");
    within(LONG, |wait| client.publish(&last, wait)).unwrap();
    let (received, ids) = watch.join().unwrap();
    assert_eq!(received, Ok(()));
    assert_eq!(ids, ["id-1", "id-2", "id-3", "id-4", "last"]);
}

#[test]
fn a_wait_ends_early_or_at_its_deadline_and_loses_nothing() {
    let node = shared();
    let mut client = client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    let posts: Vec<_> = (0..50).map(|n| post("q", &format!("id-{n}"))).collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));

    // The first message ends the wait. Those that have arrived meanwhile go back.
    let mut first = None;
    within(LONG, |wait| {
        client.receive("q", wait, |delivery| {
            first = Some(task(&delivery).id);
            Flow::Stop
        })
    })
    .unwrap();
    assert_eq!(first.as_deref(), Some("id-0"));
    assert_eq!(drain(&mut client, "q").len(), 49);

    let ended = within(Duration::from_millis(300), |wait| {
        client.receive("q", wait, |_| Flow::More)
    });
    assert!(
        matches!(ended, Err(ClientError::Timeout { .. })),
        "{ended:?}"
    );
    within(LONG, |wait| client.publish(&post("q", "kept"), wait)).unwrap();
    assert_eq!(drain(&mut client, "q"), ["kept"]);

    // The queue is deleted under its consumer.
    let (begun, begins) = std::sync::mpsc::channel();
    let url = node.url();
    let consumer = std::thread::spawn(move || {
        let mut other = super::client(&url);
        within(LONG, |wait| {
            other.receive("q", wait, |_| {
                begun.send(()).unwrap();
                Flow::More
            })
        })
    });
    within(LONG, |wait| client.publish(&post("q", "begin"), wait)).unwrap();
    begins.recv_timeout(LONG).unwrap();
    within(LONG, |wait| client.delete_queue("q", wait)).unwrap();
    let gone = consumer.join().unwrap();
    assert!(matches!(gone, Err(ClientError::Broker(close)) if close.code == 404));
}

#[test]
fn a_listener_gets_each_message_once_without_an_acknowledgement() {
    let node = shared();
    let mut client = client(&node.url());
    let mut replies = Queue::durable("replies");
    replies.exclusive = true;
    within(LONG, |wait| client.declare_queue(&replies, wait)).unwrap();
    let posts: Vec<_> = (0..50)
        .map(|n| post("replies", &format!("id-{n}")))
        .collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));

    // The first message ends the wait. The broker forgets those that it has sent meanwhile, so they
    // are handed over as well; the others are still in the queue.
    let mut ids = Vec::new();
    within(LONG, |wait| {
        client.listen("replies", wait, |delivery| {
            assert!(!delivery.redelivered);
            ids.push(task(&delivery).id);
            Flow::Stop
        })
    })
    .unwrap();
    assert!(!ids.is_empty());
    ids.extend(drain(&mut client, "replies"));
    let all: Vec<_> = (0..50).map(|n| format!("id-{n}")).collect();
    assert_eq!(ids, all);

    // Another connection cannot use the queue, and it ends with its own.
    let mut other = super::client(&node.url());
    let locked = within(LONG, |wait| other.queue_state("replies", wait));
    assert!(matches!(locked, Err(ClientError::Broker(close)) if close.code == 405));
    within(LONG, |wait| client.close(wait)).unwrap();
    let gone = within(LONG, |wait| other.queue_state("replies", wait));
    assert_eq!(gone, Ok(None));
}
