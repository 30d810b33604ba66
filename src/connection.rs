//! A broker or a result backend: its endpoint, and what php.ini says about it.
//!
//! `details` makes one of celery-php's connection arguments.

pub(crate) mod details;

use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use celery_client::amqp::AmqpEndpoint;
use celery_client::endpoint::{Endpoint, EndpointBuilder};
use celery_client::error::ConfigError;
use celery_client::redis::RedisEndpoint;
use celery_protocol::priorities::PriorityError;

use crate::errors;
use crate::ffi::throw::Thrown;
use crate::settings;

/// The default exchange and binding of celery-php, which count as not given.
const DEFAULT_NAME: &str = "celery";

/// A broker or a result backend.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) endpoint: Endpoint,
    /// The `$exchange` of celery-php, which on Redis is the queue.
    pub(crate) exchange: Option<String>,
    /// The `$binding` of celery-php, which has no meaning on Redis.
    pub(crate) binding: Option<String>,
    /// The `$result_expire` of celery-php, in place of `celery.reply_expires`. It has no meaning on
    /// Redis.
    pub(crate) reply_expires: Option<Duration>,
    /// Whether it is a RabbitMQ because no connector was given.
    is_assumed: bool,
}

/// How the results of a backend come.
#[derive(Clone, Copy)]
pub(crate) enum Store<'a> {
    /// They are kept in a Redis.
    Redis(&'a Arc<RedisEndpoint>),
    /// As replies over the broker.
    Replies(&'a Arc<AmqpEndpoint>),
}

/// What a `Celery\Client` says about a connection beside its URL.
#[derive(Default)]
pub(crate) struct Extras {
    /// The prefix of the keys, in place of that of php.ini.
    pub(crate) key_prefix: Option<String>,
    /// The prefix of the keys if neither this nor the URL names one, in place of that of php.ini.
    pub(crate) default_prefix: Option<String>,
    /// The TLS options, as in [`Details`].
    pub(crate) tls: Vec<(String, Option<String>)>,
    /// What it says about Sentinels.
    pub(crate) sentinel: SentinelExtras,
}

/// What a `Celery\Client` says about Sentinels beside its URL.
#[derive(Clone, Default)]
pub(crate) struct SentinelExtras {
    /// The name of the master, in place of that of php.ini.
    pub(crate) master: Option<String>,
    /// The login to the Sentinels themselves.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
}

impl SentinelExtras {
    /// Returns `true` if it says nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.master.is_none() && self.user.is_none() && self.password.is_none()
    }
}

impl Connection {
    fn of(endpoint: Endpoint) -> Self {
        Connection {
            endpoint,
            exchange: None,
            binding: None,
            reply_expires: None,
            is_assumed: false,
        }
    }

    /// Returns `true` for a RabbitMQ.
    pub(crate) fn is_rabbitmq(&self) -> bool {
        matches!(self.endpoint, Endpoint::Amqp(_))
    }

