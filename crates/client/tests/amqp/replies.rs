//! Queues for the replies of workers.

use std::panic::resume_unwind;
use std::sync::mpsc;

use celery_client::ClientError;
use celery_client::amqp::blocking::{Flow, Known, Queue, QueueState, Remains, Replies};

use super::*;

const TICK: Duration = Duration::from_millis(50);

fn state(client: &mut Client, queue: &str) -> Option<QueueState> {
    within(LONG, |wait| client.queue_state(queue, wait)).unwrap()
}

/// Waits until a queue has this number of messages. The broker counts acknowledgements and messages
/// that go back a moment later.
fn holds(client: &mut Client, queue: &str, messages: u32) {
    celery_testkit::wait_for(LONG, "the count of messages", || {
        state(client, queue).is_some_and(|it| it.messages == messages)
    })
    .unwrap();
}

fn publish(client: &mut Client, queue: &str, ids: std::ops::Range<u32>) {
    let posts: Vec<_> = ids.map(|n| post(queue, &format!("id-{n}"))).collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));
}

#[test]
fn queues_are_declared_in_one_go_and_those_that_differ_stay() {
    let node = shared();
    let mut client = client(&node.url());
    let mut other = Queue::durable("q-7");
    other.arguments.set("x-max-length", &3).unwrap();
    within(LONG, |wait| client.declare_queue(&other, wait)).unwrap();
    let names: Vec<_> = (0..450).map(|n| format!("q-{n}")).collect();
    let queues: Vec<_> = names.iter().map(|name| Queue::durable(name)).collect();
    within(LONG, |wait| client.declare_queues(&queues, wait)).unwrap();
    for name in ["q-0", "q-7", "q-8", "q-199", "q-200", "q-449"] {
        assert!(state(&mut client, name).is_some(), "{name}");
    }
    publish(&mut client, "q-7", 0..5);
    holds(&mut client, "q-7", 3);
    assert_eq!(
        within(LONG, |wait| client.purge_queue("q-7", wait)),
        Ok(Some(3))
    );
    assert_eq!(
        within(LONG, |wait| client.purge_queue("none", wait)),
        Ok(None)
    );
    let mut invalid = Queue::durable("amq.reserved");
    invalid.exclusive = true;
    let refused = within(LONG, |wait| client.declare_queues(&[invalid], wait));
    assert!(matches!(refused, Err(ClientError::Broker(close)) if close.code == 403));
    assert!(client.is_connected());
}

#[test]
fn what_is_ready_is_taken_without_waiting() {
    let node = shared();
    let mut client = client(&node.url());
    let mut taken = Vec::new();
    let mut take = |client: &mut Client| {
        let ready = within(LONG, |wait| {
            client.take_ready("r", wait, |delivery| taken.push(task(&delivery).id))
        });
        (ready, std::mem::take(&mut taken))
    };
    let (missing, _) = take(&mut client);
    assert!(matches!(missing, Err(ClientError::Broker(close)) if close.code == 404));
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("r"), wait)
    })
    .unwrap();
    assert_eq!(take(&mut client), (Ok(()), Vec::new()));
    publish(&mut client, "r", 0..130);
    let all: Vec<_> = (0..130).map(|n| format!("id-{n}")).collect();
    assert_eq!(take(&mut client), (Ok(()), all));
    drop(client);
    let mut client = super::client(&node.url());
    // All were acknowledged.
    holds(&mut client, "r", 0);

    // Of the states of one task, the newest stays.
    assert_eq!(within(LONG, |wait| client.newest("r", wait)), Ok(None));
    publish(&mut client, "r", 0..3);
    for _ in 0..2 {
        let newest = within(LONG, |wait| client.newest("r", wait)).unwrap();
        assert_eq!(newest.map(|it| task(&it).id).as_deref(), Some("id-2"));
        holds(&mut client, "r", 1);
    }
}

#[test]
fn a_consumer_of_replies_tells_the_time_and_can_be_used_again() {
    let node = shared();
    let mut client = client(&node.url());
    let mut other = super::client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("r"), wait)
    })
    .unwrap();
    let follow = |client: &mut Client, remains, time, last: &str| {
        let mut ids = Vec::new();
        let ended = within(time, |wait| {
            client.follow("r", remains, TICK, wait, |delivery| {
                ids.push(delivery.map(|it| task(&it).id));
                match ids.last() {
                    Some(Some(id)) if id == last => Flow::Stop,
                    _ => Flow::More,
                }
            })
        });
        (ended, ids)
    };

    // The deadline leaves the connection usable.
    let (ended, ids) = follow(&mut client, Remains::Nothing, TICK * 5, "none");
    assert!(
        matches!(ended, Err(ClientError::Timeout { .. })),
        "{ended:?}"
    );
    assert!(ids.contains(&None), "{ids:?}");
    assert!(client.is_connected());

    // All that arrive are handed over, and acknowledged.
    publish(&mut other, "r", 0..50);
    let (ended, mut ids) = follow(&mut client, Remains::Nothing, LONG, "id-0");
    assert_eq!(ended, Ok(()));
    ids.retain(Option::is_some);
    let taken = u32::try_from(ids.len()).unwrap();
    assert!(client.is_connected());
    within(LONG, |wait| client.close(wait)).unwrap();
    holds(&mut other, "r", 50 - taken);
    within(LONG, |wait| other.purge_queue("r", wait)).unwrap();

    // The newest goes back, after a success and at the deadline.
    publish(&mut other, "r", 0..3);
    for (time, last) in [(LONG, "id-2"), (TICK * 5, "none")] {
        let (ended, ids) = follow(&mut client, Remains::Newest, time, last);
        assert_eq!(ended.is_ok(), last == "id-2");
        assert!(ids.contains(&Some("id-2".to_owned())), "{ids:?}");
        holds(&mut client, "r", 1);
    }

    // A queue that is deleted, or missing, ends the wait.
    let deleting = std::thread::spawn(move || {
        while state(&mut other, "r").is_some_and(|it| it.consumers == 0) {}
        within(LONG, |wait| other.delete_queue("r", wait)).unwrap();
    });
    let (gone, _) = follow(&mut client, Remains::Nothing, LONG, "none");
    deleting.join().unwrap();
    assert!(matches!(gone, Err(ClientError::Broker(close)) if close.code == 404));
    let (missing, _) = follow(&mut client, Remains::Nothing, LONG, "none");
    assert!(matches!(missing, Err(ClientError::Broker(close)) if close.code == 404));
    assert!(client.is_connected());
}

