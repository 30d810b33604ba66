//! The options of a consumer.

use std::time::Duration;

use celery_client::redis::RedisEndpoint as Endpoint;
use celery_protocol::serializer::Serializer;

use super::routes::Routes;
use crate::broker::{QueueOrder, Results};
use crate::delivery::MAX_HELD_BYTES;
use crate::monitor::Monitor;

/// The options of a consumer: what it consumes, how much it holds, and how long its leases last.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// The broker.
    pub broker: Endpoint,
    /// The queues, without prefix. A queue that is named twice counts once.
    pub queues: Vec<String>,
    /// Which queue is served first.
    pub queue_order: QueueOrder,
    /// Serializers accepted in message bodies; other messages become dead letters. Celery's
    /// `accept_content`.
    pub accept_content: Vec<Serializer>,
    /// The queue of follow-ups that name none and have no route. Celery's `task_default_queue`.
    pub default_queue: String,
    /// The queues of follow-ups that name none. Celery's `task_routes`.
    pub routes: Routes,
    /// The node's name, `celery@host`.
    pub node: String,
    /// The most messages that may be held; see [`held_limit`](crate::delivery::held_limit).
    pub held: usize,
    /// About how many bytes of memory the held messages may take. Beyond it, the consumer neither
    /// reads nor claims more; one message may exceed it.
    pub held_bytes: usize,
    /// The most messages that may wait for their ETA. If `None`, only memory limits them: about a
    /// hundred bytes each. Celery's `worker_eta_task_limit`.
    pub eta_task_limit: Option<usize>,
    /// How old the lease of a worker of this library may become before other workers rescue its
    /// messages.
    pub lease: Duration,
    /// How old the lease of a Python worker may become: kombu's `visibility_timeout`. The shortest
    /// value in a fleet applies to all workers.
    pub visibility_timeout: Duration,
    /// Where results go.
    pub results: Results,
    /// How long results live; zero means without limit. Celery's `result_expires`.
    pub result_expires: Duration,
    /// How often the task of a redelivered message may begin before the message becomes a dead
    /// letter.
    pub redelivery_limit: u32,
    /// How often an idle worker claims although no bell has rung. A bell can be lost without an
    /// error: a slot moves, or a proxy drops pushes.
    pub safety_claim: Duration,
    /// Receives the metrics and pulses of the consumer.
    pub(crate) monitor: Monitor,
}

impl ConsumerOptions {
    /// Returns the defaults: queue `celery`, JSON, 400 messages held in 256 MiB, results on the
    /// broker for a day.
    pub fn new(broker: Endpoint, node: impl Into<String>) -> Self {
        ConsumerOptions {
            broker,
            queues: vec!["celery".into()],
            queue_order: QueueOrder::default(),
            accept_content: vec![Serializer::Json],
            default_queue: "celery".into(),
            routes: Routes::default(),
            node: node.into(),
            held: 400,
            held_bytes: MAX_HELD_BYTES,
            eta_task_limit: None,
            lease: Duration::from_secs(30),
            visibility_timeout: Duration::from_hours(1),
            results: Results::Broker,
            result_expires: Duration::from_hours(24),
            redelivery_limit: 5,
            safety_claim: Duration::from_secs(1),
            monitor: Monitor::default(),
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
