//! `ScheduleEntry`: an entry of the schedules as it was read.

use celery_client::redis::blocking::StoredEntry;
use celery_protocol::schedule::{Entry, Missed};
use celery_protocol::time::Timestamp;
use ext_php_rs::types::Zval;

use super::timing;
use crate::classes::enums::MISSED;
use crate::classes::private;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method};
use crate::ffi::invoke;
use crate::ffi::json::Objects;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};
use crate::values::{decode_as, incoming};

const NAME: &str = "Celery\\ScheduleEntry";
pub(super) const TYPE: Type = Type::class(NAME);

/// The names of the properties in JSON.
const NAMES: [&str; 13] = [
    "name",
    "task",
    "schedule",
    "args",
    "kwargs",
    "options",
    "timezone",
    "missed",
    "enabled",
    "from_file",
    "next_due",
    "sent",
    "last_sent",
];

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let time = Type::class("DateTimeImmutable").nullable();
    Class::closed(NAME)
        .implementing("jsonserializable")
        .having([
            Property::readonly("name", Type::STRING),
            Property::readonly("task", Type::STRING),
            Property::readonly("schedule", timing::SCHEDULE),
            Property::readonly("args", Type::ARRAY),
            Property::readonly("kwargs", Type::ARRAY),
            Property::readonly("options", Type::ARRAY),
            Property::readonly("timezone", Type::STRING),
            Property::readonly("missed", Type::class(MISSED)),
            Property::readonly("enabled", Type::BOOL),
            Property::readonly("fromFile", Type::BOOL),
            Property::readonly("nextDue", time),
            Property::readonly("sent", Type::INT),
            Property::readonly("lastSent", time),
        ])
        .with([
            private::constructor(),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
        ])
        .declare()?;
    Ok(())
}

/// Returns an entry as an object; `None` if it cannot be read.
pub(super) fn make(stored: &StoredEntry) -> Result<Option<Zval>, Thrown> {
    let Ok(entry) = Entry::read(stored.entry.as_bytes()) else {
        return Ok(None);
    };
    let text = |text: &str| value::string(text.as_bytes());
    let truth = |truth: bool| {
        let mut value = Zval::new();
        value.set_bool(truth);
        value
    };
    let missed = match entry.missed {
        Missed::Once => "Once",
        Missed::All => "All",
        Missed::None => "None",
    };
    let options = serde_json::to_string(&entry.options).unwrap_or_default();
    let (sent, last) = stored
        .runs
        .map_or((0, None), |(count, last)| (count, Some(last)));
    let properties = [
        text(&stored.name),
        text(&entry.task),
        timing::make(&entry.schedule)?,
        incoming::decode(entry.args.get())?,
        incoming::decode(entry.kwargs.get())?,
        decode_as(&options, Objects::AsValues)?,
        text(&entry.zone),
        object::case(MISSED, missed).unwrap_or_else(Zval::null),
        truth(entry.enabled),
        truth(entry.is_of_file),
        // The leader has not computed a time of zero or less yet.
        time(stored.due.filter(|due| *due > 0))?,
        Key::Index(i64::try_from(sent).unwrap_or(i64::MAX)).to_zval(),
        time(last)?,
    ];
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        for (slot, property) in properties.into_iter().enumerate() {
            object::init(object, slot, property);
        }
    }
    Ok(Some(made))
}

/// Returns Unix milliseconds as a `DateTimeImmutable`.
fn time(moment: Option<i64>) -> Result<Zval, Thrown> {
    let Some(moment) = moment else {
        return Ok(Zval::null());
    };
    let time = Timestamp::from_unix_micros(moment.saturating_mul(1_000));
    incoming::date(&time.to_string())
}

/// Implements `jsonSerialize()`: all properties, times as text.
fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let object = call.object()?;
    let mut entries = Vec::new();
    for (slot, name) in NAMES.into_iter().enumerate() {
        let mut given = object::get(object, slot);
        if matches!(name, "next_due" | "last_sent")
            && let Some(date) = given.object()
        {
            let format = value::string(b"Y-m-d\\TH:i:s.vP");
            given = invoke::method(date, "format", &[format])?;
        }
        entries.push((value::string(name.as_bytes()), given));
    }
    call.give(value::map(entries)?);
    Ok(())
}
