//! The async client of RabbitMQ against a real server.
//!
//! A private node takes seconds to start, so each test looks at several things.

#![cfg(feature = "aio")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a failure here is a failed test"
)]

use std::time::Duration;

use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Failure, Publication};
use celery_client::amqp::{AmqpEndpoint, Queue, QueueType};
use celery_protocol::amqp::{Event, Method, Properties, Reply, Reserved, Short, Table};
use celery_testkit::{Fault, Proxy, RabbitMq, RabbitMqOptions, ServerName, VirtualHost, free_port};
use tokio::time::timeout;

/// Time for a call that should succeed, also on a busy machine.
const LONG: Duration = Duration::from_mins(1);

/// The channel of publications, that of looks, and that of the consumer.
const POSTS: u16 = 1;
const LOOKS: u16 = 2;
const CONSUMER: u16 = 3;

async fn open(url: &str) -> Result<Connection, Failure> {
    let endpoint = AmqpEndpoint::from_url(url).unwrap();
    let mut options = ConnectOptions::new("test/role");
    options.connect_timeout = LONG;
    Connection::open(&endpoint, &options).await
}

/// Opens a connection whose owner sends heartbeats.
async fn beating(url: &str) -> Connection {
    let endpoint = AmqpEndpoint::from_url(url).unwrap();
    let mut options = ConnectOptions::new("test/role");
    (options.connect_timeout, options.heartbeat) = (LONG, 60);
    Connection::open(&endpoint, &options).await.unwrap()
}

async fn confirming(url: &str) -> Connection {
    let mut connection = open(url).await.unwrap();
    connection.open_confirming(POSTS).await.unwrap();
    connection
}

fn message<'m>(queue: &'m str, id: &'m str, body: &'m [u8]) -> Publication<'m> {
    Publication {
        routing_key: queue,
        properties: Properties {
            correlation_id: Some(Short::new(id).unwrap()),
            ..Properties::default()
        },
        body,
        ..Publication::default()
    }
}

async fn publish(connection: &mut Connection, messages: &[Publication<'_>]) -> Vec<Confirm> {
    let mut answers = vec![None; messages.len()];
    let published = connection.publish_all(POSTS, messages, &mut answers);
    timeout(LONG, published).await.unwrap().unwrap();
    answers.into_iter().flatten().collect()
}

fn short(text: &str) -> Short<'_> {
    Short::new(text).unwrap()
}

fn consume(queue: &str) -> Method<'_> {
    Method::BasicConsume {
        ticket: Reserved::default(),
        queue: short(queue),
        consumer_tag: short("c"),
        no_local: false,
        no_ack: false,
        exclusive: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

/// Consumes a queue whose messages the server forgets as it sends them.
fn listen(queue: &str) -> Method<'_> {
    Method::BasicConsume {
        ticket: Reserved::default(),
        queue: short(queue),
        consumer_tag: short("l"),
        no_local: false,
        no_ack: true,
        exclusive: false,
        no_wait: false,
        arguments: Table::default(),
    }
}

fn ack(delivery_tag: u64) -> Method<'static> {
    Method::BasicAck {
        delivery_tag,
        multiple: true,
    }
}

/// Returns a request that changes nothing: its answer shows that the server has read all before it.
fn barrier() -> Method<'static> {
    Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: 100,
        global: false,
    }
}

/// A message that comes back is told from others of its id and routing key.
async fn messages_alike_are_told_apart(connection: &mut Connection) {
    let lost = Publication {
        may_be_lost: true,
        ..message("nowhere", "8", b"x")
    };
    let alike = [
        message("q", "8", b"x"),
        Publication {
            exchange: "amq.direct",
            ..message("q", "8", b"x")
        },
        lost,
        message("nowhere", "8", b"x"),
    ];
    let answers = publish(connection, &alike).await;
    let missing = Confirm::Unroutable("312 NO_ROUTE".to_owned());
    let wanted = [Confirm::Taken, missing.clone(), Confirm::Taken, missing];
    assert_eq!(answers, wanted);
}

