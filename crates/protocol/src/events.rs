//! Celery's events: what a worker or a client reports while it works.
//!
//! Every event is one flat object: the sender's members ([`Sender`]), the event's own, its
//! timestamp and its type. Events go to the exchange [`EVENT_EXCHANGE`] with the type as routing key, the
//! dash being a dot: `worker.heartbeat`. On Redis the exchange is a fanout, so the message is
//! published on [`Keys::event_channel`](crate::redis_keys::Keys::event_channel).
//!
//! Task events of workers travel as a list with the routing key [`TASK_MULTI`], even if there is
//! only one; all others travel alone. [`decode_redis`] reads both forms.

mod read;
pub mod sent;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::amqp::AmqpError;
use crate::json::write::Object;
use crate::message::{AmqpMessage, DeliveryMode, Document, Task};
use crate::names::EVENT_EXCHANGE;
use crate::repr;
use crate::time::Timestamp;

pub use self::read::{Received, decode_amqp, decode_redis};

/// The routing key of a list of task events.
pub const TASK_MULTI: &str = "task.multi";
/// The routing key of `task-sent`, which travels alone.
pub const TASK_SENT: &str = "task.sent";
/// The largest number of task events that Celery puts into one message.
pub const MOST_IN_ONE: usize = 24;

/// A logical clock (Lamport's), which orders events of several processes.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Returns the time without changing it.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Advances the clock by one and returns the new time, as before each message that is sent.
    pub fn forward(&self) -> u64 {
        self.adjust(0)
    }

    /// Sets the clock past the time in a received message and returns the new time.
    pub fn adjust(&self, seen: u64) -> u64 {
        let next = |value: u64| value.max(seen).saturating_add(1);
        let update = |value| Some(next(value));
        // The closure always returns a value, so both arms hold the previous one.
        match self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
        {
            Ok(before) | Err(before) => next(before),
        }
    }
}

/// The process that sends events.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The worker's node name; for a client, a name of its process.
    pub hostname: String,
    /// The process id.
    pub pid: u32,
    /// The offset of the sender's local time in hours, positive west of Greenwich.
    pub utcoffset: f64,
}

/// The moment of an event.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The sender's logical clock.
    pub clock: u64,
    /// The wall clock.
    pub at: Timestamp,
}

impl Moment {
    /// Returns the moment of a sender that has no logical clock. Receivers set their own for its
    /// events.
    pub fn without_clock(at: Timestamp) -> Self {
        Self { clock: 1, at }
    }
}

