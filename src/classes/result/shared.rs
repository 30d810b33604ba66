//! What results and sets of results do alike: `get()`, `forget()` and `revoke()`.

use std::rc::Rc;
use std::time::Duration;

use celery_client::blocking::Deadline;
use celery_protocol::result::State as TaskState;
use ext_php_rs::types::Zval;

use super::failure;
use super::model::{End, PARENT, State, id_of, leaves, parent_of_group, state_of, unsettle};
use super::place::Place;
use crate::classes::durations::{self, Limit};
use crate::classes::exceptions::{PENDING, RESULT_TIMEOUT};
use crate::classes::task_meta;
use crate::ffi::call::Call;
use crate::ffi::invoke;
use crate::ffi::object::{self, Held};
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::messages::Document;
use crate::results;
use crate::values::incoming;

/// The code of a timeout, as in the drop-in classes.
const TIMEOUT_CODE: i64 = 4;
/// The shortest interval between two reads. A shorter one would only use the processor.
const SHORTEST_INTERVAL: f64 = 0.001;
/// The longest interval between two reads.
const LONGEST_INTERVAL: f64 = 3600.0;

/// Returns the value of a task that has ended, or its exception.
pub(crate) enum Outcome {
    Value(Zval),
    Exception(Zval),
}

/// Returns how a task has ended, or `None` if that is not known.
pub(crate) fn outcome(result: &Zval) -> Result<Option<Outcome>, Thrown> {
    let state = state_of(result)?;
    let held = || state.held.as_ref().map_or_else(Zval::null, Held::get);
    match &state.end {
        None => Ok(None),
        Some(End::Value) => Ok(Some(Outcome::Value(held()))),
        Some(End::Exception) => Ok(Some(Outcome::Exception(held()))),
        Some(End::Stored(document)) if document.doc.status != TaskState::Success => {
            let id = result.object().map(id_of).unwrap_or_default();
            let exception = failure::exception(&id, document)?.into_value()?;
            Ok(Some(Outcome::Exception(exception)))
        }
        Some(End::Stored(_)) if state.held.is_some() => Ok(Some(Outcome::Value(held()))),
        Some(End::Stored(document)) => {
            let decoded = incoming::decode(document.doc.result.get())?;
            let mut result = result.shallow_clone();
            if let Some(object) = result.object_mut() {
                let state = object::state_of::<State>(object)?;
                state.held = Some(Held::new(decoded.shallow_clone()));
            }
            Ok(Some(Outcome::Value(decoded)))
        }
    }
}

/// The options of `get()`.
pub(crate) struct Get {
    pub(crate) timeout: Limit,
    pub(crate) propagate: bool,
    pub(crate) on_message: Option<Zval>,
    pub(crate) interval: Duration,
}

impl Get {
    /// Reads the arguments of `get()`.
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, Thrown> {
        let given = |index| call.argument(index).filter(|given| !given.is_null());
        Ok(Get {
            timeout: durations::wait(call, 0)?,
            propagate: given(1).is_none_or(Zval::is_true),
            on_message: given(2).map(Zval::shallow_clone),
            interval: interval(call, 3)?,
        })
    }
}

/// Reads the interval between two reads.
pub(crate) fn interval(call: &Call<'_>, index: usize) -> Result<Duration, Thrown> {
    let seconds = match call.argument(index) {
        Some(given) => given.double().unwrap_or(0.5),
        None => 0.5,
    };
    if seconds.is_nan() || seconds < 0.0 {
        return Err(call.refuse(index, "must be greater than or equal to 0"));
    }
    Ok(Duration::from_secs_f64(
        seconds.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
    ))
}

/// Returns the exception of results that were not there in time.
pub(crate) fn too_late(pending: &[String], timeout: Duration) -> Result<Thrown, Thrown> {
    let what = match pending {
        [one] => format!("The result of task {one} was"),
        many => format!("{} results were", many.len()),
    };
    let ids = pending.iter().map(|id| value::string(id.as_bytes()));
    let ids = value::list(ids)?;
    let message = format!(
        "{what} not there after {} seconds. Ask again, or allow more time.",
        timeout.as_secs_f64()
    );
    Ok(Thrown::new(RESULT_TIMEOUT, message)
        .with_code(TIMEOUT_CODE)
        .with_property(PENDING, ids))
}

/// Calls the function that wants to know about a state.
pub(crate) fn report(
    function: &Zval,
    place: &Place,
    id: &str,
    document: &Rc<Document>,
) -> Result<(), Thrown> {
    let meta = task_meta::make(place, id, Some(document))?;
    invoke::function(function, &[meta]).map(drop)
}

/// Collects the single results of a result, and those of its parents.
fn with_parents(result: &Zval, all: &mut Vec<Zval>) -> Result<(), Thrown> {
    let mut next = Some(result.shallow_clone());
    while let Some(result) = next.take() {
        if let Some(parent) = parent_of_group(&result) {
            for leaf in leaves(&result)? {
                all.push(leaf);
            }
            next = (!parent.is_null()).then_some(parent);
        } else if let Some(object) = result.object() {
            let parent = object::get(object, PARENT);
            next = (!parent.is_null()).then_some(parent);
            all.push(result);
        }
    }
    Ok(())
}

/// Deletes what the backend stores for results and their parents.
pub(crate) fn forget_all(results: &[Zval]) -> Result<(), Thrown> {
    let mut all = Vec::new();
    for result in results {
        with_parents(result, &mut all)?;
    }
    let mut ids: Vec<String> = Vec::new();
    let mut place = Place::Nowhere;
    for result in &all {
        let state = state_of(result)?;
        if !state.place.is_nowhere() {
            place = state.place;
            ids.extend(result.object().map(id_of));
        }
    }
    if !ids.is_empty() && place.fake().is_none() {
        let backend = place.backend()?;
        let deadline = Deadline::after(place.command_timeout());
        results::forget_all(&backend, place.limits(), deadline, &ids)?;
    }
    for result in &all {
        if !state_of(result)?.place.is_nowhere() {
            unsettle(result)?;
        }
    }
    Ok(())
}

/// Revokes tasks in one message, with the arguments of `revoke()`.
pub(crate) fn revoke_all(call: &Call<'_>, results: &[Zval]) -> Result<(), Thrown> {
    let terminate = call.argument(0).is_some_and(Zval::is_true);
    let signal = call.argument(1).and_then(Zval::str).unwrap_or("SIGTERM");
    let mut ids: Vec<String> = Vec::new();
    let mut place = Place::Nowhere;
    for result in results {
        let state = state_of(result)?;
        if !state.place.is_nowhere() {
            place = state.place;
            ids.extend(result.object().map(id_of));
        }
    }
    if ids.is_empty() {
        return Ok(());
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    if let Some(recorder) = place.fake() {
        recorder.revoke(&ids);
        return Ok(());
    }
    let broker = place.broker()?;
    {
        let time = place.command_timeout();
        crate::broker::revoke_all(&broker, place.limits(), &ids, terminate, signal, time)
    }
}
