//! The options, named like those of `celery worker`. Each has an environment variable.

#![expect(
    clippy::doc_markdown,
    reason = "clap prints these comments as the help text"
)]

use std::path::PathBuf;

use clap::builder::Resettable;
use clap::{Arg, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::value::Text;
use crate::config::{Settings, Steps};
use crate::consumer::Routes;

/// Runs Celery tasks: claims messages from Redis, runs them, stores the results.
///
/// Settings come from the command line, the environment, the file given with --config, and the
/// defaults, in this order. Times are in seconds, or have a unit: 500ms, 10s, 2m, 1h.
#[derive(Debug, Parser)]
#[command(name = "celery-worker", version, max_term_width = 100)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// The broker [default: redis://localhost:6379/0]
    #[arg(
        help_heading = "Broker and results",
        short,
        long,
        value_name = "URL",
        env = "CELERY_BROKER_URL"
    )]
    broker: Option<String>,

    /// Prefix of every key: Celery's global_keyprefix [default: none]
    #[arg(
        help_heading = "Broker and results",
        long,
        value_name = "PREFIX",
        env = "CELERY_WORKER_KEY_PREFIX",
        allow_hyphen_values = true
    )]
    key_prefix: Option<String>,

    /// Where results go: a URL, or "disabled" [default: the broker]
    #[arg(
        help_heading = "Broker and results",
        long,
        value_name = "URL",
        env = "CELERY_RESULT_BACKEND"
    )]
    result_backend: Option<String>,

    /// Prefix of the keys of results [default: --key-prefix]
    #[arg(
        help_heading = "Broker and results",
        long,
        value_name = "PREFIX",
        env = "CELERY_WORKER_RESULT_KEY_PREFIX",
        allow_hyphen_values = true
    )]
    result_key_prefix: Option<String>,

    /// How long results are kept; 0 means without limit [default: 1d]
    #[arg(
        help_heading = "Broker and results",
        long,
        value_name = "TIME",
        env = "CELERY_WORKER_RESULT_EXPIRES"
    )]
    result_expires: Option<String>,

    /// The database of the tasks: mysql://, postgres:// or sqlite:
    #[arg(
        help_heading = "Database",
        long,
        value_name = "URL",
        env = "DATABASE_URL"
    )]
    database: Option<String>,

    /// How long a transaction may take before its connection counts as lost; 0 means no limit
    /// [default: 5m]
    #[arg(
        help_heading = "Database",
        long,
        value_name = "TIME",
        env = "CELERY_WORKER_DATABASE_TIMEOUT"
    )]
    database_timeout: Option<String>,

    /// The most connections to the database [default: 16]
    #[arg(
        help_heading = "Database",
        long,
        value_name = "N",
        env = "CELERY_WORKER_DATABASE_CONNECTIONS"
    )]
    database_connections: Option<u16>,

    /// The time zone of database sessions: an IANA name or ±hh:mm [default: the server's]
    #[arg(
        help_heading = "Database",
        long,
        value_name = "ZONE",
        env = "CELERY_WORKER_DATABASE_TIME_ZONE",
        allow_hyphen_values = true
    )]
    database_time_zone: Option<String>,

    /// Apply each call of task_created and of SQL tasks once, with the help of the table
    /// celery_inbox [default: false]
    #[arg(help_heading = "Database", long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        env = "CELERY_WORKER_EXACTLY_ONCE"
    )]
    exactly_once: Option<bool>,

    /// How long celery_inbox remembers a call; 0 means without limit [default: 7d]
    #[arg(
        help_heading = "Database",
        long,
        value_name = "TIME",
        env = "CELERY_WORKER_INBOX_EXPIRES"
    )]
    inbox_expires: Option<String>,

    /// The queues to consume, separated by commas [default: celery]
    #[arg(
        help_heading = "Queues and messages",
        short = 'Q',
        long,
        value_delimiter = ',',
        value_name = "QUEUES",
        env = "CELERY_WORKER_QUEUES"
    )]
    queues: Option<Vec<String>>,

    /// Which queue goes first: round_robin, sorted (by name), priority (as listed) [default:
    /// round_robin]
    #[arg(
        help_heading = "Queues and messages",
        long,
        value_name = "STRATEGY",
        env = "CELERY_WORKER_QUEUE_ORDER_STRATEGY"
    )]
    queue_order_strategy: Option<String>,

    /// Weights of queues, such as celery=3,mails=1, instead of a strategy
    #[arg(help_heading = "Queues and messages", long,
        value_delimiter = ',',
        value_name = "WEIGHTS",
        value_parser = weight,
        env = "CELERY_WORKER_QUEUE_WEIGHTS"
    )]
    queue_weights: Option<Vec<(String, u32)>>,

    /// Priorities at which a queue's lists begin: kombu's priority_steps [default: 0,3,6,9]
    #[arg(
        help_heading = "Queues and messages",
        long,
        global = true,
        value_name = "STEPS",
        env = "CELERY_WORKER_PRIORITY_STEPS"
    )]
    priority_steps: Option<String>,

    /// Text before a step in the name of a list: kombu's sep [default: the bytes 6 and 22]
    #[arg(
        help_heading = "Queues and messages",
        long,
        global = true,
        value_name = "TEXT",
        env = "CELERY_WORKER_PRIORITY_SEP",
        allow_hyphen_values = true
    )]
    priority_sep: Option<String>,
    /// The queue of follow-ups that name none and have no route; also the queue to consume without
    /// --queues [default: celery]
    #[arg(
        help_heading = "Queues and messages",
        long,
        value_name = "QUEUE",
        env = "CELERY_WORKER_DEFAULT_QUEUE"
    )]
    default_queue: Option<String>,

    /// Queues of follow-ups that name none, such as mail.*=mails,sms.send=sms; the first match
    /// counts
    #[arg(
        help_heading = "Queues and messages",
        long,
        value_delimiter = ',',
        value_name = "ROUTES",
        value_parser = route,
        env = "CELERY_WORKER_ROUTES"
    )]
    routes: Option<Vec<(String, String)>>,

    /// Serializers accepted in message bodies: json, msgpack, yaml [default: json]
    #[arg(
        help_heading = "Queues and messages",
        long,
        value_delimiter = ',',
        value_name = "TYPES",
        env = "CELERY_WORKER_ACCEPT_CONTENT"
    )]
    accept_content: Option<Vec<String>>,

    /// How many tasks run at once [default: 100]
    #[arg(
        help_heading = "Running tasks",
        short,
        long,
        value_name = "N",
        env = "CELERY_WORKER_CONCURRENCY"
    )]
    concurrency: Option<usize>,

    /// How many messages are held for each task that may run; 0 means no limit [default: 4]
    #[arg(
        help_heading = "Running tasks",
        long,
        value_name = "N",
        env = "CELERY_WORKER_PREFETCH_MULTIPLIER"
    )]
    prefetch_multiplier: Option<usize>,

    /// How many messages may wait in memory for their ETA [default: no limit]
    #[arg(
        help_heading = "Running tasks",
        long,
        value_name = "N",
        env = "CELERY_WORKER_ETA_TASK_LIMIT"
    )]
    eta_task_limit: Option<usize>,

    /// How long running tasks may go on at a cold shutdown before they are dropped [default: 0]
    #[arg(
        help_heading = "Running tasks",
        long,
        alias = "worker-soft-shutdown-timeout",
        value_name = "TIME",
        env = "CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT"
    )]
    soft_shutdown_timeout: Option<String>,

    /// When messages held by a Python worker count as lost [default: 1h]
    #[arg(
        help_heading = "Lost workers",
        long,
        value_name = "TIME",
        env = "CELERY_WORKER_VISIBILITY_TIMEOUT"
    )]
    visibility_timeout: Option<String>,

    /// When messages held by a worker like this one count as lost [default: 30s]
    #[arg(
        help_heading = "Lost workers",
        long,
        value_name = "TIME",
        env = "CELERY_WORKER_LEASE"
    )]
    lease: Option<String>,

    /// The node's name; %h is the full host name, %n its first part, %d its domain [default:
    /// celery@%h]
    #[arg(
        help_heading = "Log and monitoring",
        short = 'n',
        long,
        value_name = "NAME",
        env = "CELERY_WORKER_HOSTNAME"
    )]
    hostname: Option<String>,

    /// DEBUG, INFO, WARNING, ERROR or CRITICAL [default: WARNING]
    #[arg(
        help_heading = "Log and monitoring",
        short,
        long,
        value_name = "LEVEL",
        env = "CELERY_WORKER_LOGLEVEL"
    )]
    loglevel: Option<String>,

    /// The log file [default: standard error]
    #[arg(
        help_heading = "Log and monitoring",
        short = 'f',
        long,
        value_name = "FILE",
        env = "CELERY_WORKER_LOGFILE"
    )]
    logfile: Option<PathBuf>,

    /// text, like Celery's log, or json [default: text]
    #[arg(
        help_heading = "Log and monitoring",
        long,
        value_name = "FORMAT",
        env = "CELERY_WORKER_LOG_FORMAT"
    )]
    log_format: Option<String>,

    /// Where /healthz, /readyz and /metrics are served: an address, or a port on loopback [default:
    /// nowhere]
    #[arg(
        help_heading = "Log and monitoring",
        long,
        value_name = "ADDRESS",
        env = "CELERY_WORKER_METRICS_ADDR"
    )]
    metrics_addr: Option<String>,

    /// A file with settings (TOML)
    #[arg(
        help_heading = "Configuration",
        long,
        value_name = "FILE",
        env = "CELERY_WORKER_CONFIG"
    )]
    pub(crate) config: Option<PathBuf>,

    /// Print the settings, without passwords, and exit
    #[arg(help_heading = "Configuration", long)]
    pub(crate) print_config: bool,
}

