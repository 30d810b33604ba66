//! Gives every task of a canvas its id before it is sent, by the rules of
//! `celery_protocol::canvas::freeze`.
//!
//! Freezing changes the options of tasks and unrolls groups in groups, but it never looks at an
//! argument. So the rules get a copy of the canvas in which the only argument of each part is the
//! number of its PHP object.

use std::borrow::Cow;
use std::sync::Arc;

use celery_protocol::canvas::{self, Caller, Chord, Kind, Options, Signature, json};
use celery_protocol::message::{EncodeError, EncodeOptions, Task};
use ext_php_rs::types::{ZendObject, Zval};

use super::form::{BODY, GROUP, HEADER, ID, Part};
use super::parts::{add_options, option};
use super::tree::{self, check_depth, copied, of_tasks, part, property, with_tasks};
use crate::ffi::json::{Objects, decode};
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::values::encode;
use crate::{process, replies};

/// The options that freezing reads and sets.
const FROZEN: [&str; 6] = [
    "group_id",
    "group_index",
    "parent_id",
    "reply_to",
    "root_id",
    "task_id",
];

/// The process as the caller, of which freezing needs ids only.
struct Process {
    reply_to: String,
}

impl Caller for Process {
    fn new_id(&self) -> String {
        process::new_id().to_string()
    }

    fn reply_to(&self) -> &str {
        &self.reply_to
    }

    fn reply_to_task(&self, task_id: &str) -> Cow<'_, str> {
        replies::address(task_id).map_or_else(|| Cow::Borrowed(self.reply_to()), Cow::Owned)
    }

    fn has_results(&self) -> bool {
        true
    }

    fn queue_of(&self, _task: &str) -> Arc<str> {
        Arc::from("")
    }

    fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        task.encode_redis(&EncodeOptions::new(queue, &self.new_id()))
    }
}

/// Returns a copy of a canvas in which every task has its id.
pub(crate) fn freeze(given: &Zval) -> Result<Zval, Thrown> {
    let mut objects = Vec::new();
    let mut numbered = numbered(given, &mut objects, 0)?;
    let caller = Process {
        reply_to: process::sender().reply_to.clone(),
    };
    let refused = |error| Thrown::celery(format!("This canvas cannot be sent: {error}."));
    canvas::freeze(&caller, &mut numbered).map_err(refused)?;
    thawed(&numbered, &objects)
}

/// Returns a canvas with numbers for its objects, which are added to `objects`.
fn numbered(canvas: &Zval, objects: &mut Vec<Zval>, depth: usize) -> Result<Signature, Thrown> {
    check_depth(depth)?;
    let number = objects.len();
    objects.push(canvas.shallow_clone());
    let mut all = |canvas: &Zval| -> Result<Vec<Signature>, Thrown> {
        let tasks = tree::tasks(canvas);
        tasks
            .iter()
            .map(|task| numbered(task, objects, depth + 1))
            .collect()
    };
    let kind = match part(canvas) {
        Part::Task => Kind::Task {
            kwargs: text(json(&Options::default()))?,
            subtask_type: None,
        },
        Part::Chain => Kind::Chain(all(canvas)?),
        Part::Group => Kind::Group(all(canvas)?),
        Part::Chord => {
            let group = property(canvas, HEADER);
            Kind::Chord(Box::new(Chord {
                header: all(&group)?,
                group: Some(options(&group)?),
                body: numbered(&property(canvas, BODY), objects, depth + 1)?,
                kwargs: None,
            }))
        }
    };
    Ok(Signature {
        task: String::new(),
        args: vec![text(json(&number))?],
        options: options(canvas)?,
        immutable: false,
        kind,
    })
}

/// Returns the options of a canvas that count here.
fn options(canvas: &Zval) -> Result<Options, Thrown> {
    let mut options = Options::default();
    for name in FROZEN {
        if let Some(value) = canvas.object().and_then(|object| option(object, name)) {
            options.insert(name, encode::encode(&value, name)?.into());
        }
    }
    Ok(options)
}

fn text(json: Result<canvas::Value, canvas::CanvasError>) -> Result<canvas::Value, Thrown> {
    json.map_err(|error| Thrown::celery(format!("This canvas cannot be sent: {error}.")))
}

/// Returns the objects of a canvas again, with its new options.
fn thawed(frozen: &Signature, objects: &[Zval]) -> Result<Zval, Thrown> {
    let number = frozen.args.first().and_then(|it| it.get().parse().ok());
    let original = number.and_then(|number: usize| objects.get(number));
    let all = |tasks: &[Signature]| -> Result<Vec<Zval>, Thrown> {
        tasks.iter().map(|task| thawed(task, objects)).collect()
    };
    let mut made = match (&frozen.kind, original) {
        (Kind::Task { .. }, Some(original)) => copied(original, |_| Ok(()))?,
        (Kind::Chain(tasks) | Kind::Group(tasks), Some(original)) => {
            with_tasks(original, all(tasks)?)?
        }
        (Kind::Chord(chord), Some(original)) => {
            let header = with_tasks(&property(original, HEADER), all(&chord.header)?)?;
            let body = thawed(&chord.body, objects)?;
            let group = chord.group.as_ref();
            let header = copied(&header, |header| match group {
                Some(options) => set(header, options),
                None => Ok(()),
            })?;
            copied(original, |copy| {
                object::init(copy, HEADER, header);
                object::init(copy, BODY, body);
                Ok(())
            })?
        }
        // A group that freezing took out of a chord, to which it was upgraded.
        (Kind::Chain(tasks) | Kind::Group(tasks), None) => of_tasks(GROUP, all(tasks)?)?,
        (Kind::Task { .. } | Kind::Chord(_), None) => {
            return Err(Thrown::celery("This canvas cannot be frozen."));
        }
    };
    let is_chord = part(&made) == Part::Chord;
    if let Some(object) = made.object_mut() {
        set(object, &frozen.options)?;
        if is_chord {
            let id = property(&object::get(object, BODY), ID);
            object::init(object, ID, id);
        }
    }
    Ok(made)
}

/// Sets the options that freezing has set.
fn set(object: &mut ZendObject, options: &Options) -> Result<(), Thrown> {
    let mut given = Vec::new();
    for (name, text) in options.iter().filter(|(_, text)| text.get() != "null") {
        let value = decode(text.get(), Objects::AsArrays)
            .map_err(|_| Thrown::celery("An option of this canvas cannot be read."))?;
        given.push((value::string(name.as_bytes()), value));
    }
    add_options(object, given)
}
