//! The options of a call: one table that declares the parameters and reads the arguments.
//!
//! Six methods share it: `Client::signature()` and `sendTask()`, `Canvas::set()` and
//! `applyAsync()`, `Signature::__construct()`, and those of `FakeClient`. What is read has Celery's
//! names, as in the options of a signature.

use celery_protocol::canvas::STAMPED_HEADERS;
use celery_protocol::names;
use ext_php_rs::types::Zval;

use super::client::settings;
use super::interfaces::{self, CANVAS, DURATION};
use super::{durations, enums};
use crate::ffi::call::Call;
use crate::ffi::class::{Param, optional};
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};

/// The kind of values that an option takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A text that is not empty.
    Text,
    Queue,
    TaskId,
    /// Seconds or a `DateInterval`.
    Duration,
    /// A `DateTimeInterface`.
    Time,
    /// A time, or a duration from now.
    Expires,
    Priority,
    Serializer,
    Compression,
    /// An array with names as keys.
    Names,
    Stamps,
    Bool,
    /// A whole number that is not negative.
    Count,
    /// A canvas or a list of them.
    Canvases,
    /// `true` is 2, `false` is 1.
    Persistent,
    Protocol,
}

/// An option.
struct Entry {
    /// The parameter's name.
    name: &'static str,
    /// Celery's name.
    celery: &'static str,
    kind: Kind,
}

const fn entry(name: &'static str, celery: &'static str, kind: Kind) -> Entry {
    Entry { name, celery, kind }
}

/// The options in the order of their parameters. A new one is added at the end.
static TABLE: [Entry; 28] = [
    entry("countdown", "countdown", Kind::Duration),
    entry("eta", "eta", Kind::Time),
    entry("expires", "expires", Kind::Expires),
    entry("queue", "queue", Kind::Queue),
    entry("exchange", "exchange", Kind::Queue),
    entry("routingKey", "routing_key", Kind::Queue),
    entry("priority", "priority", Kind::Priority),
    entry("serializer", "serializer", Kind::Serializer),
    entry("compression", "compression", Kind::Compression),
    entry("headers", "headers", Kind::Names),
    entry("taskId", "task_id", Kind::TaskId),
    entry("rootId", "root_id", Kind::TaskId),
    entry("parentId", "parent_id", Kind::TaskId),
    entry("groupId", "group_id", Kind::TaskId),
    entry("groupIndex", "group_index", Kind::Count),
    entry("shadow", "shadow", Kind::Text),
    entry("replyTo", "reply_to", Kind::Text),
    entry("ignoreResult", "ignore_result", Kind::Bool),
    entry("timeLimit", "time_limit", Kind::Duration),
    entry("softTimeLimit", "soft_time_limit", Kind::Duration),
    entry("link", "link", Kind::Canvases),
    entry("linkError", "link_error", Kind::Canvases),
    entry("retries", "retries", Kind::Count),
    entry("argsrepr", "argsrepr", Kind::Text),
    entry("kwargsrepr", "kwargsrepr", Kind::Text),
    entry("stamps", "stamps", Kind::Stamps),
    entry("persistent", "delivery_mode", Kind::Persistent),
    // Celery's setting of this name is an option here, because queues of old workers need it.
    entry("protocol", "task_protocol", Kind::Protocol),
];

/// The number of options, and of their parameters.
pub(crate) const COUNT: usize = TABLE.len();
/// Returns the parameters of the options.
pub(crate) fn parameters() -> impl Iterator<Item = Param> {
    TABLE
        .iter()
        .map(|entry| optional(entry.name, "null").typed(entry.kind.of().nullable()))
}

/// Returns the parameters of `sendTask()`.
pub(crate) fn parameters_of_send_task() -> Vec<Param> {
    interfaces::task()
        .into_iter()
        .chain(parameters())
        .chain(interfaces::post())
        .collect()
}

impl Kind {
    const fn of(self) -> Type {
        match self {
            Kind::Text | Kind::Queue | Kind::TaskId => Type::STRING,
            Kind::Duration => DURATION,
            Kind::Time => Type::class("DateTimeInterface"),
            Kind::Expires => Type::class("DateTimeInterface|DateInterval").or(Type::FLOAT),
            Kind::Priority | Kind::Count | Kind::Protocol => Type::INT,
            Kind::Serializer => Type::class("Celery\\Serializer").or(Type::STRING),
            Kind::Compression => Type::class("Celery\\Compression").or(Type::STRING),
            Kind::Names | Kind::Stamps => Type::ARRAY,
            Kind::Bool | Kind::Persistent => Type::BOOL,
            Kind::Canvases => CANVAS.or(Type::ARRAY),
        }
    }
}

/// An option by Celery's name, and its value.
pub(crate) type Given = (Zval, Zval);

/// Returns `true` if no option was passed. Then a message can be made from a template.
pub(crate) fn are_none(call: &Call<'_>, first: usize) -> bool {
    (first..first + COUNT).all(|index| call.argument(index).is_none_or(Zval::is_null))
}

