//! Reads the worker's settings from the command line, the environment, a file, or the defaults, in
//! this order.
//!
//! [`Settings`] holds one such source: every value may be missing, and none is checked. [`Config`]
//! is the checked result. Its errors name the setting as it is written in each source. Nothing here
//! connects.

mod misplaced;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use celery_client::endpoint::Endpoint;
use celery_client::mask::{mask, mask_misplaced};
use celery_protocol::priorities::{PrioritySteps, Separator};
use celery_protocol::redis_keys::Keys;
use celery_protocol::serializer::Serializer;
use serde::Deserialize;

use self::value::{ConfigError, Text, setting};
use crate::consumer::{QueueOrder, Results, RouteError, Routes, read_routes};
use crate::database::{CONNECTIONS, Zone};
use crate::duration;
use crate::tasks::SqlTask;

/// How many tasks run at once by default. Ours are futures, so it is more than Celery's default,
/// the number of cores.
const CONCURRENCY: usize = 100;
/// Celery's `worker_prefetch_multiplier`.
const PREFETCH_MULTIPLIER: usize = 4;
/// The largest weight. A larger one is a mistake: only the proportion of weights counts.
const MOST_WEIGHT: u32 = 100;
/// How many seconds rows of `celery_inbox` are kept: a week. A message is no longer delivered again
/// after that time.
const INBOX_EXPIRES: u64 = 7 * 86_400;
/// The most slots. A worker would never use more slots than it may hold messages.
const MOST_SLOTS: usize = crate::delivery::MAX_HELD;

/// The settings of one source. The names are those of the file; the command line writes `-` for
/// `_`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) broker: Option<String>,
    pub(crate) key_prefix: Option<String>,
    pub(crate) result_backend: Option<String>,
    pub(crate) result_key_prefix: Option<String>,
    pub(crate) result_expires: Option<Text>,
    pub(crate) database: Option<String>,
    pub(crate) database_timeout: Option<Text>,
    pub(crate) database_connections: Option<u16>,
    pub(crate) database_time_zone: Option<String>,
    pub(crate) queues: Option<Vec<String>>,
    pub(crate) queue_order_strategy: Option<String>,
    pub(crate) queue_weights: Option<BTreeMap<String, u32>>,
    pub(crate) priority_steps: Option<Steps>,
    /// kombu's `sep`. The command line calls it `--priority-sep`.
    pub(crate) sep: Option<String>,
    pub(crate) default_queue: Option<String>,
    #[serde(default, deserialize_with = "read_routes")]
    pub(crate) routes: Option<Result<Routes, RouteError>>,
    pub(crate) accept_content: Option<Vec<String>>,
    pub(crate) concurrency: Option<usize>,
    pub(crate) prefetch_multiplier: Option<usize>,
    pub(crate) hostname: Option<String>,
    pub(crate) loglevel: Option<String>,
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) log_format: Option<String>,
    pub(crate) visibility_timeout: Option<Text>,
    pub(crate) lease: Option<Text>,
    pub(crate) eta_task_limit: Option<usize>,
    pub(crate) exactly_once: Option<bool>,
    pub(crate) inbox_expires: Option<Text>,
    pub(crate) metrics_addr: Option<String>,
    #[serde(alias = "worker_soft_shutdown_timeout")]
    pub(crate) soft_shutdown_timeout: Option<Text>,
    /// SQL tasks by name, which only the file can define.
    #[serde(default)]
    pub(crate) tasks: BTreeMap<String, SqlTask>,
}

/// Priority steps: a list in the file; elsewhere text, with commas between the steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Steps {
    Written(String),
    Listed(Vec<i64>),
}

