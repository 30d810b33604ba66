//! Posts and what the broker says about them.

use celery_client::ClientError;
use celery_client::amqp::blocking::{Post, Queue, QueueType};
use celery_protocol::names;

use super::*;

#[test]
fn each_post_has_its_outcome() {
    let node = shared();
    let mut client = client(&node.url());

    // The queue does not exist: it is created as Celery does.
    within(LONG, |wait| client.publish(&post("new", "first"), wait)).unwrap();
    assert_eq!(node.ready_messages("new").unwrap(), Some(1));
    let exchange = node.resource("exchange", "new");
    let bound = node.eval(&format!(
        "length(rabbit_binding:list_for_source({exchange}))"
    ));
    assert_eq!(bound.unwrap(), "1");
    let delivery = within(LONG, |wait| client.get("new", wait))
        .unwrap()
        .unwrap();
    let read = task(&delivery);
    assert_eq!(
        (&*read.id, &*read.name, read.args.get()),
        ("first", "proj.add", "[2,3]")
    );
    assert_eq!(
        delivery.content.properties().unwrap().delivery_mode,
        Some(2)
    );

    // It is declared otherwise: posts need not know.
    let mut quorum = Queue::durable("quorum");
    quorum.arguments.set("x-queue-type", "quorum").unwrap();
    quorum.arguments.set("x-delivery-limit", &5).unwrap();
    within(LONG, |wait| client.declare_queue(&quorum, wait)).unwrap();
    within(LONG, |wait| client.publish(&post("quorum", "q"), wait)).unwrap();
    let differs = within(LONG, |wait| {
        client.declare_queue(&Queue::durable("quorum"), wait)
    });
    assert!(matches!(differs, Err(ClientError::Broker(close)) if close.code == 406));
    assert!(client.is_connected());

    // The queue is full: the post is not taken, and that is known.
    let mut full = Queue::durable("full");
    full.arguments.set("x-max-length", &1).unwrap();
    full.arguments.set("x-overflow", "reject-publish").unwrap();
    within(LONG, |wait| client.declare_queue(&full, wait)).unwrap();
    within(LONG, |wait| client.publish(&post("full", "one"), wait)).unwrap();
    let time = Duration::from_millis(500);
    let refused = within(time, |wait| client.publish(&post("full", "two"), wait)).unwrap_err();
    assert_eq!(
        (refused.outcome_unknown, *refused.cause),
        (false, ClientError::NotTaken)
    );
    assert_eq!(node.ready_messages("full").unwrap(), Some(1));

    // The exchange does not exist: the server closes the channel.
    let lost = Post {
        exchange: "none".to_owned(),
        ..post("new", "lost")
    };
    let refused = within(LONG, |wait| client.publish(&lost, wait)).unwrap_err();
    assert!(!refused.outcome_unknown, "{refused}");
    assert!(matches!(*refused.cause, ClientError::Broker(close) if close.code == 404));
    // It exists, and no queue is bound.
    let unbound = Post {
        exchange: "amq.direct".to_owned(),
        ..post("new", "lost")
    };
    let refused = within(LONG, |wait| client.publish(&unbound, wait)).unwrap_err();
    assert!(!refused.outcome_unknown, "{refused}");
    assert!(
        matches!(*refused.cause, ClientError::Unroutable { .. }),
        "{refused}"
    );
    assert_eq!(drain(&mut client, "new"), [""; 0]);

    // No frame has room for these headers.
    let mut large = post("new", "large");
    let json = format!("{{\"k\":{:?}}}", "x".repeat(200_000));
    large.message.headers = celery_protocol::amqp::TableBuf::from_json(&json).unwrap();
    let batch = [post("new", "before"), large, post("new", "after")];
    let outcomes = within(LONG, |wait| client.publish_batch(&batch, wait));
    let failed = outcomes[1].as_ref().unwrap_err();
    assert!(
        matches!(*failed.cause, ClientError::Unsendable(_)),
        "{failed}"
    );
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_eq!(drain(&mut client, "new"), ["before", "after"]);

    // No name is cut short.
    let long = "q".repeat(names::MAX_NAME_BYTES);
    within(LONG, |wait| client.publish(&post(&long, "long"), wait)).unwrap();
    assert_eq!(drain(&mut client, &long), ["long"]);
}