/// Reads the options that were passed, beginning at the parameter `first`.
pub(crate) fn read(call: &Call<'_>, first: usize) -> Result<Vec<Given>, Thrown> {
    let mut options = Vec::new();
    for (index, entry) in TABLE.iter().enumerate() {
        let index = first + index;
        let Some(given) = call.argument(index).filter(|given| !given.is_null()) else {
            continue;
        };
        if entry.kind == Kind::Stamps {
            stamps(call, index, given, &mut options)?;
            continue;
        }
        let value = option(call, index, entry.kind, given)?;
        options.push((value::string(entry.celery.as_bytes()), value));
    }
    let was_passed = |place: usize| call.argument(first + place).is_some_and(|it| !it.is_null());
    if was_passed(0) && was_passed(1) {
        return Err(call.refuse(first + 1, "must be null if there is a countdown"));
    }
    Ok(options)
}

/// Reads one option.
fn option(call: &Call<'_>, index: usize, kind: Kind, given: &Zval) -> Result<Zval, Thrown> {
    match kind {
        Kind::Text | Kind::Queue | Kind::TaskId => text(call, index, kind, given)?,
        Kind::Duration => return seconds(call, index),
        Kind::Expires => {
            let is_date = given.object().is_some_and(value::is_date);
            if !is_date {
                return seconds(call, index);
            }
        }
        Kind::Priority => {
            settings::priority(call, index, given.long().unwrap_or(0))?;
        }
        Kind::Serializer => {
            let serializer = settings::serializer(call, index, given)?;
            return Ok(value::string(serializer.name().as_bytes()));
        }
        Kind::Compression => {
            settings::compression(call, index, given)?;
            let name = enums::text(given).unwrap_or_default();
            return Ok(value::string(name.as_bytes()));
        }
        Kind::Names | Kind::Stamps => names(call, index, given)?,
        Kind::Bool | Kind::Time => {}
        Kind::Count => {
            if given.long().is_none_or(|count| count < 0) {
                return Err(call.refuse(index, "must be greater than or equal to 0"));
            }
        }
        Kind::Canvases => return canvases(call, index, given),
        Kind::Persistent => return Ok(long(if given.is_true() { 2 } else { 1 })),
        Kind::Protocol => {
            settings::protocol(call, index, given.long().unwrap_or(0))?;
        }
    }
    Ok(given.shallow_clone())
}

fn long(number: i64) -> Zval {
    let mut value = Zval::new();
    value.set_long(number);
    value
}

fn text(call: &Call<'_>, index: usize, kind: Kind, given: &Zval) -> Result<(), Thrown> {
    let bytes = value::bytes(given).unwrap_or_default();
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(call.refuse(index, "must be valid UTF-8"));
    };
    let checked = match kind {
        Kind::Queue => names::check_queue_name(text),
        Kind::TaskId => names::check_task_id(text),
        _ => Ok(()),
    };
    checked.map_err(|error| call.refuse(index, &format!("cannot be used: {error}")))
}

/// Reads a duration as a number of seconds.
fn seconds(call: &Call<'_>, index: usize) -> Result<Zval, Thrown> {
    let seconds = durations::duration(call, index)?.unwrap_or_default();
    let mut value = Zval::new();
    value.set_double(seconds.as_secs_f64());
    Ok(value)
}

/// Checks that the keys of an array are names.
fn names(call: &Call<'_>, index: usize, given: &Zval) -> Result<(), Thrown> {
    let wrong = value::find_in_array(given, |key, _| match key {
        Key::Name(name) if std::str::from_utf8(name).is_ok() => None,
        _ => Some(()),
    });
    match wrong {
        None => Ok(()),
        Some(()) => Err(call.refuse(index, "must have names as keys")),
    }
}

/// Reads stamps, which are options beside the list of their names.
fn stamps(
    call: &Call<'_>,
    index: usize,
    given: &Zval,
    options: &mut Vec<Given>,
) -> Result<(), Thrown> {
    names(call, index, given)?;
    let mut all = Vec::new();
    value::find_in_array(given, |key, stamp| {
        all.push((key.to_zval(), stamp.shallow_clone()));
        None::<()>
    });
    let listed = value::list(all.iter().map(|(name, _)| name.shallow_clone()))?;
    options.push((value::string(STAMPED_HEADERS.as_bytes()), listed));
    options.extend(all);
    Ok(())
}

/// Reads a canvas or a list of them, as a list.
fn canvases(call: &Call<'_>, index: usize, given: &Zval) -> Result<Zval, Thrown> {
    if given.is_object() {
        return Ok(value::list([given.shallow_clone()])?);
    }
    let mut all = Vec::new();
    let wrong = value::find_in_array(given, |_, canvas| {
        all.push(canvas.shallow_clone());
        (!object::is_instance(canvas, "Celery\\Canvas")).then_some(())
    });
    match wrong {
        None => Ok(value::list(all)?),
        Some(()) => Err(call.refuse(index, "must be a canvas or a list of them")),
    }
}
