//! Celery's wire format as plain values.
//!
//! Everything here turns bytes into values and values into bytes. There is no input or output, no clock
//! and no global state: the current time, process id and host name are arguments. Every function that
//! reads bytes returns an error for what it cannot read; none panics, recurses without a bound or
//! allocates more than a stated limit, whatever the bytes are.
//!
//! # Layout
//!
//! * [`message`]: a task message of protocol 1 or 2, read from and written into Redis's envelope, and the
//!   rewriting that marks a message as redelivered.
//! * [`result`]: the document a worker stores for each state of a task, and exceptions inside it.
//! * [`keys`]: every Redis key and channel name, and the check of names that become part of one.
//! * [`priorities`]: which lists a queue on Redis has.
//! * [`json`]: lenient reading of what Python writes (bare `NaN`), depth limits, the `__type__` values.
//! * [`fields`]: an ordered map of members whose values stay the text they were.
//! * [`serializer`] and [`compression`]: content types, MessagePack and YAML to JSON and back, capped
//!   decompression.
//! * [`repr`]: Python's way of showing a value, for `argsrepr` and `kwargsrepr`.
//! * [`time`]: the date formats that Celery's versions have written.

mod base64;
pub mod compression;
pub mod fields;
pub mod json;
pub mod keys;
pub mod message;
pub mod priorities;
pub mod repr;
pub mod result;
pub mod serializer;
pub mod time;

pub use serde_json::value::RawValue;