#[test]
fn a_named_exchange_gets_the_queue_that_the_post_names() {
    let node = shared();
    let url = node.url();
    let mut client = client(&url);
    let by = |exchange: &str, key: &str, id: &str| Post {
        exchange: exchange.to_owned(),
        queue: Some("tasks".to_owned()),
        ..post(key, id)
    };
    // Neither exchange nor queue exists: no post of the batch is lost or doubtful.
    let batch = [by("shop", "tasks", "one"), by("shop", "tasks", "two")];
    let outcomes = within(LONG, |wait| client.publish_batch(&batch, wait));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!(drain(&mut client, "tasks"), ["one", "two"]);

    // The exchange exists, of another kind, and only the binding is missing.
    within(LONG, |wait| {
        client.publish(&by("amq.topic", "tasks", "three"), wait)
    })
    .unwrap();
    assert_eq!(drain(&mut client, "tasks"), ["three"]);

    // No binding has this key, and none is guessed.
    let refused = within(LONG, |wait| {
        client.publish(&by("shop", "other", "four"), wait)
    });
    let refused = refused.unwrap_err();
    assert!(!refused.outcome_unknown, "{refused}");
    assert!(
        matches!(*refused.cause, ClientError::Unroutable { .. }),
        "{refused}"
    );

    // Nothing is created if the client may not.
    let mut strict = with_options(&url, |options| options.create_missing = None);
    let refused = within(LONG, |wait| {
        strict.publish(&by("none", "tasks", "five"), wait)
    });
    let refused = refused.unwrap_err();
    assert!(!refused.outcome_unknown, "{refused}");
    assert!(matches!(*refused.cause, ClientError::Broker(close) if close.code == 404));
    assert_eq!(drain(&mut client, "tasks"), [""; 0]);
}

#[test]
fn a_batch_is_confirmed_post_by_post() {
    let node = shared();
    let url = node.url();
    let mut client = with_options(&url, |options| options.create_missing = None);
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();

    // More than both ends buffer: the client must read while it writes.
    let posts: Vec<Post> = (0..3_000)
        .map(|n| post(if n % 10 == 3 { "none" } else { "q" }, &format!("id-{n}")))
        .collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    for (n, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(n % 10, 3),
            Err(error) => {
                assert_eq!((n % 10, &*error.task_id), (3, &*format!("id-{n}")));
                assert!(!error.outcome_unknown, "{error}");
                assert!(matches!(*error.cause, ClientError::Unroutable { .. }));
            }
        }
    }
    assert_eq!(node.ready_messages("q").unwrap(), Some(2_700));

    // Large bodies are divided into frames, in both directions.
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("large"), wait)
    })
    .unwrap();
    let args = |n: usize| format!("[\"{}\"]", "x".repeat(1_000_000 + n));
    let posts: Vec<Post> = (0..4).map(|n| post_with("large", "id", &args(n))).collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok));
    for n in 0..4 {
        let delivery = within(LONG, |wait| client.get("large", wait))
            .unwrap()
            .unwrap();
        assert_eq!(task(&delivery).args.get().len(), args(n).len());
    }

    // The broker returns large messages while the client still writes.
    let posts: Vec<Post> = (0..30)
        .map(|n| post_with("none", &format!("r-{n}"), &args(n)))
        .collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(
            matches!(*error.cause, ClientError::Unroutable { .. }),
            "{error}"
        );
    }

    // Posts to several queues that do not exist create each of them.
    client.set_options(celery_client::amqp::blocking::ClientOptions::default());
    let posts: Vec<Post> = (0..20)
        .map(|n| post(&format!("new-{}", n % 4), "id"))
        .collect();
    let outcomes = within(LONG, |wait| client.publish_batch(&posts, wait));
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    for n in 0..4 {
        assert_eq!(node.ready_messages(&format!("new-{n}")).unwrap(), Some(5));
    }
    assert_eq!(node.connections().unwrap(), 1);
}

