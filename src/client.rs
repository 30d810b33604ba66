//! The settings of a `Celery\Client`, which everything that it makes holds: results, remote
//! control, events.
//!
//! They hold no PHP value, so that sharing them needs no help from PHP's cycle collector. The
//! closures of a client (routes, headers) stay in its object.

use std::rc::Rc;
use std::time::Duration;

use celery_protocol::compression::Compression;
use celery_protocol::message::Protocol;
use celery_protocol::serializer::Serializer;

use crate::classes::exceptions::INVALID_CONFIGURATION;
use crate::classes::retry_policy::RetryPolicy;
use crate::connection::Connection;
use crate::ffi::throw::Thrown;
use crate::pool::Limits;
use crate::settings::{self, Publish};

/// Where results are stored.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// On the broker.
    Broker,
    Other(Rc<Connection>),
    /// Nowhere: `backend: 'disabled'`.
    Disabled,
}

/// The settings of a client. `None` means that php.ini decides when the setting is needed.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) broker: Rc<Connection>,
    pub(crate) backend: Backend,
    pub(crate) queue: Option<String>,
    pub(crate) serializer: Option<Serializer>,
    pub(crate) compression: Option<Compression>,
    pub(crate) publish: Option<Publish>,
    pub(crate) retry: Option<RetryPolicy>,
    pub(crate) replicas: Option<u32>,
    pub(crate) protocol: Option<Protocol>,
    pub(crate) priority: Option<u8>,
    pub(crate) ignore_result: Option<bool>,
    /// The name of the time zone in which times are written.
    pub(crate) timezone: Option<String>,
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) post_timeout: Option<Duration>,
    pub(crate) command_timeout: Option<Duration>,
    pub(crate) result_timeout: Option<Duration>,
    pub(crate) name: Option<String>,
    /// Whether posts are followed by `task-sent` events, also if php.ini does not say so.
    pub(crate) sent_events: bool,
}

impl Config {
    /// Returns settings for which php.ini decides everything else.
    pub(crate) fn of(broker: Rc<Connection>, backend: Backend) -> Self {
        Config {
            broker,
            backend,
            queue: None,
            serializer: None,
            compression: None,
            publish: None,
            retry: None,
            replicas: None,
            protocol: None,
            priority: None,
            ignore_result: None,
            timezone: None,
            connect_timeout: None,
            post_timeout: None,
            command_timeout: None,
            result_timeout: None,
            name: None,
            sent_events: false,
        }
    }

    /// Returns the result backend. Throws if the client has none.
    pub(crate) fn backend(&self) -> Result<Rc<Connection>, Thrown> {
        match &self.backend {
            Backend::Broker => Ok(Rc::clone(&self.broker)),
            Backend::Other(backend) => Ok(Rc::clone(backend)),
            Backend::Disabled => Err(Thrown::new(
                INVALID_CONFIGURATION,
                "This client has no result backend: it was constructed with backend: 'disabled'.",
            )),
        }
    }

    /// Returns `true` if results come as replies over the broker.
    pub(crate) fn has_replies(&self) -> bool {
        match &self.backend {
            Backend::Disabled => false,
            Backend::Other(backend) => backend.is_rabbitmq(),
            Backend::Broker => self.broker.is_rabbitmq(),
        }
    }

    /// Returns the limits of connections for this client.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            connect_timeout: self.connect_timeout,
            command_timeout: self.command_timeout,
            replicas: self.replicas,
            failures: settings::FAILURES_OF_CLIENT,
            sent_events: self.sent_events,
        }
    }

    /// Returns the time for a whole post.
    pub(crate) fn post_timeout(&self) -> Duration {
        let default = || settings::current().post_timeout;
        self.post_timeout.unwrap_or_else(default)
    }

    /// Returns the time for one command: a read of a result, a forget, a revoke.
    pub(crate) fn command_timeout(&self) -> Duration {
        let default = || settings::current().command_timeout;
        self.command_timeout.unwrap_or_else(default)
    }

    /// Returns the time for a wait that names none.
    pub(crate) fn result_timeout(&self) -> Duration {
        let default = || settings::current().result_timeout;
        self.result_timeout.unwrap_or_else(default)
    }
}
