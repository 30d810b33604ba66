//! `Schedules`: the entries that workers with `-B` send at their times.
//!
//! * `timing` – the values `Crontab` and `Interval`;
//! * `entry` – `ScheduleEntry`, an entry as it was read;
//! * `store` – where entries are: on the broker, or in a `FakeClient`.

mod entry;
mod store;
mod timing;

use std::collections::BTreeMap;

use celery_client::redis::blocking::EntryChange;
use celery_protocol::RawValue;
use celery_protocol::schedule::{Entry, Missed, NextDue, Options, check_name};
use ext_php_rs::types::Zval;
use serde_json::Value;

pub(super) use self::store::{Memory, Store};

use super::client::state::Client;
use super::remote::{given, is_true, text};
use super::{enums, interfaces, private};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Method, method, optional, required, variadic};
use crate::ffi::invoke;
use crate::ffi::object::{self, Serializable, state};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::values::{self, encode};

const NAME: &str = "Celery\\Schedules";
pub(super) const TYPE: Type = Type::class(NAME);

/// How often a change is tried again that another program has overtaken.
const TRIES: usize = 5;

/// The parameters of `add()`.
const SCHEDULE: usize = 1;
const TASK: usize = 2;
const TIMEZONE: usize = 3;
const MISSED_RUNS: usize = 4;
const ENABLED: usize = 5;

/// The state of the object.
#[derive(Clone, Default)]
pub(crate) struct State {
    store: Option<Store>,
}

state!(State, "Celery\\Schedules");

/// Declares the classes.
pub(super) fn declare() -> Result<(), DeclareError> {
    timing::declare()?;
    entry::declare()?;
    let class = Class::closed(NAME).with(methods()).declare()?;
    object::attach::<State>(class, Serializable::No);
    Ok(())
}

fn methods() -> Vec<Method> {
    let missed = Type::class(enums::MISSED).or(Type::STRING);
    let name = || [required("name").typed(Type::STRING)];
    let names = || [variadic("names").typed(Type::STRING)];
    vec![
        private::constructor(),
        method(
            "add",
            handler!(add),
            [
                required("name").typed(Type::STRING),
                required("schedule").typed(timing::SCHEDULE),
                required("task").typed(interfaces::SIGNATURE),
                optional("timezone", "null").typed(Type::class("DateTimeZone").nullable()),
                optional("missed", "null").typed(missed.nullable()),
                optional("enabled", "true").typed(Type::BOOL),
            ],
        )
        .returning(entry::TYPE),
        method("remove", handler!(remove), name()).returning(Type::BOOL),
        method("enable", handler!(enable), names()).returning(Type::VOID),
        method("disable", handler!(disable), names()).returning(Type::VOID),
        method("get", handler!(get), name()).returning(entry::TYPE.nullable()),
        method("list", handler!(list), []).returning(Type::ARRAY),
        method("unreadable", handler!(unreadable), []).returning(Type::ARRAY),
    ]
}

/// Implements `Client::schedules()`.
pub(super) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    give(call, Store::Broker(config))
}

/// Gives the schedules of a store to PHP.
pub(super) fn give(call: &mut Call<'_>, store: Store) -> Result<(), Thrown> {
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        object::state_of::<State>(object)?.store = Some(store);
    }
    call.give(made);
    Ok(())
}

fn store(call: &mut Call<'_>) -> Result<Store, Thrown> {
    let store = call.state::<State>()?.store.clone();
    store.ok_or_else(|| Thrown::new(Kind::Error, "This object was not made by a client."))
}

/// Returns the name of an entry.
fn name(call: &Call<'_>, index: usize) -> Result<String, Thrown> {
    checked(call, index, text(call, index, "")?)
}

fn checked(call: &Call<'_>, index: usize, name: String) -> Result<String, Thrown> {
    match check_name(&name) {
        Ok(()) => Ok(name),
        Err(error) => Err(call.refuse(index, &format!("cannot be used: {error}"))),
    }
}

/// Implements `add()`.
fn add(call: &mut Call<'_>) -> Result<(), Thrown> {
    let name = name(call, 0)?;
    let new = entry_of_arguments(call)?;
    let store = store(call)?;
    let json = String::from_utf8_lossy(&new.json()).into_owned();
    let made = change(&store, &name, |stored| {
        let old = Entry::read(stored.as_bytes()).ok();
        refuse_file(&name, old.as_ref())?;
        Ok(Wanted::Entry(json.clone(), NextDue::of(old.as_ref(), &new)))
    })?;
    debug_assert!(made);
    let stored = store.read(Some(&name))?.pop();
    // Another program may have removed it at once.
    let stored = stored.unwrap_or_else(|| store::unsent(&name, &json));
    let made = entry::make(&stored)?.unwrap_or_else(Zval::null);
    call.give(made);
    Ok(())
}