impl Settings {
    /// Reads the settings of a file.
    pub(crate) fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError {
            setting: "--config",
            // The cause is only the error's message, because the excerpt of the file that `Display`
            // prints could show a password.
            cause: match error.span() {
                Some(span) => {
                    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                    format!("line {line}: {}", without_values(error.message()))
                }
                None => without_values(error.message()),
            },
        })
    }

    /// Fills in what is missing here with the values of `other`.
    pub(crate) fn or(self, other: Settings) -> Settings {
        Settings {
            broker: self.broker.or(other.broker),
            key_prefix: self.key_prefix.or(other.key_prefix),
            result_backend: self.result_backend.or(other.result_backend),
            result_key_prefix: self.result_key_prefix.or(other.result_key_prefix),
            result_expires: self.result_expires.or(other.result_expires),
            database: self.database.or(other.database),
            database_timeout: self.database_timeout.or(other.database_timeout),
            database_connections: self.database_connections.or(other.database_connections),
            database_time_zone: self.database_time_zone.or(other.database_time_zone),
            queues: self.queues.or(other.queues),
            queue_order_strategy: self.queue_order_strategy.or(other.queue_order_strategy),
            queue_weights: self.queue_weights.or(other.queue_weights),
            priority_steps: self.priority_steps.or(other.priority_steps),
            sep: self.sep.or(other.sep),
            default_queue: self.default_queue.or(other.default_queue),
            routes: self.routes.or(other.routes),
            accept_content: self.accept_content.or(other.accept_content),
            concurrency: self.concurrency.or(other.concurrency),
            prefetch_multiplier: self.prefetch_multiplier.or(other.prefetch_multiplier),
            hostname: self.hostname.or(other.hostname),
            loglevel: self.loglevel.or(other.loglevel),
            logfile: self.logfile.or(other.logfile),
            log_format: self.log_format.or(other.log_format),
            visibility_timeout: self.visibility_timeout.or(other.visibility_timeout),
            lease: self.lease.or(other.lease),
            eta_task_limit: self.eta_task_limit.or(other.eta_task_limit),
            exactly_once: self.exactly_once.or(other.exactly_once),
            inbox_expires: self.inbox_expires.or(other.inbox_expires),
            metrics_addr: self.metrics_addr.or(other.metrics_addr),
            soft_shutdown_timeout: self.soft_shutdown_timeout.or(other.soft_shutdown_timeout),
            tasks: if self.tasks.is_empty() {
                other.tasks
            } else {
                self.tasks
            },
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Like Celery's log lines.
    Text,
    /// One JSON object per line.
    Json,
}

/// The checked settings of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) broker: Endpoint,
    pub(crate) results: Results,
    pub(crate) result_expires: Duration,
    pub(crate) database: Option<String>,
    /// Zero means no limit.
    pub(crate) database_timeout: Duration,
    pub(crate) database_connections: NonZeroU16,
    /// `None` means the zone of the server.
    pub(crate) database_time_zone: Option<Zone>,
    pub(crate) queues: Vec<String>,
    pub(crate) queue_order: QueueOrder,
    /// The queue of follow-ups that name none and have no route.
    pub(crate) default_queue: String,
    pub(crate) routes: Routes,
    pub(crate) accept_content: Vec<Serializer>,
    pub(crate) concurrency: usize,
    pub(crate) prefetch_multiplier: usize,
    pub(crate) hostname: String,
    pub(crate) loglevel: tracing::Level,
    pub(crate) logfile: Option<PathBuf>,
    pub(crate) log_format: LogFormat,
    pub(crate) visibility_timeout: Duration,
    pub(crate) lease: Duration,
    pub(crate) eta_task_limit: Option<usize>,
    pub(crate) exactly_once: bool,
    /// `true` if any task uses the inbox.
    pub(crate) inbox: bool,
    /// Zero means that rows stay without limit.
    pub(crate) inbox_expires: Duration,
    /// `None` means that the pages are not served.
    pub(crate) metrics_addr: Option<SocketAddr>,
    /// Zero means none.
    pub(crate) soft_shutdown_timeout: Duration,
}