    /// Returns `true` if Sentinels say where the server is.
    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(&self.endpoint, Endpoint::Redis(redis) if redis.sentinels().is_some())
    }

    /// Returns the Redis that serves a call. In the error for a RabbitMQ, `what` names the call, and
    /// `instead` says why and what to do.
    pub(crate) fn redis(&self, what: &str, instead: &str) -> Result<&Arc<RedisEndpoint>, Thrown> {
        match &self.endpoint {
            Endpoint::Redis(redis) => Ok(redis),
            Endpoint::Amqp(rabbitmq) => Err(Thrown::celery(format!(
                "{what} is not supported with RabbitMQ as broker ({rabbitmq}). {instead}"
            ))),
        }
    }

    /// Returns the way in which results come.
    pub(crate) fn store(&self) -> Store<'_> {
        match &self.endpoint {
            Endpoint::Redis(redis) => Store::Redis(redis),
            Endpoint::Amqp(rabbitmq) => Store::Replies(rabbitmq),
        }
    }

    /// Returns the Redis that keeps results. `what` names, in the error for a RabbitMQ, what needs
    /// it.
    pub(crate) fn kept_results(&self, what: &str) -> Result<&Arc<RedisEndpoint>, Thrown> {
        match &self.endpoint {
            Endpoint::Redis(redis) => Ok(redis),
            Endpoint::Amqp(_) => Err(Thrown::celery(format!(
                "The result backend rpc:// does not support {what}: results come as replies over RabbitMQ, and are \
                 not kept. Name a Redis as result backend: for Celery\\Client the argument backend, for \
                 CeleryAdvanced the second array, or the directive celery.result_backend. The workers must have the \
                 same one."
            ))),
        }
    }

    /// Returns the queue of a `Celery\Client` with this connection, if the arguments name one.
    pub(crate) fn queue_of_client(&self) -> Result<Option<String>, Thrown> {
        if !self.is_rabbitmq() {
            return Ok(self.exchange.clone());
        }
        let given = |name: &Option<String>| {
            let name = name.as_deref().filter(|name| *name != DEFAULT_NAME);
            name.map(str::to_owned)
        };
        let binding = given(&self.binding);
        if given(&self.exchange) == binding {
            return Ok(binding);
        }
        Err(Thrown::celery(
            "This client has an $exchange and a $binding that differ. A Celery\\Client names both for each task, with \
             the options exchange and routingKey: construct it with the URL of the broker.",
        ))
    }

    /// Returns the result backend of a client with this broker that names this connection as its
    /// backend, or `None` if results come as replies over the broker itself.
    pub(crate) fn backend_beside(
        self: Rc<Self>,
        broker: &Connection,
    ) -> Result<Option<Rc<Self>>, &'static str> {
        if !self.is_rabbitmq() {
            return Ok(Some(self));
        }
        if self.endpoint.identity() == broker.endpoint.identity() {
            return Ok(None);
        }
        Err(REPLIES_COME_OVER_THE_BROKER)
    }

    /// Returns the connection of a URL, or the reason why it cannot be used.
    pub(crate) fn of_url(url: &str, extras: &Extras) -> Result<Rc<Self>, String> {
        let endpoint = if extras.tls.is_empty() {
            Endpoint::from_url(url)
        } else {
            tls_options(&extras.tls, Endpoint::builder().host(url)).and_then(EndpointBuilder::build)
        };
        let endpoint = endpoint.map_err(|error| error.to_string())?;
        if matches!(endpoint, Endpoint::Amqp(_)) && extras.key_prefix.is_some() {
            return Err(
                "RabbitMQ has no keys, so keyPrefix has no meaning; for results in Redis use \
                 resultKeyPrefix"
                    .to_owned(),
            );
        }
        let endpoint = configured(endpoint, extras)?;
        Ok(Rc::new(Self::of(endpoint)))
    }

    /// Returns the prefix of the keys of results that are kept on another server, unless they are
    /// given one: the prefix of this broker. For a RabbitMQ, php.ini decides.
    pub(crate) fn prefix_of_results(&self) -> Option<String> {
        match &self.endpoint {
            Endpoint::Redis(redis) => Some(redis.key_prefix().to_owned()),
            Endpoint::Amqp(_) => None,
        }
    }

    /// Returns the connection of a URL that `directive` of php.ini holds. `default_prefix` is as in
    /// [`Extras`].
    fn configured(
        directive: &str,
        endpoint: Result<Endpoint, ConfigError>,
        default_prefix: Option<String>,
    ) -> Result<Rc<Self>, Thrown> {
        let endpoint = endpoint.map_err(|error| {
            Thrown::celery(format!(
                "The directive {directive} cannot be used: {error}."
            ))
        })?;
        Ok(Rc::new(Self::of(with_settings(endpoint, default_prefix)?)))
    }

    /// Returns the broker that php.ini names, if any.
    pub(crate) fn configured_broker() -> Result<Option<Rc<Self>>, Thrown> {
        settings::broker_url()
            .map(|url| Self::configured("celery.broker_url", Endpoint::from_url(&url), None))
            .transpose()
    }

    /// Returns the result backend that php.ini names for a client with this broker, or with that of
    /// php.ini. `None`: none, or replies over the broker.
    pub(crate) fn configured_backend(
        broker: Option<&Connection>,
    ) -> Result<Option<Rc<Self>>, Thrown> {
        let Some(url) = settings::result_backend() else {
            return Ok(None);
        };
        let refused = |why: &str| {
            Thrown::celery(format!(
                "The directive celery.result_backend cannot be used: {why}."
            ))
        };
        if is_rpc(&url) {
            return match broker {
                Some(broker) => check_rpc(broker).map(|()| None).map_err(refused),
                None => Ok(None),
            };
        }
        let endpoint = Endpoint::from_url(&url).map_err(ConfigError::of_result_backend);
        let default_prefix = match broker {
            Some(broker) => broker.prefix_of_results(),
            None => Self::configured_broker()?.and_then(|broker| broker.prefix_of_results()),
        };
        let backend = Self::configured("celery.result_backend", endpoint, default_prefix)?;
        match broker {
            Some(broker) => backend.backend_beside(broker).map_err(refused),
            None => Ok(Some(backend)),
        }
    }
}

