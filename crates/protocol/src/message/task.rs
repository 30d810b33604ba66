//! The contents of a task message, whatever the protocol.

use serde_json::value::RawValue;

use crate::compression::Compression;
use crate::fields::Fields;
use crate::serializer::Serializer;
use crate::time::Timestamp;

/// The version of Celery's task protocol that a message follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Everything in the body, as before Celery 4 (`task_protocol=1`).
    V1,
    /// Metadata in the headers, the default since Celery 4.
    #[default]
    V2,
}

/// The contents of a task message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Task {
    /// The id of this task and the key of its result. A decoded id has passed
    /// [`check_task_id`](crate::names::check_task_id).
    pub id: String,
    /// The registered name of the task type. A decoded name has passed
    /// [`check_task_name`](crate::names::check_task_name).
    pub name: String,
    /// Positional arguments: a JSON array.
    pub args: Box<RawValue>,
    /// Keyword arguments: a JSON object.
    pub kwargs: Box<RawValue>,
    /// The signatures of tasks that follow this one.
    pub embed: Embed,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// The time before which the task must not run.
    pub eta: Option<Timestamp>,
    /// The time after which the task must not run. Set it with [`set_expires`](Self::set_expires).
    pub expires: Option<Timestamp>,
    /// The group this task belongs to.
    pub group: Option<String>,
    /// Its place in the group.
    pub group_index: Option<i64>,
    /// The number of retries so far.
    pub retries: u32,
    /// The time limits that the caller set.
    pub time_limit: TimeLimit,
    /// The first task of the workflow; [`root`](Self::root) supplies the default.
    pub root_id: Option<String>,
    /// The task that published this one.
    pub parent_id: Option<String>,
    /// The arguments as text for people. If absent, the encoder makes one.
    pub argsrepr: Option<String>,
    /// The keyword arguments as text for people. If absent, the encoder makes one.
    pub kwargsrepr: Option<String>,
    /// The sender's language, as received. [`EncodeOptions`](super::EncodeOptions) sets what is
    /// written.
    pub lang: Option<String>,
    /// The sender, as received. [`EncodeOptions`](super::EncodeOptions) sets what is
    /// written.
    pub origin: Option<String>,
    /// `true` if the caller wants no result. Default: the task type's own setting.
    pub ignore_result: Option<bool>,
    /// The number of `Task.replace` calls that led here.
    pub replaced_task_nesting: i64,
    /// The names of the stamps.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps by name.
    pub stamps: Fields,
    /// Headers that Celery does not define.
    pub headers: Fields,
    /// Properties of the message.
    pub properties: Properties,
    /// The destination of the message.
    pub delivery_info: DeliveryInfo,
    /// `true` if the message was delivered before.
    pub redelivered: bool,
    /// The broker's id of this message, as received.
    pub delivery_tag: Option<String>,
    /// The protocol of the received message.
    pub protocol: Protocol,
    /// The serializer of the received message.
    pub serializer: Serializer,
    /// The compression of the received message.
    pub compression: Option<Compression>,
    /// The arguments as received, if they had to be changed to become strict JSON.
    pub(crate) original_arguments: Option<Box<OriginalArguments>>,
}

/// The texts of arguments that are not strict JSON (bare `NaN`), to publish them again unchanged.
#[derive(Clone, Debug)]
pub(crate) struct OriginalArguments {
    /// The strict form of the arguments, to notice that the caller replaced them.
    pub(crate) strict: [Box<str>; 2],
    /// The received texts.
    pub(crate) received: [Box<str>; 2],
}

/// The signatures of tasks that follow a task, each kept as JSON text; `None` means null.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Embed {
    /// An array of signatures to call with the result.
    pub callbacks: Option<Box<RawValue>>,
    /// An array of signatures to call with the failure.
    pub errbacks: Option<Box<RawValue>>,
    /// The remaining steps in reverse order: the next one is last.
    pub chain: Option<Box<RawValue>>,
    /// The body of the chord whose header this task belongs to.
    pub chord: Option<Box<RawValue>>,
    /// Members that Celery does not define.
    pub extra: Fields,
}

/// The time limits of a task in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeLimit {
    /// The time after which the worker kills the task.
    pub hard: Option<f64>,
    /// The time after which the worker asks the task to end.
    pub soft: Option<f64>,
}

/// The properties of a message that concern neither its body nor its delivery.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Properties {
    /// The task's id; the encoder always writes that, whatever is here.
    pub correlation_id: Option<String>,
    /// The queue where an `rpc://` client waits. Default:
    /// [`EncodeOptions::reply_to`](super::EncodeOptions::reply_to).
    pub reply_to: Option<String>,
    /// 2 if the broker keeps the message through a restart, 1 if not. Default: 2.
    pub delivery_mode: Option<u8>,
    /// The priority from 0 to 9; on Redis 0 is the most urgent. Default: 0.
    pub priority: Option<u8>,
    /// The milliseconds until the message expires, as text.
    pub expiration: Option<String>,
    /// Properties that Celery does not define.
    pub extra: Fields,
}

/// The destination of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// The exchange; empty when the routing key is the queue.
    pub exchange: String,
    /// The routing key: with an empty exchange, the queue.
    pub routing_key: String,
}

impl Task {
    /// Returns a task to send, with Celery's defaults for everything else.
    ///
    /// Does not check its arguments; [`encode_redis`](Self::encode_redis) refuses an empty id or
    /// name and arguments that are not an array and an object.
    pub fn new(
        id: impl Into<String>,
        name: impl Into<String>,
        args: Box<RawValue>,
        kwargs: Box<RawValue>,
    ) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            args,
            kwargs,
            embed: Embed::default(),
            shadow: None,
            eta: None,
            expires: None,
            group: None,
            group_index: None,
            retries: 0,
            time_limit: TimeLimit::default(),
            root_id: None,
            parent_id: None,
            argsrepr: None,
            kwargsrepr: None,
            lang: None,
            origin: None,
            ignore_result: None,
            replaced_task_nesting: 0,
            stamped_headers: None,
            stamps: Fields::new(),
            headers: Fields::new(),
            properties: Properties::default(),
            delivery_info: DeliveryInfo::default(),
            redelivered: false,
            delivery_tag: None,
            protocol: Protocol::V2,
            serializer: Serializer::Json,
            compression: None,
            original_arguments: None,
        }
    }

    /// Returns the first task of the workflow: this one, unless the message names another.
    pub fn root(&self) -> &str {
        self.root_id.as_deref().unwrap_or(&self.id)
    }

    /// Returns the name by which redeliveries of the message are counted: its own delivery tag,
    /// which all of them share, or the task's id if it has none.
    pub fn redelivery_name(&self) -> &str {
        self.delivery_tag.as_deref().unwrap_or(&self.id)
    }

    /// Returns the priority from 0 to 9. Default: 0.
    pub fn priority(&self) -> u8 {
        self.properties.priority.unwrap_or(0).min(9)
    }

    /// Sets the time after which the task must not run, and the property `expiration`, which holds
    /// this time in milliseconds from `now`.
    pub fn set_expires(&mut self, expires: Timestamp, now: Timestamp) {
        let milliseconds = expires
            .unix_micros()
            .saturating_sub(now.unix_micros())
            .max(0)
            / 1_000;
        self.expires = Some(expires);
        self.properties.expiration = Some(milliseconds.to_string());
    }
}
