//! What the API shows of a message that waits, or that is a dead letter: texts of bounded length.

use celery_protocol::amqp::Content;
use celery_protocol::message::{DecodeError, DecodeOptions, DeliveryInfo, Task};
use celery_protocol::repr;
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use ext_php_rs::types::Zval;

use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::values::incoming;

/// The parts of a message.
#[derive(Default)]
pub(super) struct Summary {
    pub(super) id: Option<String>,
    pub(super) task: Option<String>,
    pub(super) argsrepr: Option<String>,
    pub(super) kwargsrepr: Option<String>,
    pub(super) eta: Option<Timestamp>,
    pub(super) priority: u8,
    pub(super) size: usize,
}

impl Summary {
    /// Reads a message as it is in Redis. What cannot be read is missing.
    pub(super) fn of(raw: &[u8]) -> Self {
        Self::read(Task::decode_redis_with(raw, &options()), raw.len())
    }

    /// Reads a message of RabbitMQ, like [`of`](Self::of).
    pub(super) fn of_content(content: &Content) -> Self {
        let properties = content.properties().unwrap_or_default();
        let from = DeliveryInfo::default();
        let task = Task::decode_amqp(&properties, &content.body, &from, false, &options());
        Self::read(task, content.size())
    }

    fn read(task: Result<Task, DecodeError>, size: usize) -> Self {
        let read = match task {
            Ok(task) => Self::of_task(task),
            Err(error) => Self::of_error(&error),
        };
        Self { size, ..read }
    }

    fn of_task(task: Task) -> Self {
        let args = || repr::args(task.args.get());
        let kwargs = || repr::value(task.kwargs.get(), repr::MAX_CHARS);
        Self {
            argsrepr: Some(task.argsrepr.clone().map_or_else(args, bounded)),
            kwargsrepr: Some(task.kwargsrepr.clone().map_or_else(kwargs, bounded)),
            eta: task.eta,
            priority: task.priority(),
            id: Some(task.id),
            task: Some(task.name),
            size: 0,
        }
    }

    fn of_error(error: &DecodeError) -> Self {
        Self {
            id: error.id().map(str::to_owned),
            task: error.task().map(str::to_owned),
            ..Self::default()
        }
    }

    /// Returns the time before which the task must not run.
    pub(super) fn eta(&self) -> Result<Zval, Thrown> {
        match self.eta {
            Some(eta) => incoming::date(&eta.to_string()),
            None => Ok(Zval::null()),
        }
    }
}

fn options() -> DecodeOptions<'static> {
    DecodeOptions::default().accept(&[Serializer::Json, Serializer::Msgpack, Serializer::Yaml])
}

/// Cuts a text that a sender has written to the length of those written here.
fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(repr::MAX_CHARS) {
        text.truncate(end);
    }
    text
}

/// Returns a text, or null if there is none.
pub(super) fn text(text: Option<&str>) -> Zval {
    text.map_or_else(Zval::null, |text| value::string(text.as_bytes()))
}

/// Returns a number.
pub(super) fn int(number: impl TryInto<i64>) -> Zval {
    let mut value = Zval::new();
    value.set_long(number.try_into().unwrap_or(i64::MAX));
    value
}
