//! Makes an encoded message from the arguments of `PostTask`.
//!
//! `$task_args` have celery-php's meaning: they are merged over the fields of a protocol-1 message
//! (`eta`, `expires`, `retries`, `timelimit`, …). Those fields are mapped to their places in
//! protocol 2. Fields that Celery does not define become headers.

mod options;

use celery_client::redis::blocking::Post;
use celery_protocol::RawValue;
use celery_protocol::message::{EncodeOptions, Task};
use celery_protocol::names;
use ext_php_rs::types::Zval;

use crate::connection::Connection;
use crate::errors::not_sent;
use crate::ffi::throw::Thrown;
use crate::settings::{self, Settings};
use crate::{process, values};

/// The default routing key of celery-php, which counts as not given.
const DEFAULT_ROUTING_KEY: &str = "celery";

/// A message ready to be sent, with the data that its result needs.
pub(crate) struct Message {
    pub(crate) post: Post,
    pub(crate) task_name: String,
    /// The positional arguments as JSON, for error messages and `AsyncResult`.
    pub(crate) args: Box<RawValue>,
}

impl AsRef<Post> for Message {
    fn as_ref(&self) -> &Post {
        &self.post
    }
}

/// Checks and encodes a task. Runs PHP code (`jsonSerialize`, `DateTimeInterface::format`).
pub(crate) fn prepare(
    name: String,
    args: &Zval,
    task_args: [Option<&Zval>; 2],
    routing_key: Option<&str>,
    broker: &Connection,
) -> Result<Message, Thrown> {
    let arguments = values::arguments(args)?;
    let mut task = Task::new(
        process::new_id(),
        name,
        arguments.positional,
        arguments.keyword,
    );
    for options in task_args {
        options::merge(&mut task, options)?;
    }
    names::check_task_name(&task.name).map_err(|error| unusable("task name", &error))?;
    names::check_task_id(&task.id).map_err(|error| unusable("task id", &error))?;

    let settings = settings::current();
    let queue = queue(routing_key, broker, &settings);
    names::check_queue_name(&queue).map_err(|error| unusable("queue", &error))?;

    let (delivery_tag, sender) = (process::new_id(), process::sender());
    let options = EncodeOptions::new(&queue, &delivery_tag)
        .lang("php")
        .origin(&sender.origin)
        .reply_to(&sender.reply_to)
        .protocol(settings.protocol.clone().map_err(Thrown::celery)?);
    let envelope = task
        .encode_redis(&options)
        .map_err(|error| not_sent(format!("{error}.")))?;

    let post = Post {
        priority: task.priority(),
        queue,
        task_id: task.id,
        envelope,
    };
    Ok(Message {
        post,
        task_name: task.name,
        args: task.args,
    })
}

/// Returns the queue on Redis: the routing key if given, otherwise the exchange (celery-php uses it
/// alone), otherwise the default queue.
fn queue(routing_key: Option<&str>, broker: &Connection, settings: &Settings) -> String {
    routing_key
        .filter(|key| !key.is_empty() && *key != DEFAULT_ROUTING_KEY)
        .or(broker.exchange.as_deref())
        .unwrap_or(&settings.default_queue)
        .to_owned()
}

fn unusable(what: &str, reason: &dyn std::fmt::Display) -> Thrown {
    not_sent(format!("the {what} cannot be used: {reason}."))
}
