//! The extension's directives in php.ini.
//!
//! They are read when needed, so that `ini_set` and per-directory values take effect at once. The
//! directives that every call needs are read together, and again only after any directive has
//! changed. A value that is not a number, or out of range, counts as the default. A typing error
//! must not make a request wait without limit.

use std::cell::RefCell;
use std::ffi::CStr;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use celery_client::amqp::blocking::QueueType;
use celery_client::blocking::CircuitOptions;
use celery_client::mask::mask_misplaced;
use celery_protocol::message::Protocol;
use celery_protocol::priorities::{PriorityError, PrioritySteps, Separator};
use ext_php_rs::zend::{IniEntryDef, IniEntryDefs};

use crate::ffi::ini::{self, fixed, open, secret_url};

/// The directives. Scripts may change all except where messages go: the URLs, the prefix, the names
/// of lists and the master of Sentinels belong to the administrator.
static DIRECTIVES: IniEntryDefs<28> = IniEntryDefs::new([
    secret_url(c"celery.broker_url"),
    secret_url(c"celery.result_backend"),
    open(c"celery.default_queue", c"celery"),
    open(c"celery.connect_timeout", c"2.0"),
    open(c"celery.post_timeout", c"5.0"),
    open(c"celery.command_timeout", c"5.0"),
    open(c"celery.result_timeout", c"60"),
    open(c"celery.control_timeout", c"1.0"),
    open(c"celery.keep_results", c"0"),
    open(c"celery.max_connections", c"8"),
    open(c"celery.idle_check", c"30"),
    open(c"celery.spin", c"1"),
    open(c"celery.breaker_failures", c""),
    open(c"celery.breaker_cooldown", c"5.0"),
    open(c"celery.publish", c"confirmed"),
    open(c"celery.replicas", c"0"),
    open(c"celery.send_sent_event", c"0"),
    open(c"celery.task_protocol", c"2"),
    open(c"celery.create_missing_queues", c"1"),
    open(c"celery.queue_type", c"classic"),
    open(c"celery.reply_queue", c"process"),
    open(c"celery.reply_expires", c"3600"),
    fixed(c"celery.key_prefix", c""),
    fixed(c"celery.priority_steps", c"0,3,6,9"),
    fixed(c"celery.priority_sep", c""),
    fixed(c"celery.master_name", c""),
    open(c"celery.ca_file", c""),
    IniEntryDef::end(),
]);

/// The longest time that a directive may set: a year, far from any overflow.
const LONGEST: f64 = 365.0 * 24.0 * 3600.0;

/// The failures that open a circuit for the classes of celery-php unless php.ini says more: never,
/// as in celery-php.
pub(crate) const FAILURES_OF_DROP_IN: u32 = 0;

/// The failures that open a circuit for `Celery\Client` unless php.ini says more. Two chance
/// failures in a row do not stop posting.
pub(crate) const FAILURES_OF_CLIENT: u32 = 3;

/// Registers the directives with PHP.
pub(crate) fn register(module_number: i32) {
    ini::register(&DIRECTIVES, module_number);
}

/// Returns `celery.broker_url`: the broker if the code names none.
pub(crate) fn broker_url() -> Option<String> {
    text(c"celery.broker_url")
}

/// Returns `celery.result_backend`: the result backend if it is not the broker.
pub(crate) fn result_backend() -> Option<String> {
    text(c"celery.result_backend")
}

/// Returns `celery.key_prefix`: the start of every key, kombu's `global_keyprefix`.
pub(crate) fn key_prefix() -> String {
    ini::read(c"celery.key_prefix")
}

/// Returns `celery.priority_steps`: the priorities at which a queue's lists begin, kombu's option
/// of this name.
///
/// # Errors
/// [`PriorityError`] if it is not a list of steps. A fallback to the default would hide tasks in
/// lists that no worker reads.
pub(crate) fn priority_steps() -> Result<Option<PrioritySteps>, PriorityError> {
    ini::read_as(c"celery.priority_steps", |value| {
        let value = Some(value).filter(|value| !value.trim().is_empty());
        value.map(str::parse).transpose()
    })
}

