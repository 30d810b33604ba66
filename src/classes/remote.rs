//! Arguments that remote control, questions to workers and events share.

use std::time::Duration;

use ext_php_rs::types::Zval;

use super::durations;
use crate::ffi::call::Call;
use crate::ffi::iterable;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::settings;

/// Names of nodes: one, several, or null for all.
pub(super) const NODES: Type = Type::STRING.or(Type::ARRAY).nullable();

/// Returns an argument that is not null.
pub(super) fn given<'a>(call: &Call<'a>, index: usize) -> Option<&'a Zval> {
    call.argument(index).filter(|value| !value.is_null())
}

pub(super) fn is_true(call: &Call<'_>, index: usize) -> bool {
    call.argument(index).is_some_and(Zval::is_true)
}

/// Returns a text argument, or `default` if it is null or was not passed.
pub(super) fn text(call: &Call<'_>, index: usize, default: &str) -> Result<String, Thrown> {
    Ok(optional_text(call, index)?.unwrap_or_else(|| default.to_owned()))
}

pub(super) fn optional_text(call: &Call<'_>, index: usize) -> Result<Option<String>, Thrown> {
    match given(call, index).and_then(value::bytes) {
        None => Ok(None),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(call.refuse(index, "must be valid UTF-8")),
        },
    }
}

/// Returns the names of the nodes that are addressed; `None` for all. An empty list is refused: kombu
/// would address all nodes, which is not what a filtered list means.
pub(super) fn nodes(call: &Call<'_>, index: usize) -> Result<Option<Vec<String>>, Thrown> {
    let Some(nodes) = given(call, index) else {
        return Ok(None);
    };
    match texts(nodes) {
        Some(names) if !names.is_empty() => Ok(Some(names)),
        _ => Err(call.refuse(
            index,
            "must be the name of a node, or a list of names; null addresses all nodes",
        )),
    }
}

/// Returns the texts of an argument that is a text or a list of texts, none of them empty.
pub(super) fn texts(given: &Zval) -> Option<Vec<String>> {
    let text = |value: &Zval| {
        let text = std::str::from_utf8(value::bytes(value.dereference())?).ok()?;
        (!text.is_empty()).then(|| text.to_owned())
    };
    if !given.is_array() {
        return text(given).map(|text| vec![text]);
    }
    if !value::is_list(given) {
        return None;
    }
    let mut texts = Vec::new();
    let odd = value::find_in_array(given, |_, value| match text(value) {
        Some(text) => {
            texts.push(text);
            None
        }
        None => Some(()),
    });
    odd.is_none().then_some(texts)
}

/// Returns the limit for the number of replies.
pub(super) fn limit(call: &Call<'_>, index: usize) -> Result<Option<usize>, Thrown> {
    match given(call, index).and_then(Zval::long) {
        None => Ok(None),
        Some(limit) => match usize::try_from(limit) {
            Ok(limit) if limit > 0 => Ok(Some(limit)),
            _ => Err(call.refuse(index, "must be greater than 0")),
        },
    }
}

/// Returns the time for replies.
pub(super) fn time(call: &Call<'_>, index: usize) -> Result<Duration, Thrown> {
    let given = durations::duration(call, index)?;
    Ok(given.unwrap_or_else(|| settings::current().control_timeout))
}

/// Returns the id of a `Celery\Result`, or `None` for any other value.
pub(super) fn id_of_result(value: &Zval) -> Option<String> {
    /// The slot of the property `id`.
    const ID: usize = 0;
    let object = value
        .object()
        .filter(|_| object::is_instance(value, "Celery\\Result"))?;
    let id = object::get(object, ID);
    let text = value::bytes(&id).map(std::str::from_utf8)?;
    text.ok().map(str::to_owned)
}

/// Returns the ids of tasks: a text, a result, or a list or set of them.
pub(super) fn task_ids(call: &Call<'_>, index: usize) -> Result<Vec<String>, Thrown> {
    let mut ids = Vec::new();
    if let Some(tasks) = call.argument(index).map(Zval::shallow_clone) {
        add_ids(call, index, &tasks, &mut ids)?;
    }
    Ok(ids)
}

/// The most tasks that one command revokes: a worker remembers no more (Celery's `REVOKES_MAX`).
const MOST_TASKS: usize = 50_000;

fn add_ids(
    call: &Call<'_>,
    index: usize,
    tasks: &Zval,
    ids: &mut Vec<String>,
) -> Result<(), Thrown> {
    if ids.len() >= MOST_TASKS {
        return Err(call.refuse(index, "must not have more than 50000 tasks"));
    }
    if let Some(id) = value::bytes(tasks) {
        return match std::str::from_utf8(id) {
            Ok(id) if !id.is_empty() => {
                ids.push(id.to_owned());
                Ok(())
            }
            _ => Err(call.refuse(index, "must be the id of a task")),
        };
    }
    if let Some(id) = id_of_result(tasks) {
        ids.push(id);
        return Ok(());
    }
    if !iterable::is_iterable(tasks) {
        return Err(call.refuse(index, "must hold ids or results of tasks"));
    }
    let failed = iterable::find(tasks, |_, task| {
        add_ids(call, index, task.dereference(), ids).err()
    })?;
    failed.map_or(Ok(()), Err)
}
