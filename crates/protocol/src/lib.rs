//! Celery's wire format as plain values.
//!
//! Everything here turns bytes into values and values into bytes. The crate has no input or output,
//! no clock and no global state: the current time, process id and host name are arguments. A
//! function that reads bytes returns an error for what it cannot read. No bytes can make it panic,
//! recurse without a limit or allocate more than a stated limit.
//!
//! # Layout
//!
//! * [`amqp`]: AMQP 0-9-1, the protocol of RabbitMQ: a codec and the state of a connection.
//! * [`message`]: a task message of protocol 1 or 2, read from and written into Redis's envelope,
//!   and the change that marks a message as redelivered.
//! * [`control`]: requests to workers and their replies, as kombu's pidbox sends them.
//! * [`events`]: what workers and clients report while they work, and the logical clock.
//! * [`result`]: the document a worker stores for each state of a task, and exceptions inside it.
//! * [`canvas`]: signatures of tasks, chains, groups and chords.
//! * [`schedule`]: the entries of schedules, as Redis has them, and when they are due.
//! * [`names`]: what the name of a queue or a task, and an id, may be.
//! * [`redis_keys`]: the names of all Redis keys and channels.
//! * [`priorities`]: the lists that a queue on Redis has.
//! * [`json`]: lenient reading of what Python writes (bare `NaN`), depth limits, the `__type__`
//!   values.
//! * [`fields`]: an ordered map of members that keeps each value as its original text.
//! * [`serializer`] and [`compression`]: content types, MessagePack and YAML to JSON and back,
//!   decompression with a limit.
//! * [`repr`]: values as Python shows them, for `argsrepr` and `kwargsrepr`.
//! * [`glob`]: patterns of names, as Python's `fnmatch`.
//! * [`time`]: the date formats that Celery's versions have written.
//! * [`duration`]: lengths of time as people write them in settings.

pub mod amqp;
pub mod base64;
pub mod canvas;
pub mod compression;
pub mod control;
pub mod duration;
pub mod events;
pub mod fields;
pub mod glob;
pub mod json;
pub mod message;
pub mod names;
pub mod priorities;
pub mod redis_keys;
pub mod repr;
pub mod result;
pub mod schedule;
pub mod serializer;
pub mod time;

pub use serde_json::value::RawValue;