impl Config {
    /// Checks settings and fills in the defaults.
    #[expect(clippy::too_many_lines, reason = "one step a setting")]
    pub(crate) fn new(settings: Settings) -> Result<Self, ConfigError> {
        settings.refuse_misplaced_urls()?;
        let broker = settings
            .broker
            .as_deref()
            .unwrap_or("redis://localhost:6379/0");
        let prefix = key_prefix(settings.key_prefix, setting::KEY_PREFIX)?.unwrap_or_default();
        let result_prefix = key_prefix(settings.result_key_prefix, setting::RESULT_KEY_PREFIX)?
            .unwrap_or_else(|| prefix.clone());
        let broker = Endpoint::from_url(broker)
            .map_err(|error| ConfigError::new(setting::BROKER, error))?
            .with_key_prefix(prefix);
        let broker = with_priorities(broker, settings.priority_steps, settings.sep)?;
        let results = results(settings.result_backend.as_deref(), &broker, result_prefix)?;
        let default_queue = settings
            .default_queue
            .unwrap_or_else(|| "celery".to_owned());
        celery_protocol::names::check_queue_name(&default_queue)
            .map_err(|error| ConfigError::new(setting::DEFAULT_QUEUE, error))?;
        let queues = settings
            .queues
            .unwrap_or_else(|| vec![default_queue.clone()]);
        if queues.is_empty() {
            return Err(ConfigError::new(
                setting::QUEUES,
                "at least one queue is needed",
            ));
        }
        for queue in &queues {
            celery_protocol::names::check_queue_name(queue)
                .map_err(|error| ConfigError::new(setting::QUEUES, error))?;
            let keys = Keys::default();
            if [keys.unacked(), keys.unacked_index(), keys.dead()].contains(queue) {
                let cause = format!("{queue:?} is the key of messages that are not in a queue");
                return Err(ConfigError::new(setting::QUEUES, cause));
            }
        }
        if let Some((one, other)) = broker.keys().overlap(&queues) {
            let cause = format!(
                "with these priority_steps and this sep, {other:?} names a list of the queue {one:?}"
            );
            return Err(ConfigError::new(setting::QUEUES, cause));
        }
        let queue_order = queue_order(
            settings.queue_order_strategy.as_deref(),
            settings.queue_weights,
            &queues,
        )?;
        let concurrency = settings.concurrency.unwrap_or(CONCURRENCY);
        if concurrency == 0 || concurrency > MOST_SLOTS {
            let cause = format!("{concurrency} is not between 1 and {MOST_SLOTS}");
            return Err(ConfigError::new(setting::CONCURRENCY, cause));
        }
        let exactly_once = settings.exactly_once.unwrap_or_default();
        let inbox = exactly_once || settings.tasks.values().any(|task| task.is_once(false));
        let time = |value: Option<Text>, default: u64, name, least: u64| match value {
            None => Ok(Duration::from_secs(default)),
            Some(text) => match duration::parse(&text.to_string()) {
                Ok(time) if time >= Duration::from_secs(least) => Ok(time),
                Ok(_) => Err(ConfigError::new(name, format!("less than {least}s"))),
                Err(error) => Err(ConfigError::new(name, error)),
            },
        };
        let database = settings.database.filter(|url| !url.is_empty());
        if let Some(url) = &database {
            crate::database::check_url(url)
                .map_err(|error| ConfigError::new(setting::DATABASE, error))?;
        }
        let result_expires = time(settings.result_expires, 86_400, setting::RESULT_EXPIRES, 0)?;
        if !result_expires.is_zero() && result_expires < Duration::from_secs(1) {
            // Redis counts in whole seconds. Less than one would be rounded to 0, which means
            // without limit.
            let cause = "neither 0 nor at least 1s";
            return Err(ConfigError::new(setting::RESULT_EXPIRES, cause));
        }
        Ok(Config {
            broker,
            results,
            result_expires,
            database,
            database_timeout: time(settings.database_timeout, 300, setting::DATABASE_TIMEOUT, 0)?,
            database_connections: match settings.database_connections.map(NonZeroU16::new) {
                None => CONNECTIONS,
                Some(Some(most)) => most,
                Some(None) => {
                    let cause = "at least one is needed";
                    return Err(ConfigError::new(setting::DATABASE_CONNECTIONS, cause));
                }
            },
            database_time_zone: settings
                .database_time_zone
                .filter(|zone| !zone.is_empty())
                .map(|zone| zone.parse())
                .transpose()
                .map_err(|error| ConfigError::new(setting::DATABASE_TIME_ZONE, error))?,
            queues,
            queue_order,
            default_queue,
            routes: settings
                .routes
                .transpose()
                .map_err(|error| ConfigError::new(setting::ROUTES, error))?
                .unwrap_or_default(),
            accept_content: accept_content(settings.accept_content)?,
            concurrency,
            prefetch_multiplier: settings.prefetch_multiplier.unwrap_or(PREFETCH_MULTIPLIER),
            hostname: node_name(settings.hostname.as_deref().unwrap_or("celery@%h"), &host()),
            loglevel: log_level(settings.loglevel.as_deref().unwrap_or("WARNING"))?,
            logfile: settings.logfile,
            log_format: match settings.log_format.as_deref() {
                None | Some("text") => LogFormat::Text,
                Some("json") => LogFormat::Json,
                Some(other) => {
                    let cause = format!("{other:?} is neither text nor json");
                    return Err(ConfigError::new(setting::LOG_FORMAT, cause));
                }
            },
            visibility_timeout: time(
                settings.visibility_timeout,
                3_600,
                setting::VISIBILITY_TIMEOUT,
                1,
            )?,
            lease: time(settings.lease, 30, setting::LEASE, 1)?,
            eta_task_limit: settings.eta_task_limit,
            exactly_once,
            inbox,
            inbox_expires: time(
                settings.inbox_expires,
                INBOX_EXPIRES,
                setting::INBOX_EXPIRES,
                0,
            )?,
            metrics_addr: settings
                .metrics_addr
                .filter(|text| !text.is_empty())
                .map(|text| metrics_addr(&text))
                .transpose()?,
            soft_shutdown_timeout: time(
                settings.soft_shutdown_timeout,
                0,
                setting::SOFT_SHUTDOWN_TIMEOUT,
                0,
            )?,
        })
    }
}

