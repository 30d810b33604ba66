//! The harness of RabbitMQ. Tests share a node, on which each behaviour has a virtual host of its own.
//! Those that crash or freeze a node share another one with the behaviours of their test. The results
//! are in a Redis.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Failure, Publication};
use celery_client::amqp::{AmqpEndpoint, Queue};
use celery_protocol::amqp::{Method, Properties, Reply, Reserved, Short, TableBuf};
use celery_protocol::message::{AmqpMessage, EncodeOptions, Task};
use celery_testkit::{RabbitMq, RabbitMqOptions, VirtualHost};
use celery_worker::consumer::{ConsumerOptions, Results};

use crate::broker::{Broker, DeadLetter, Depth, Reachable};
use crate::redis::Redis;
use crate::rig::Rig;

mod letters;
mod refusals;

mod classic {
    conformance!(by subject crate::amqp::Classic: has_priorities, is_reached_by_processes);
}

mod quorum {
    conformance!(by subject crate::amqp::Quorum: is_reached_by_processes);
}

/// Classic queues with priorities, as another program has declared them.
pub type Classic = Harness<false>;
/// Quorum queues, likewise.
pub type Quorum = Harness<true>;

/// The longest wait for a server that comes back.
const PATIENCE: Duration = Duration::from_mins(1);

/// The channels of the harness.
const POSTS: u16 = 1;
const LOOKS: u16 = 2;

thread_local! {
    /// The node of the last behaviour that harmed one. It ends with the thread of the test.
    static RESTING: Cell<Option<RabbitMq>> = const { Cell::new(None) };
}

pub struct Harness<const QUORUM: bool> {
    vhost: VirtualHost,
    /// The node, if no other test uses it.
    own: Option<RabbitMq>,
    backend: Redis,
}

/// A message with the properties that matter here.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    content_type: Option<String>,
    content_encoding: Option<String>,
    id: Option<String>,
    priority: Option<u8>,
    expiration: Option<String>,
    headers: Option<TableBuf>,
    body: Vec<u8>,
}

impl Raw {
    fn publication<'m>(&'m self, queue: &'m str) -> Publication<'m> {
        let short = |text: &'m Option<String>| text.as_deref().map(|it| Short::new(it).unwrap());
        Publication {
            routing_key: queue,
            properties: Properties {
                content_type: short(&self.content_type),
                content_encoding: short(&self.content_encoding),
                correlation_id: short(&self.id),
                priority: self.priority,
                expiration: short(&self.expiration),
                delivery_mode: Some(2),
                headers: self.headers.as_ref().map(TableBuf::as_table),
                ..Properties::default()
            },
            body: &self.body,
            ..Publication::default()
        }
    }
}

impl From<AmqpMessage> for Raw {
    fn from(message: AmqpMessage) -> Self {
        Raw {
            content_type: Some(message.content_type),
            content_encoding: Some(message.content_encoding),
            id: Some(message.correlation_id),
            priority: message.priority,
            expiration: None,
            headers: Some(message.headers),
            body: message.body,
        }
    }
}

impl<const QUORUM: bool> Harness<QUORUM> {
    /// Makes a harness with a node for itself.
    async fn alone(node: RabbitMq) -> Self {
        Harness {
            vhost: node.add_vhost().unwrap(),
            own: Some(node),
            backend: Redis::start().await,
        }
    }

    /// Returns the node that this harness alone uses.
    fn own(&mut self) -> &mut RabbitMq {
        self.own.as_mut().expect("only a node of its own can end")
    }

    async fn open(&self) -> Result<Connection, Failure> {
        let endpoint = AmqpEndpoint::from_url(&self.url()).unwrap();
        let mut options = ConnectOptions::new("harness");
        options.response_timeout = PATIENCE;
        let mut connection = Connection::open(&endpoint, &options).await?;
        connection.open_confirming(POSTS).await?;
        Ok(connection)
    }