/// The subcommands, which Celery's command line does not have.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Check the broker and the database for problems that could lose tasks
    ///
    /// Exits with 0 if nothing is wrong, 1 if something is, 78 if a setting can never work.
    Check {
        /// Exit with 1 also after warnings
        #[arg(long)]
        strict: bool,
    },
    /// Handle messages that could not be run: the stream celery.dead
    Dead {
        #[command(subcommand)]
        command: Dead,
    },
}

/// The subcommands for dead letters.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Dead {
    /// List them, oldest first
    List {
        /// The most letters to list
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
    },
    /// Show one of them with its message
    Show {
        /// Its place, as `dead list` prints it
        place: String,
    },
    /// Put them back into their queues
    Replay(Which),
    /// Delete them
    Purge(Which),
}

/// Some dead letters, or all.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// Their places, as `dead list` prints them
    pub(crate) places: Vec<String>,
    /// All of them
    #[arg(long)]
    pub(crate) all: bool,
}

/// Parses `queue=weight`.
fn weight(text: &str) -> Result<(String, u32), String> {
    let parts = text.rsplit_once('=');
    parts
        .and_then(|(queue, weight)| Some((queue.to_owned(), weight.parse().ok()?)))
        .ok_or_else(|| "write queue=weight".to_owned())
}

