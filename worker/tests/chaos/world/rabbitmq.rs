//! RabbitMQ as the broker of a world. The results are in the world's Redis, to which nothing
//! happens.

use std::iter;
use std::time::Duration;

use celery_client::amqp::aio::{Confirm, ConnectOptions, Connection, Failure, Publication};
use celery_client::amqp::{AmqpEndpoint, Queue, QueueType};
use celery_protocol::amqp::{Method, Properties, Reply, Reserved, Short};
use celery_protocol::message::{EncodeOptions, Task};
use celery_testkit::{RabbitMq, RedisOptions, VirtualHost, wait_for};
use tokio::runtime::Runtime;

use super::{Kind, PATIENCE, World};

/// The queues of a world.
const QUEUES: [&str; 2] = ["celery", "play"];
/// The queue of dead letters.
const DEAD: &str = "celery.dead";
/// The number of levels of Celery's native delay.
const LEVELS: usize = 28;
/// The channels of the test's connections.
const POSTS: u16 = 1;
const LOOKS: u16 = 2;
/// The longest wait for an answer. A node may never confirm a message that it took while another one
/// was killed.
const ANSWER: Duration = Duration::from_secs(5);
/// How often tasks are offered on a connection. A channel that was opened just after the loss of a
/// node may refuse them without end, while another one takes them.
const OFFERS: u32 = 40;
/// The pause before the next try on another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// The virtual host of a RabbitMQ, and the kind of its queues.
pub struct Rabbit {
    /// The virtual host on each node.
    vhosts: Vec<VirtualHost>,
    /// The nodes that the test may kill. None if other tests use them.
    pub nodes: Vec<RabbitMq>,
    kind: QueueType,
    /// The results' address for the workers.
    pub results: String,
    runtime: Runtime,
}

impl World {
    /// Makes a world whose broker is a virtual host of these nodes with queues of this kind, and
    /// without a database. Without nodes, it is on a node that other tests use, too. Its results are
    /// on a Redis with these options.
    pub fn on_nodes(
        scenario: &'static str,
        kind: QueueType,
        nodes: Vec<RabbitMq>,
        results: RedisOptions,
    ) -> World {
        let mut world = World::on(scenario, results);
        let vhosts: Vec<VirtualHost> = match nodes.split_first() {
            Some((first, others)) => {
                let vhost = first.add_vhost().unwrap();
                let others = others.iter().map(|node| node.vhost(vhost.name()));
                let others: Vec<VirtualHost> = others.collect();
                iter::once(vhost).chain(others).collect()
            }
            None => vec![RabbitMq::shared().unwrap()],
        };
        let urls: Vec<String> = vhosts.iter().map(VirtualHost::url).collect();
        world.broker = urls.join(";");
        let runtime = tokio::runtime::Builder::new_current_thread();
        let rabbit = Rabbit {
            vhosts,
            nodes,
            kind,
            results: world.redis.url(),
            runtime: { runtime }.enable_all().build().unwrap(),
        };
        rabbit.declare();
        world.rabbit = Some(rabbit);
        world
    }

    /// Returns the broker.
    pub fn rabbit(&mut self) -> &mut Rabbit {
        self.rabbit.as_mut().unwrap()
    }

    /// Returns the node of a RabbitMQ of one node.
    pub fn node(&mut self) -> &mut RabbitMq {
        &mut self.rabbit().nodes[0]
    }

    /// Returns the virtual host of a RabbitMQ of one node.
    pub fn vhost(&mut self) -> &VirtualHost {
        &self.rabbit().vhosts[0]
    }

    /// Posts the tasks of dead letters again, as an operator would. Their only cause here is
    /// `poison`.
    pub(super) fn replay_on_rabbitmq(&mut self) {
        let Some(rabbit) = &self.rabbit else { return };
        if rabbit.dead() == 0 {
            return;
        }
        for (id, cause) in rabbit.take_dead_letters() {
            assert_eq!(cause, "poison", "{id} is a dead letter");
            // A message whose worker died before it was acknowledged may be there twice.
            let Some(kind) = self.open.get(&id) else {
                continue;
            };
            let task = kind.task(&id);
            rabbit.publish(kind.queue(), &[task]);
            self.replayed.insert(id);
        }
    }
}

