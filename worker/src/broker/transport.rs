//! Names the broker of a consumer.

use std::sync::Arc;

use celery_client::amqp::AmqpEndpoint;
use celery_client::redis::RedisEndpoint;

use super::memory;
use super::options::{AmqpOptions, RedisOptions};

/// The broker of a consumer, with the options that only this broker has.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a worker has only one value")]
pub enum Transport {
    /// Redis.
    Redis(RedisOptions),
    /// RabbitMQ.
    Amqp(AmqpOptions),
    /// A server in memory, for tests.
    Memory(memory::Server),
}

impl From<RedisOptions> for Transport {
    fn from(options: RedisOptions) -> Self {
        Transport::Redis(options)
    }
}

impl From<AmqpOptions> for Transport {
    fn from(options: AmqpOptions) -> Self {
        Transport::Amqp(options)
    }
}

impl From<Arc<AmqpEndpoint>> for Transport {
    fn from(endpoint: Arc<AmqpEndpoint>) -> Self {
        Transport::Amqp(AmqpOptions::new(endpoint))
    }
}

impl From<Arc<RedisEndpoint>> for Transport {
    fn from(endpoint: Arc<RedisEndpoint>) -> Self {
        Transport::Redis(RedisOptions::new(endpoint))
    }
}

impl From<memory::Server> for Transport {
    fn from(server: memory::Server) -> Self {
        Transport::Memory(server)
    }
}
