//! `ResultSet`: results that are awaited together, over one connection.
//!
//! The state holds the results as a PHP array with the caller's keys. `GroupResult` is its only
//! child and shares the state.

mod completed;
mod open;

use std::rc::Rc;

use ext_php_rs::types::{ZendHashTable, Zval};

use self::completed::Completed;
use self::open::Open;
use super::client::state::Client;
use super::durations;
use super::interfaces::{self, DURATION};
use super::result::Place;
use super::result::model::{
    SET, SetState, State, at, entries, is_result, is_success, leaves, make_set, read_document,
    results_of, state_of, this,
};
use super::result::shared::{
    Get, Outcome, forget_all, interval, outcome, report, revoke_all, too_late,
};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Param, method, optional, required};
use crate::ffi::iterable;
use crate::ffi::iterator::{self, Iterate, Steps};
use crate::ffi::object::{self, Held, Serializable};
use crate::ffi::throw::{self, Kind, Thrown};
use crate::ffi::type_name::type_name;
use crate::ffi::types::Type;
use crate::ffi::value::{self, Key};
use crate::gather::Gather;
use crate::news::News;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let entry = Type::class("Celery\\Result|Celery\\GroupResult");
    let class = Class::new(SET)
        .implementing("celery\\resultinterface")
        .implementing("countable")
        .implementing("iteratoraggregate")
        .implementing("arrayaccess")
        .with([
            method(
                "__construct",
                handler!(construct),
                [optional("results", "[]").typed(Type::ITERABLE)],
            ),
            method("get", handler!(get), interfaces::get()).returning(Type::ARRAY),
            method(
                "asCompleted",
                handler!(as_completed),
                [
                    optional("timeout", "null").typed(DURATION.nullable()),
                    optional("interval", "0.5").typed(Type::FLOAT),
                ],
            )
            .returning(Type::class("Traversable")),
            method("ready", handler!(ready), []).returning(Type::BOOL),
            method("successful", handler!(successful), []).returning(Type::BOOL),
            method("failed", handler!(failed), []).returning(Type::BOOL),
            method("waiting", handler!(waiting), []).returning(Type::BOOL),
            method("completedCount", handler!(completed_count), []).returning(Type::INT),
            method("forget", handler!(forget), []).returning(Type::VOID),
            method("revoke", handler!(revoke), interfaces::revoke()).returning(Type::VOID),
            method("count", handler!(count), []).returning(Type::INT),
            method("getIterator", handler!(get_iterator), []).returning(Type::class("Traversable")),
            method("offsetExists", handler!(offset_exists), [offset()]).returning(Type::BOOL),
            method("offsetGet", handler!(offset_get), [offset()]).returning(entry),
            method(
                "offsetSet",
                handler!(read_only),
                [offset(), required("value").typed(Type::MIXED)],
            )
            .returning(Type::VOID),
            method("offsetUnset", handler!(read_only), [offset()]).returning(Type::VOID),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
            method("__serialize", handler!(serialize), []).returning(Type::ARRAY),
            method(
                "__unserialize",
                handler!(unserialize),
                [required("data").typed(Type::ARRAY)],
            )
            .returning(Type::VOID),
        ])
        .declare()?;
    iterator::iterate::<Set>(class);
    object::attach_closed::<SetState>(class, Serializable::Yes);
    Ok(())
}

fn offset() -> Param {
    required("offset").typed(Type::MIXED)
}

/// Implements `Client::results()`, which reads nothing.
pub(crate) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let place = Place::Client(Rc::clone(&config));
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let (mut entries, mut failed) = (Vec::new(), None);
    let refused = iterable::find(&given, |key, element| {
        if !(key.is_long() || key.is_string()) {
            return Some(format!(
                "must have keys of type int|string, {} given",
                type_name(key)
            ));
        }
        let result = match element.str() {
            Some(id) => match celery_protocol::names::check_task_id(id) {
                Ok(()) => at(place.clone(), id, None, Zval::null()),
                Err(error) => return Some(format!("has an id that cannot be used: {error}")),
            },
            None if is_result(element) => Ok(element.shallow_clone()),
            None => {
                return Some(format!(
                    "must contain only strings and Celery\\Result, {} given",
                    type_name(element)
                ));
            }
        };
        match result {
            Ok(result) => {
                entries.push((value::array_key(key), result));
                None
            }
            Err(thrown) => {
                failed = Some(thrown);
                Some(String::new())
            }
        }
    })?;
    if let Some(thrown) = failed {
        return Err(thrown);
    }
    if let Some(why) = refused {
        return Err(call.refuse(0, &why));
    }
    let made = make_set(place, value::map(entries)?)?;
    call.give(made);
    Ok(())
}

