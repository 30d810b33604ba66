//! Merges `$task_args`, the fields of a protocol-1 message, over the task.

use std::time::SystemTime;

use celery_protocol::RawValue;
use celery_protocol::message::Task;
use celery_protocol::time::Timestamp;
use ext_php_rs::types::{ZendHashTable, Zval};

use crate::errors::not_sent;
use crate::ffi::bailout;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value::{self, Key};
use crate::values::{self, Root, type_name};

/// Returns `true` if there are no options to merge.
pub(super) fn are_none(options: Option<&Zval>) -> bool {
    options.is_none_or(|options| {
        options.is_null()
            || options.is_false()
            || options.array().is_some_and(ZendHashTable::is_empty)
    })
}

/// Merges the options into the task. Runs PHP code.
pub(super) fn merge(task: &mut Task, options: Option<&Zval>) -> Result<(), Thrown> {
    let Some(options) = options.filter(|value| !value.is_null() && !value.is_false()) else {
        return Ok(());
    };
    if !options.is_array() {
        return Err(not_sent(format!(
            "$task_args must be an array, {} given.",
            type_name(options)
        )));
    }
    let failed = value::find_in_array(options, |key, value| {
        let name = match key {
            Key::Index(index) => index.to_string(),
            Key::Name(name) => match std::str::from_utf8(name) {
                Ok(name) => name.to_owned(),
                Err(_) => return Some(refuse("a key of $task_args", "is not valid UTF-8")),
            },
        };
        // PHP code that runs below may change a variable that the element refers to.
        set(task, &name, &value.shallow_clone()).err()
    });
    failed.map_or(Ok(()), Err)
}

fn set(task: &mut Task, name: &str, value: &Zval) -> Result<(), Thrown> {
    match name {
        "id" => task.id = required_text(name, value)?,
        "task" => task.name = required_text(name, value)?,
        "args" => task.args = list(name, value)?,
        "kwargs" => task.kwargs = object(name, value)?,
        "eta" => task.eta = time(name, value)?,
        "countdown" => task.eta = seconds(name, value)?.map(from_now),
        "expires" => {
            if let Some(expires) = expires(name, value)? {
                task.set_expires(expires, Timestamp::from(SystemTime::now()));
            }
        }
        "retries" => task.retries = whole(name, value)?.unwrap_or_default(),
        "timelimit" => set_time_limit(task, name, value)?,
        "priority" => task.properties.priority = priority(name, value)?,
        "group" | "taskset" => task.group = optional_text(name, value)?,
        "group_index" => task.group_index = whole::<i64>(name, value)?,
        "shadow" => task.shadow = optional_text(name, value)?,
        "root_id" => task.root_id = optional_text(name, value)?,
        "parent_id" => task.parent_id = optional_text(name, value)?,
        "argsrepr" => task.argsrepr = optional_text(name, value)?,
        "kwargsrepr" => task.kwargsrepr = optional_text(name, value)?,
        "ignore_result" => task.ignore_result = (!value.is_null()).then(|| value.coerce_to_bool()),
        "reply_to" => task.properties.reply_to = optional_text(name, value)?,
        "callbacks" => task.embed.callbacks = signatures(name, value)?,
        "errbacks" => task.embed.errbacks = signatures(name, value)?,
        "chain" => task.embed.chain = signatures(name, value)?,
        "chord" => task.embed.chord = encoded(name, value)?,
        // Scripts cannot set these fields. `utc` has no effect, because all times in a message
        // carry their offset. The others describe the sender, which is the extension.
        "utc" | "lang" | "origin" | "correlation_id" => {}
        _ => task
            .headers
            .insert(name, values::encode(value, Root::Option(name))?),
    }
    Ok(())
}

fn required_text(name: &str, value: &Zval) -> Result<String, Thrown> {
    values::text(value)?.ok_or_else(|| {
        refuse(
            name,
            &format!("must be a string, {} given", type_name(value)),
        )
    })
}

fn optional_text(name: &str, value: &Zval) -> Result<Option<String>, Thrown> {
    if value.is_null() {
        Ok(None)
    } else {
        required_text(name, value).map(Some)
    }
}

fn list(name: &str, value: &Zval) -> Result<Box<RawValue>, Thrown> {
    if value.is_array() && value::is_list(value) {
        values::encode(value, Root::Option(name))
    } else {
        Err(refuse(name, "must be a list"))
    }
}

fn object(name: &str, value: &Zval) -> Result<Box<RawValue>, Thrown> {
    if value.array().is_some_and(ZendHashTable::is_empty) {
        return values::raw("{}".to_owned());
    }
    let text = values::encode(value, Root::Option(name))?;
    if text.get().starts_with('{') {
        Ok(text)
    } else {
        Err(refuse(name, "must be an array with names as keys"))
    }
}

