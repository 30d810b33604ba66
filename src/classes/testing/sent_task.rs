//! `SentTask`: a message as the broker would have got it.

use celery_protocol::RawValue;
use celery_protocol::canvas::{Kind, Outgoing, Raws, Signature, json, list};
use celery_protocol::message::{DecodeOptions, Task};
use celery_protocol::serializer::Serializer;
use ext_php_rs::types::Zval;

use crate::classes::private;
use crate::errors::not_sent;
use crate::ffi::class::{Class, DeclareError, Property};
use crate::ffi::json::Objects;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::post::Wire;
use crate::values::{decode_as, incoming};

const NAME: &str = "Celery\\Testing\\SentTask";

/// The slots of the properties that others read.
const ID: usize = 0;
pub(super) const TASK: usize = 1;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::closed(NAME)
        .having([
            Property::readonly("id", Type::STRING),
            Property::readonly("task", Type::STRING),
            Property::readonly("args", Type::ARRAY),
            Property::readonly("kwargs", Type::ARRAY),
            Property::readonly("queue", Type::STRING),
            Property::readonly("headers", Type::ARRAY),
            Property::readonly("properties", Type::ARRAY),
        ])
        .with([private::constructor()])
        .declare()?;
    Ok(())
}

/// A message, and the tasks that follow it.
pub(super) struct Sent {
    pub(super) message: Zval,
    /// Tasks of the same canvas that a worker would send later.
    pub(super) later: Vec<Zval>,
}

impl Sent {
    /// Reads a message that is ready to be sent.
    pub(super) fn read(message: &Outgoing<Wire>) -> Result<Self, Thrown> {
        let unreadable = |error: &dyn std::fmt::Display| not_sent(format!("{error}."));
        let Wire::Redis(envelope) = &message.message else {
            return Err(not_sent("a FakeClient writes messages for Redis."));
        };
        let all = [Serializer::Json, Serializer::Msgpack, Serializer::Yaml];
        let task = Task::decode_redis_with(envelope, &DecodeOptions::default().accept(&all));
        let task = task.map_err(|error| unreadable(&error))?;
        let envelope: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(envelope).map_err(|error| unreadable(&error))?;
        let part = |name: &str| match envelope.get(name) {
            Some(part) => decode_as(&part.to_string(), Objects::AsArrays),
            None => Ok(value::list([])?),
        };
        let made = make(
            &task.id,
            &task.name,
            (&task.args, &task.kwargs),
            &message.queue,
            (part("headers")?, part("properties")?),
        )?;
        let mut later = Vec::new();
        if let Some(chain) = &task.embed.chain {
            for step in list(chain) {
                follow(&step, &mut later)?;
            }
        }
        if let Some(body) = &task.embed.chord {
            follow(body, &mut later)?;
        }
        Ok(Sent {
            message: made,
            later,
        })
    }
}

/// Collects the tasks of a canvas that have an id.
fn follow(canvas: &RawValue, later: &mut Vec<Zval>) -> Result<(), Thrown> {
    match Signature::read(canvas) {
        Ok(canvas) => collect(&canvas, later),
        Err(_) => Ok(()),
    }
}

fn collect(canvas: &Signature, later: &mut Vec<Zval>) -> Result<(), Thrown> {
    match &canvas.kind {
        Kind::Chain(all) | Kind::Group(all) => all.iter().try_for_each(|it| collect(it, later)),
        Kind::Chord(chord) => {
            let members = chord.header.iter();
            members
                .chain([&chord.body])
                .try_for_each(|it| collect(it, later))
        }
        Kind::Task { kwargs, .. } => {
            let Some(id) = canvas.options.text("task_id") else {
                return Ok(());
            };
            let args = json(&Raws(&canvas.args)).map_err(|error| not_sent(format!("{error}.")))?;
            let queue = canvas.options.text("queue").unwrap_or_default();
            let none = (value::list([])?, value::list([])?);
            later.push(make(&id, &canvas.task, (&args, kwargs), &queue, none)?);
            Ok(())
        }
    }
}

fn make(
    id: &str,
    task: &str,
    (args, kwargs): (&RawValue, &RawValue),
    queue: &str,
    (headers, properties): (Zval, Zval),
) -> Result<Zval, Thrown> {
    let text = |text: &str| value::string(text.as_bytes());
    let parts = [
        text(id),
        text(task),
        incoming::decode(args.get())?,
        incoming::decode(kwargs.get())?,
        text(queue),
        headers,
        properties,
    ];
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        for (number, part) in parts.into_iter().enumerate() {
            object::init(object, number, part);
        }
    }
    Ok(made)
}

/// Returns the id and the name of a task.
pub(super) fn names(sent: &Zval) -> (String, String) {
    let text = |number| {
        let part = sent.object().map(|object| object::get(object, number));
        let part = part.unwrap_or_else(Zval::null);
        String::from_utf8_lossy(value::bytes(&part).unwrap_or_default()).into_owned()
    };
    (text(ID), text(TASK))
}