/// Reads an argument with results: an iterable, whose keys are kept.
pub(super) fn given_results(call: &Call<'_>, index: usize) -> Result<Zval, Thrown> {
    let Some(given) = call.argument(index).map(Zval::shallow_clone) else {
        return Ok(value::list([])?);
    };
    let mut entries = Vec::new();
    let refused = iterable::find(&given, |key, element| {
        if !(key.is_long() || key.is_string()) {
            return Some(format!(
                "must have keys of type int|string, {} given",
                type_name(key)
            ));
        }
        if !is_result(element) {
            return Some(format!(
                "must contain only Celery\\Result and Celery\\GroupResult, {} given",
                type_name(element)
            ));
        }
        entries.push((value::array_key(key), element.shallow_clone()));
        None
    })?;
    match refused {
        Some(why) => Err(call.refuse(index, &why)),
        None => Ok(value::map(entries)?),
    }
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    if call.state::<SetState>()?.held.is_some() {
        return Err(object::is_constructed());
    }
    let results = given_results(call, 0)?;
    call.state::<SetState>()?.held = Some(Held::new(results));
    Ok(())
}

/// Reads everything that has not ended once, and returns the single results.
fn look(call: &mut Call<'_>) -> Result<(Zval, Vec<Zval>), Thrown> {
    let this = this(call)?;
    let leaves = leaves(&this)?;
    Open::of(&leaves)?.look()?;
    Ok((this, leaves))
}

/// Implements `get()`.
fn get(call: &mut Call<'_>) -> Result<(), Thrown> {
    let options = Get::of(call)?;
    let this = this(call)?;
    let leaves = leaves(&this)?;
    if options.propagate {
        for leaf in &leaves {
            raise(leaf)?;
        }
    }
    await_all(&leaves, &options)?;
    let values = values(&this, options.propagate)?;
    call.give(values);
    Ok(())
}

/// Throws the exception of a task that has ended without success.
fn raise(leaf: &Zval) -> Result<(), Thrown> {
    let state = state_of(leaf)?;
    if state.end.is_some()
        && !is_success(&state)
        && let Some(Outcome::Exception(exception)) = outcome(leaf)?
    {
        return Err(throw::object(exception));
    }
    Ok(())
}

/// Waits until all tasks have ended, or until one has failed, if that is thrown.
fn await_all(leaves: &[Zval], options: &Get) -> Result<(), Thrown> {
    let mut open = Open::of(leaves)?;
    if open.ids.is_empty() {
        return Ok(());
    }
    let timeout = options.timeout.or(open.place.result_timeout());
    if timeout.is_zero() {
        open.look()?;
        let missing = Open::of(leaves)?.ids;
        return if missing.is_empty() {
            Ok(())
        } else {
            Err(too_late(&missing, timeout)?)
        };
    }
    if open.place.fake().is_some() {
        return Err(too_late(&open.ids, timeout)?);
    }
    let backend = open.place.backend()?;
    let mut gather = Gather::start(
        backend,
        open.place.limits(),
        open.ids.clone(),
        timeout,
        options.interval,
    );
    if options.on_message.is_some() {
        gather = gather.with_every_state();
    }
    loop {
        match gather.next()? {
            News::Stored(stored) => {
                let id = &stored.task_id;
                let document = Rc::new(read_document(id, &stored.document)?);
                let first = open.results.get(id).and_then(|same| same.first());
                let first = first.map(Zval::shallow_clone);
                let has_failed = open.settle(id, &document)?;
                if let Some(function) = &options.on_message {
                    report(function, &open.place, id, &document)?;
                }
                if let (true, true, Some(first)) = (has_failed, options.propagate, first) {
                    raise(&first)?;
                }
            }
            News::Done => return Ok(()),
            News::TooLate => return Err(too_late(&gather.pending(), timeout)?),
        }
    }
}

/// Returns the values of a set under their keys; those of a group in it are an array.
fn values(set: &Zval, propagate: bool) -> Result<Zval, Thrown> {
    let mut values = Vec::new();
    for (key, entry) in entries(set)? {
        let value = if object::is_instance(&entry, SET) {
            self::values(&entry, propagate)?
        } else {
            match outcome(&entry)? {
                Some(Outcome::Value(value)) => value,
                Some(Outcome::Exception(exception)) if propagate => {
                    return Err(throw::object(exception));
                }
                Some(Outcome::Exception(exception)) => exception,
                None => Zval::null(),
            }
        };
        values.push((key, value));
    }
    Ok(value::map(values)?)
}

/// Implements `asCompleted()`. The wait begins with the loop, and ends with it.
fn as_completed(call: &mut Call<'_>) -> Result<(), Thrown> {
    let timeout = durations::wait(call, 0)?;
    let interval = interval(call, 1)?;
    let this = this(call)?;
    let steps = Completed::of(entries(&this)?, timeout, interval)?;
    iterator::give(call, Box::new(steps))
}

