//! A task message: what it says, independent of the protocol version it was written in.
//!
//! [`Task::decode_redis`] reads one element of a Redis queue: protocol 2, protocol 1 and the mixture that
//! Celery accepts. [`Task::encode_redis`] writes one. What Python would choke on cannot be written: a task
//! has an id and a name, the arguments are an array and an object, the body has three elements.
//! [`Task::retry`] makes the message of the next try as Celery's `Task.retry` does.
//! [`mark_redelivered`] and the [`Unacked`] entry serve the restoring of messages whose worker died; they
//! work on the text itself and change nothing else in it.
//!
//! This module neither chooses ids nor knows the time; both are given to it.

mod body;
mod decode;
mod encode;
mod envelope;
mod error;
mod glimpse;
mod redelivery;
mod retry;
mod size;

use serde_json::value::RawValue;

pub use decode::{DEFAULT_MAX_BODY, DEFAULT_MAX_UNPACKED, DecodeOptions};
pub use encode::EncodeOptions;
pub use envelope::{is_known_header, is_known_property};
pub use error::{Cause, DecodeError, EncodeError};
pub use redelivery::{Redelivery, Unacked, mark_redelivered, unacked_entry};

use crate::compression::Compression;
use crate::fields::Fields;
use crate::serializer::Serializer;
use crate::time::Timestamp;

/// Which of Celery's task protocols a message follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Everything in the body, as before Celery 4 (`task_protocol=1`).
    V1,
    /// Metadata in the headers, the default since Celery 4.
    #[default]
    V2,
}

/// Everything a task message says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Task {
    /// The id of this task and the key of its result. Once decoded,
    /// [`check_task_id`](crate::keys::check_task_id) has nothing against it.
    pub id: String,
    /// The registered name of the task type. Once decoded,
    /// [`check_task_name`](crate::keys::check_task_name) has nothing against it.
    pub name: String,
    /// Positional arguments: a JSON array.
    pub args: Box<RawValue>,
    /// Keyword arguments: a JSON object.
    pub kwargs: Box<RawValue>,
    /// Signatures of what follows this task.
    pub embed: Embed,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// Not to be run before this time.
    pub eta: Option<Timestamp>,
    /// Not to be run after this time. Set it with [`set_expires`](Self::set_expires).
    pub expires: Option<Timestamp>,
    /// The group this task belongs to.
    pub group: Option<String>,
    /// Its place in the group.
    pub group_index: Option<i64>,
    /// How many times it was retried.
    pub retries: u32,
    /// Time limits the caller asked for.
    pub time_limit: TimeLimit,
    /// The first task of the workflow; [`root`](Self::root) supplies the default.
    pub root_id: Option<String>,
    /// The task that published this one.
    pub parent_id: Option<String>,
    /// How the arguments are shown. Without it the encoder makes one.
    pub argsrepr: Option<String>,
    /// How the keyword arguments are shown. Without it the encoder makes one.
    pub kwargsrepr: Option<String>,
    /// The language of the sender, as received. What is written comes from [`EncodeOptions`].
    pub lang: Option<String>,
    /// The sender, as received. What is written comes from [`EncodeOptions`].
    pub origin: Option<String>,
    /// Whether the caller wants no result; absent means what the task type says.
    pub ignore_result: Option<bool>,
    /// How often `Task.replace` led here.
    pub replaced_task_nesting: i64,
    /// Names of the stamps.
    pub stamped_headers: Option<Vec<String>>,
    /// Stamps by name.
    pub stamps: Fields,
    /// Headers that Celery does not define.
    pub headers: Fields,
    /// Properties of the message.
    pub properties: Properties,
    /// Where the message was sent.
    pub delivery_info: DeliveryInfo,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// The broker's name of this message, as received.
    pub delivery_tag: Option<String>,
    /// The protocol it was received in.
    pub protocol: Protocol,
    /// The serializer it was received in.
    pub serializer: Serializer,
    /// The compression it was received in.
    pub compression: Option<Compression>,
    /// The arguments as they were received, if they had to be changed to become strict JSON.
    pub(crate) original_arguments: Option<Box<OriginalArguments>>,
}

/// The texts of arguments that are not strict JSON (bare `NaN`), for publishing them again unchanged.
#[derive(Clone, Debug)]
pub(crate) struct OriginalArguments {
    /// What `args` became, to notice that the caller replaced it.
    pub(crate) strict: [Box<str>; 2],
    /// What was received.
    pub(crate) received: [Box<str>; 2],
}

/// Signatures of what follows a task, each kept as JSON text; none means null.
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

/// Seconds a task may run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeLimit {
    /// After this the task is ended from outside.
    pub hard: Option<f64>,
    /// After this the task is asked to end.
    pub soft: Option<f64>,
}

/// Properties of a message that are neither about its body nor its delivery.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Properties {
    /// The task's id; written so whatever is here.
    pub correlation_id: Option<String>,
    /// Where an `rpc://` client waits. Without it [`EncodeOptions::reply_to`] is written.
    pub reply_to: Option<String>,
    /// Whether the broker keeps the message through a restart: 2, or 1 for no. Written as 2 without it.
    pub delivery_mode: Option<u8>,
    /// 0 to 9; on Redis 0 is the most urgent. Written as 0 without it.
    pub priority: Option<u8>,
    /// Milliseconds until the message expires, as text.
    pub expiration: Option<String>,
    /// Properties that Celery does not define.
    pub extra: Fields,
}

/// Where a message was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeliveryInfo {
    /// The exchange; empty when the routing key is the queue.
    pub exchange: String,
    /// The routing key: with an empty exchange, the queue.
    pub routing_key: String,
}

impl Task {
    /// A task to be sent, with Celery's defaults for everything else.
    ///
    /// Nothing is checked here; [`encode_redis`](Self::encode_redis) refuses an empty id or name and
    /// arguments that are not an array and an object.
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

    /// The first task of the workflow: this one, unless the message says otherwise.
    pub fn root(&self) -> &str {
        self.root_id.as_deref().unwrap_or(&self.id)
    }

    /// The priority, 0 to 9, without one 0.
    pub fn priority(&self) -> u8 {
        self.properties.priority.unwrap_or(0).min(9)
    }

    /// Sets the time after which the task is not to be run, and the `expiration` property that says the
    /// same in milliseconds from `now`.
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
