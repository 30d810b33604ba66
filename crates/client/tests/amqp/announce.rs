//! The events of posts: one for each confirmed post, and no failure of a post.

use celery_client::amqp::blocking::{Events, Queue};
use celery_protocol::events::{Received, Sender};
use celery_protocol::glob::Glob;

use super::*;

fn announcing(url: &str) -> Client {
    with_options(url, |options| {
        options.sent_events = Some(Arc::new(Sender {
            hostname: "php1@web1".to_owned(),
            pid: 1,
            utcoffset: -2.0,
        }));
    })
}

fn hearing(node: &VirtualHost) -> Events {
    let types = vec![Glob::new("task-sent").unwrap()];
    within(LONG, |wait| Events::open(client(&node.url()), types, wait)).unwrap()
}

fn heard(events: &mut Events, count: usize) -> Vec<Received> {
    let mut next = || within(LONG, |wait| events.next(wait)).unwrap().unwrap();
    (0..count).map(|_| next()).collect()
}

fn publish(client: &mut Client, id: &str) {
    within(LONG, |wait| client.publish(&post("mails", id), wait)).unwrap();
}

fn has_exchange(node: &VirtualHost) -> bool {
    let exchange = node.resource("exchange", "celeryev");
    let look = format!("rabbit_exchange:lookup({exchange})");
    !node.eval(&look).unwrap().contains("not_found")
}

#[test]
fn each_confirmed_post_is_followed_by_its_event() {
    let node = shared();
    let mut client = announcing(&node.url());

    // Without a receiver the exchange is missing. That costs the post nothing, and the next event
    // declares the exchange.
    publish(&mut client, "unheard");
    within(LONG, |wait| client.ping(wait)).unwrap();
    assert!(client.is_connected());
    assert!(!has_exchange(&node));
    publish(&mut client, "unheard, too");
    within(LONG, |wait| client.ping(wait)).unwrap();
    assert!(client.is_connected());
    assert!(has_exchange(&node));

    let mut events = hearing(&node);
    publish(&mut client, "a");
    let batch = [post("mails", "b"), post("mails", "c")];
    for outcome in within(LONG, |wait| client.publish_batch(&batch, wait)) {
        outcome.unwrap();
    }
    within(LONG, |wait| client.publish_later(&post("mails", "d"), wait)).unwrap();
    assert!(within(LONG, |wait| client.collect(wait)).is_empty());
    // A post that is not taken has no event, and a message that is not a task's has none.
    let mut full = Queue::durable("full");
    full.arguments.set("x-max-length", &0).unwrap();
    full.arguments.set("x-overflow", "reject-publish").unwrap();
    within(LONG, |wait| client.declare_queue(&full, wait)).unwrap();
    let time = Duration::from_millis(200);
    within(time, |wait| client.publish(&post("full", "no"), wait)).unwrap_err();
    let mut plain = post("mails", "plain");
    plain.message.body = b"no task".to_vec();
    within(LONG, |wait| client.publish(&plain, wait)).unwrap();
    publish(&mut client, "e");

    let seen = heard(&mut events, 5);
    let ids: Vec<_> = seen.iter().filter_map(|event| event.text("uuid")).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "e"]);
    for (name, value) in [
        ("name", "proj.add"),
        ("args", "(2, 3)"),
        ("queue", "mails"),
        ("exchange", ""),
        ("routing_key", "mails"),
        ("hostname", "php1@web1"),
    ] {
        assert_eq!(seen[0].text(name), Some(value), "{name}");
    }
    assert_eq!(node.ready_messages("mails").unwrap(), Some(8));
}

#[test]
fn an_event_that_cannot_be_sent_fails_no_post() {
    let node = shared();
    let mut events = hearing(&node);
    // The user may neither write to the exchange of events nor declare it.
    let rights = ["mails", "(mails|amq.default)", "mails"];
    let limited = node.add_user("me", rights).unwrap();
    let mut refused = announcing(&limited);
    let batch: Vec<Post> = (0..120).map(|n| post("mails", &n.to_string())).collect();
    for _ in 0..2 {
        for outcome in within(LONG, |wait| refused.publish_batch(&batch, wait)) {
            outcome.unwrap();
        }
        within(LONG, |wait| refused.ping(wait)).unwrap();
        assert!(refused.is_connected());
        within(LONG, |wait| refused.publish_later(&batch[0], wait)).unwrap();
        assert!(within(LONG, |wait| refused.collect(wait)).is_empty());
    }
    assert_eq!(node.ready_messages("mails").unwrap(), Some(242));
    let mut allowed = announcing(&node.url());
    publish(&mut allowed, "heard");
    let heard = heard(&mut events, 1);
    assert_eq!(heard[0].text("uuid"), Some("heard"));
}