/// Returns the entry that the arguments of `add()` describe.
fn entry_of_arguments(call: &Call<'_>) -> Result<Entry, Thrown> {
    let argument = |index| {
        let given = call.argument(index);
        given.map_or_else(Zval::null, Zval::shallow_clone)
    };
    let schedule = timing::schedule(&argument(SCHEDULE))
        .map_err(|why| call.refuse(SCHEDULE, &format!("cannot be used: {why}")))?;
    let signature = parts(&argument(TASK))?;
    let options = options(&signature.options).map_err(|why| call.refuse(TASK, &why))?;
    let missed = match given(call, MISSED_RUNS).and_then(enums::text) {
        None => Missed::default(),
        Some(text) => serde_json::from_value(Value::from(text))
            .map_err(|_| call.refuse(MISSED_RUNS, "must be \"once\", \"all\" or \"none\""))?,
    };
    let entry = Entry {
        task: signature.task,
        schedule,
        zone: zone(call)?,
        args: signature.args,
        kwargs: signature.kwargs,
        options,
        missed,
        enabled: call.argument(ENABLED).is_none() || is_true(call, ENABLED),
        is_of_file: false,
    };
    // Reading checks everything that a worker checks.
    Entry::read(&entry.json())
        .map_err(|error| call.refuse(TASK, &format!("cannot be sent at its times: {error}")))
}

/// The parts of a signature that an entry has.
struct Parts {
    task: String,
    args: Box<RawValue>,
    kwargs: Box<RawValue>,
    options: Box<RawValue>,
}

/// Reads a signature. Runs PHP code (`jsonSerialize`).
fn parts(signature: &Zval) -> Result<Parts, Thrown> {
    let json = encode::encode(signature, "")?;
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(json.get()).unwrap_or_default();
    let mut take = |name: &str| {
        let member = members.remove(name);
        member.unwrap_or_else(|| RawValue::NULL.to_owned())
    };
    Ok(Parts {
        task: serde_json::from_str(take("task").get()).unwrap_or_default(),
        args: take("args"),
        kwargs: take("kwargs"),
        options: take("options"),
    })
}

/// Reads the options of a signature.
fn options(json: &RawValue) -> Result<Options, String> {
    let given: BTreeMap<String, &RawValue> = serde_json::from_str(json.get()).unwrap_or_default();
    let unknown = given
        .keys()
        .find(|name| !Options::NAMES.contains(&name.as_str()));
    if let Some(unknown) = unknown {
        let known = Options::NAMES.join(", ");
        return Err(format!(
            "has the option {unknown}, which an entry cannot have; it can have {known}"
        ));
    }
    if given
        .get("expires")
        .is_some_and(|expires| !is_number(expires))
    {
        return Err("expires at a point in time; an entry needs seconds".to_owned());
    }
    serde_json::from_str(json.get())
        .map_err(|error| format!("has an option that an entry cannot have: {error}"))
}

fn is_number(json: &RawValue) -> bool {
    json.get().starts_with(|c: char| c.is_ascii_digit())
}

/// Returns the name of the zone in which a crontab counts.
fn zone(call: &Call<'_>) -> Result<String, Thrown> {
    let zone = given(call, TIMEZONE).map(Zval::shallow_clone);
    let Some(object) = zone.as_ref().and_then(Zval::object) else {
        return Ok("UTC".to_owned());
    };
    let name = values::text(&invoke::method(object, "getName", &[])?)?.unwrap_or_default();
    // Only zones with an IANA name have a place.
    let has_place = invoke::method(object, "getLocation", &[])?.is_array();
    if has_place || name.starts_with(['+', '-']) {
        Ok(name)
    } else {
        Err(call.refuse(
            TIMEZONE,
            "must be a zone with an IANA name, such as Europe/Berlin, or an offset, such as +02:00",
        ))
    }
}

/// What an entry shall become.
enum Wanted {
    Entry(String, NextDue),
    Removed,
    /// It is as it should be.
    Unchanged,
}