/// The state of a worker, as `worker-online`, `worker-heartbeat` and `worker-offline` report it.
#[derive(Clone, Copy, Debug)]
pub struct WorkerState<'a> {
    /// The seconds between two heartbeats. A worker counts as offline after twice this time.
    pub freq: f64,
    /// The number of running tasks.
    pub active: u64,
    /// The number of tasks that were run since the start.
    pub processed: u64,
    /// The load averages of the machine over 1, 5 and 15 minutes.
    pub loadavg: [f64; 3],
    /// The name of the software: `py-celery` in Python.
    pub sw_ident: &'a str,
    /// The version of the software.
    pub sw_ver: &'a str,
    /// The operating system: `Linux`.
    pub sw_sys: &'a str,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A worker is ready.
    WorkerOnline(WorkerState<'a>),
    /// A worker still lives.
    WorkerHeartbeat(WorkerState<'a>),
    /// A worker stops.
    WorkerOffline(WorkerState<'a>),
    /// A client, or a worker as a client, sent a task.
    Sent(&'a TaskInfo<'a>, Route<'a>),
    /// A worker received a task.
    Received(&'a TaskInfo<'a>),
    /// The task's code begins.
    Started {
        /// The task's id.
        uuid: &'a str,
    },
    /// The task's code returned a value.
    Succeeded {
        /// The task's id.
        uuid: &'a str,
        /// The value, as Python shows it.
        result: &'a str,
        /// How long the code ran, in seconds.
        runtime: f64,
    },
    /// The task failed.
    Failed {
        /// The task's id.
        uuid: &'a str,
        /// The exception, as Python shows it. An unknown task reports nothing else.
        exception: &'a str,
        /// The traceback.
        traceback: Option<&'a str>,
    },
    /// The task will be run again.
    Retried {
        /// The task's id.
        uuid: &'a str,
        /// The exception behind the request, as Python shows it; `None` as text if there is none.
        exception: &'a str,
        /// The traceback.
        traceback: Option<&'a str>,
    },
    /// The task refused its message.
    Rejected {
        /// The task's id.
        uuid: &'a str,
        /// `true` if the message goes back to its queue.
        requeue: bool,
    },
    /// The task was revoked, or has expired.
    Revoked {
        /// The task's id.
        uuid: &'a str,
        /// `true` if its code was ended.
        terminated: bool,
        /// The number of the signal that ended it.
        signum: Option<i32>,
        /// `true` if its `expires` had passed.
        expired: bool,
    },
}

/// The facts about a task that are known when it is sent and when it is received.
#[derive(Clone, Copy, Debug)]
pub struct TaskInfo<'a> {
    /// The task's id.
    pub uuid: &'a str,
    /// The name of the task type.
    pub name: &'a str,
    /// The positional arguments, as Python shows them.
    pub args: &'a str,
    /// The keyword arguments, as Python shows them.
    pub kwargs: &'a str,
    /// The id of the first task of the workflow.
    pub root_id: Option<&'a str>,
    /// The id of the task that sent this one.
    pub parent_id: Option<&'a str>,
    /// The number of retries so far.
    pub retries: u32,
    /// The time before which the task must not run.
    pub eta: Option<Timestamp>,
    /// The time after which the task must not start.
    pub expires: Option<Timestamp>,
}

/// Where a task was sent.
#[derive(Clone, Copy, Debug)]
pub struct Route<'a> {
    /// The queue.
    pub queue: &'a str,
    /// The exchange, empty for the default exchange.
    pub exchange: &'a str,
    /// The routing key.
    pub routing_key: &'a str,
}

impl Event<'_> {
    /// Returns the name of the type, such as `task-received`.
    pub fn kind(&self) -> &'static str {
        match self {
            Event::WorkerOnline(_) => "worker-online",
            Event::WorkerHeartbeat(_) => "worker-heartbeat",
            Event::WorkerOffline(_) => "worker-offline",
            Event::Sent(..) => "task-sent",
            Event::Received(_) => "task-received",
            Event::Started { .. } => "task-started",
            Event::Succeeded { .. } => "task-succeeded",
            Event::Failed { .. } => "task-failed",
            Event::Retried { .. } => "task-retried",
            Event::Rejected { .. } => "task-rejected",
            Event::Revoked { .. } => "task-revoked",
        }
    }

    /// Returns the routing key of the event where it travels alone.
    pub fn routing_key(&self) -> String {
        self.kind().replacen('-', ".", 1)
    }

    /// Appends the event as a JSON object, with its members in Python's order.
    pub fn write(&self, out: &mut Vec<u8>, sender: &Sender, moment: Moment) {
        let mut event = Object::new(out);
        event.string("hostname", &sender.hostname);
        event.float("utcoffset", sender.utcoffset);
        event.integer("pid", sender.pid.into());
        event.integer("clock", i64::try_from(moment.clock).unwrap_or(i64::MAX));
        self.write_own(&mut event);
        #[expect(clippy::cast_precision_loss, reason = "Python's timestamps are floats")]
        event.float("timestamp", moment.at.unix_micros() as f64 / 1e6);
        event.string("type", self.kind());
        event.end();
    }

    fn write_own(&self, event: &mut Object<'_>) {
        match *self {
            Event::WorkerOnline(state)
            | Event::WorkerHeartbeat(state)
            | Event::WorkerOffline(state) => state.write(event),
            Event::Sent(task, route) => {
                event.string("uuid", task.uuid);
                task.write_family(event);
                task.write_call(event);
                task.write_times(event);
                event.string("queue", route.queue);
                event.string("exchange", route.exchange);
                event.string("routing_key", route.routing_key);
            }
            Event::Received(task) => {
                event.string("uuid", task.uuid);
                task.write_call(event);
                task.write_family(event);
                task.write_times(event);
            }
            Event::Started { uuid } => event.string("uuid", uuid),
            Event::Succeeded {
                uuid,
                result,
                runtime,
            } => {
                event.string("uuid", uuid);
                event.string("result", result);
                event.float("runtime", runtime);
            }
            Event::Failed {
                uuid,
                exception,
                traceback,
            }
            | Event::Retried {
                uuid,
                exception,
                traceback,
            } => {
                event.string("uuid", uuid);
                event.string("exception", exception);
                event.present("traceback", traceback);
            }
            Event::Rejected { uuid, requeue } => {
                event.string("uuid", uuid);
                event.boolean("requeue", requeue);
            }
            Event::Revoked {
                uuid,
                terminated,
                signum,
                expired,
            } => {
                event.string("uuid", uuid);
                event.boolean("terminated", terminated);
                event.optional_integer("signum", signum.map(i64::from));
                event.boolean("expired", expired);
            }
        }
    }
}