    /// Uses a new connection until that succeeds.
    async fn with<T>(&self, call: impl AsyncFn(&mut Connection) -> Result<T, Failure>) -> T {
        let trying = async {
            loop {
                if let Ok(mut connection) = self.open().await
                    && let Ok(done) = call(&mut connection).await
                {
                    let _ = connection.close().await;
                    return done;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let done = tokio::time::timeout(PATIENCE, trying).await;
        done.expect("no answer from RabbitMQ")
    }

    /// Declares a queue as another program has done, unless it exists.
    async fn declare(connection: &mut Connection, name: &str) -> Result<(), Failure> {
        let mut queue = Queue::durable(name);
        if QUORUM {
            queue.arguments.set("x-queue-type", "quorum").unwrap();
        } else {
            queue.arguments.set("x-max-priority", &10).unwrap();
        }
        connection.find_queue(LOOKS, &queue).await?.unwrap();
        Ok(())
    }

    /// Returns the numbers of ready and of unacknowledged messages of these queues together. A queue
    /// that does not exist has none.
    fn depth_of<S: AsRef<str>>(&self, queues: &[S]) -> Depth {
        let queues: Vec<&str> = queues.iter().map(AsRef::as_ref).collect();
        // The server may be away, and its queues may have no leader yet.
        let depth = self.vhost.depth(&queues);
        let (ready, unacknowledged) = depth.unwrap_or((usize::MAX, usize::MAX));
        Depth {
            ready,
            unacknowledged,
        }
    }
}

impl<const QUORUM: bool> Drop for Harness<QUORUM> {
    fn drop(&mut self) {
        // A node that was left dead is of no use to others, and neither is that of a failed behaviour.
        let resting = self.own.take().filter(|node| node.eval("node()").is_ok());
        RESTING.set(resting.filter(|_| !std::thread::panicking()));
    }
}

impl<const QUORUM: bool> Reachable for Harness<QUORUM> {
    fn url(&self) -> String {
        self.vhost.url()
    }
}

impl<const QUORUM: bool> Broker for Harness<QUORUM> {
    type Message = Raw;
    type Backend = Redis;

    const FIRST_PRIORITY: u8 = 9;
    const LAST_PRIORITY: u8 = 0;
    const PREFETCHES: bool = true;

    async fn start() -> Self {
        Harness {
            vhost: RabbitMq::shared().unwrap(),
            own: None,
            backend: Redis::start().await,
        }
    }

    async fn start_durable() -> Self {
        let node = match RESTING.take() {
            Some(node) => node,
            None => RabbitMqOptions::new().start().unwrap(),
        };
        let harness = Self::alone(node).await;
        if QUORUM {
            harness
                .with(async |connection| Self::declare(connection, "celery").await)
                .await;
            // A node that is killed within half a second of the declaration of a quorum queue has
            // not written down yet that the queue has members, and never starts it again.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        harness
    }

    fn options(&self) -> ConsumerOptions {
        let endpoint = Arc::new(AmqpEndpoint::from_url(&self.url()).unwrap());
        let mut options = ConsumerOptions::new(endpoint, "celery@test");
        options.results = Results::Server(Arc::clone(&self.backend.endpoint));
        options
    }

    /// Does nothing: the broker notices at once that a worker is gone.
    fn rescue_after(_: &mut ConsumerOptions, _: Duration) {}

    /// Does nothing: no consumer polls.
    fn without_polling(_: &mut ConsumerOptions) {}

    fn message(task: &Task, options: &EncodeOptions<'_>) -> Raw {
        task.encode_amqp(options).unwrap().into()
    }

    fn without_body(id: &str) -> Raw {
        let headers = serde_json::json!({"id": id, "task": "proj.add"}).to_string();
        Raw {
            headers: Some(TableBuf::from_json(&headers).unwrap()),
            ..Raw::default()
        }
    }

    fn malformed() -> (Vec<Raw>, Vec<DeadLetter>) {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../crates/protocol/tests/fixtures/malformed/amqp");
        let files = std::fs::read_dir(fixtures).unwrap();
        let mut messages: Vec<Raw> = files
            .map(|file| {
                let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
                let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
                let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
                Raw {
                    content_type: text(&fixture["properties"]["content_type"]),
                    content_encoding: text(&fixture["properties"]["content_encoding"]),
                    headers: TableBuf::from_json(&fixture["headers"].to_string()).ok(),
                    body: fixture["body"].as_str().unwrap().as_bytes().to_vec(),
                    ..Raw::default()
                }
            })
            .collect();
        assert_eq!(messages.len(), 6);
        messages.push(Raw::default());
        let letters = [("", "proj.add", "no-id"), ("x4", "", "no-task")];
        let letters = letters.map(|(id, task, cause)| DeadLetter::of(id, task, cause));
        (messages, letters.into())
    }

    async fn push(&mut self, queue: &str, messages: &[Raw]) {
        self.with(async |connection| {
            Self::declare(connection, queue).await?;
            let publications: Vec<_> = messages.iter().map(|it| it.publication(queue)).collect();
            let mut answers = vec![None; messages.len()];
            connection
                .publish_all(POSTS, &publications, &mut answers)
                .await?;
            assert_eq!(answers, vec![Some(Confirm::Taken); messages.len()]);
            Ok(())
        })
        .await;
    }

    async fn depth(&mut self, queue: &str) -> Depth {
        self.depth_of(&[queue])
    }

    async fn waiting(&mut self, rig: &Rig) -> usize {
        let levels: Vec<String> = (0..28).map(|it| format!("celery_delayed_{it}")).collect();
        let waiting = self.depth_of(&levels);
        let waiting = waiting.ready.saturating_add(waiting.unacknowledged);
        waiting.saturating_add(rig.consumer.parked())
    }

    async fn dead(&mut self) -> Vec<DeadLetter> {
        self.with(async |connection| {
            let mut letters = Vec::new();
            let get = Method::BasicGet {
                ticket: Reserved::default(),
                queue: Short::new("celery.dead").unwrap(),
                no_ack: false,
            };
            // The end of the connection puts the letters back.
            while let Ok(Reply::Got(delivery, _)) = connection.ask_opening(LOOKS, &get).await? {
                let headers = delivery.content.properties().unwrap().headers.unwrap();
                let text = |name: &str| {
                    let text = headers.text(name).unwrap().unwrap();
                    String::from_utf8_lossy(text).into_owned()
                };
                letters.push(DeadLetter {
                    queue: text("rs-queue"),
                    id: text("rs-id"),
                    task: text("rs-task"),
                    cause: text("rs-cause"),
                });
            }
            Ok(letters)
        })
        .await
    }

    fn backend(&mut self) -> &mut Redis {
        &mut self.backend
    }

    async fn cut_connections(&mut self) {
        self.vhost.close_connections().unwrap();
    }

    async fn crash(&mut self) {
        self.own().kill9();
    }

    async fn restart(&mut self) {
        self.own().restart().unwrap();
    }

    async fn freeze(&mut self) {
        self.own().pause();
    }

    async fn thaw(&mut self) {
        self.own().resume();
    }
}