impl Config {
    /// Returns the names of all keys.
    pub(crate) fn keys(&self) -> Keys {
        match &self.results {
            Results::Server(server) => self.broker.keys_with_results(server.key_prefix()),
            Results::Broker | Results::Disabled => self.broker.keys(),
        }
    }
}

/// Prints the settings as a file that would give them again, except for passwords.
impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &str| toml::Value::from(value).to_string();
        let time = |time: Duration| text(&format!("{}s", time.as_secs_f64()));
        writeln!(f, "broker = {}", text(&self.broker.display_url()))?;
        if !self.broker.key_prefix().is_empty() {
            writeln!(f, "key_prefix = {}", text(self.broker.key_prefix()))?;
        }
        match &self.results {
            Results::Server(server) => {
                writeln!(f, "result_backend = {}", text(&server.display_url()))?;
                if server.key_prefix() != self.broker.key_prefix() {
                    writeln!(f, "result_key_prefix = {}", text(server.key_prefix()))?;
                }
            }
            Results::Disabled => writeln!(f, "result_backend = \"disabled\"")?,
            _ => {}
        }
        writeln!(f, "result_expires = {}", time(self.result_expires))?;
        if let Some(database) = &self.database {
            writeln!(f, "database = {}", text(&mask(database)))?;
            writeln!(f, "database_timeout = {}", time(self.database_timeout))?;
            writeln!(f, "database_connections = {}", self.database_connections)?;
            if let Some(zone) = &self.database_time_zone {
                writeln!(f, "database_time_zone = {}", text(&zone.to_string()))?;
            }
        }
        writeln!(f, "queues = {}", toml::Value::from(self.queues.clone()))?;
        match &self.queue_order {
            QueueOrder::RoundRobin => {}
            QueueOrder::Sorted => writeln!(f, "queue_order_strategy = \"sorted\"")?,
            QueueOrder::Priority => writeln!(f, "queue_order_strategy = \"priority\"")?,
            QueueOrder::Weighted(weights) => {
                let weights: Vec<String> = weights
                    .iter()
                    .map(|(queue, weight)| format!("{} = {weight}", text(queue)))
                    .collect();
                writeln!(f, "queue_weights = {{ {} }}", weights.join(", "))?;
            }
        }
        if let Some(steps) = self.broker.priority_steps() {
            let steps: Vec<String> = steps.as_slice().iter().map(u8::to_string).collect();
            writeln!(f, "priority_steps = [{}]", steps.join(", "))?;
        }
        if let Some(separator) = self.broker.separator() {
            writeln!(f, "sep = {}", text(separator.as_str()))?;
        }
        writeln!(f, "default_queue = {}", text(&self.default_queue))?;
        if !self.routes.is_empty() {
            writeln!(f, "routes = {}", self.routes)?;
        }
        let names = self.accept_content.iter().map(|it| it.name().to_owned());
        let names: Vec<String> = names.collect();
        writeln!(f, "accept_content = {}", toml::Value::from(names))?;
        writeln!(f, "concurrency = {}", self.concurrency)?;
        writeln!(f, "prefetch_multiplier = {}", self.prefetch_multiplier)?;
        writeln!(f, "hostname = {}", text(&self.hostname))?;
        writeln!(f, "loglevel = {}", text(level_name(self.loglevel)))?;
        if let Some(file) = &self.logfile {
            writeln!(f, "logfile = {}", text(&file.to_string_lossy()))?;
        }
        let format = match self.log_format {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        };
        writeln!(f, "log_format = {}", text(format))?;
        writeln!(f, "visibility_timeout = {}", time(self.visibility_timeout))?;
        writeln!(f, "lease = {}", time(self.lease))?;
        if let Some(limit) = self.eta_task_limit {
            writeln!(f, "eta_task_limit = {limit}")?;
        }
        writeln!(f, "exactly_once = {}", self.exactly_once)?;
        writeln!(f, "inbox_expires = {}", time(self.inbox_expires))?;
        if let Some(address) = self.metrics_addr {
            writeln!(f, "metrics_addr = {}", text(&address.to_string()))?;
        }
        let soft = time(self.soft_shutdown_timeout);
        writeln!(f, "soft_shutdown_timeout = {soft}")
    }
}