/// What came over a channel that the server has closed does not show once the channel is open again:
/// the tags of its deliveries would mean other messages.
async fn a_new_channel_has_nothing_of_the_old_one(connection: &mut Connection) {
    const AGAIN: u16 = 5;
    let queue = Queue::durable("again");
    let declared = connection.declare_queue(LOOKS, &queue).await;
    assert_eq!(declared, Ok(Ok(())));
    connection.open_channel(AGAIN).await.unwrap();
    connection
        .ask(AGAIN, &consume("again"))
        .await
        .unwrap()
        .unwrap();
    connection.open_confirming(6).await.unwrap();
    let mut answers = [None];
    let one = [message("again", "9", b"x")];
    connection.publish_all(6, &one, &mut answers).await.unwrap();
    // A tag that was never delivered ends the channel.
    connection.tell(AGAIN, &ack(1_000)).unwrap();
    while connection.is_channel_open(AGAIN) {
        connection.ask(CONSUMER, &barrier()).await.unwrap().unwrap();
    }
    connection.open_channel(AGAIN).await.unwrap();
    assert_eq!(connection.event_at_hand(), Ok(None));

    // An answer may come while that of another channel is awaited.
    connection.tell(AGAIN, &barrier()).unwrap();
    for _ in 0..100 {
        connection.ask(CONSUMER, &barrier()).await.unwrap().unwrap();
    }
    let answer = connection.answer(AGAIN, "the answer before").await;
    assert_eq!(answer, Ok(Ok(Reply::Done)));
}

/// A user who may only write to a queue creates it, and posts to it.
async fn a_user_who_may_not_read_creates_queues(node: &VirtualHost, connection: &mut Connection) {
    let may_read = |pattern: &str| node.permit("guest", [".*", ".*", pattern]).unwrap();
    may_read("^$");
    let found = connection.find_queue(LOOKS, &Queue::durable("mute")).await;
    assert_eq!(found, Ok(Ok(())));
    let answers = publish(connection, &[message("mute", "1", b"x")]).await;
    assert_eq!(answers, [Confirm::Taken]);
    may_read(".*");
}

#[tokio::test]
async fn queues_are_found_and_messages_come_through() {
    let node = RabbitMq::shared().unwrap();
    let mut connection = confirming(&node.url()).await;

    // A message for a queue that does not exist is not lost silently, and stops no other.
    assert_eq!(connection.look_at_queue(LOOKS, "a").await, Ok(Ok(None)));
    let mut quorum = Queue::durable("q");
    quorum.set_type(QueueType::Quorum);
    let declared = connection.declare_queue(LOOKS, &quorum).await;
    assert_eq!(declared, Ok(Ok(())));
    let answers = publish(
        &mut connection,
        &[
            message("a", "1", b"x"),
            message("q", "2", b"y"),
            message("a", "1", b"x"),
            Publication {
                may_be_lost: true,
                ..message("nowhere", "3", b"z")
            },
            message(&"n".repeat(256), "4", b""),
        ],
    )
    .await;
    let missing = Confirm::Unroutable("312 NO_ROUTE".to_owned());
    let wanted = [missing.clone(), Confirm::Taken, missing, Confirm::Taken];
    assert_eq!(answers[..4], wanted);
    assert!(matches!(answers[4], Confirm::Refused(_)), "{answers:?}");

    a_user_who_may_not_read_creates_queues(&node, &mut connection).await;
    messages_alike_are_told_apart(&mut connection).await;

    // A missing queue is created as Celery does; an existing one stays as it is.
    for name in ["a", "a", "q"] {
        let found = connection.find_queue(LOOKS, &Queue::durable(name)).await;
        assert_eq!(found, Ok(Ok(())));
    }
    let through = Publication {
        exchange: "a",
        ..message("a", "5", b"by the exchange")
    };
    assert_eq!(publish(&mut connection, &[through]).await, [Confirm::Taken]);
    let state = connection.look_at_queue(LOOKS, "a").await.unwrap().unwrap();
    assert_eq!(state.unwrap().messages, 1);

    // The server answers while the client still writes: 64 MB do not fit any buffer between.
    let body = vec![7; 64 << 10];
    let many: Vec<Publication<'_>> = (0..1_000).map(|_| message("a", "6", &body)).collect();
    let answers = publish(&mut connection, &many).await;
    assert_eq!(answers, vec![Confirm::Taken; 1_000]);

    // An exchange that does not exist ends the channel, and the message alone is refused.
    let astray = Publication {
        exchange: "none",
        ..message("a", "7", b"")
    };
    let mut answers = [None];
    let failed = connection.publish_all(POSTS, &[astray], &mut answers).await;
    assert!(
        matches!(&failed, Err(Failure::Closed(close)) if close.code == 404),
        "{failed:?}"
    );
    assert!(matches!(&answers[0], Some(Confirm::Refused(_))));

    // Messages come as they were published, and requests can be asked in between.
    connection.open_channel(CONSUMER).await.unwrap();
    let limited = connection.ask(CONSUMER, &barrier()).await;
    assert_eq!(limited, Ok(Ok(Reply::Done)));
    let started = connection.ask(CONSUMER, &consume("a")).await;
    assert_eq!(started, Ok(Ok(Reply::Consuming("c".to_owned()))));
    let mut count = 0;
    while count < 1_001 {
        let event = timeout(LONG, connection.event()).await.unwrap().unwrap();
        let Event::Delivered { delivery, .. } = event else {
            panic!("{event:?}");
        };
        count += 1;
        assert_eq!(delivery.tag, count);
        if count % 50 == 0 || count == 1_001 {
            connection.tell(CONSUMER, &ack(count)).unwrap();
            let looked = connection.look_at_queue(LOOKS, "a").await;
            assert!(matches!(looked, Ok(Ok(Some(_)))), "{looked:?}");
        }
    }
    connection.ask(CONSUMER, &barrier()).await.unwrap().unwrap();
    assert_eq!(connection.event_at_hand(), Ok(None));

    a_new_channel_has_nothing_of_the_old_one(&mut connection).await;

    // A refusal closes its channel only. The end of a queue ends its consumer.
    let refused = connection.ask_opening(4, &consume("none")).await.unwrap();
    assert_eq!(refused.unwrap_err().code, 404);
    let delete = Method::QueueDelete {
        ticket: Reserved::default(),
        queue: short("a"),
        if_unused: false,
        if_empty: false,
        no_wait: false,
    };
    let deleted = connection.ask_opening(LOOKS, &delete).await;
    assert_eq!(deleted, Ok(Ok(Reply::Removed(0))));
    let event = timeout(LONG, connection.event()).await.unwrap();
    let cancelled = Event::ConsumerCancelled(CONSUMER, "c".to_owned());
    assert_eq!(event, Ok(cancelled));

    // The operator's end of the connection is told with its reason.
    node.close_connections().unwrap();
    let ended = timeout(LONG, connection.event()).await.unwrap();
    assert!(
        matches!(&ended, Err(Failure::Closed(close)) if close.code == 320),
        "{ended:?}"
    );
}

