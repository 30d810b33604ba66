//! Defines what a setting is apart from its meaning: its name, its text, and the error if it cannot
//! be used.

use std::fmt;

use serde::Deserialize;

/// A value that may also be written as a number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Written(String),
    Whole(u64),
    Real(f64),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Written(text) => f.write_str(text),
            Text::Whole(number) => number.fmt(f),
            Text::Real(number) => number.fmt(f),
        }
    }
}

/// A setting that cannot be used. The text contains no password.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{setting}: {cause}")]
pub struct ConfigError {
    /// The setting, as it can be written in each source.
    pub(crate) setting: &'static str,
    /// What is wrong with it.
    pub(crate) cause: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, cause: impl fmt::Display) -> Self {
        ConfigError {
            setting,
            cause: cause.to_string(),
        }
    }
}

/// The names of the settings whose values can be wrong.
pub(crate) mod setting {
    pub(crate) const BROKER: &str = "broker (-b/--broker, CELERY_BROKER_URL)";
    pub(crate) const RESULT_BACKEND: &str =
        "result_backend (--result-backend, CELERY_RESULT_BACKEND)";
    pub(crate) const KEY_PREFIX: &str = "key_prefix (--key-prefix, CELERY_WORKER_KEY_PREFIX)";
    pub(crate) const RESULT_KEY_PREFIX: &str =
        "result_key_prefix (--result-key-prefix, CELERY_WORKER_RESULT_KEY_PREFIX)";
    pub(crate) const RESULT_EXPIRES: &str =
        "result_expires (--result-expires, CELERY_WORKER_RESULT_EXPIRES)";
    pub(crate) const DATABASE: &str = "database (--database, DATABASE_URL)";
    pub(crate) const DATABASE_TIMEOUT: &str =
        "database_timeout (--database-timeout, CELERY_WORKER_DATABASE_TIMEOUT)";
    pub(crate) const DATABASE_CONNECTIONS: &str =
        "database_connections (--database-connections, CELERY_WORKER_DATABASE_CONNECTIONS)";
    pub(crate) const DATABASE_TIME_ZONE: &str =
        "database_time_zone (--database-time-zone, CELERY_WORKER_DATABASE_TIME_ZONE)";
    pub(crate) const QUEUES: &str = "queues (-Q/--queues, CELERY_WORKER_QUEUES)";
    pub(crate) const QUEUE_ORDER_STRATEGY: &str =
        "queue_order_strategy (--queue-order-strategy, CELERY_WORKER_QUEUE_ORDER_STRATEGY)";
    pub(crate) const QUEUE_WEIGHTS: &str =
        "queue_weights (--queue-weights, CELERY_WORKER_QUEUE_WEIGHTS)";
    pub(crate) const PRIORITY_STEPS: &str =
        "priority_steps (--priority-steps, CELERY_WORKER_PRIORITY_STEPS)";
    pub(crate) const SEP: &str = "sep (--priority-sep, CELERY_WORKER_PRIORITY_SEP)";
    pub(crate) const ROUTES: &str = "routes (--routes, CELERY_WORKER_ROUTES)";
    pub(crate) const DEFAULT_QUEUE: &str =
        "default_queue (--default-queue, CELERY_WORKER_DEFAULT_QUEUE)";
    pub(crate) const ACCEPT_CONTENT: &str =
        "accept_content (--accept-content, CELERY_WORKER_ACCEPT_CONTENT)";
    pub(crate) const CONCURRENCY: &str =
        "concurrency (-c/--concurrency, CELERY_WORKER_CONCURRENCY)";
    pub(crate) const HOSTNAME: &str = "hostname (-n/--hostname, CELERY_WORKER_HOSTNAME)";
    pub(crate) const LOGLEVEL: &str = "loglevel (-l/--loglevel, CELERY_WORKER_LOGLEVEL)";
    pub(crate) const LOGFILE: &str = "logfile (-f/--logfile, CELERY_WORKER_LOGFILE)";
    pub(crate) const LOG_FORMAT: &str = "log_format (--log-format, CELERY_WORKER_LOG_FORMAT)";
    pub(crate) const VISIBILITY_TIMEOUT: &str =
        "visibility_timeout (--visibility-timeout, CELERY_WORKER_VISIBILITY_TIMEOUT)";
    pub(crate) const TASKS: &str = "tasks (in the file of --config)";
    pub(crate) const EXACTLY_ONCE: &str =
        "exactly_once (--exactly-once, CELERY_WORKER_EXACTLY_ONCE), or once of a task";
    pub(crate) const INBOX_EXPIRES: &str =
        "inbox_expires (--inbox-expires, CELERY_WORKER_INBOX_EXPIRES)";
    pub(crate) const METRICS_ADDR: &str =
        "metrics_addr (--metrics-addr, CELERY_WORKER_METRICS_ADDR)";
    pub(crate) const SOFT_SHUTDOWN_TIMEOUT: &str =
        "soft_shutdown_timeout (--soft-shutdown-timeout, CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT)";
    pub(crate) const LEASE: &str = "lease (--lease, CELERY_WORKER_LEASE)";
}