/// Returns a message about a file without quoting the file, which may hold a URL with its password.
/// The message keeps a quoted text only if it is the name of a setting.
fn without_values(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let quote = &rest[start..=start];
        // A value may itself contain quotes, so the last quote of its kind ends it. Backquotes
        // enclose names, so the next one ends a name.
        let end = match quote {
            "`" => rest[start + 1..].find(quote),
            _ => rest[start + 1..].rfind(quote),
        };
        let Some(end) = end.map(|end| start + 1 + end) else {
            break;
        };
        let quoted = &rest[start + 1..end];
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let quoted = if quoted.chars().all(is_name) && quote == "`" {
            quoted
        } else {
            "**"
        };
        shown.push_str(&rest[..=start]);
        shown.push_str(quoted);
        shown.push_str(quote);
        rest = &rest[end + 1..];
    }
    shown.push_str(rest);
    shown
}

/// Returns the prefix of keys, if the setting gives one.
fn key_prefix(text: Option<String>, setting: &'static str) -> Result<Option<String>, ConfigError> {
    match text {
        Some(text) if text.chars().any(char::is_control) => {
            Err(ConfigError::new(setting, "it has a control character"))
        }
        text => Ok(text),
    }
}

/// Adds kombu's transport options `priority_steps` and `sep`, which the URL may have named.
fn with_priorities(
    mut broker: Endpoint,
    steps: Option<Steps>,
    separator: Option<String>,
) -> Result<Endpoint, ConfigError> {
    if let Some(steps) = steps {
        let steps = match steps {
            Steps::Written(text) => text.parse(),
            Steps::Listed(steps) => PrioritySteps::new(steps),
        };
        let wrong = |error: &dyn fmt::Display| ConfigError::new(setting::PRIORITY_STEPS, error);
        let steps = steps.map_err(|error| wrong(&error))?;
        broker = broker
            .with_priority_steps(steps)
            .map_err(|error| wrong(&error))?;
    }
    if let Some(separator) = separator {
        let wrong = |error: &dyn fmt::Display| ConfigError::new(setting::SEP, error);
        let separator = Separator::new(separator).map_err(|error| wrong(&error))?;
        broker = broker
            .with_separator(separator)
            .map_err(|error| wrong(&error))?;
    }
    Ok(broker)
}

