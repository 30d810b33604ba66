//! Dead letters: read, put back and deleted, on a classic and on a quorum queue.

use celery_client::amqp::blocking::{Queue, Replayed};
use celery_client::amqp::dead_letters;
use celery_protocol::amqp::Properties;

use super::*;

/// Writes a letter as a worker does, and returns its id.
fn write(client: &mut Client, number: usize, queue: &str, cause: &str) -> String {
    let id = format!("id-{number}");
    let mut letter = post(dead_letters::QUEUE, &id);
    // The last ones are the oldest, so that the order is not that of the queue.
    let time = format!("2030-01-01T00:00:{:02}.123456+00:00", 59 - number % 60);
    for (name, value) in [
        (dead_letters::QUEUE_OF, queue),
        (dead_letters::ID, &id),
        (dead_letters::CAUSE, cause),
        (dead_letters::TIME, &time),
    ] {
        letter.message.headers.push_text(name, value).unwrap();
    }
    within(LONG, |wait| client.publish(&letter, wait)).unwrap();
    id
}

fn newest(client: &mut Client, before: Option<&str>, limit: usize) -> Vec<(String, String)> {
    let read = |wait: &mut Wait<'_>| {
        client.newest_dead_letters(before, limit, wait, |letter| {
            (task(&letter.delivery).id, letter.description.place)
        })
    };
    within(LONG, read).unwrap()
}

#[test]
fn letters_are_read_put_back_and_deleted() {
    let node = node();
    let ready = |queue: &str| node.ready_messages(queue).unwrap();
    for kind in ["classic", "quorum"] {
        // A channel of RabbitMQ fails if a queue that it knows has another type meanwhile.
        let mut client = client(&node.url());
        assert_eq!(newest(&mut client, None, 5), []);
        assert_eq!(within(LONG, |wait| client.count_dead_letters(wait)), Ok(0));
        let mut queue = Queue::durable(dead_letters::QUEUE);
        queue.arguments.set("x-queue-type", kind).unwrap();
        within(LONG, |wait| client.declare_queue(&queue, wait)).unwrap();
        within(LONG, |wait| {
            client.declare_queue(&Queue::durable("q"), wait)
        })
        .unwrap();
        // More than are asked for at a time.
        let ids: Vec<String> = (0..55).map(|n| write(&mut client, n, "q", "no")).collect();
        let all = newest(&mut client, None, 100);
        let found: Vec<&String> = all.iter().map(|(id, _)| id).collect();
        assert_eq!(found, ids.iter().collect::<Vec<_>>(), "{kind}");
        assert_eq!(newest(&mut client, None, 3), all[..3], "{kind}");
        assert_eq!(newest(&mut client, Some(&all[2].1), 3), all[3..6], "{kind}");
        assert_eq!(newest(&mut client, Some(&all[54].1), 3), []);

        // The last one that is read is put back, as it was.
        let (id, place) = &all[54];
        let found = within(LONG, |wait| client.dead_letter(place, wait));
        let found = found.unwrap().unwrap();
        assert_eq!(found.description.field("id"), id);
        let replay = |client: &mut Client, place: &str| {
            within(LONG, |wait| client.replay_dead_letter(place, wait)).unwrap()
        };
        assert_eq!(replay(&mut client, place), Replayed::Done);
        assert_eq!(replay(&mut client, place), Replayed::Gone);
        let back = within(LONG, |wait| client.get("q", wait)).unwrap().unwrap();
        let sent = post(dead_letters::QUEUE, id);
        assert_eq!(back.content.body, sent.message.body);
        let properties = back.content.properties().unwrap();
        // A quorum queue changes the order of the headers.
        let headers = |of: &Properties<'_>| -> serde_json::Value {
            serde_json::from_str(&of.headers.unwrap().to_json().unwrap()).unwrap()
        };
        let as_sent = sent.message.properties().unwrap();
        assert_eq!(headers(&properties), headers(&as_sent), "{kind}");
        let others = |of: Properties<'_>| {
            format!(
                "{:?}",
                Properties {
                    headers: None,
                    ..of
                }
            )
        };
        assert_eq!(others(properties), others(as_sent), "{kind}");

        let delete = |client: &mut Client, place: &str| {
            within(LONG, |wait| client.delete_dead_letter(place, wait)).unwrap()
        };
        assert!(delete(&mut client, &all[30].1) && !delete(&mut client, &all[30].1));
        assert_eq!(newest(&mut client, None, 100).len(), 53, "{kind}");

        // What cannot be put back stays.
        within(LONG, |wait| client.delete_queue("q", wait)).unwrap();
        for (number, queue, cause, why) in [
            (57, "q", "no", "its queue does not exist"),
            (58, "", "no", "its queue is unknown"),
            (59, "q", "follow-up", "it is the signature of a task"),
        ] {
            let id = write(&mut client, number, queue, cause);
            let (found, place) = newest(&mut client, None, 60).pop().unwrap();
            assert_eq!(found, id);
            let replayed = replay(&mut client, &place);
            assert!(
                matches!(replayed, Replayed::Impossible(reason) if reason.starts_with(why)),
                "{replayed:?}"
            );
            assert!(delete(&mut client, &place));
        }
        assert_eq!(newest(&mut client, None, 100).len(), 53, "{kind}");
        assert!(client.is_connected());
        // A program that ends in the middle leaves all letters to the next one.
        let (mut cut, mut seen) = (super::client(&node.url()), 0);
        let ended = within(Duration::from_millis(1), |wait| {
            cut.newest_dead_letters(None, 1, wait, |_| seen += 1)
        });
        drop(cut);
        assert!(ended.is_err());
        celery_testkit::wait_for(LONG, "all letters", || {
            ready(dead_letters::QUEUE) == Some(53)
        })
        .unwrap();
        within(LONG, |wait| client.delete_queue(dead_letters::QUEUE, wait)).unwrap();
    }

    // A call reads at most 10,000 letters.
    let mut client = client(&node.url());
    let posts = vec![post(dead_letters::QUEUE, "one"); 10_001];
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));
    let refused = within(LONG, |wait| client.dead_letter("1-1", wait)).unwrap_err();
    let text = refused.to_string();
    assert!(
        text.starts_with("10001 messages are in celery.dead"),
        "{text}"
    );
    assert_eq!(
        within(LONG, |wait| client.count_dead_letters(wait)),
        Ok(10_001)
    );
}
