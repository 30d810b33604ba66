//! What a broker has to know besides its address.

use std::collections::BTreeMap;

use celery_client::endpoint::Endpoint;

/// Where results go.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "there is one a worker")]
pub enum Results {
    /// To the broker: then a result and the acknowledgement of its message are one step.
    Broker,
    /// To another server: stored first, acknowledged after, so that a result can be stored twice but never be lost.
    Server(Endpoint),
    /// Nowhere.
    Disabled,
}

/// Which queue is emptied first when there is more work than hands. In none of them a queue starves another for ever.
/// Within a queue, and before the order of queues, a message's priority counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueOrder {
    /// In turns. kombu's `queue_order_strategy` `round_robin`.
    #[default]
    RoundRobin,
    /// By name, but for one turn in ten. kombu's `sorted`.
    Sorted,
    /// As they are listed, but for one turn in ten. kombu's `priority`.
    Priority,
    /// In turns, of which a queue gets as many as its weight says, one unless said.
    Weighted(BTreeMap<String, u32>),
}