/// Returns where results go. A result backend with another key prefix counts as another server.
fn results(url: Option<&str>, broker: &Endpoint, prefix: String) -> Result<Results, ConfigError> {
    let endpoint = match url {
        None | Some("") => broker.clone(),
        Some("disabled" | "disabled://") => return Ok(Results::Disabled),
        Some(url) => Endpoint::from_url(url).map_err(|error| {
            ConfigError::new(setting::RESULT_BACKEND, error.of_result_backend())
        })?,
    };
    let endpoint = endpoint.with_key_prefix(prefix);
    let is_broker =
        endpoint.identity() == broker.identity() && endpoint.key_prefix() == broker.key_prefix();
    Ok(if is_broker {
        Results::Broker
    } else {
        Results::Server(endpoint)
    })
}

/// Reads Celery's `accept_content`: names of serializers, or content types.
fn accept_content(names: Option<Vec<String>>) -> Result<Vec<Serializer>, ConfigError> {
    let names = names.unwrap_or_else(|| vec![Serializer::Json.name().to_owned()]);
    if names.is_empty() {
        let cause = "at least one is needed";
        return Err(ConfigError::new(setting::ACCEPT_CONTENT, cause));
    }
    let known = |name: &String| {
        Serializer::from_name(name.trim()).ok_or_else(|| {
            let cause = if name.contains("pickle") {
                "pickle is never accepted: it runs code that the sender chooses".to_owned()
            } else {
                format!("{name:?} is not one of json, msgpack, yaml")
            };
            ConfigError::new(setting::ACCEPT_CONTENT, cause)
        })
    };
    names.iter().map(known).collect()
}

fn queue_order(
    strategy: Option<&str>,
    weights: Option<BTreeMap<String, u32>>,
    queues: &[String],
) -> Result<QueueOrder, ConfigError> {
    let wrong = |cause: String| Err(ConfigError::new(setting::QUEUE_WEIGHTS, cause));
    match (strategy, weights) {
        (Some(strategy), Some(_)) => wrong(format!("queue_order_strategy is already {strategy:?}")),
        (None, Some(weights)) => {
            for (queue, weight) in &weights {
                if !queues.contains(queue) {
                    return wrong(format!("the queue {queue:?} is not consumed"));
                }
                if !(1..=MOST_WEIGHT).contains(weight) {
                    return wrong(format!("{weight} is not between 1 and {MOST_WEIGHT}"));
                }
            }
            Ok(QueueOrder::Weighted(weights))
        }
        (None | Some("round_robin"), None) => Ok(QueueOrder::RoundRobin),
        (Some("sorted"), None) => Ok(QueueOrder::Sorted),
        (Some("priority"), None) => Ok(QueueOrder::Priority),
        (Some(other), None) => Err(ConfigError::new(
            setting::QUEUE_ORDER_STRATEGY,
            format!("{other:?} is not one of round_robin, sorted, priority"),
        )),
    }
}

/// Reads an address with its port. A port alone means that port on loopback.
fn metrics_addr(text: &str) -> Result<SocketAddr, ConfigError> {
    let port = text.strip_prefix(':').unwrap_or(text);
    if let Ok(port) = port.parse::<u16>() {
        return Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    }
    text.parse().map_err(|_| {
        let shown = mask_misplaced(text);
        let cause = format!("{shown:?} is not an address such as 127.0.0.1:9808, nor a port");
        ConfigError::new(setting::METRICS_ADDR, cause)
    })
}

fn host() -> String {
    gethostname::gethostname().to_string_lossy().into_owned()
}