/// Parses `pattern=queue` and checks that the route can be used.
fn route(text: &str) -> Result<(String, String), String> {
    let (pattern, queue) = text.split_once('=').ok_or("write pattern=queue")?;
    let route = (pattern.to_owned(), queue.to_owned());
    Routes::new([route.clone()]).map_err(|error| error.to_string())?;
    Ok(route)
}

impl Options {
    /// Reads the command line and the environment. Options may stand before or after a subcommand.
    ///
    /// An empty variable counts as unset: files of variables and systemd units have lines for
    /// settings that are not given.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let adapt = |arg: Arg| match arg.get_env().map(std::env::var_os) {
            Some(Some(value)) if value.is_empty() => arg.env(Resettable::Reset).global(true),
            // Not even the help may show a password.
            _ => arg.hide_env_values(true).global(true),
        };
        let matches = Self::command().mut_args(adapt).try_get_matches()?;
        Self::from_arg_matches(&matches)
    }

    /// Returns the settings that the command line and the environment give.
    pub(crate) fn settings(self) -> Settings {
        Settings {
            broker: self.broker,
            key_prefix: self.key_prefix,
            result_backend: self.result_backend,
            result_key_prefix: self.result_key_prefix,
            result_expires: self.result_expires.map(Text::Written),
            database: self.database,
            database_timeout: self.database_timeout.map(Text::Written),
            database_connections: self.database_connections,
            database_time_zone: self.database_time_zone,
            queues: self.queues,
            queue_order_strategy: self.queue_order_strategy,
            queue_weights: self.queue_weights.map(|all| all.into_iter().collect()),
            priority_steps: self.priority_steps.map(Steps::Written),
            sep: self.priority_sep,
            default_queue: self.default_queue,
            // Each route was checked when it was read.
            routes: self.routes.map(Routes::new),
            accept_content: self.accept_content,
            concurrency: self.concurrency,
            prefetch_multiplier: self.prefetch_multiplier,
            hostname: self.hostname,
            loglevel: self.loglevel,
            logfile: self.logfile,
            log_format: self.log_format,
            visibility_timeout: self.visibility_timeout.map(Text::Written),
            lease: self.lease.map(Text::Written),
            eta_task_limit: self.eta_task_limit,
            exactly_once: self.exactly_once,
            inbox_expires: self.inbox_expires.map(Text::Written),
            metrics_addr: self.metrics_addr,
            soft_shutdown_timeout: self.soft_shutdown_timeout.map(Text::Written),
            ..Settings::default()
        }
    }
}