impl Kind {
    /// Returns the task of this kind that has this id.
    fn task(self, id: &str) -> Task {
        self.to_task(id, id[1..].parse().unwrap())
    }
}

/// Returns the names of all queues in which a message may be. It moves from level to level down to its
/// queue: counted in this order, none is passed over.
fn places() -> Vec<String> {
    let levels = (0..LEVELS).rev().map(|it| format!("celery_delayed_{it}"));
    let queues = QUEUES.into_iter().chain([DEAD]).map(str::to_owned);
    levels.chain(queues).collect()
}

impl Rabbit {
    /// Returns the kind of the queues as `--create-queues` names it.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            QueueType::Classic => "classic",
            QueueType::Quorum => "quorum",
        }
    }

    /// Declares the queues of the world.
    pub fn declare(&self) {
        self.with(async |connection| {
            for name in QUEUES {
                let mut queue = Queue::durable(name);
                queue.set_type(self.kind);
                connection.find_queue(LOOKS, &queue).await?.unwrap();
            }
            Ok(())
        });
    }

    /// Deletes a queue with what is in it.
    pub fn delete(&self, name: &str) {
        self.with(async |connection| {
            let delete = Method::QueueDelete {
                ticket: Reserved::default(),
                queue: Short::new(name).unwrap(),
                if_unused: false,
                if_empty: false,
                no_wait: false,
            };
            connection.ask_opening(LOOKS, &delete).await?.unwrap();
            Ok(())
        });
    }

    /// Sends tasks, and returns once the broker has confirmed them. Those that it does not take are
    /// sent again. A task may be sent twice if the connection is lost meanwhile.
    pub fn publish(&self, queue: &str, tasks: &[Task]) {
        let messages: Vec<_> = tasks
            .iter()
            .map(|task| {
                let options = EncodeOptions::new(queue, "");
                task.encode_amqp(&options).unwrap()
            })
            .collect();
        let publications: Vec<_> = messages
            .iter()
            .map(|message| Publication {
                routing_key: queue,
                properties: Properties {
                    content_type: Some(Short::new(&message.content_type).unwrap()),
                    content_encoding: Some(Short::new(&message.content_encoding).unwrap()),
                    correlation_id: Some(Short::new(&message.correlation_id).unwrap()),
                    delivery_mode: Some(2),
                    headers: Some(message.headers.as_table()),
                    ..Properties::default()
                },
                body: &message.body,
                ..Publication::default()
            })
            .collect();
        self.with(async |connection| {
            let mut answers = vec![None; publications.len()];
            for _ in 0..OFFERS {
                let published = connection.publish_all(POSTS, &publications, &mut answers);
                published.await?;
                for answer in &mut answers {
                    // A queue may not take messages yet, just after the start of its server.
                    answer.take_if(|it| matches!(it, Confirm::NotTaken | Confirm::Unroutable(_)));
                }
                if answers.iter().all(|it| *it == Some(Confirm::Taken)) {
                    return Ok(());
                }
                let open = answers.iter().any(Option::is_none);
                assert!(open, "RabbitMQ refuses the tasks: {answers:?}");
                tokio::time::sleep(PAUSE).await;
            }
            Err(Failure::Lost("the node does not take the tasks".to_owned()))
        });
    }

    /// Takes the dead letters out of their queue. Returns the id and the cause of each.
    fn take_dead_letters(&self) -> Vec<(String, String)> {
        self.with(async |connection| {
            let mut letters = Vec::new();
            let get = Method::BasicGet {
                ticket: Reserved::default(),
                queue: Short::new(DEAD).unwrap(),
                no_ack: true,
            };
            while let Ok(Reply::Got(delivery, _)) = connection.ask_opening(LOOKS, &get).await? {
                let headers = delivery.content.properties().unwrap().headers.unwrap();
                let text = |name: &str| {
                    let text = headers.text(name).unwrap().unwrap();
                    String::from_utf8_lossy(text).into_owned()
                };
                letters.push((text("rs-id"), text("rs-cause")));
            }
            Ok(letters)
        })
    }

    /// Returns the number of all messages: waiting for their ETA, in the queues, held, and dead.
    /// `None`: the broker does not answer.
    pub fn messages(&self) -> Option<usize> {
        let queues = places();
        let queues: Vec<&str> = queues.iter().map(String::as_str).collect();
        self.depth(&queues)
    }

    /// Returns the number of dead letters; 0 if the broker does not answer.
    pub fn dead(&self) -> usize {
        self.depth(&[DEAD]).unwrap_or(0)
    }

    /// Returns `true` if the queue exists.
    pub fn has_queue(&self, name: &str) -> bool {
        let ready = self.vhosts[0].ready_messages(name);
        ready.is_ok_and(|ready| ready.is_some())
    }

    /// Returns the number of messages that were delivered and are not acknowledged.
    pub fn held(&self) -> usize {
        let (_, held) = self.depths(&QUEUES).expect("no answer from RabbitMQ");
        held
    }

    fn depth(&self, queues: &[&str]) -> Option<usize> {
        let (ready, held) = self.depths(queues)?;
        Some(ready + held)
    }

    fn depths(&self, queues: &[&str]) -> Option<(usize, usize)> {
        let of = |vhost: &VirtualHost| vhost.depth(queues).ok();
        self.vhosts.iter().find_map(of)
    }

    /// Waits until one node may be killed without stopping a queue: all members of all quorum queues
    /// are there.
    pub fn wait_for_members(&self) {
        let complete = |node: &RabbitMq| node.can_lose_a_node().is_ok_and(|may| may);
        wait_for(PATIENCE, "all members of the quorum queues", || {
            self.nodes.iter().all(complete)
        })
        .unwrap();
    }

    /// Asserts that the broker has at least one message for each open task. No worker may be
    /// running. A look at the messages themselves would mark them as redelivered, so that
    /// they are only counted. A message that moves to another queue is in neither for a moment, so
    /// that they are counted again if some are missing.
    pub fn assert_has(&self, open: usize, when: &str) {
        let mut messages = None;
        let enough = wait_for(PATIENCE, "", || {
            messages = self.messages();
            messages.is_some_and(|messages| messages >= open)
        });
        assert!(
            enough.is_ok(),
            "{when}: {open} tasks are open, {messages:?} messages are there"
        );
    }

    /// Describes where messages are.
    pub fn describe(&self) -> String {
        let of = |queue: String| format!("{queue}: {:?}", self.depth(&[&queue]));
        let queues = places().into_iter().map(of);
        let logs = self.nodes.iter().map(RabbitMq::log);
        let texts: Vec<String> = queues.chain(logs).collect();
        texts.join("\n")
    }

    /// Uses a new connection, to another node each time, until that succeeds.
    fn with<T>(&self, call: impl AsyncFn(&mut Connection) -> Result<T, Failure>) -> T {
        let trying = async {
            for vhost in self.vhosts.iter().cycle() {
                if let Ok(mut connection) = open(&vhost.url()).await
                    && let Ok(done) = call(&mut connection).await
                {
                    // What was asked for is done, so that this may fail.
                    let _closed = connection.close().await;
                    return done;
                }
                tokio::time::sleep(PAUSE).await;
            }
            unreachable!("a cycle over no nodes")
        };
        let done = async { tokio::time::timeout(PATIENCE, trying).await };
        let done = self.runtime.block_on(done);
        done.unwrap_or_else(|_| panic!("no answer from RabbitMQ\n{}", self.describe()))
    }
}

async fn open(url: &str) -> Result<Connection, Failure> {
    let endpoint = AmqpEndpoint::from_url(url).unwrap();
    let mut options = ConnectOptions::new("test");
    options.response_timeout = ANSWER;
    let mut connection = Connection::open(&endpoint, &options).await?;
    connection.open_confirming(POSTS).await?;
    Ok(connection)
}
