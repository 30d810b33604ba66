//! Makes the message of a single task from its signature and the options in it.
//!
//! It follows `send_task` in `celery/app/base.py`, and `celery/app/amqp.py`, of 5.7. Options are
//! read as leniently as the headers of a message: a value that Celery accepts must not make the
//! follow-up fail.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::calling::{Calling, Outgoing};
use super::error::CanvasError;
use super::options::{Options, Raws, STAMPED_HEADERS, json};
use super::signature::{Kind, Signature};
use crate::compression::Compression;
use crate::fields::Fields;
use crate::message::{Carried, Protocol, Task, TimeLimit, is_known_header, is_known_property};
use crate::serializer::Serializer;
use crate::time::Timestamp;

/// Options that do not become properties of the message: they are about the call or its connection,
/// or become something else.
const NO_PROPERTIES: [&str; 42] = [
    "add_to_parent",
    "app",
    "argsrepr",
    "chain",
    "chord",
    "compression",
    "confirm_timeout",
    "connection",
    "countdown",
    "declare",
    "eta",
    "exchange",
    "exchange_type",
    "expires",
    "group_id",
    "group_index",
    "headers",
    "ignore_result",
    "kwargsrepr",
    "link",
    "link_error",
    "parent_id",
    "producer",
    "publisher",
    "queue",
    "replaced_task_nesting",
    "result_cls",
    "retries",
    "retry",
    "retry_policy",
    "root_id",
    "route_name",
    "router",
    "routing_key",
    "serializer",
    "shadow",
    "soft_time_limit",
    STAMPED_HEADERS,
    "task_id",
    "task_protocol",
    "task_type",
    "time_limit",
];

/// kombu's names for delivery modes.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

impl<M: Carried> Calling<'_, M> {
    /// Returns the message of a task.
    pub(super) fn message(&self, it: &mut Signature) -> Result<Outgoing<M>, CanvasError> {
        self.caller.complete(it)?;
        let options = &it.options;
        let Kind::Task { kwargs, .. } = &it.kind else {
            return Err(CanvasError::NotATask);
        };
        let id = options.text("task_id");
        let id = id.unwrap_or_else(|| self.caller.new_id());
        let args = raw(&Raws(&it.args))?;
        let mut task = Task::new(id.clone(), it.task.as_str(), args, (**kwargs).to_owned());
        let parent = self.caller.parent();
        let root = || parent.map(|parent| parent.root().to_owned());
        task.root_id = options.text("root_id").or_else(root);
        let own = || parent.map(|parent| parent.id.clone());
        task.parent_id = options.text("parent_id").or_else(own);
        task.group = options.text("group_id");
        task.group_index = options.integer("group_index");
        task.retries = options.integer("retries").map_or(0, clamped);
        task.replaced_task_nesting = options.integer("replaced_task_nesting").unwrap_or(0);
        task.time_limit = TimeLimit {
            hard: options.number("time_limit"),
            soft: options.number("soft_time_limit"),
        };
        task.ignore_result = options.truth("ignore_result");
        task.shadow = options.text("shadow");
        task.argsrepr = options.text("argsrepr");
        task.kwargsrepr = options.text("kwargsrepr");
        task.eta = self.eta(options)?;
        let expires = options.get("expires").map(|expires| self.time(expires));
        if let Some(expires) = expires.transpose()?.flatten() {
            task.set_expires(expires, self.now);
        }
        self.headers(&mut task, options)?;
        self.caller.carry(&mut task);
        stamp(&mut task, options);
        properties(&mut task, options);
        task.embed.callbacks = signatures(options, "link")?;
        task.embed.errbacks = signatures(options, "link_error")?;
        task.embed.chain = signatures(options, "chain")?;
        task.embed.chord = options.get("chord").map(|body| (**body).to_owned());
        if let Some(name) = options.text("serializer") {
            let serializer = Serializer::from_name(&name);
            task.serializer = serializer.ok_or_else(|| unusable("serializer", &name))?;
        }
        if let Some(name) = options.text("compression") {
            let compression = Compression::from_name(&name);
            task.compression = Some(compression.ok_or_else(|| unusable("compression", &name))?);
        }
        if options.integer("task_protocol") == Some(1) {
            task.protocol = Protocol::V1;
        }
        let inner = mapped(it);
        let (queue, exchange) = self.queue(inner.as_deref().unwrap_or(&it.task), options)?;
        let message = self.caller.encode(&task, &queue)?;
        self.load.add(message.size())?;
        Ok(Outgoing {
            queue,
            exchange,
            priority: task.priority(),
            message,
            traceparent: traceparent(&task),
            id,
            task: task.name,
        })
    }

    /// Returns the queue of a task: the named one, that of a route, or the default.
    ///
    /// An exchange and a routing key count only together. They stand for the queue that is bound to
    /// them: the one with the routing key's name, as Celery creates queues. The exchange is returned
    /// as well.
    fn queue(
        &self,
        task: &str,
        options: &Options,
    ) -> Result<(Arc<str>, Option<String>), CanvasError> {
        if let Some(queue) = options.text("queue") {
            return Ok((Arc::from(queue), None));
        }
        if options.truth("queue") == Some(true) {
            return Err(CanvasError::Option("the queue is not a name".to_owned()));
        }
        match (options.text("exchange"), options.text("routing_key")) {
            (Some(exchange), Some(key)) => Ok((Arc::from(key), Some(exchange))),
            _ => Ok((self.caller.queue_of(task), None)),
        }
    }

    fn headers(&self, task: &mut Task, options: &Options) -> Result<(), CanvasError> {
        let Some(headers) = options.get("headers") else {
            return Ok(());
        };
        let headers: Fields = serde_json::from_str(headers.get())
            .map_err(|error| CanvasError::Option(format!("headers: {error}")))?;
        for (name, value) in headers.iter() {
            if is_known_header(name) {
                self.caller.left_out(name);
            } else {
                task.headers.insert(name, value.to_owned());
            }
        }
        Ok(())
    }

    /// Returns the time before which the task is not run. A countdown overrides an ETA; a countdown
    /// of zero sets none.
    fn eta(&self, options: &Options) -> Result<Option<Timestamp>, CanvasError> {
        if options.truth("countdown") == Some(true) {
            let seconds = options.number("countdown");
            let seconds = seconds
                .ok_or_else(|| CanvasError::Option("the countdown is not a number".to_owned()))?;
            return Ok(Some(self.after(seconds)));
        }
        match options.get("eta") {
            Some(eta) => self.time(eta),
            None => Ok(None),
        }
    }

    /// Returns a time as a signature has it: text, kombu's datetime, or seconds from now.
    fn time(&self, value: &RawValue) -> Result<Option<Timestamp>, CanvasError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Time {
            Text(String),
            Seconds(f64),
            Special {
                #[serde(rename = "__value__")]
                value: String,
            },
            None(()),
        }
        let text = match serde_json::from_str(value.get())? {
            Time::Seconds(seconds) => return Ok(Some(self.after(seconds))),
            Time::None(()) => return Ok(None),
            Time::Text(text) | Time::Special { value: text } => text,
        };
        let time = Timestamp::parse(&text);
        time.map(Some)
            .map_err(|error| CanvasError::Option(error.to_string()))
    }

    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn after(&self, seconds: f64) -> Timestamp {
        self.now.plus_micros((seconds * 1e6) as i64)
    }
}

