//! `Crontab` and `Interval`: when an entry is due.

use celery_protocol::schedule::{Crontab, Field, Fields, Interval, Schedule};
use ext_php_rs::types::{ZendObject, Zval};

use crate::classes::durations;
use crate::classes::interfaces::DURATION;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, optional, required};
use crate::ffi::object::{self, is_instance};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};

const CRONTAB: &str = "Celery\\Crontab";
const INTERVAL: &str = "Celery\\Interval";
/// An argument that says when something is due.
pub(super) const SCHEDULE: Type = Type::class("Celery\\Crontab|Celery\\Interval");

/// The fields of a crontab in their order: the names in PHP, and those of Celery.
const FIELDS: [(&str, &str); 5] = [
    ("minute", "minute"),
    ("hour", "hour"),
    ("dayOfMonth", "day_of_month"),
    ("monthOfYear", "month_of_year"),
    ("dayOfWeek", "day_of_week"),
];
const DAY_OF_MONTH: usize = 2;

/// The slots of the properties of `Interval`.
const EVERY: usize = 0;
const RELATIVE: usize = 1;

/// Declares the classes.
pub(super) fn declare() -> Result<(), DeclareError> {
    let field = Type::INT.or(Type::STRING).or(Type::ARRAY);
    Class::closed(CRONTAB)
        .implementing("jsonserializable")
        .having(FIELDS.map(|(name, _)| Property::readonly(name, field)))
        .with([
            method(
                "__construct",
                handler!(construct_crontab),
                FIELDS.map(|(name, _)| optional(name, "'*'").typed(field)),
            ),
            method(
                "fromString",
                handler!(from_string),
                [required("crontab").typed(Type::STRING)],
            )
            .made_static()
            .returning(Type::SELF),
            method("jsonSerialize", handler!(crontab_as_json), []).returning(Type::ARRAY),
        ])
        .declare()?;
    Class::closed(INTERVAL)
        .implementing("jsonserializable")
        .having([
            Property::readonly("every", Type::FLOAT),
            Property::readonly("relative", Type::BOOL),
        ])
        .with([
            method(
                "__construct",
                handler!(construct_interval),
                [
                    required("every").typed(DURATION),
                    optional("relative", "false").typed(Type::BOOL),
                ],
            ),
            method("jsonSerialize", handler!(interval_as_json), []).returning(Type::ARRAY),
        ])
        .declare()?;
    Ok(())
}

fn construct_crontab(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = std::array::from_fn::<Zval, 5, _>(|index| {
        let given = call.argument(index);
        given.map_or_else(|| value::string(b"*"), Zval::shallow_clone)
    });
    let mut fields: [Field; 5] = Default::default();
    for (index, given) in given.iter().enumerate() {
        fields[index] = field(given)
            .ok_or_else(|| call.refuse(index, "must be an int, a string, or a list of ints"))?;
    }
    if let Err(cause) = crontab(fields) {
        let (index, why) = place(&cause);
        return Err(call.refuse(index, &why));
    }
    fill(call.object()?, given)
}

/// Returns the number of the field that cannot be used, and why.
fn place(cause: &str) -> (usize, String) {
    let named = cause.split_once(": ").and_then(|(name, why)| {
        let index = FIELDS.iter().position(|(_, own)| *own == name)?;
        Some((index, format!("cannot be used: {why}")))
    });
    // Only the combination of days and months has a fault of no single field.
    named.unwrap_or_else(|| (DAY_OF_MONTH, format!("cannot be used: {cause}")))
}

/// Reads a field.
fn field(given: &Zval) -> Option<Field> {
    if let Some(number) = given.long() {
        return Some(Field::Number(number));
    }
    if let Some(text) = value::bytes(given) {
        return Some(Field::Text(String::from_utf8_lossy(text).into_owned()));
    }
    let numbers = value::elements(given).filter(|_| value::is_list(given))?;
    let numbers = numbers.iter().map(|number| number.dereference().long());
    numbers.collect::<Option<Vec<i64>>>().map(Field::Listed)
}

fn crontab(fields: [Field; 5]) -> Result<Crontab, String> {
    let [minute, hour, day_of_month, month_of_year, day_of_week] = fields;
    Crontab::new(Fields {
        minute,
        hour,
        day_of_month,
        month_of_year,
        day_of_week,
    })
}