/// Changes an entry; `wanted` gets it as it is stored, or an empty text. Returns `true` if there was
/// something to change.
fn change(
    store: &Store,
    name: &str,
    mut wanted: impl FnMut(&str) -> Result<Wanted, Thrown>,
) -> Result<bool, Thrown> {
    for _ in 0..TRIES {
        let stored = store.read(Some(name))?.pop().unwrap_or_default();
        let (entry, due) = match wanted(&stored.entry)? {
            Wanted::Entry(entry, due) => (entry, due),
            Wanted::Removed => (String::new(), NextDue::Stop),
            Wanted::Unchanged => return Ok(false),
        };
        let change = EntryChange {
            name,
            read: &stored.entry,
            entry: &entry,
            due,
        };
        if store.write(&change)? {
            return Ok(true);
        }
        // The change was made if only its answer was lost.
        let now = store.read(Some(name))?.pop().unwrap_or_default();
        if now.entry == entry {
            return Ok(true);
        }
    }
    Err(Thrown::celery(format!(
        "The entry {name:?} was not changed: other programs change it all the time."
    )))
}

/// Refuses to replace or remove an entry that a worker would write again at its next start.
fn refuse_file(name: &str, entry: Option<&Entry>) -> Result<(), Thrown> {
    if entry.is_some_and(|entry| entry.is_of_file) {
        return Err(Thrown::celery(format!(
            "The entry {name:?} is from the settings file of a worker: change it there."
        )));
    }
    Ok(())
}

/// Implements `remove()`. Also removes an entry that cannot be read.
fn remove(call: &mut Call<'_>) -> Result<(), Thrown> {
    let name = name(call, 0)?;
    let store = store(call)?;
    let removed = change(&store, &name, |stored| {
        if stored.is_empty() {
            return Ok(Wanted::Unchanged);
        }
        refuse_file(&name, Entry::read(stored.as_bytes()).ok().as_ref())?;
        Ok(Wanted::Removed)
    })?;
    call.give_bool(removed);
    Ok(())
}

fn enable(call: &mut Call<'_>) -> Result<(), Thrown> {
    switch(call, true)
}

fn disable(call: &mut Call<'_>) -> Result<(), Thrown> {
    switch(call, false)
}

fn switch(call: &mut Call<'_>, enabled: bool) -> Result<(), Thrown> {
    let mut names = Vec::new();
    for (index, given) in call.rest(0).iter().enumerate() {
        let given = value::bytes(given.dereference()).unwrap_or_default();
        let given = String::from_utf8_lossy(given).into_owned();
        names.push(checked(call, index, given)?);
    }
    let store = store(call)?;
    for name in names {
        change(&store, &name, |stored| {
            let mut entry = understood(&name, stored)?;
            if entry.enabled == enabled {
                return Ok(Wanted::Unchanged);
            }
            entry.enabled = enabled;
            let due = if enabled {
                NextDue::Compute
            } else {
                NextDue::Stop
            };
            let json = String::from_utf8_lossy(&entry.json()).into_owned();
            Ok(Wanted::Entry(json, due))
        })?;
    }
    Ok(())
}

/// Reads an entry that has to be there.
fn understood(name: &str, stored: &str) -> Result<Entry, Thrown> {
    if stored.is_empty() {
        return Err(Thrown::celery(format!(
            "The entry {name:?} does not exist."
        )));
    }
    Entry::read(stored.as_bytes())
        .map_err(|error| Thrown::celery(format!("The entry {name:?} cannot be read: {error}.")))
}

/// Implements `get()`.
fn get(call: &mut Call<'_>) -> Result<(), Thrown> {
    let name = name(call, 0)?;
    let found = store(call)?.read(Some(&name))?.pop();
    let made = match found {
        None => Zval::null(),
        Some(stored) => match entry::make(&stored)? {
            Some(made) => made,
            None => return understood(&name, &stored.entry).map(drop),
        },
    };
    call.give(made);
    Ok(())
}

/// Implements `list()`.
fn list(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut found = store(call)?.read(None)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let mut entries = Vec::new();
    for stored in &found {
        if let Some(made) = entry::make(stored)? {
            let name = value::string(stored.name.as_bytes());
            entries.push((value::array_key(&name), made));
        }
    }
    call.give(value::map(entries)?);
    Ok(())
}

/// Implements `unreadable()`.
fn unreadable(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut found = store(call)?.read(None)?;
    found.sort_by(|one, other| one.name.cmp(&other.name));
    let faults = found.iter().filter_map(|stored| {
        let error = Entry::read(stored.entry.as_bytes()).err()?;
        let name = value::string(stored.name.as_bytes());
        let why = value::string(error.to_string().as_bytes());
        Some((value::array_key(&name), why))
    });
    let faults: Vec<(Zval, Zval)> = faults.collect();
    call.give(value::map(faults)?);
    Ok(())
}