#[tokio::test]
async fn alarms_freezes_and_refusals() {
    let node = RabbitMq::start(RabbitMqOptions::new()).unwrap();
    let url = node.url();

    for (wrong, is_refusal) in [
        (url.replace("guest:guest", "guest:wrong"), true),
        (node.vhost("none").url(), true),
        (format!("amqp://127.0.0.1:{}", free_port().unwrap()), false),
        (url.replace("amqp://", "amqps://"), false),
    ] {
        let failure = open(&wrong).await.unwrap_err();
        assert_eq!(failure.is_refusal(), is_refusal, "{wrong}: {failure}");
        assert!(!failure.to_string().contains("redis"), "{failure}");
    }

    // While the alarm lasts, nothing is confirmed. The call waits for its end.
    let mut connection = confirming(&url).await;
    let found = connection.find_queue(LOOKS, &Queue::durable("a")).await;
    assert_eq!(found, Ok(Ok(())));
    node.alarm(true).unwrap();
    let late = [message("a", "1", b"x")];
    let mut answers = [None];
    {
        let publishing = connection.publish_all(POSTS, &late, &mut answers);
        tokio::pin!(publishing);
        let early = timeout(Duration::from_millis(500), &mut publishing).await;
        assert!(early.is_err(), "{early:?}");
        node.alarm(false).unwrap();
        timeout(LONG, publishing).await.unwrap().unwrap();
    }
    assert_eq!(answers, [Some(Confirm::Taken)]);
    assert_eq!(connection.blocked(), None);

    // Heartbeats keep an idle connection, and show that a server is frozen. A connection that its
    // owner does not serve has none, so that the server keeps it, too.
    let url = format!("{url}?heartbeat=1");
    let mut beating = beating(&url).await;
    let mut unserved = confirming(&url).await;
    let idle = timeout(Duration::from_secs(5), beating.event()).await;
    assert!(idle.is_err(), "{idle:?}");
    let answers = publish(&mut unserved, &late).await;
    assert_eq!(answers, [Confirm::Taken]);
    node.pause();
    let frozen = timeout(LONG, beating.event()).await.unwrap();
    node.resume();
    assert!(
        matches!(&frozen, Err(Failure::Lost(why)) if why.contains("heartbeat")),
        "{frozen:?}"
    );
    connection.close().await.unwrap();
}