/// Returns `true` for the URL of Celery's result backend `rpc`, whose other parts have no meaning.
pub(crate) fn is_rpc(url: &str) -> bool {
    let scheme = url
        .trim()
        .split_once("://")
        .map_or(url.trim(), |(scheme, _)| scheme);
    scheme.eq_ignore_ascii_case("rpc")
}

/// Refuses results as replies over a broker that does not carry them.
pub(crate) fn check_rpc(broker: &Connection) -> Result<(), &'static str> {
    if broker.is_rabbitmq() {
        return Ok(());
    }
    Err("rpc:// means replies over RabbitMQ, and the broker is a Redis, which keeps results itself")
}

/// Shows the address, without the password.
impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoint.fmt(f)
    }
}

impl errors::Server for Connection {
    fn is_rabbitmq(&self) -> bool {
        self.is_rabbitmq()
    }

    fn is_assumed_rabbitmq(&self) -> bool {
        self.is_assumed
    }
}

/// Why another RabbitMQ cannot be the result backend.
const REPLIES_COME_OVER_THE_BROKER: &str = "replies come over the broker of the task, and this is another RabbitMQ: write rpc:// for replies, or name a Redis";

/// Adds what php.ini says. `default_prefix` is as in [`Extras`].
fn with_settings(endpoint: Endpoint, default_prefix: Option<String>) -> Result<Endpoint, Thrown> {
    let extras = Extras {
        default_prefix,
        ..Extras::default()
    };
    configured(endpoint, &extras).map_err(|why| Thrown::celery(format!("{why}.")))
}

/// Adds what php.ini says to an endpoint, or returns the reason why that cannot be used.
fn configured(endpoint: Endpoint, extras: &Extras) -> Result<Endpoint, String> {
    let ca_file = settings::ca_file();
    let ca_file = ca_file.as_ref().map(Path::new);
    let redis = match endpoint {
        Endpoint::Redis(redis) => redis,
        Endpoint::Amqp(rabbitmq) => {
            return Ok(match ca_file {
                Some(file) => Arc::unwrap_or_clone(rabbitmq)
                    .with_default_ca_file(file)
                    .into(),
                None => Endpoint::Amqp(rabbitmq),
            });
        }
    };
    let wrong = |directive: &'static str| {
        move |error: PriorityError| format!("The directive {directive} cannot be used: {error}")
    };
    let steps = settings::priority_steps().map_err(wrong("celery.priority_steps"))?;
    let separator = settings::priority_sep().map_err(wrong("celery.priority_sep"))?;
    let sentinel = &extras.sentinel;
    let master = sentinel.master.clone().or_else(settings::master_name);
    let default_prefix = extras.default_prefix.clone();
    let default_prefix = default_prefix.unwrap_or_else(settings::key_prefix);
    let redis = Arc::unwrap_or_clone(redis)
        .with_default_priorities(steps, separator)
        .with_sentinel_login(sentinel.user.as_deref(), sentinel.password.as_deref())
        .with_master_name(master.as_deref())
        .and_then(|redis| redis.complete_key_prefix(extras.key_prefix.as_deref(), &default_prefix))
        .map_err(|error| format!("The connection cannot be used: {error}"))?;
    Ok(match ca_file {
        Some(file) => redis.with_default_ca_file(file).into(),
        None => redis.into(),
    })
}

fn tls_options(
    options: &[(String, Option<String>)],
    mut builder: EndpointBuilder,
) -> Result<EndpointBuilder, ConfigError> {
    for (name, value) in options {
        builder = if let Some(value) = value {
            builder.tls_option(name, value)?
        } else {
            // Without a value, only the name is checked.
            Endpoint::builder().tls_option(name, "")?;
            builder.tls()
        };
    }
    Ok(builder)
}
