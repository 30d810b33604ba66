//! Defines what a broker must know besides its address.

use std::collections::BTreeMap;

use celery_client::redis::RedisEndpoint as Endpoint;

/// The place where results go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one a worker")]
pub enum Results {
    /// To the broker. A result and the acknowledgement of its message are then one step.
    #[default]
    Broker,
    /// To another server. A result is stored before its message is acknowledged, so it may be
    /// stored twice but is never lost.
    Server(Endpoint),
    /// Nowhere.
    Disabled,
}

/// The queue that is emptied first when there is more work than slots. No order lets one queue
/// starve another without limit. A message's priority counts within a queue, and comes before the
/// order of queues.
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