#[tokio::test]
async fn tls_is_verified() {
    let options = RabbitMqOptions::new().tls(ServerName::Right);
    let node = RabbitMq::start(options).unwrap();
    let url = node.tls_url().unwrap();
    let ca = node.certificates().unwrap().ca().display().to_string();
    let mut connection = confirming(&format!("{url}?ssl_ca_certs={ca}")).await;
    let found = connection.find_queue(LOOKS, &Queue::durable("a")).await;
    assert_eq!(found, Ok(Ok(())));
    let body = vec![7; 1 << 20];
    let many: Vec<Publication<'_>> = (0..20).map(|_| message("a", "1", &body)).collect();
    let answers = publish(&mut connection, &many).await;
    assert_eq!(answers, vec![Confirm::Taken; 20]);
    connection.close().await.unwrap();

    let failure = open(&url).await.unwrap_err().to_string();
    assert!(failure.contains("trusted authority"), "{failure}");
    let plain = url.replace("amqps://", "amqp://");
    let failure = open(&plain).await.unwrap_err().to_string();
    assert!(failure.contains("use amqps://"), "{failure}");
}

/// Publishes a message for longer than an answer may take.
async fn a_slow_upload_is_not_late_while_it_goes_on(node: &VirtualHost) {
    let proxy = Proxy::to_port(node.port()).unwrap();
    // 16 KiB in each 5 ms: the body takes ten seconds.
    proxy.set(Fault::Latency(Duration::from_millis(5)));
    let endpoint = AmqpEndpoint::from_url(&node.url_on(proxy.port())).unwrap();
    let mut options = ConnectOptions::new("test/slow");
    options.connect_timeout = LONG;
    options.response_timeout = Duration::from_secs(4);
    let mut connection = Connection::open(&endpoint, &options).await.unwrap();
    connection.open_confirming(POSTS).await.unwrap();
    let queue = Queue::durable("large");
    let declared = connection.declare_queue(LOOKS, &queue).await;
    assert_eq!(declared, Ok(Ok(())));
    let body = vec![b'x'; 32 << 20];
    let taken = publish(&mut connection, &[message("large", "1", &body)]).await;
    assert_eq!(taken, [Confirm::Taken]);
}

/// Lets more messages arrive than are kept while the owner waits for something else.
async fn messages_without_acknowledgements_have_a_limit(node: &VirtualHost) {
    const MOST: usize = 10_000;
    const SENT: usize = MOST + 100;
    let mut connection = confirming(&node.url()).await;
    let queue = Queue::durable("many");
    let declared = connection.declare_queue(LOOKS, &queue).await;
    assert_eq!(declared, Ok(Ok(())));
    let bodies: Vec<String> = (0..SENT).map(|n| n.to_string()).collect();
    let messages = bodies
        .iter()
        .map(|body| message("many", "1", body.as_bytes()));
    publish(&mut connection, &messages.collect::<Vec<_>>()).await;
    connection.open_channel(CONSUMER).await.unwrap();
    let listening = connection.ask(CONSUMER, &listen("many")).await;
    listening.unwrap().unwrap();
    let all_sent = async {
        loop {
            let looked = connection.look_at_queue(LOOKS, "many").await;
            if looked.unwrap().unwrap().unwrap().messages == 0 {
                break;
            }
        }
        // Its answer follows all deliveries.
        connection.ask(CONSUMER, &barrier()).await.unwrap().unwrap();
    };
    timeout(LONG, all_sent).await.unwrap();
    let mut seen = Vec::new();
    while let Some(event) = connection.event_at_hand().unwrap() {
        if let Event::Delivered { delivery, .. } = event {
            seen.push(String::from_utf8(delivery.content.body).unwrap());
        }
    }
    // The oldest were dropped.
    assert_eq!(seen, bodies[SENT - MOST..]);
}

#[tokio::test]
async fn slow_and_many_messages() {
    let node = RabbitMq::shared().unwrap();
    messages_without_acknowledgements_have_a_limit(&node).await;
    a_slow_upload_is_not_late_while_it_goes_on(&node).await;
}
