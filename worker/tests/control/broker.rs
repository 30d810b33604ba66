//! The brokers on which the tests run.

use std::process::Command;
use std::sync::mpsc::Sender;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Consumer, Publication};
use celery_client::amqp::{AmqpEndpoint, Exchange, Queue, Temporary};
use celery_protocol::amqp::{Delivery, Event, Properties, Short, Table, TableBuf};
use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::names::CONTROL_EXCHANGE;
use celery_testkit::{RabbitMq, RabbitMqOptions, Redis, RedisOptions, VirtualHost};
use serde_json::{Value, json};

use super::world::PATIENCE;

/// The channels of the tests on RabbitMQ.
const POSTS: u16 = 1;
const LOOKS: u16 = 2;

/// A message of events: its routing key and its envelope.
pub type Envelope = (String, Value);

/// A broker, and the server of the results.
pub trait Broker: Sized {
    fn begin() -> Self;

    /// Returns a broker of this kind that only this test uses, and may end.
    fn alone(self) -> Self {
        self
    }

    /// Returns the address for workers and clients.
    fn address(&self) -> String;

    /// Returns the server of the results.
    fn results(&self) -> &Redis;

    /// Adds to a worker's command what it needs on this broker.
    fn serve(&self, command: &mut Command);

    /// Lets the worker itself hold tasks that wait for their ETA.
    fn hold_waiting_tasks(&self, command: &mut Command);

    /// Puts a task into a queue.
    fn push(&self, queue: &str, task: &Task);

    /// Returns how many messages of a queue wait, and how many workers hold.
    fn depth(&self, queue: &str) -> (usize, usize);

    /// Returns the number of workers that hear requests, as far as the broker knows.
    fn hearers(&self) -> usize;

    /// Returns the number of programs that listen to events.
    fn listeners(&self) -> usize;

    /// Ends the broker and starts it again. It keeps no message.
    fn begin_again(&mut self);

    /// Sends each message of events from now on.
    fn listen(&self, heard: Sender<Envelope>);
}

/// Runs functions of the module above as tests, on each broker.
macro_rules! on_each_broker {
    ($($test:ident)*) => {
        mod on_redis {
            $(#[test]
            fn $test() {
                super::$test(<celery_testkit::Redis as crate::broker::Broker>::begin());
            })*
        }

        mod on_rabbitmq {
            $(#[test]
            fn $test() {
                super::$test(<crate::broker::OnRabbitMq as crate::broker::Broker>::begin());
            })*
        }
    };
}
pub(crate) use on_each_broker;

impl Broker for Redis {
    fn begin() -> Self {
        Redis::start(RedisOptions::default()).unwrap()
    }

    fn address(&self) -> String {
        self.url()
    }

    fn results(&self) -> &Redis {
        self
    }

    fn serve(&self, command: &mut Command) {
        command.env("CELERY_BROKER_URL", self.url());
    }

    fn hold_waiting_tasks(&self, _: &mut Command) {}

    fn push(&self, queue: &str, task: &Task) {
        let options = EncodeOptions::new(queue, &task.id);
        let message = String::from_utf8(task.encode_redis(&options).unwrap()).unwrap();
        self.cli(&["LPUSH", queue, &message]).unwrap();
    }

    fn depth(&self, queue: &str) -> (usize, usize) {
        let count = |command: &[&str]| self.cli(command).unwrap().trim().parse().unwrap();
        (count(&["LLEN", queue]), count(&["HLEN", "unacked"]))
    }

    fn hearers(&self) -> usize {
        let members = self.cli(&["SMEMBERS", "_kombu.binding.celery.pidbox"]);
        members.unwrap().split_whitespace().count()
    }

    fn listeners(&self) -> usize {
        let patterns = self.cli(&["PUBSUB", "NUMPAT"]).unwrap();
        patterns.trim().parse().unwrap()
    }

    fn begin_again(&mut self) {
        self.restart().unwrap();
    }

    fn listen(&self, heard: Sender<Envelope>) {
        let client = redis::Client::open(self.url()).unwrap();
        let before = self.listeners();
        std::thread::spawn(move || {
            let mut connection = client.get_connection().unwrap();
            let mut channel = connection.as_pubsub();
            channel.psubscribe("/0.celeryev/*").unwrap();
            // The thread ends when the server does.
            while let Ok(message) = channel.get_message() {
                let mut envelope: Value =
                    serde_json::from_slice(message.get_payload_bytes()).unwrap();
                envelope["properties"]["delivery_tag"] = Value::Null;
                let name = message.get_channel_name().to_owned();
                if heard.send((name, envelope)).is_err() {
                    return;
                }
            }
        });
        let listens = || self.listeners() > before;
        celery_testkit::wait_for(PATIENCE, "the listener", listens).unwrap();
    }
}

/// A virtual host of a RabbitMQ, with a Redis for the results.
pub struct OnRabbitMq {
    pub vhost: VirtualHost,
    /// The node, if no other test uses it.
    pub own: Option<RabbitMq>,
    results: Redis,
}