/// Returns the name of the task that a `celery.map` or `celery.starmap` calls. As in Celery, its
/// route counts.
fn mapped(it: &Signature) -> Option<String> {
    #[derive(Deserialize)]
    struct Map {
        task: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        task: String,
    }
    match &it.kind {
        Kind::Task {
            kwargs,
            subtask_type: Some(kind),
        } if matches!(kind.as_str(), "xmap" | "xstarmap") => {
            let map: Map = serde_json::from_str(kwargs.get()).ok()?;
            Some(map.task.task)
        }
        _ => None,
    }
}

/// Copies the stamps, which are among the options.
fn stamp(task: &mut Task, options: &Options) {
    if options.get(STAMPED_HEADERS).is_none() {
        return;
    }
    let names = options.stamp_names();
    for name in &names {
        // A name may be repeated very often. Its stamp must not be copied each time.
        if task.stamps.get(name).is_none()
            && let Some(value) = options.get(name)
        {
            task.stamps.insert(name.as_str(), (**value).to_owned());
        }
    }
    task.stamped_headers = Some(names);
}

/// Sets the properties. An option that Celery does not know becomes a property of that name.
fn properties(task: &mut Task, options: &Options) {
    task.properties.priority = options
        .integer("priority")
        .and_then(|it| u8::try_from(it.clamp(0, 9)).ok());
    task.properties.reply_to = options.text("reply_to");
    task.properties.delivery_mode = match options.text("delivery_mode").as_deref() {
        Some("transient" | "1") => Some(TRANSIENT),
        Some("persistent" | "2") => Some(PERSISTENT),
        _ => None,
    };
    let stamps: HashSet<String> = options.stamp_names().into_iter().collect();
    for (name, value) in options.iter() {
        let is_other = !NO_PROPERTIES.contains(&&**name)
            && !is_known_property(name)
            && !stamps.contains(&**name);
        if is_other && value.get() != "null" {
            task.properties.extra.insert(&**name, (**value).to_owned());
        }
    }
}

/// Returns an option that is a list of signatures; `None` for an empty list.
fn signatures(options: &Options, name: &str) -> Result<Option<Box<RawValue>>, CanvasError> {
    let list = options.list(name);
    if list.is_empty() {
        Ok(None)
    } else {
        raw(&Raws(&list)).map(Some)
    }
}

fn traceparent(task: &Task) -> Option<String> {
    serde_json::from_str(task.headers.get("traceparent")?.get()).ok()
}

fn raw(list: &Raws<'_>) -> Result<Box<RawValue>, CanvasError> {
    Ok((*json(list)?).to_owned())
}

fn unusable(option: &str, value: &str) -> CanvasError {
    CanvasError::Option(format!("the {option} {value:?}"))
}

fn clamped(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}
