//! The endpoint of any server that can be a broker or a result backend.

use std::fmt;
use std::sync::Arc;

use super::url::UrlText;
use crate::amqp::{AMQP_SCHEMES, AmqpEndpoint};
use crate::error::ConfigError;
use crate::redis::{REDIS_SCHEMES, RedisEndpoint, RedisUrl};

/// The address of a broker or a result backend, the login to it, and its options.
///
/// Each kind of server has a variant with an endpoint of its own, which its drivers take. A `match`
/// without a wildcard chooses the driver, so that the compiler finds every place that a new kind
/// needs.
///
/// ```
/// use celery_client::Endpoint;
///
/// match Endpoint::from_url("redis://:secret@cache.local/3")? {
///     Endpoint::Redis(redis) => assert_eq!(redis.database(), 3),
///     Endpoint::Amqp(rabbitmq) => unreachable!("{rabbitmq}"),
/// }
/// let rabbitmq = Endpoint::from_url("amqp://worker:secret@mq.local/shop")?;
/// assert_eq!(rabbitmq.display_url(), "amqp://worker:********@mq.local:5672/shop");
/// # Ok::<(), celery_client::error::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// One Redis.
    Redis(Arc<RedisEndpoint>),
    /// One RabbitMQ.
    Amqp(Arc<AmqpEndpoint>),
}

impl Endpoint {
    /// Reads a URL, whose scheme decides the kind of server.
    ///
    /// # Errors
    /// [`ConfigError`] says what cannot be used. It never repeats the URL, which may hold a
    /// password.
    pub fn from_url(text: &str) -> Result<Self, ConfigError> {
        let url = UrlText::split(text)?;
        match url.scheme() {
            redis if REDIS_SCHEMES.contains(&redis) => {
                RedisUrl::read(&url).map(|url| url.endpoint().into())
            }
            amqp if AMQP_SCHEMES.contains(&amqp) => AmqpEndpoint::read(&url).map(Self::from),
            _ => Err(url.unknown_scheme()),
        }
    }

    /// Returns a name for this connection: a hash of scheme, host, port, database or virtual
    /// host, and user. It is equal in every process and for every password.
    pub fn identity(&self) -> String {
        match self {
            Self::Redis(redis) => redis.identity(),
            Self::Amqp(rabbitmq) => rabbitmq.identity(),
        }
    }

    /// Returns the URL with a masked password, for messages and logs.
    pub fn display_url(&self) -> String {
        match self {
            Self::Redis(redis) => redis.display_url(),
            Self::Amqp(rabbitmq) => rabbitmq.display_url(),
        }
    }
}

impl From<RedisEndpoint> for Endpoint {
    fn from(endpoint: RedisEndpoint) -> Self {
        Self::Redis(Arc::new(endpoint))
    }
}

impl From<AmqpEndpoint> for Endpoint {
    fn from(endpoint: AmqpEndpoint) -> Self {
        Self::Amqp(Arc::new(endpoint))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.display_url())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_decides_the_kind_of_server() {
        for (url, shown) in [
            ("redis://u:p@h/1", "redis://u:********@h:6379/1"),
            ("REDISS://h", "rediss://h:6379/0"),
            ("socket:///r.sock", "redis+socket:///r.sock?virtual_host=0"),
            (
                "Unix:///r.sock?db=2",
                "redis+socket:///r.sock?virtual_host=2",
            ),
            (
                "sentinel://:p@a;sentinel://b:1/2?master_name=m",
                "sentinel://:********@a:26379;sentinel://b:1/2?master_name=m",
            ),
            (
                "rediss+cluster://:p@a;rediss+cluster://b:1/0?prefix={s}:",
                "rediss+cluster://:********@a:6379;rediss+cluster://b:1/0?prefix={s}:",
            ),
        ] {
            let Endpoint::Redis(redis) = Endpoint::from_url(url).unwrap() else {
                panic!("{url} is not that of a Redis");
            };
            assert_eq!(redis.display_url(), shown, "{url}");
            assert_eq!(Ok(&*redis), RedisEndpoint::from_url(url).as_ref(), "{url}");
            assert_eq!(Endpoint::Redis(redis.clone()).identity(), redis.identity());
        }
        for url in ["AMQP://u:p@h/v", "pyamqp://h", "amqps://h//"] {
            let Endpoint::Amqp(rabbitmq) = Endpoint::from_url(url).unwrap() else {
                panic!("{url} is not that of a RabbitMQ");
            };
            let read = AmqpEndpoint::from_url(url).unwrap();
            assert_eq!(*rabbitmq, read, "{url}");
            let (name, shown) = (read.identity(), read.display_url());
            let endpoint = Endpoint::Amqp(rabbitmq);
            assert_eq!((endpoint.identity(), endpoint.display_url()), (name, shown));
            assert!(RedisEndpoint::from_url(url).is_err(), "{url}");
        }
        for (url, scheme) in [
            ("AMQP1://u:hunter2@h//", "AMQP1"),
            ("redis+tls://h", "redis+tls"),
            ("https://u:hunter2@h", "https"),
        ] {
            let scheme = scheme.to_owned();
            let refused = ConfigError::Scheme { scheme };
            assert_eq!(RedisEndpoint::from_url(url), Err(refused.clone()), "{url}");
            assert_eq!(Endpoint::from_url(url), Err(refused), "{url}");
        }
    }
}
