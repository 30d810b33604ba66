//! Makes an encoded message from the arguments of `PostTask`.
//!
//! `$task_args` have celery-php's meaning: they are merged over the fields of a protocol-1 message
//! (`eta`, `expires`, `retries`, `timelimit`, …). Those fields are mapped to their places in
//! protocol 2. Fields that Celery does not define become headers.
//!
//! Most posts have no `$task_args`. `templates` writes their messages, equal to those that the
//! encoder of all tasks writes. They are for Redis: on RabbitMQ, a post takes as long as the broker's
//! answer.

mod options;
mod templates;

use std::rc::Rc;
use std::sync::Arc;

use celery_client::amqp;
use celery_client::redis::blocking::{Frame, Outgoing, Post};
use celery_protocol::RawValue;
use celery_protocol::canvas;
use celery_protocol::message::{
    AmqpMessage, Call, Carried, EncodeError, EncodeOptions, Protocol, Task,
};
use celery_protocol::names;
use ext_php_rs::types::Zval;
use uuid::Uuid;

use self::templates::Known;
use crate::connection::Connection;
use crate::errors::not_sent;
use crate::ffi::throw::Thrown;
use crate::settings::{self, Settings};
use crate::values::{self, Arguments};
use crate::{process, replies};

/// The default routing key of celery-php, which counts as not given.
const DEFAULT_ROUTING_KEY: &str = "celery";

/// A message as the broker of a client carries it.
pub(crate) enum Wire {
    /// The text of an envelope.
    Redis(Vec<u8>),
    Amqp(Box<AmqpMessage>),
}

impl Wire {
    /// Writes a task for this broker.
    pub(crate) fn write(
        task: &Task,
        options: &EncodeOptions<'_>,
        broker: &Connection,
    ) -> Result<Self, EncodeError> {
        if broker.is_rabbitmq() {
            let message = task.encode_amqp(options)?;
            Ok(Wire::Amqp(Box::new(message)))
        } else {
            task.encode_redis(options).map(Wire::Redis)
        }
    }
}

impl Carried for Wire {
    fn size(&self) -> usize {
        match self {
            Wire::Redis(envelope) => envelope.len(),
            Wire::Amqp(message) => message.size(),
        }
    }
}

/// A message ready to be sent, with the data that its result needs.
pub(crate) enum Message {
    Redis(OnRedis),
    /// In a box, because it is much larger.
    Amqp(Box<OnRabbitMq>),
}

/// A message on its way to RabbitMQ.
pub(crate) struct OnRabbitMq {
    pub(crate) post: amqp::blocking::Post,
    task_name: Rc<str>,
    /// The positional arguments as JSON, if its result needs them.
    args: Option<Box<RawValue>>,
}

/// A message on its way to Redis.
pub(crate) enum OnRedis {
    /// A task with only a name and arguments, which is encoded as it is written.
    Plain { known: Rc<Known>, call: Call },
    /// Any other task, with its positional arguments as JSON if its result needs them.
    Encoded {
        post: Post,
        task_name: Rc<str>,
        args: Option<Box<RawValue>>,
    },
}

impl Message {
    /// Returns the number of bytes of the texts that are held, whose length the caller decides. The
    /// first message with a template counts it, because the message keeps the template alive.
    pub(crate) fn held(&self) -> usize {
        let texts = |args: &Option<Box<RawValue>>| args.as_ref().map_or(0, |args| args.get().len());
        match self {
            Self::Redis(OnRedis::Plain { known, call }) => {
                // The other holder is the cache.
                let is_first = Rc::strong_count(known) <= 2;
                call.held() + if is_first { known.held() } else { 0 }
            }
            Self::Redis(OnRedis::Encoded { post, args, .. }) => post.envelope.len() + texts(args),
            Self::Amqp(message) => {
                size_of::<OnRabbitMq>() + message.post.message.size() + texts(&message.args)
            }
        }
    }