/// Expands a node's name as Celery does: `%h` is the whole host name, `%n` its first part, `%d` the
/// rest.
fn node_name(pattern: &str, host: &str) -> String {
    let (first, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut name = String::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        match (c, c == '%') {
            (_, true) => match chars.next() {
                Some('h') => name.push_str(host),
                Some('n') => name.push_str(first),
                Some('d') => name.push_str(domain),
                Some('%') | None => name.push('%'),
                Some(other) => name.extend(['%', other]),
            },
            (c, false) => name.push(c),
        }
    }
    if name.contains('@') {
        name
    } else {
        format!("{name}@{host}")
    }
}

fn log_level(text: &str) -> Result<tracing::Level, ConfigError> {
    match text.to_ascii_uppercase().as_str() {
        "DEBUG" => Ok(tracing::Level::DEBUG),
        "INFO" => Ok(tracing::Level::INFO),
        "WARNING" | "WARN" => Ok(tracing::Level::WARN),
        "ERROR" | "CRITICAL" | "FATAL" => Ok(tracing::Level::ERROR),
        _ => Err(ConfigError::new(
            setting::LOGLEVEL,
            format!("{text:?} is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        )),
    }
}

/// Returns Celery's word for a level.
pub(crate) fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARNING",
        tracing::Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_source_wins() {
        let first = Settings {
            concurrency: Some(1),
            ..Settings::default()
        };
        let second =
            Settings::from_toml("concurrency = 2\nqueues = ['a', 'b']\nlease = 5").unwrap();
        let config = Config::new(first.or(second)).unwrap();
        assert_eq!(config.concurrency, 1);
        assert_eq!(config.queues, ["a", "b"]);
        assert_eq!(config.lease, Duration::from_secs(5));
        assert_eq!(config.visibility_timeout, Duration::from_hours(1));
    }

    #[test]
    fn wrong_settings_are_named() {
        let wrong = |toml: &str| {
            let error = Settings::from_toml(toml).and_then(Config::new);
            error.unwrap_err().to_string()
        };
        for (toml, part) in [
            ("broker = 'http://u:secret@h'", "CELERY_BROKER_URL"),
            (
                "result_backend = 'mongo://u:secret@h'",
                "CELERY_RESULT_BACKEND",
            ),
            ("database = 'oracle://u:secret@h/d'", "DATABASE_URL"),
            ("queues = []", "--queues"),
            ("accept_content = []", "--accept-content"),
            ("accept_content = ['json', 'pickle']", "--accept-content"),
            ("queues = ['unacked_index']", "--queues"),
            ("queues = [\"a\\r\\nb\"]", "--queues"),
            ("queue_order_strategy = 'best'", "--queue-order-strategy"),
            ("queue_weights = { celery = 0 }", "--queue-weights"),
            ("default_queue = ''", "--default-queue"),
            ("default_queue = \"a\\nb\"", "--default-queue"),
            ("[routes]\n'mail.*' = ''", "the route of \"mail.*\""),
            ("[routes]\n'mail.*' = ''", "CELERY_WORKER_ROUTES"),
            ("[routes]\n'mail.[z-a]*' = 'mails'", "[z-a]"),
            (
                "[routes]\n'mail.*' = { exchange = 'x' }",
                "member queue alone",
            ),
            ("[routes]\n'mail.*' = 5", "member queue alone"),
            ("queue_weights = { other = 2 }", "not consumed"),
            (
                "queue_order_strategy = 'sorted'\nqueue_weights = { celery = 2 }",
                "already",
            ),
            ("priority_steps = [3, 6]", "--priority-steps"),
            ("priority_steps = '0,10'", "--priority-steps"),
            ("priority_steps = [0, 9, 3]", "must ascend"),
            (
                "broker = 'redis://h?priority_steps=0,3'\npriority_steps = [0, 9]",
                "beside a URL",
            ),
            ("sep = ''", "CELERY_WORKER_PRIORITY_SEP"),
            ("sep = '123456789'", "1 to 8 bytes"),
            ("sep = ':'\nqueues = ['mail', 'mail:3']", "\"mail:3\""),
            ("concurrency = 0", "--concurrency"),
            ("database_connections = 0", "--database-connections"),
            ("database_time_zone = 'CEST'", "\"CEST\""),
            ("database_time_zone = '+25:00'", "--database-time-zone"),
            ("loglevel = 'LOUD'", "--loglevel"),
            ("lease = 'soon'", "--lease"),
            ("lease = 1e19", "--lease"),
            ("key_prefix = \"a\\n\"", "--key-prefix"),
            ("result_expires = '500ms'", "--result-expires"),
            ("metrics_addr = 'all:9808'", "--metrics-addr"),
            (
                "worker_soft_shutdown_timeout = 'x'",
                "--soft-shutdown-timeout",
            ),
            ("\nbroker = 5 # secret", "line 2"),
            ("colour = 'secret'", "colour"),
        ] {
            let text = wrong(toml);
            assert!(text.contains(part), "{text}");
            assert!(!text.contains("secret"), "{text}");
        }
    }

    #[test]
    fn the_printed_settings_hide_passwords_and_can_be_read() {
        let settings = Settings {
            broker: Some("redis://u:secret@h/1".into()),
            result_backend: Some("redis://:secret@other".into()),
            database: Some("mysql://u:secret@h/d".into()),
            database_time_zone: Some("Europe/Berlin".into()),
            key_prefix: Some("shop:".into()),
            result_key_prefix: Some(String::new()),
            queues: Some(vec!["a b".into()]),
            queue_weights: Some([("a b".into(), 3)].into()),
            default_queue: Some("other".into()),
            routes: Some(Routes::new([("z.*", "a\"b"), ("a.*", "c d"), ("m", "e")])),
            ..Settings::default()
        };
        let printed = Config::new(settings).unwrap().to_string();
        assert!(!printed.contains("secret"), "{printed}");
        let again = Config::new(Settings::from_toml(&printed).unwrap()).unwrap();
        assert_eq!(again.to_string(), printed);
    }

    #[test]
    fn results_have_the_brokers_prefix_by_default() {
        let config = |toml: &str| Config::new(Settings::from_toml(toml).unwrap()).unwrap();
        let shop = config("key_prefix = 'shop:'");
        assert_eq!(shop.broker.key_prefix(), "shop:");
        assert_eq!(shop.results, Results::Broker);
        let elsewhere = config("key_prefix = 'shop:'\nresult_backend = 'redis://other'");
        let bare = config("key_prefix = 'shop:'\nresult_key_prefix = ''");
        for (config, prefix) in [(elsewhere, "shop:"), (bare, "")] {
            let Results::Server(server) = config.results else {
                panic!("{:?}", config.results)
            };
            assert_eq!(server.key_prefix(), prefix);
        }
    }

    #[test]
    fn priorities_come_from_the_url_or_from_settings() {
        let config = |toml: &str| Config::new(Settings::from_toml(toml).unwrap()).unwrap();
        for (toml, list) in [
            ("", "q\u{6}\u{16}9"),
            ("priority_steps = [0, 5]\nsep = ':'", "q:5"),
            ("priority_steps = '0,8'", "q\u{6}\u{16}8"),
            ("broker = 'redis://h?priority_steps=0,5&sep=:'", "q:5"),
            ("broker = 'redis://h?priority_steps=0,5'\nsep = '-'", "q-5"),
            ("sep = ':'\nqueues = ['a:b', 'a', 'a:4']", "q:9"),
        ] {
            let config = config(toml);
            assert_eq!(config.keys().queue("q", 9), list, "{toml}");
            let again = Settings::from_toml(&config.to_string()).and_then(Config::new);
            assert_eq!(again.unwrap().keys().queue("q", 9), list, "{toml}");
        }
    }

    #[test]
    fn a_port_alone_means_loopback() {
        for (text, address) in [
            ("9808", "127.0.0.1:9808"),
            (":0", "127.0.0.1:0"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(metrics_addr(text).unwrap().to_string(), address);
        }
    }

    #[test]
    fn node_names() {
        assert_eq!(node_name("celery@%h", "a.b.c"), "celery@a.b.c");
        assert_eq!(node_name("w1@%n", "a.b.c"), "w1@a");
        assert_eq!(node_name("%n@%d", "a.b.c"), "a@b.c");
        assert_eq!(node_name("w%%1", "a"), "w%1@a");
    }
}
