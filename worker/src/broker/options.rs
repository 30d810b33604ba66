//! Defines the options of a consumer about its broker: the queues, the place of the results, and
//! options that only one broker has.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::{AmqpEndpoint, QueueType};
use celery_client::redis::RedisEndpoint;
use celery_protocol::message::Task;
use celery_protocol::result::StoredForm;

use super::queues::Queues;

/// The options that only a consumer on Redis has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisOptions {
    /// The server.
    pub endpoint: Arc<RedisEndpoint>,
    /// How old the lease of a worker of this library may become before other workers rescue its
    /// messages. Default: 30 s.
    pub lease: Duration,
    /// How old the lease of a Python worker may become: kombu's `visibility_timeout`. The shortest
    /// value in a fleet applies to all workers. Default: 1 h.
    pub visibility_timeout: Duration,
    /// How often an idle worker claims although no bell has rung. A bell can be lost without an
    /// error: a slot moves, or a proxy drops pushes. Default: 1 s.
    pub safety_claim: Duration,
    /// How messages are claimed. Default: by their size.
    pub claim: ClaimMode,
}

impl RedisOptions {
    /// Returns the defaults.
    pub fn new(endpoint: Arc<RedisEndpoint>) -> Self {
        RedisOptions {
            endpoint,
            lease: Duration::from_secs(30),
            visibility_timeout: Duration::from_hours(1),
            safety_claim: Duration::from_secs(1),
            claim: ClaimMode::default(),
        }
    }

    /// Returns the time between two renewals of the leases: 10 s, a third of the lease, or a
    /// quarter of the visibility timeout, whichever is shortest.
    pub(crate) fn renewal(&self) -> Duration {
        Duration::from_secs(10)
            .min(self.visibility_timeout / 4)
            .min(self.lease / 3)
    }
}

/// The options that only a consumer on RabbitMQ has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AmqpOptions {
    /// The server.
    pub endpoint: Arc<AmqpEndpoint>,
    /// The interval of heartbeats in seconds, unless the URL names one; 0 for none. Default: 60 s,
    /// which the server proposes, too.
    pub heartbeat: u16,
    /// The type of the queues that are created because they are missing: Celery's
    /// `task_create_missing_queue_type`. `None`: none is created, like with Celery's
    /// `task_create_missing_queues = False`. Default: classic.
    pub create_missing: Option<QueueType>,
    /// How many tasks run at the same time. No more redelivered messages than that are published
    /// anew for their start before they start. Default: 100.
    pub slots: usize,
}

impl AmqpOptions {
    /// Returns the defaults.
    pub fn new(endpoint: Arc<AmqpEndpoint>) -> Self {
        AmqpOptions {
            endpoint,
            heartbeat: 60,
            create_missing: Some(QueueType::Classic),
            slots: 100,
        }
    }
}

/// How a worker on Redis claims messages.
///
/// A script claims in one step, but Redis's Lua reads each byte of a message several times. Native
/// commands do not, but take three steps, and a message is in a list of the worker in between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimMode {
    /// Messages of queues with large messages by native commands, all others by script.
    #[default]
    Adaptive,
    /// All messages by script.
    Script,
    /// All messages by native commands, wherever Redis allows them.
    Native,
}

/// What a worker consumes, and where its results go: the options that every broker has.
#[derive(Debug)]
pub(crate) struct Subscription<'a> {
    pub(crate) queues: &'a Arc<Queues>,
    pub(crate) order: &'a QueueOrder,
    /// Those of the queues that are served in turns between keys. Only Redis has them.
    pub(crate) fair: &'a [FairQueue],
    /// The worker's node name.
    pub(crate) node: &'a str,
    pub(crate) results: &'a Results,
    /// How long results live; zero means without limit.
    pub(crate) result_expires: Duration,
    /// How long failures live; zero means without limit.
    pub(crate) failure_expires: Duration,
    /// How long the members of a chord live; zero means without limit.
    pub(crate) chord_expires: Duration,
    /// The form in which results are stored.
    pub(crate) form: StoredForm,
}

/// A queue whose messages are served in turns between their keys.
#[derive(Clone)]
pub(crate) struct FairQueue {
    pub(crate) name: Arc<str>,
    key: Arc<KeyOf>,
}

/// Returns the digest of a message's key, in hexadecimal.
type KeyOf = dyn Fn(&Task) -> Arc<str> + Send + Sync;

impl FairQueue {
    pub(crate) fn new(name: &str, key: impl Fn(&Task) -> Arc<str> + Send + Sync + 'static) -> Self {
        FairQueue {
            name: name.into(),
            key: Arc::new(key),
        }
    }

    /// Returns the digest of a message's key.
    pub(crate) fn key(&self, task: &Task) -> Arc<str> {
        (self.key)(task)
    }
}

impl fmt::Debug for FairQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FairQueue").field(&self.name).finish()
    }
}
/// The URL of [`Results::Replies`].
pub(crate) const RPC: &str = "rpc://";

/// The place where results go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a worker has only one value")]
pub enum Results {
    /// To the broker. A result and the acknowledgement of its message are then one step.
    #[default]
    Broker,
    /// To another server. A result is stored before its message is acknowledged, so it may be
    /// stored twice but is never lost.
    Server(Arc<RedisEndpoint>),
    /// Into the queue that the message of the task names, as replies: Celery's `rpc://`. Another
    /// broker than RabbitMQ stores them as with [`Broker`](Results::Broker), but has no chords.
    Replies,
    /// Nowhere.
    Disabled,
}

/// The queue that is emptied first when there is more work than slots. With each order, every queue
/// gets its turn at some time. The priority of messages comes first: this order decides between
/// lists of equal priority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// Each queue in its turn: kombu's `queue_order_strategy` `round_robin`.
    #[default]
    RoundRobin,
    /// By name, except for one turn in ten: kombu's `sorted`.
    Sorted,
    /// As listed, except for one turn in ten: kombu's `priority`.
    Priority,
    /// Each queue in its turn, as often as its weight says. Default weight: 1.
    Weighted(BTreeMap<String, u32>),
}