    /// Returns about the number of bytes that are sent.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Redis(message) => message.size(),
            Self::Amqp(message) => message.post.message.size(),
        }
    }

    pub(crate) fn task_id(&self) -> &str {
        match self {
            Self::Redis(message) => message.task_id(),
            Self::Amqp(message) => &message.post.task_id,
        }
    }

    /// Returns the message if it was written for Redis.
    pub(crate) fn on_redis(&self) -> Option<&OnRedis> {
        match self {
            Self::Redis(message) => Some(message),
            Self::Amqp(_) => None,
        }
    }

    /// Returns the message if it was written for RabbitMQ.
    pub(crate) fn on_rabbitmq(&self) -> Option<&amqp::blocking::Post> {
        match self {
            Self::Redis(_) => None,
            Self::Amqp(message) => Some(&message.post),
        }
    }

    /// Returns the task's name, its id and its positional arguments as JSON. `None` means `[]`.
    pub(crate) fn into_parts(self) -> (Rc<str>, String, Option<Box<RawValue>>) {
        match self {
            Self::Redis(OnRedis::Plain { known, call }) => {
                let (id, args) = call.into_parts();
                (Rc::clone(&known.name), id, args)
            }
            Self::Redis(OnRedis::Encoded {
                post,
                task_name,
                args,
            }) => (task_name, post.task_id, args),
            Self::Amqp(message) => (message.task_name, message.post.task_id, message.args),
        }
    }

    /// Returns the message of a planned task.
    pub(crate) fn planned(planned: canvas::Outgoing<Wire>) -> Self {
        let canvas::Outgoing {
            id,
            task,
            queue,
            exchange,
            priority,
            message,
            ..
        } = planned;
        let task_name = task.into();
        match message {
            Wire::Redis(envelope) => Self::Redis(OnRedis::Encoded {
                post: Post {
                    queue,
                    priority,
                    task_id: id,
                    envelope,
                },
                task_name,
                args: None,
            }),
            Wire::Amqp(message) => Self::Amqp(Box::new(OnRabbitMq {
                post: amqp::blocking::Post {
                    exchange: exchange.unwrap_or_default(),
                    routing_key: queue.as_ref().to_owned(),
                    queue: None,
                    task_id: id,
                    message: *message,
                },
                task_name,
                args: None,
            })),
        }
    }
}

impl Outgoing for OnRedis {
    fn queue(&self) -> &Arc<str> {
        match self {
            Self::Plain { known, .. } => &known.queue,
            Self::Encoded { post, .. } => post.queue(),
        }
    }

    fn priority(&self) -> u8 {
        match self {
            Self::Plain { .. } => 0,
            Self::Encoded { post, .. } => post.priority(),
        }
    }