/// Returns `celery.priority_sep`: the text before a step in the name of a list, kombu's `sep`.
/// Empty means kombu's default, whose control characters would be invisible in php.ini and phpinfo.
///
/// # Errors
/// [`PriorityError`] if it is too long.
pub(crate) fn priority_sep() -> Result<Option<Separator>, PriorityError> {
    ini::read_as(c"celery.priority_sep", |value| {
        let value = Some(value).filter(|value| !value.is_empty());
        value.map(Separator::new).transpose()
    })
}

/// Returns `celery.master_name`: the group of servers that Sentinels watch, if a URL of Sentinels
/// names none.
pub(crate) fn master_name() -> Option<String> {
    text(c"celery.master_name")
}

/// Returns `celery.ca_file`: the authorities to trust for TLS if the code names none.
pub(crate) fn ca_file() -> Option<String> {
    text(c"celery.ca_file")
}

/// The protection of a post against a lost answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// Wait for the broker's answer. If it is lost, the outcome is unknown.
    Confirmed,
    /// Wait for the answer, too, but guard the post by a key for the task's id, so that it may be
    /// repeated.
    Once,
    /// Write the task at once and read the answer later.
    Pipelined,
}

/// The queue for the replies to a task, if RabbitMQ is the result backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyQueue {
    /// That of the process, which only the request that posted the task reads.
    #[default]
    Process,
    /// One for each task, which any process can read.
    Task,
}

/// The directives that every call needs.
pub(crate) struct Settings {
    /// The directive `celery.default_queue`: the queue of a post that names none.
    pub(crate) default_queue: String,
    /// The directive `celery.connect_timeout`: for name, connection, TLS and login together.
    pub(crate) connect_timeout: Duration,
    /// The directive `celery.post_timeout`: for a whole post, including connecting.
    pub(crate) post_timeout: Duration,
    /// The directive `celery.command_timeout`: for a read of a result, a forget, a revoke.
    pub(crate) command_timeout: Duration,
    /// The directive `celery.result_timeout`: for `get(null)`.
    pub(crate) result_timeout: Duration,
    /// The directive `celery.control_timeout`: for the replies of workers.
    pub(crate) control_timeout: Duration,
    /// The directive `celery.keep_results`: whether the drop-in classes leave a result that they
    /// have read in the backend.
    pub(crate) keep_results: bool,
    /// The directive `celery.max_connections`: how many idle connections a process (a thread, under
    /// ZTS) keeps.
    pub(crate) max_connections: usize,
    /// The directive `celery.idle_check`: the idle time after which a connection is checked before
    /// use.
    pub(crate) idle_check: Duration,
    /// The directive `celery.spin`: whether a call looks for an answer that is expected at once,
    /// before it sleeps.
    pub(crate) spin: bool,
    /// The directive `celery.breaker_failures`: how many calls in a row fail to connect until the
    /// circuit of a server opens. `None`: the default of the API that is used.
    breaker_failures: Option<u32>,
    /// The directive `celery.breaker_cooldown`: the time until one call tries to connect again.
    breaker_cooldown: Duration,
    /// The directive `celery.replicas`: how many replicas must have a post before it counts as
    /// confirmed.
    pub(crate) replicas: u32,
    /// The directive `celery.send_sent_event`: whether posts are followed by `task-sent` events.
    pub(crate) sent_events: bool,
    /// The type of a queue that is created on RabbitMQ if a post finds none; `None`: no queue is
    /// created. From the directives `celery.create_missing_queues` and `celery.queue_type`. An error
    /// text if the type is unknown.
    pub(crate) create_missing: Result<Option<QueueType>, String>,
    /// The directive `celery.reply_queue`, or an error text if its value is unknown.
    pub(crate) reply_queue: Result<ReplyQueue, String>,
    /// The directive `celery.reply_expires`: the time after which a queue for replies is deleted if
    /// it is not used.
    pub(crate) reply_expires: Duration,
    /// The directive `celery.publish`, or an error text if its value is unknown.
    pub(crate) publish: Result<Publish, String>,
    /// The directive `celery.task_protocol`: 1 or 2, or an error text if it is neither.
    pub(crate) protocol: Result<Protocol, String>,
}

thread_local! {
    /// The settings, and the number of changes to directives when they were read.
    static READ: RefCell<Option<(u64, Rc<Settings>)>> = const { RefCell::new(None) };
}