/// Counts the single results in some states.
fn has(leaves: &[Zval], wanted: impl Fn(&State) -> bool) -> Result<bool, Thrown> {
    for leaf in leaves {
        if wanted(&state_of(leaf)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (_, leaves) = look(call)?;
    let is_waiting = has(&leaves, |state| state.end.is_none())?;
    call.give_bool(!is_waiting);
    Ok(())
}

fn waiting(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (_, leaves) = look(call)?;
    let is_waiting = has(&leaves, |state| state.end.is_none())?;
    call.give_bool(is_waiting);
    Ok(())
}

fn successful(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (_, leaves) = look(call)?;
    let is_other = has(&leaves, |state| !is_success(state))?;
    call.give_bool(!is_other);
    Ok(())
}

fn failed(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (_, leaves) = look(call)?;
    let has_failed = has(&leaves, |state| state.end.is_some() && !is_success(state))?;
    call.give_bool(has_failed);
    Ok(())
}

/// Implements `completedCount()`. A group in the set counts once, when all of it has succeeded.
fn completed_count(call: &mut Call<'_>) -> Result<(), Thrown> {
    let (this, _) = look(call)?;
    let mut count = 0;
    for (_, entry) in entries(&this)? {
        if !has(&leaves(&entry)?, |state| !is_success(state))? {
            count += 1;
        }
    }
    call.give_long(count);
    Ok(())
}

fn forget(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let results: Vec<Zval> = entries(&this)?
        .into_iter()
        .map(|(_, entry)| entry)
        .collect();
    forget_all(&results)
}

fn revoke(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    revoke_all(call, &leaves(&this)?)
}

fn count(call: &mut Call<'_>) -> Result<(), Thrown> {
    let results = results_of(&this(call)?)?;
    let count = results.array().map_or(0, ZendHashTable::len);
    call.give_long(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

/// Lets `foreach` iterate over a set.
struct Set;

impl Iterate for Set {
    fn steps(object: &Zval) -> Result<Box<dyn Steps>, Thrown> {
        Ok(Box::new(InOrder {
            entries: entries(object)?,
            next: 0,
        }))
    }
}

/// The results in order, without waiting.
struct InOrder {
    entries: Vec<(Zval, Zval)>,
    next: usize,
}

impl Steps for InOrder {
    fn next(&mut self) -> Result<Option<(Zval, Zval)>, Thrown> {
        let entry = self.entries.get(self.next);
        self.next += 1;
        Ok(entry.map(|(key, result)| (key.shallow_clone(), result.shallow_clone())))
    }

    fn rewind(&mut self) -> Result<(), Thrown> {
        self.next = 0;
        Ok(())
    }
}

fn get_iterator(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let steps = Set::steps(&this)?;
    iterator::give(call, steps)
}

/// Returns the result under the key that was passed.
fn found(call: &mut Call<'_>) -> Result<Option<Zval>, Thrown> {
    let Some(key) = call.argument(0).map(value::array_key) else {
        return Ok(None);
    };
    let results = results_of(&this(call)?)?;
    Ok(value::find_in_array(&results, |own, result| {
        let is_it = match own {
            Key::Index(index) => key.long() == Some(index),
            Key::Name(name) => value::bytes(&key) == Some(name),
        };
        is_it.then(|| result.shallow_clone())
    }))
}

fn offset_exists(call: &mut Call<'_>) -> Result<(), Thrown> {
    let is_there = found(call)?.is_some();
    call.give_bool(is_there);
    Ok(())
}

fn offset_get(call: &mut Call<'_>) -> Result<(), Thrown> {
    if let Some(result) = found(call)? {
        call.give(result);
        return Ok(());
    }
    let key = call.argument(0).and_then(Zval::coerce_to_string);
    let key = key.unwrap_or_default();
    Err(Thrown::new(
        Kind::OutOfBounds,
        format!("This set has no result with the key {key:?}."),
    ))
}

fn read_only(_call: &mut Call<'_>) -> Result<(), Thrown> {
    Err(Thrown::new(
        Kind::Logic,
        "A set of results is read-only. Make another one: new ResultSet([…]).",
    ))
}

fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut ids = Vec::new();
    for (_, entry) in entries(&this(call)?)? {
        // Both classes have their id in their first slot.
        let id = entry
            .object()
            .map_or_else(Zval::null, |object| object::get(object, 0));
        ids.push(value::map([(value::string(b"id"), id)])?);
    }
    call.give(value::list(ids)?);
    Ok(())
}

fn serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let results = results_of(&this(call)?)?;
    call.give(value::map([(value::string(b"results"), results)])?);
    Ok(())
}

fn unserialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    if call.state::<SetState>()?.held.is_some() {
        return Err(object::is_constructed());
    }
    let results = stored_results(call)?;
    call.state::<SetState>()?.held = Some(Held::new(results));
    Ok(())
}

/// Reads the results of a stored set or group.
pub(super) fn stored_results(call: &Call<'_>) -> Result<Zval, Thrown> {
    let broken = || Thrown::celery("This is not a stored set of results.");
    let data = call.argument(0).and_then(Zval::array).ok_or_else(broken)?;
    let results = data.get("results").map(Zval::dereference);
    let results = results.filter(|results| results.is_array());
    let results = results.ok_or_else(broken)?.shallow_clone();
    let other = value::find_in_array(&results, |_, element| (!is_result(element)).then_some(()));
    match other {
        Some(()) => Err(broken()),
        None => Ok(results),
    }
}