fn fill(object: &mut ZendObject, values: impl IntoIterator<Item = Zval>) -> Result<(), Thrown> {
    if !object::is_blank(object, 0) {
        return Err(object::is_constructed());
    }
    for (slot, value) in values.into_iter().enumerate() {
        object::init(object, slot, value);
    }
    Ok(())
}

/// Implements `Crontab::fromString()`.
fn from_string(call: &mut Call<'_>) -> Result<(), Thrown> {
    let line = call.argument(0).and_then(value::bytes).unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    let crontab = Crontab::parse(&line)
        .map_err(|cause| call.refuse(0, &format!("cannot be used: {cause}")))?;
    call.give(of_crontab(&crontab)?);
    Ok(())
}

/// Returns a schedule as an object.
pub(super) fn make(schedule: &Schedule) -> Result<Zval, Thrown> {
    match schedule {
        Schedule::Crontab(crontab) => of_crontab(crontab),
        Schedule::Interval(interval) => {
            let (mut every, mut relative) = (Zval::new(), Zval::new());
            #[expect(clippy::cast_precision_loss, reason = "an interval is below 2^53 ms")]
            every.set_double(interval.every() as f64 / 1_000.0);
            relative.set_bool(interval.is_relative());
            made(INTERVAL, [every, relative])
        }
    }
}

fn of_crontab(crontab: &Crontab) -> Result<Zval, Thrown> {
    let fields = crontab.fields();
    let mut values = Vec::new();
    for field in [
        &fields.minute,
        &fields.hour,
        &fields.day_of_month,
        &fields.month_of_year,
        &fields.day_of_week,
    ] {
        values.push(match field {
            Field::Number(number) => Key::Index(*number).to_zval(),
            Field::Text(text) => value::string(text.as_bytes()),
            Field::Listed(numbers) => {
                value::list(numbers.iter().map(|number| Key::Index(*number).to_zval()))?
            }
        });
    }
    made(CRONTAB, values)
}

fn made(class: &str, values: impl IntoIterator<Item = Zval>) -> Result<Zval, Thrown> {
    let mut made = object::new(class)?;
    if let Some(object) = made.object_mut() {
        fill(object, values)?;
    }
    Ok(made)
}

/// Reads an object. An unserialized one may hold anything.
pub(super) fn schedule(given: &Zval) -> Result<Schedule, String> {
    let Some(object) = given.object() else {
        return Err("it is not an object".to_owned());
    };
    if is_instance(given, INTERVAL) {
        let every = object::get(object, EVERY).double().unwrap_or(0.0);
        let relative = object::get(object, RELATIVE).is_true();
        return Interval::new(milliseconds(every), relative).map(Schedule::Interval);
    }
    let mut fields: [Field; 5] = Default::default();
    for (slot, (name, _)) in FIELDS.iter().enumerate() {
        let read = field(&object::get(object, slot));
        fields[slot] = read.ok_or_else(|| format!("{name}: not an int, a string or a list"))?;
    }
    crontab(fields).map(Schedule::Crontab)
}

#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn milliseconds(seconds: f64) -> i64 {
    (seconds * 1_000.0).round() as i64
}

fn construct_interval(call: &mut Call<'_>) -> Result<(), Thrown> {
    let seconds = durations::seconds(call, EVERY)?.unwrap_or(0.0);
    let is_relative = call.argument(RELATIVE).is_some_and(Zval::is_true);
    if let Err(cause) = Interval::new(milliseconds(seconds), is_relative) {
        return Err(call.refuse(EVERY, &format!("cannot be used: {cause}")));
    }
    let (mut every, mut relative) = (Zval::new(), Zval::new());
    every.set_double(seconds);
    relative.set_bool(is_relative);
    fill(call.object()?, [every, relative])
}

/// Returns the properties of an object as an array with these names.
fn as_array(
    call: &mut Call<'_>,
    names: impl IntoIterator<Item = &'static str>,
) -> Result<(), Thrown> {
    let object = call.object()?;
    let mut entries = Vec::new();
    for (slot, name) in names.into_iter().enumerate() {
        entries.push((value::string(name.as_bytes()), object::get(object, slot)));
    }
    call.give(value::map(entries)?);
    Ok(())
}

/// Implements `Crontab::jsonSerialize()`: the form that workers read.
fn crontab_as_json(call: &mut Call<'_>) -> Result<(), Thrown> {
    as_array(call, FIELDS.map(|(_, name)| name))
}

/// Implements `Interval::jsonSerialize()`.
fn interval_as_json(call: &mut Call<'_>) -> Result<(), Thrown> {
    as_array(call, ["every", "relative"])
}