impl WorkerState<'_> {
    fn write(&self, event: &mut Object<'_>) {
        event.float("freq", self.freq);
        event.integer("active", i64::try_from(self.active).unwrap_or(i64::MAX));
        let processed = i64::try_from(self.processed).unwrap_or(i64::MAX);
        event.integer("processed", processed);
        let [one, five, fifteen] = self.loadavg;
        let loads = event.name("loadavg");
        loads.extend_from_slice(format!("[{one:?},{five:?},{fifteen:?}]").as_bytes());
        event.string("sw_ident", self.sw_ident);
        event.string("sw_ver", self.sw_ver);
        event.string("sw_sys", self.sw_sys);
    }
}

impl TaskInfo<'_> {
    /// Describes a task, and hands the description to `then`.
    pub fn of<R>(task: &Task, then: impl FnOnce(&TaskInfo<'_>) -> R) -> R {
        let (args, kwargs) = (task.argsrepr.clone(), task.kwargsrepr.clone());
        then(&TaskInfo {
            uuid: &task.id,
            name: &task.name,
            args: &args.unwrap_or_else(|| repr::args(task.args.get())),
            kwargs: &kwargs.unwrap_or_else(|| repr::value(task.kwargs.get(), repr::MAX_CHARS)),
            root_id: task.root_id.as_deref(),
            parent_id: task.parent_id.as_deref(),
            retries: task.retries,
            eta: task.eta,
            expires: task.expires,
        })
    }

    fn write_call(&self, event: &mut Object<'_>) {
        event.string("name", self.name);
        event.string("args", self.args);
        event.string("kwargs", self.kwargs);
    }

    fn write_family(&self, event: &mut Object<'_>) {
        event.optional("root_id", self.root_id);
        event.optional("parent_id", self.parent_id);
    }

    fn write_times(&self, event: &mut Object<'_>) {
        event.integer("retries", self.retries.into());
        event.time("eta", self.eta);
        event.time("expires", self.expires);
    }
}

/// A message of events: one that travels alone, or a list of task events.
///
/// ```
/// use celery_protocol::events::{Event, Message, Moment, Sender};
/// use celery_protocol::time::Timestamp;
///
/// let sender = Sender { hostname: "celery@web1".into(), pid: 1, utcoffset: 0.0 };
/// let moment = Moment { clock: 1, at: Timestamp::from_unix(1_700_000_000, 0) };
/// let message = Message::one(&Event::Started { uuid: "an-id" }, &sender, moment);
/// assert_eq!(message.routing_key, "task.started");
/// assert_eq!(message.encode_amqp().unwrap().delivery_mode, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The routing key.
    pub routing_key: String,
    /// The node name of the sender.
    pub hostname: String,
    /// The body, as JSON.
    pub body: Vec<u8>,
}

impl Message {
    /// Returns the message of an event that travels alone.
    pub fn one(event: &Event<'_>, sender: &Sender, moment: Moment) -> Self {
        let mut body = Vec::new();
        event.write(&mut body, sender, moment);
        Self {
            routing_key: event.routing_key(),
            hostname: sender.hostname.clone(),
            body,
        }
    }

    /// Returns the message of an event that travels alone, which [`Event::write`] has written.
    pub fn written(routing_key: impl Into<String>, event: Vec<u8>, sender: &Sender) -> Self {
        Self {
            routing_key: routing_key.into(),
            hostname: sender.hostname.clone(),
            body: event,
        }
    }

    /// Returns the message of task events. `events` is the JSON text of an array of
    /// [`Event::write`]'s objects.
    pub fn multi(events: Vec<u8>, sender: &Sender) -> Self {
        Self {
            routing_key: TASK_MULTI.to_owned(),
            hostname: sender.hostname.clone(),
            body: events,
        }
    }

    /// Writes the message as the payload for its channel on Redis. `delivery_tag` is a fresh UUID.
    pub fn encode_redis(&self, delivery_tag: &str) -> Vec<u8> {
        let document = self.document(delivery_tag);
        document.encode_redis(|headers| self.write_headers(headers))
    }

    /// Writes the message for the exchange [`EVENT_EXCHANGE`] of RabbitMQ.
    ///
    /// # Errors
    ///
    /// [`AmqpError`] if the headers cannot be written.
    pub fn encode_amqp(&self) -> Result<AmqpMessage, AmqpError> {
        let document = self.document("");
        document.encode_amqp(|headers| self.write_headers(headers))
    }

    fn document<'a>(&'a self, delivery_tag: &'a str) -> Document<'a> {
        Document {
            exchange: EVENT_EXCHANGE,
            routing_key: &self.routing_key,
            delivery_mode: DeliveryMode::Transient,
            delivery_tag,
            body: &self.body,
        }
    }

    fn write_headers(&self, headers: &mut Object<'_>) {
        headers.string("hostname", &self.hostname);
    }
}
