//! A task message, independent of the protocol version in which it was written.
//!
//! [`Task::decode_redis`] reads one element of a Redis queue: protocol 2, protocol 1 and the
//! mixture that Celery accepts. [`Task::encode_redis`] writes one. It refuses to write what Python
//! could not read. A task must have an id and a name, its arguments must be an array and an object,
//! and its body must have three elements. [`Task::decode_amqp`] and [`Task::encode_amqp`] do both for
//! RabbitMQ, which keeps the parts of a message apart. [`Task::retry`] makes the message of the next try as
//! Celery's `Task.retry` does. [`mark_redelivered`] and [`Unacked`] are used to restore messages
//! whose worker died. They work on the text itself and change nothing else in it.
//!
//! This module neither chooses ids nor reads the time; the caller passes both.

mod amqp;
mod body;
mod decode;
mod document;
mod encode;
mod envelope;
mod error;
mod glimpse;
mod options;
mod redelivery;
mod retry;
mod size;
mod task;
mod template;

pub use amqp::AmqpMessage;
pub(crate) use document::{DeliveryMode, Document, read_amqp, read_document};
pub use encode::EncodeOptions;
pub(crate) use envelope::is_falsy;
pub use envelope::{is_known_header, is_known_property};
pub use error::{Cause, DecodeError, EncodeError};
pub use options::{DEFAULT_MAX_BODY, DEFAULT_MAX_UNPACKED, DecodeOptions};
pub use redelivery::{Redelivery, Unacked, mark_redelivered, may_be_redelivered, unacked_entry};
pub use size::Carried;
pub(crate) use task::OriginalArguments;
pub use task::{DeliveryInfo, Embed, Properties, Protocol, Task, TimeLimit};
pub use template::{Call, Message, Scratch, Template};