    fn task_id(&self) -> &str {
        match self {
            Self::Plain { call, .. } => call.id(),
            Self::Encoded { post, .. } => post.task_id(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Plain { known, call } => known.size(call),
            Self::Encoded { post, .. } => post.size(),
        }
    }

    fn write(&self, frame: Frame<'_>) {
        match self {
            Self::Plain { known, call } => known.write(call, frame),
            Self::Encoded { post, .. } => post.write(frame),
        }
    }
}

/// Checks a task and encodes its arguments. Runs PHP code (`jsonSerialize`,
/// `DateTimeInterface::format`). `wants_reply` says whether the result comes as a reply.
pub(crate) fn prepare(
    name: &str,
    args: &Zval,
    task_args: [Option<&Zval>; 2],
    routing_key: Option<&str>,
    broker: &Connection,
    wants_reply: bool,
) -> Result<Message, Thrown> {
    let arguments = values::arguments(args)?;
    let task_id = process::new_id();
    let settings = settings::current();
    if !broker.is_rabbitmq()
        && settings.protocol == Ok(Protocol::V2)
        && task_args.into_iter().all(options::are_none)
    {
        let queue = queue(routing_key, broker, &settings);
        if let Some(known) = templates::find(name, queue, &process::sender()) {
            let (args, kwargs) = match arguments {
                Arguments::Positional(args) => (Some(args), None),
                Arguments::Keyword(kwargs) => (None, Some(kwargs)),
            };
            return filled(known, task_id, args, kwargs);
        }
    }
    prepare_any(
        task_id.to_string(),
        name,
        arguments,
        task_args,
        routing_key,
        (broker, wants_reply),
    )
}

/// Returns the message of a task that has only a name and arguments. Returns `None` if the name or
/// the queue cannot be used.
pub(crate) fn plain(
    name: &str,
    queue: &str,
    args: Box<RawValue>,
    kwargs: Option<Box<RawValue>>,
) -> Result<Option<Message>, Thrown> {
    let Some(known) = templates::find(name, queue, &process::sender()) else {
        return Ok(None);
    };
    filled(known, process::new_id(), Some(args), kwargs).map(Some)
}

/// Returns the message of a call of a known task.
fn filled(
    known: Rc<Known>,
    task_id: Uuid,
    args: Option<Box<RawValue>>,
    kwargs: Option<Box<RawValue>>,
) -> Result<Message, Thrown> {
    let tag = process::new_id();
    let call = Call::new(task_id.into_bytes(), tag.into_bytes(), args, kwargs)
        .map_err(|error| not_sent(format!("{error}.")))?;
    Ok(Message::Redis(OnRedis::Plain { known, call }))
}

/// Checks and encodes a task with any options.
fn prepare_any(
    task_id: String,
    name: &str,
    arguments: Arguments,
    task_args: [Option<&Zval>; 2],
    routing_key: Option<&str>,
    (broker, wants_reply): (&Connection, bool),
) -> Result<Message, Thrown> {
    let empty = |json: &str| values::raw(json.to_owned());
    let (positional, keyword) = match arguments {
        Arguments::Positional(args) => (args, empty("{}")?),
        Arguments::Keyword(kwargs) => (empty("[]")?, kwargs),
    };
    let mut task = Task::new(task_id, name, positional, keyword);
    for options in task_args {
        options::merge(&mut task, options)?;
    }
    names::check_task_name(&task.name).map_err(|error| unusable("task name", &error))?;
    names::check_task_id(&task.id).map_err(|error| unusable("task id", &error))?;

    if wants_reply && task.properties.reply_to.is_none() {
        task.properties.reply_to = replies::address(&task.id);
    }
    // PHP code that has run may have changed the directives.
    let settings = settings::current();
    let way = Way::new(routing_key, broker, &settings);
    names::check_queue_name(way.key).map_err(|error| unusable("queue", &error))?;

    let (delivery_tag, sender) = (process::new_id().to_string(), process::sender());
    let options = sender
        .options(way.key, &delivery_tag)
        .protocol(settings.protocol.clone().map_err(Thrown::celery)?);
    let message = Wire::write(&task, &options, broker);
    let message = message.map_err(|error| not_sent(format!("{error}.")))?;
    let priority = task.priority();
    let (task_name, args) = (task.name.into(), Some(task.args));
    Ok(match message {
        Wire::Redis(envelope) => Message::Redis(OnRedis::Encoded {
            post: Post {
                priority,
                queue: way.key.into(),
                task_id: task.id,
                envelope,
            },
            task_name,
            args,
        }),
        Wire::Amqp(message) => Message::Amqp(Box::new(OnRabbitMq {
            post: amqp::blocking::Post {
                exchange: way.exchange.to_owned(),
                routing_key: way.key.to_owned(),
                queue: way.queue.map(str::to_owned),
                task_id: task.id,
                message: *message,
            },
            task_name,
            args,
        })),
    })
}

/// Where a message goes.
struct Way<'a> {
    /// The exchange; empty if the key is the name of a queue.
    exchange: &'a str,
    key: &'a str,
    /// The queue of a named exchange.
    queue: Option<&'a str>,
}

impl<'a> Way<'a> {
    /// Returns the way that celery-php's arguments name. Its defaults, `celery`, count as not given.
    ///
    /// On RabbitMQ, an exchange and a binding that differ are used as celery-php's PECL connector
    /// uses them. Otherwise the message goes straight to a queue, as Celery sends it.
    fn new(routing_key: Option<&'a str>, broker: &'a Connection, settings: &'a Settings) -> Self {
        let straight = |key| Way {
            exchange: "",
            key,
            queue: None,
        };
        if !broker.is_rabbitmq() {
            return straight(queue(routing_key, broker, settings));
        }
        let exchange = broker.exchange.as_deref().unwrap_or(DEFAULT_ROUTING_KEY);
        let binding = broker.binding.as_deref().unwrap_or(DEFAULT_ROUTING_KEY);
        let given = routing_key.filter(|key| !key.is_empty() && *key != DEFAULT_ROUTING_KEY);
        if exchange != binding {
            return Way {
                exchange,
                key: given.unwrap_or(binding),
                queue: Some(binding),
            };
        }
        let binding = Some(binding).filter(|binding| *binding != DEFAULT_ROUTING_KEY);
        straight(given.or(binding).unwrap_or(&settings.default_queue))
    }
}

/// Returns the queue on Redis: the routing key if given, otherwise the exchange (celery-php uses it
/// alone), otherwise the default queue.
fn queue<'a>(
    routing_key: Option<&'a str>,
    broker: &'a Connection,
    settings: &'a Settings,
) -> &'a str {
    routing_key
        .filter(|key| !key.is_empty() && *key != DEFAULT_ROUTING_KEY)
        .or(broker.exchange.as_deref())
        .unwrap_or(&settings.default_queue)
}

fn unusable(what: &str, reason: &dyn std::fmt::Display) -> Thrown {
    not_sent(format!("the {what} cannot be used: {reason}."))
}