#[test]
fn pipelined_posts_are_confirmed_when_they_are_collected() {
    let node = shared();
    let mut client = with_options(&node.url(), |options| options.window_posts = 100);

    // The queue does not exist: the first window creates it, and every task is in it once.
    let ids: Vec<String> = (0..250).map(|number| number.to_string()).collect();
    for id in &ids {
        within(LONG, |wait| client.publish_later(&post("new", id), wait)).unwrap();
    }
    assert_eq!(client.outstanding(), 50);
    assert_eq!(within(LONG, |wait| client.collect(wait)), []);
    assert_eq!(client.outstanding(), 0);
    let mut found = drain(&mut client, "new");
    found.sort_by_key(|id| id.parse::<u32>().unwrap());
    assert_eq!(found, ids);

    // A full queue refuses some, which are named; the others are queued.
    let mut full = Queue::durable("full");
    full.arguments.set("x-max-length", &2).unwrap();
    full.arguments.set("x-overflow", "reject-publish").unwrap();
    within(LONG, |wait| client.declare_queue(&full, wait)).unwrap();
    for id in ["a", "b", "c", "d"] {
        let queue = if id == "d" { "new" } else { "full" };
        within(LONG, |wait| client.publish_later(&post(queue, id), wait)).unwrap();
    }
    let refused = within(Duration::from_secs(1), |wait| client.collect(wait));
    let refused: Vec<_> = refused
        .iter()
        .map(|error| (&*error.task_id, error.outcome_unknown, &*error.cause))
        .collect();
    assert_eq!(refused, [("c", false, &ClientError::NotTaken)]);
    assert_eq!(drain(&mut client, "full"), ["a", "b"]);
    assert_eq!(drain(&mut client, "new"), ["d"]);

    // Without the right to create a queue, a task without one is named.
    let mut client = with_options(&node.url(), |options| options.create_missing = None);
    within(LONG, |wait| client.publish_later(&post("none", "e"), wait)).unwrap();
    let refused = within(LONG, |wait| client.collect(wait));
    assert!(
        matches!(&refused[..], [one] if !one.outcome_unknown
            && matches!(*one.cause, ClientError::Unroutable { .. })),
        "{refused:?}"
    );
}

#[test]
fn pipelined_posts_on_a_lost_connection_are_reported_or_repeated() {
    let mut node = node();
    let mut client = client(&node.url());
    within(LONG, |wait| {
        client.declare_queue(&Queue::durable("q"), wait)
    })
    .unwrap();
    within(LONG, |wait| client.publish_later(&post("q", "first"), wait)).unwrap();
    node.kill9();
    // The first was written; a frozen or killed server may have it.
    let failures = within(LONG, |wait| client.collect(wait));
    node.restart().unwrap();
    let queued = drain(&mut client, "q");
    match &failures[..] {
        // It was confirmed before the end.
        [] => assert_eq!(queued, ["first"]),
        [one] => assert!(one.outcome_unknown && &*one.task_id == "first", "{one:?}"),
        _ => panic!("{failures:?}"),
    }
    // The next post finds the connection closed, and goes over a new one.
    within(LONG, |wait| {
        client.publish_later(&post("q", "second"), wait)
    })
    .unwrap();
    assert_eq!(within(LONG, |wait| client.collect(wait)), []);
    within(LONG, |wait| client.publish_later(&post("q", "third"), wait)).unwrap();
    node.close_connections().unwrap();
    let fourth = within(LONG, |wait| {
        client.publish_later(&post("q", "fourth"), wait)
    });
    let mut unknown = within(LONG, |wait| client.collect(wait));
    unknown.extend(fourth.err());
    let queued = drain(&mut client, "q");
    for id in ["third", "fourth"] {
        let is_unknown = unknown
            .iter()
            .any(|it| &*it.task_id == id && it.outcome_unknown);
        assert!(
            queued.iter().any(|it| it == id) || is_unknown,
            "{id}: {unknown:?}"
        );
        assert!(queued.iter().filter(|it| *it == id).count() <= 1, "{id}");
    }
}

#[test]
fn an_exchange_that_was_deleted_is_created_again() {
    let node = shared();
    let mut client = with_options(&node.url(), |options| {
        options.create_missing = Some(QueueType::Quorum);
    });
    let named = |id: &str| {
        let mut post = post("orders", id);
        post.exchange = "shop".to_owned();
        post.queue = Some("orders".to_owned());
        post
    };
    within(LONG, |wait| client.publish(&named("a"), wait)).unwrap();
    // The connection has looked for the exchange, and does not ask again.
    let exchange = node.resource("exchange", "shop");
    node.eval(&format!(
        "rabbit_exchange:delete({exchange}, false, <<\"test\">>)"
    ))
    .unwrap();
    within(LONG, |wait| client.publish(&named("b"), wait)).unwrap();
    assert_eq!(node.depth(&["orders"]).unwrap(), (2, 0));
}