impl OnRabbitMq {
    /// Publishes a message.
    pub fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        properties: Properties<'_>,
        body: &[u8],
    ) {
        let publication = Publication {
            exchange,
            routing_key,
            properties,
            body,
            may_be_lost: !exchange.is_empty(),
        };
        within(async {
            let mut connection = open(&self.vhost.url()).await;
            connection.open_confirming(POSTS).await.unwrap();
            if exchange.is_empty() {
                let queue = Queue::durable(routing_key);
                connection.find_queue(LOOKS, &queue).await.unwrap().unwrap();
            }
            let mut answers = [None];
            let publications = [publication];
            let posted = connection.publish_all(POSTS, &publications, &mut answers);
            posted.await.unwrap();
            assert_eq!(answers, [Some(Confirm::Taken)]);
            connection.close().await.unwrap();
        });
    }

    /// Returns the number of queues that are bound to an exchange.
    fn bound_to(&self, exchange: &str) -> usize {
        let exchange = self.vhost.resource("exchange", exchange);
        let list = format!("length(rabbit_binding:list_for_source({exchange}))");
        let count = self.vhost.eval(&list);
        count.unwrap().parse().unwrap()
    }
}

/// Runs calls to RabbitMQ.
fn within<T>(calls: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(calls)
}

async fn open(url: &str) -> Connection {
    let endpoint = AmqpEndpoint::from_url(url).unwrap();
    let mut options = ConnectOptions::new("test");
    options.connect_timeout = PATIENCE;
    Connection::open(&endpoint, &options).await.unwrap()
}

impl Broker for OnRabbitMq {
    fn begin() -> Self {
        OnRabbitMq {
            vhost: RabbitMq::shared().unwrap(),
            own: None,
            results: Redis::begin(),
        }
    }

    fn alone(self) -> Self {
        let node = RabbitMqOptions::new().start().unwrap();
        OnRabbitMq {
            vhost: node.add_vhost().unwrap(),
            own: Some(node),
            results: self.results,
        }
    }

    fn address(&self) -> String {
        self.vhost.url()
    }

    fn results(&self) -> &Redis {
        &self.results
    }

    fn serve(&self, command: &mut Command) {
        // A unique task needs a broker on Redis.
        let settings = concat!(env!("CARGO_TARGET_TMPDIR"), "/control_on_rabbitmq.toml");
        std::fs::write(settings, "[annotations.'proj.alone']\nunique = 0\n").unwrap();
        command.args(["--config", settings]);
        command.env("CELERY_BROKER_URL", self.vhost.url());
        command.env("CELERY_RESULT_BACKEND", self.results.url());
    }

    fn hold_waiting_tasks(&self, command: &mut Command) {
        // RabbitMQ holds them in queues that this user may not create.
        let rights = ["^(?!celery_delayed)", ".*", ".*"];
        let url = self.vhost.add_user("impatient", rights).unwrap();
        command.env("CELERY_BROKER_URL", url);
    }

    fn push(&self, queue: &str, task: &Task) {
        let message = task
            .encode_amqp(&EncodeOptions::new(queue, &task.id))
            .unwrap();
        self.publish("", queue, message.properties().unwrap(), &message.body);
    }

    fn depth(&self, queue: &str) -> (usize, usize) {
        self.vhost.depth(&[queue]).unwrap()
    }

    fn hearers(&self) -> usize {
        self.bound_to(CONTROL_EXCHANGE)
    }

    fn listeners(&self) -> usize {
        self.bound_to(Exchange::EVENTS.name)
    }

    fn begin_again(&mut self) {
        self.own.as_mut().unwrap().restart().unwrap();
    }

    fn listen(&self, heard: Sender<Envelope>) {
        let name = format!("celeryev.{}", uuid::Uuid::new_v4());
        let (url, before) = (self.vhost.url(), self.listeners());
        std::thread::spawn(move || {
            within(async {
                let mut connection = open(&url).await;
                let queue = Temporary::events(&name, "#");
                let declared = connection.declare_temporary(LOOKS, &queue).await;
                declared.unwrap().unwrap();
                let consumer = Consumer::new(&name, "test");
                connection.consume(LOOKS, &consumer).await.unwrap().unwrap();
                // The thread ends when the server does.
                while let Ok(event) = connection.event().await {
                    if let Event::Delivered { delivery, .. } = event
                        && heard.send(envelope(&delivery)).is_err()
                    {
                        return;
                    }
                }
            });
        });
        let listens = || self.listeners() > before;
        celery_testkit::wait_for(PATIENCE, "the listener", listens).unwrap();
    }
}

/// Returns a message in the form of kombu's envelope on Redis.
fn envelope(delivery: &Delivery) -> Envelope {
    let properties = delivery.content.properties().unwrap();
    let headers = properties
        .headers
        .map(|table: Table<'_>| table.to_json().unwrap());
    let text = |text: Option<Short<'_>>| text.map(|text| text.text().into_owned());
    let envelope = json!({
        "body": STANDARD.encode(&delivery.content.body),
        "headers": serde_json::from_str::<Value>(&headers.unwrap_or_default()).unwrap_or_default(),
        "content-type": text(properties.content_type),
        "content-encoding": text(properties.content_encoding),
        "properties": {
            "delivery_mode": properties.delivery_mode,
            "priority": properties.priority,
            "correlation_id": text(properties.correlation_id),
            "reply_to": text(properties.reply_to),
            "expiration": text(properties.expiration),
            "delivery_info": {"exchange": delivery.exchange, "routing_key": delivery.routing_key},
        },
    });
    (delivery.routing_key.clone(), envelope)
}

/// Returns the table of headers that are written as JSON.
pub fn table(json: &str) -> TableBuf {
    TableBuf::from_json(json).unwrap()
}