/// Returns the present values of php.ini.
pub(crate) fn current() -> Rc<Settings> {
    READ.with_borrow_mut(|read| {
        read.take_if(|(changes, _)| *changes != ini::changes());
        let (_, settings) = read.get_or_insert_with(|| (ini::changes(), Rc::new(Settings::read())));
        Rc::clone(settings)
    })
}

impl Settings {
    fn read() -> Self {
        Settings {
            default_queue: text(c"celery.default_queue").unwrap_or_else(|| "celery".to_owned()),
            connect_timeout: seconds(c"celery.connect_timeout", 2.0),
            post_timeout: seconds(c"celery.post_timeout", 5.0),
            command_timeout: seconds(c"celery.command_timeout", 5.0),
            result_timeout: seconds(c"celery.result_timeout", 60.0),
            control_timeout: seconds(c"celery.control_timeout", 1.0),
            keep_results: is_on(c"celery.keep_results"),
            max_connections: number(c"celery.max_connections")
                .filter(|&number| number >= 1)
                .unwrap_or(8),
            idle_check: seconds(c"celery.idle_check", 30.0),
            spin: is_on(c"celery.spin"),
            breaker_failures: number(c"celery.breaker_failures"),
            breaker_cooldown: seconds(c"celery.breaker_cooldown", 5.0),
            replicas: number(c"celery.replicas").unwrap_or(0),
            sent_events: is_on(c"celery.send_sent_event"),
            create_missing: ini::read_as(c"celery.queue_type", |value| match value.trim() {
                _ if !is_on(c"celery.create_missing_queues") => Ok(None),
                "" | "classic" => Ok(Some(QueueType::Classic)),
                "quorum" => Ok(Some(QueueType::Quorum)),
                other => Err(format!(
                    "celery.queue_type is {:?}; it must be \"classic\" or \"quorum\".",
                    mask_misplaced(other)
                )),
            }),
            reply_queue: ini::read_as(c"celery.reply_queue", |value| match value.trim() {
                "" | "process" => Ok(ReplyQueue::Process),
                "task" => Ok(ReplyQueue::Task),
                other => Err(format!(
                    "celery.reply_queue is {:?}; it must be \"process\" or \"task\".",
                    mask_misplaced(other)
                )),
            }),
            reply_expires: seconds(c"celery.reply_expires", 3600.0),
            publish: ini::read_as(c"celery.publish", |value| match value.trim() {
                "" | "confirmed" => Ok(Publish::Confirmed),
                "once" => Ok(Publish::Once),
                "pipelined" => Ok(Publish::Pipelined),
                other => Err(format!(
                    "celery.publish is {:?}; it must be \"confirmed\", \"once\" or \"pipelined\".",
                    mask_misplaced(other)
                )),
            }),
            protocol: ini::read_as(c"celery.task_protocol", |value| match value.trim() {
                "" | "2" => Ok(Protocol::V2),
                "1" => Ok(Protocol::V1),
                other => Err(format!(
                    "celery.task_protocol is {:?}; it must be 2 or 1.",
                    mask_misplaced(other)
                )),
            }),
        }
    }
}

impl Settings {
    /// Returns when circuits open, for an API with this default.
    pub(crate) fn circuit(&self, failures: u32) -> CircuitOptions {
        CircuitOptions {
            failures: self.breaker_failures.unwrap_or(failures),
            cooldown: self.breaker_cooldown,
        }
    }
}

fn is_on(name: &CStr) -> bool {
    ini::read_as(name, |value| {
        matches!(
            value.trim().to_ascii_lowercase().as_str(),
            "1" | "on" | "yes" | "true"
        )
    })
}

fn text(name: &CStr) -> Option<String> {
    Some(ini::read(name)).filter(|value| !value.is_empty())
}

fn number<T: FromStr>(name: &CStr) -> Option<T> {
    ini::read_as(name, |value| value.trim().parse().ok())
}

fn seconds(name: &CStr, default: f64) -> Duration {
    let value = number(name).filter(|value| (0.0..=LONGEST).contains(value) && *value > 0.0);
    Duration::from_secs_f64(value.unwrap_or(default))
}
