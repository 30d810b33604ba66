//! What a consumer is told at its start.

use std::time::Duration;

use celery_client::endpoint::Endpoint;
use celery_protocol::serializer::Serializer;

use super::routes::Routes;
use crate::delivery::MAX_HELD_BYTES;
use crate::monitor::Monitor;
use crate::source::{QueueOrder, Results};

/// What a consumer consumes, how much it holds, and for how long others respect that.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConsumerOptions {
    /// The broker.
    pub broker: Endpoint,
    /// The queues, without prefix. One that is named twice counts once.
    pub queues: Vec<String>,
    /// Which of them is served first.
    pub queue_order: QueueOrder,
    /// In what the bodies of messages may be written; others are dead letters. Celery's `accept_content`.
    pub accept_content: Vec<Serializer>,
    /// The queue of follow-ups that name none and have no route. Celery's `task_default_queue`.
    pub default_queue: String,
    /// The queues of follow-ups that name none. Celery's `task_routes`.
    pub routes: Routes,
    /// The node's name, `celery@host`.
    pub node: String,
    /// How many messages may be held; see [`held_limit`](crate::delivery::held_limit).
    pub held: usize,
    /// About how much memory they may take before no more are read and claimed; one message more than that is possible.
    pub held_bytes: usize,
    /// How many messages may wait for their ETA; without a limit, memory is one (about a hundred bytes each). Celery's
    /// `worker_eta_task_limit`.
    pub eta_task_limit: Option<usize>,
    /// How old the lease of a worker of ours may become before others rescue its messages.
    pub lease: Duration,
    /// How old that of a Python worker may become: kombu's `visibility_timeout`. The shortest in a fleet decides for all.
    pub visibility_timeout: Duration,
    /// Where results go.
    pub results: Results,
    /// How long they live; zero is for ever. Celery's `result_expires`.
    pub result_expires: Duration,
    /// How often the task of a message that is marked as redelivered may be begun before the message is a dead letter.
    pub redelivery_limit: u32,
    /// An idle worker claims this often also when no bell has rung: one can fail without a sound (a slot that moves, a
    /// proxy that drops pushes).
    pub safety_claim: Duration,
    /// Where it is noted what happens.
    pub(crate) monitor: Monitor,
}

impl ConsumerOptions {
    /// The defaults: queue `celery`, JSON, 400 messages held in 256 MiB, results on the broker for a day.
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

    /// How often leases are renewed: every 10 s, and at least three times a lease and four times a visibility timeout.
    pub(crate) fn renewal(&self) -> Duration {
        Duration::from_secs(10)
            .min(self.visibility_timeout / 4)
            .min(self.lease / 3)
    }
}