fn encoded(name: &str, value: &Zval) -> Result<Option<Box<RawValue>>, Thrown> {
    if value.is_null() {
        Ok(None)
    } else {
        values::encode(value, Root::Option(name)).map(Some)
    }
}

/// Reads a list of signatures. A single one becomes a list, because Celery reads nothing else.
fn signatures(name: &str, value: &Zval) -> Result<Option<Box<RawValue>>, Thrown> {
    let Some(text) = encoded(name, value)? else {
        return Ok(None);
    };
    match text.get().as_bytes().first() {
        Some(b'[') => Ok(Some(text)),
        Some(b'{') => values::raw(format!("[{}]", text.get())).map(Some),
        _ => Err(refuse(name, "must be a signature or a list of signatures")),
    }
}

fn number(name: &str, value: &Zval) -> Result<Option<f64>, Thrown> {
    if value.is_null() {
        return Ok(None);
    }
    let number = if let Some(number) = value.double() {
        Some(number)
    } else if value.is_long() || value.is_string() {
        values::text(value)?.and_then(|text| text.trim().parse::<f64>().ok())
    } else {
        None
    };
    match number {
        Some(number) if number.is_finite() => Ok(Some(number)),
        _ => Err(refuse(
            name,
            &format!("must be a number, {} given", type_name(value)),
        )),
    }
}

fn whole<T: TryFrom<i64>>(name: &str, value: &Zval) -> Result<Option<T>, Thrown> {
    if value.is_null() {
        return Ok(None);
    }
    let number = match value.long() {
        Some(number) => Some(number),
        None => values::text(value)?.and_then(|text| text.trim().parse().ok()),
    };
    number
        .and_then(|number| T::try_from(number).ok())
        .map(Some)
        .ok_or_else(|| {
            refuse(
                name,
                &format!(
                    "must be a whole number in its range, {} given",
                    type_name(value)
                ),
            )
        })
}

fn priority(name: &str, value: &Zval) -> Result<Option<u8>, Thrown> {
    match whole::<u8>(name, value)? {
        Some(priority) if priority > 9 => {
            Err(refuse(name, "must be from 0 (on Redis the highest) to 9"))
        }
        priority => Ok(priority),
    }
}

/// Sets the time limits from `[hard, soft]`, each a number or null.
fn set_time_limit(task: &mut Task, name: &str, value: &Zval) -> Result<(), Thrown> {
    if value.is_null() {
        return Ok(());
    }
    let array = value
        .array()
        .filter(|array| array.len() == 2)
        .ok_or_else(|| refuse(name, "must be [hard, soft]"))?;
    let part = |index: i64| {
        array
            .get_index(index)
            .map_or(Err(refuse(name, "must be [hard, soft]")), |v| {
                number(name, v.dereference())
            })
    };
    let (hard, soft) = (part(0)?, part(1)?);
    task.time_limit.hard = hard;
    task.time_limit.soft = soft;
    Ok(())
}

fn seconds(name: &str, value: &Zval) -> Result<Option<f64>, Thrown> {
    number(name, value)
}

/// Reads a time as ISO 8601 text or a `DateTimeInterface`, or as seconds from now, as Celery's
/// `apply_async` allows.
fn expires(name: &str, value: &Zval) -> Result<Option<Timestamp>, Thrown> {
    if value.is_long() || value.is_double() {
        Ok(number(name, value)?.map(from_now))
    } else {
        time(name, value)
    }
}

fn time(name: &str, value: &Zval) -> Result<Option<Timestamp>, Thrown> {
    if value.is_null() {
        return Ok(None);
    }
    let text = match value.object() {
        Some(object) if value::is_date(object) => {
            // PHP code runs only if a subclass overrides the method.
            let format =
                bailout::catch(|| object.try_call_method("format", vec![&"Y-m-d\\TH:i:s.uP"]))?;
            if throw::is_pending() {
                return Err(Thrown::Pending);
            }
            match format {
                Ok(text) => values::text(&text)?,
                Err(_) => None,
            }
        }
        None if value.is_string() => values::text(value)?,
        Some(_) | None => None,
    };
    let text = text.ok_or_else(|| {
        refuse(
            name,
            &format!(
                "must be ISO 8601 text or a DateTimeInterface, {} given",
                type_name(value)
            ),
        )
    })?;
    Timestamp::parse(&text)
        .map(Some)
        .map_err(|error| refuse(name, &format!("cannot be read as a time: {error}")))
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn from_now(seconds: f64) -> Timestamp {
    // A float beyond the range becomes the nearest limit. The timestamp is limited later.
    Timestamp::from(SystemTime::now()).plus_micros((seconds * 1e6) as i64)
}

fn refuse(name: &str, why: &str) -> Thrown {
    not_sent(format!("the option {name} {why}."))
}
