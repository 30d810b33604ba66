//! Makes the message of a single task from its signature and the options in it.
//!
//! It follows `send_task` in `celery/app/base.py`, and `celery/app/amqp.py`, of 5.7. Options are
//! read as leniently as the headers of a message: a value that Celery accepts must not make the
//! follow-up fail.

use std::collections::HashSet;
use std::sync::Arc;

use celery_protocol::canvas::{Kind, Options, Raws, STAMPED_HEADERS, Signature, json};
use celery_protocol::compression::Compression;
use celery_protocol::fields::Fields;
use celery_protocol::message::{Task, TimeLimit, is_known_header, is_known_property};
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::call::{Calling, new_id};
use crate::broker::Outgoing;

/// Options that do not become properties of the message: they are about the call or its connection,
/// or become something else.
const NO_PROPERTIES: [&str; 41] = [
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
    "task_type",
    "time_limit",
];

/// kombu's names for delivery modes.
const TRANSIENT: u8 = 1;
const PERSISTENT: u8 = 2;

impl Calling<'_> {
    /// Returns the message of a task, and the task's id.
    pub(super) fn message(&self, it: &Signature) -> Result<(Outgoing, String), String> {
        let options = &it.options;
        let Kind::Task { kwargs, .. } = &it.kind else {
            return Err("not a single task".to_owned());
        };
        let id = options.text("task_id").unwrap_or_else(new_id);
        let args = raw(&Raws(&it.args))?;
        let mut task = Task::new(id.clone(), it.task.as_str(), args, (**kwargs).to_owned());
        let or = |name: &str, other: &str| options.text(name).unwrap_or_else(|| other.to_owned());
        task.root_id = Some(or("root_id", self.task.root()));
        task.parent_id = Some(or("parent_id", &self.task.id));
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
        stamp(&mut task, options);
        properties(&mut task, options);
        task.embed.callbacks = signatures(options, "link")?;
        task.embed.errbacks = signatures(options, "link_error")?;
        task.embed.chain = signatures(options, "chain")?;
        task.embed.chord = options.get("chord").map(|body| (**body).to_owned());
        if let Some(name) = options.text("serializer") {
            let serializer = Serializer::from_name(&name);
            task.serializer = serializer.ok_or_else(|| format!("the serializer {name:?}"))?;
        }
        if let Some(name) = options.text("compression") {
            let compression = Compression::from_name(&name);
            task.compression =
                Some(compression.ok_or_else(|| format!("the compression {name:?}"))?);
        }
        let queue = self.queue(&it.task, options)?;
        let message = self.rules.encode(&task, &queue)?;
        self.load.add(message.len())?;
        Ok((
            Outgoing {
                queue,
                priority: task.priority(),
                message,
            },
            id,
        ))
    }

    /// Returns the queue of a task: the named one, that of a route, or the default.
    ///
    /// An exchange and a routing key count only together. They stand for the queue that is bound to
    /// them: the one with the routing key's name, as Celery creates queues.
    fn queue(&self, task: &str, options: &Options) -> Result<Arc<str>, String> {
        if let Some(queue) = options.text("queue") {
            return Ok(Arc::from(queue));
        }
        if options.truth("queue") == Some(true) {
            return Err("the queue is not a name".to_owned());
        }
        match (options.text("exchange"), options.text("routing_key")) {
            (Some(_), Some(key)) => Ok(Arc::from(key)),
            _ => Ok(self.rules.queue_of(task)),
        }
    }

    fn headers(&self, task: &mut Task, options: &Options) -> Result<(), String> {
        let Some(headers) = options.get("headers") else {
            return Ok(());
        };
        let headers: Fields =
            serde_json::from_str(headers.get()).map_err(|error| format!("headers: {error}"))?;
        for (name, value) in headers.iter() {
            if is_known_header(name) {
                tracing::warn!(
                    "Task {}[{}]: the header {name:?} of a follow-up belongs to the protocol and is left out",
                    self.task.name,
                    self.task.id,
                );
            } else {
                task.headers.insert(name, value.to_owned());
            }
        }
        Ok(())
    }

    /// Returns the time before which the task is not run. A countdown overrides an ETA; a countdown
    /// of zero sets none.
    fn eta(&self, options: &Options) -> Result<Option<Timestamp>, String> {
        if options.truth("countdown") == Some(true) {
            let seconds = options.number("countdown");
            let seconds = seconds.ok_or("the countdown is not a number")?;
            return Ok(Some(self.after(seconds)));
        }
        match options.get("eta") {
            Some(eta) => self.time(eta),
            None => Ok(None),
        }
    }

    /// Returns a time as a signature has it: text, kombu's datetime, or seconds from now.
    fn time(&self, value: &RawValue) -> Result<Option<Timestamp>, String> {
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
        let text = match serde_json::from_str(value.get()).map_err(|error| error.to_string())? {
            Time::Seconds(seconds) => return Ok(Some(self.after(seconds))),
            Time::None(()) => return Ok(None),
            Time::Text(text) | Time::Special { value: text } => text,
        };
        let time = Timestamp::parse(&text).map_err(|error| error.to_string())?;
        Ok(Some(time))
    }

    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    fn after(&self, seconds: f64) -> Timestamp {
        self.now.plus_micros((seconds * 1e6) as i64)
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
fn signatures(options: &Options, name: &str) -> Result<Option<Box<RawValue>>, String> {
    let list = options.list(name);
    if list.is_empty() {
        Ok(None)
    } else {
        raw(&Raws(&list)).map(Some)
    }
}

fn raw(list: &Raws<'_>) -> Result<Box<RawValue>, String> {
    Ok((*json(list)?).to_owned())
}

fn clamped(number: i64) -> u32 {
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use celery_protocol::message::DecodeOptions;
    use serde_json::{Value, json};

    use super::super::follow_up::Load;
    use super::super::testing;
    use super::*;
    use crate::consumer::Routes;
    use celery_protocol::canvas::json as shared;

    /// Returns the list, the priority and the message of `proj.echo` with these options, or why
    /// there is none.
    fn sent(options: Value) -> Result<(String, u8, Task), String> {
        let mut rules = testing::rules();
        rules.default_queue = "shop".into();
        rules.routes = Routes::new([("proj.e*", "echoes"), ("proj.mul", "products")]).unwrap();
        let parent = crate::task::testing::task("proj.add", "[]");
        let calling = Calling::new(&rules, &parent, crate::clock::now(), Load::new(&rules));
        let text = shared(&json!({ "task": "proj.echo", "options": options })).unwrap();
        let (sent, _) = calling.message(&Signature::read(&text)?)?;
        let accept = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
        let task =
            Task::decode_redis_with(&sent.message, &DecodeOptions::default().accept(&accept))
                .unwrap();
        Ok((sent.queue.to_string(), sent.priority, task))
    }

    #[test]
    fn odd_options_do_not_stop_the_message() {
        for (priority, expected) in [
            (json!(-1), 0),
            (json!(15), 9),
            (json!("4"), 4),
            (json!(3.9), 3),
            (json!([]), 0),
            (json!("high"), 0),
            (json!(null), 0),
        ] {
            let (_, sent, _) = sent(json!({ "priority": priority })).unwrap();
            assert_eq!(sent, expected, "{priority}");
        }
        let (_, _, task) = sent(json!({
            "time_limit": "60", "soft_time_limit": {}, "ignore_result": 0, "shadow": 7, "group_index": "x",
            "headers": null, "retries": -1, "expires": null, "countdown": 0, "task_id": 5,
        }))
        .unwrap();
        assert_eq!(
            (task.time_limit.hard, task.time_limit.soft),
            (Some(60.0), None)
        );
        assert_eq!((task.id.as_str(), task.shadow.as_deref()), ("5", Some("7")));
        assert_eq!((task.ignore_result, task.retries), (Some(false), 0));
        assert!(task.eta.is_none() && task.expires.is_none());
    }

    #[test]
    fn the_queue_is_named_or_routed_or_the_default() {
        for (options, queue) in [
            (json!({ "queue": "mails" }), "mails"),
            (
                json!({ "queue": "mails", "exchange": "x", "routing_key": "y" }),
                "mails",
            ),
            (json!({ "queue": null }), "echoes"),
            (json!({ "queue": "" }), "echoes"),
            (json!({ "routing_key": "mails" }), "echoes"),
            (json!({ "exchange": "mails" }), "echoes"),
            (json!({ "exchange": "x", "routing_key": "mails" }), "mails"),
        ] {
            assert_eq!(sent(options.clone()).unwrap().0, queue, "{options}");
        }
        assert!(sent(json!({ "queue": { "name": "mails" } })).is_err());
    }

    #[test]
    fn serializer_and_compression_come_from_the_signature() {
        for (serializer, expected) in [
            ("json", Serializer::Json),
            ("msgpack", Serializer::Msgpack),
            ("yaml", Serializer::Yaml),
        ] {
            for (compression, compressed) in [
                (json!("gzip"), Some(Compression::Zlib)),
                (json!("zstd"), Some(Compression::Zstd)),
                (json!(null), None),
                (json!(""), None),
            ] {
                let options = json!({ "serializer": serializer, "compression": compression });
                let (_, _, task) = sent(options).unwrap();
                assert_eq!((task.serializer, task.compression), (expected, compressed));
            }
        }
        assert!(sent(json!({ "serializer": "pickle" })).is_err());
        assert!(sent(json!({ "compression": "gz" })).is_err());
    }
}
