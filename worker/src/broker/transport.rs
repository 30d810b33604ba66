//! Names the broker of a consumer.

use celery_client::Endpoint;

use super::memory;
use super::options::RedisOptions;

/// The broker of a consumer, with the options that only this broker has.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant, reason = "a worker has only one value")]
pub enum Transport {
    /// Redis.
    Redis(RedisOptions),
    /// A server in memory, for tests.
    Memory(memory::Server),
}

impl From<RedisOptions> for Transport {
    fn from(options: RedisOptions) -> Self {
        Transport::Redis(options)
    }
}

impl From<Endpoint> for Transport {
    fn from(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::Redis(redis) => Transport::Redis(RedisOptions::new(redis)),
        }
    }
}

impl From<memory::Server> for Transport {
    fn from(server: memory::Server) -> Self {
        Transport::Memory(server)
    }
}