#[test]
fn an_older_state_that_goes_back_never_replaces_the_last() {
    let node = shared();
    let mut client = client(&node.url());
    let mut watch = super::client(&node.url());
    within(LONG, |wait| watch.declare_queue(&Queue::durable("r"), wait)).unwrap();
    publish(&mut watch, "r", 0..1);
    // Another reader holds the first state, and ends without a word.
    let (holds_it, held) = mpsc::channel();
    let (end, may_end) = mpsc::channel::<()>();
    let mut other = super::client(&node.url());
    let reading = std::thread::spawn(move || {
        let received = within(LONG, |wait| {
            other.receive("r", wait, |_| {
                holds_it.send(()).unwrap();
                may_end.recv_timeout(LONG).unwrap();
                resume_unwind(Box::new(()))
            })
        });
        received.unwrap();
    });
    held.recv_timeout(LONG).unwrap();
    let (mut is_published, mut taken) = (false, 0);
    let followed = within(LONG, |wait| {
        client.follow("r", Remains::Newest, TICK, wait, |delivery| {
            if delivery.is_some() {
                taken += 1;
                end.send(()).unwrap();
                // What the other reader held comes to this one.
                celery_testkit::wait_for(LONG, "the end of the other reader", || {
                    state(&mut watch, "r").is_some_and(|it| it.consumers == 1)
                })
                .unwrap();
                return Flow::Stop;
            }
            // Each of the two readers gets one of these.
            if !std::mem::replace(&mut is_published, true) {
                publish(&mut watch, "r", 1..3);
            }
            Flow::More
        })
    });
    assert_eq!((followed, taken), (Ok(()), 1));
    assert!(reading.join().is_err());
    holds(&mut watch, "r", 3);
    let newest = within(LONG, |wait| watch.newest("r", wait)).unwrap();
    assert_eq!(newest.map(|it| task(&it).id).as_deref(), Some("id-2"));
}

#[test]
fn a_state_may_be_held_longer_than_the_server_waits_for_its_acknowledgement() {
    let node = node();
    node.eval(
        "application:set_env(rabbit, consumer_timeout, 1000), \
         application:set_env(rabbit, channel_tick_interval, 500)",
    )
    .unwrap();
    let mut client = client(&node.url());
    let mut other = super::client(&node.url());
    within(LONG, |wait| other.declare_queue(&Queue::durable("r"), wait)).unwrap();
    publish(&mut other, "r", 0..1);
    let mut ids = Vec::new();
    let followed = within(LONG, |wait| {
        client.follow("r", Remains::Newest, TICK, wait, |delivery| {
            let Some(delivery) = delivery else {
                return Flow::More;
            };
            ids.push(task(&delivery).id);
            match ids.len() {
                2 => publish(&mut other, "r", 1..2),
                3 => return Flow::Stop,
                _ => {}
            }
            Flow::More
        })
    });
    assert_eq!(followed, Ok(()));
    assert_eq!(ids, ["id-0", "id-0", "id-1"]);
    assert!(client.is_connected());
}

#[test]
fn a_reply_that_is_too_large_does_not_block_those_behind_it() {
    let node = shared();
    let mut sender = client(&node.url());
    let mut reader = with_options(&node.url(), |options| options.max_body = 1_000);
    let queue = Queue::durable("replies");
    within(LONG, |wait| sender.declare_queue(&queue, wait)).unwrap();
    let mut large = post("replies", "large");
    large.message.body = vec![b'x'; 300_000];
    let posts = [large, post("replies", "small")];
    let outcomes = within(LONG, |wait| sender.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let mut replies = Replies::default();
    replies.expect("large");
    replies.expect("small");
    within(LONG, |wait| {
        reader.take_ready("replies", wait, |delivery| {
            replies.take(delivery).unwrap();
        })
    })
    .unwrap();
    assert_eq!(replies.get("large"), Known::Dropped);
    assert!(matches!(replies.get("small"), Known::Arrived(_)));
    assert!(reader.is_connected());
    holds(&mut sender, "replies", 0);
}
