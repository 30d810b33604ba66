//! `TaskMeta`: what the backend stores for a task, at one moment.

use std::rc::Rc;

use celery_protocol::RawValue;
use celery_protocol::result::{Extended, ResultDoc, State as TaskState};
use celery_protocol::time::Timestamp;
use ext_php_rs::types::Zval;

use super::result::failure;
use super::result::model::{End, State, of_tree};
use super::result::place::Place;
use super::{exceptions, private};
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method};
use crate::ffi::json::Objects;
use crate::ffi::object::{self, Held, is_instance};
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::messages::Document;
use crate::values::{self, incoming};

pub(crate) const NAME: &str = "Celery\\TaskMeta";

/// The slots of the properties, and their names in Celery.
const NAMES: [&str; 15] = [
    "task_id",
    "status",
    "result",
    "traceback",
    "date_done",
    "parent_id",
    "group_id",
    "children",
    "name",
    "args",
    "kwargs",
    "worker",
    "retries",
    "queue",
    "stamps",
];
const STATE: usize = 1;
const DATE_DONE: usize = 4;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    let text = Type::STRING.nullable();
    Class::closed(NAME)
        .implementing("jsonserializable")
        .having([
            Property::readonly("id", Type::STRING),
            Property::readonly("state", Type::STRING),
            Property::readonly("result", Type::MIXED),
            Property::readonly("traceback", text),
            Property::readonly("dateDone", Type::class("DateTimeImmutable").nullable()),
            Property::readonly("parentId", text),
            Property::readonly("groupId", text),
            Property::readonly("children", Type::ARRAY),
            Property::readonly("name", text),
            Property::readonly("args", Type::ARRAY.nullable()),
            Property::readonly("kwargs", Type::ARRAY.nullable()),
            Property::readonly("worker", text),
            Property::readonly("retries", Type::INT.nullable()),
            Property::readonly("queue", text),
            Property::readonly("stamps", Type::ARRAY),
        ])
        .with([
            private::constructor(),
            method("known", handler!(known), []).returning(Type::class("Celery\\State").nullable()),
            method("ready", handler!(ready), []).returning(Type::BOOL),
            method("jsonSerialize", handler!(json_serialize), []).returning(Type::ARRAY),
        ])
        .declare()?;
    Ok(())
}

fn text(text: Option<&str>) -> Zval {
    text.map_or_else(Zval::null, |text| value::string(text.as_bytes()))
}

/// Creates the object from a stored document; without one, the task is pending.
pub(crate) fn make(
    place: &Place,
    id: &str,
    document: Option<&Rc<Document>>,
) -> Result<Zval, Thrown> {
    let Some(document) = document else {
        return assemble(
            id,
            &TaskState::Pending,
            Zval::null(),
            None,
            value::list([])?,
        );
    };
    let doc = &document.doc;
    let result = if doc.status.is_exception() && doc.result.get() != "null" {
        failure::exception(id, document)?.into_value()?
    } else {
        incoming::decode(doc.result.get())?
    };
    assemble(
        id,
        &doc.status,
        result,
        Some(doc),
        children(place, Some(document))?,
    )
}

/// Creates the object of a result that was made for a test.
pub(crate) fn of_test(id: &str, state: &State) -> Result<Zval, Thrown> {
    let held = state.held.as_ref().map_or_else(Zval::null, Held::get);
    let status = match state.end {
        Some(End::Exception) => state_of_exception(state),
        _ => TaskState::Success,
    };
    let made = assemble(id, &status, held, None, value::list([])?)?;
    Ok(made)
}

/// Returns the state of a task that a test lets fail.
pub(crate) fn state_of_exception(state: &State) -> TaskState {
    let held = state.held.as_ref().map_or_else(Zval::null, Held::get);
    if is_instance(&held, "Celery\\TaskRevoked") {
        TaskState::Revoked
    } else {
        TaskState::Failure
    }
}

/// Returns the results of the tasks that a task published.
pub(crate) fn children(place: &Place, document: Option<&Rc<Document>>) -> Result<Zval, Thrown> {
    let trees = document.map_or_else(Vec::new, |document| document.doc.child_results());
    let mut children = Vec::with_capacity(trees.len());
    for tree in &trees {
        children.push(of_tree(place, tree)?);
    }
    Ok(value::list(children)?)
}

fn assemble(
    id: &str,
    status: &TaskState,
    result: Zval,
    doc: Option<&ResultDoc>,
    children: Zval,
) -> Result<Zval, Thrown> {
    let extended = doc.and_then(|doc| doc.extended.as_ref());
    let date_done = match doc.and_then(|doc| doc.date_done.as_deref()) {
        // A text that is not a time is left out.
        Some(date) if Timestamp::parse(date).is_ok() => incoming::date(date)?,
        _ => Zval::null(),
    };
    let array = |json: Option<&str>| match json.map(incoming::decode).transpose()? {
        Some(value) if value.is_array() => Ok(value),
        // A worker may have stored the arguments as a text.
        _ => Ok::<Zval, Thrown>(Zval::null()),
    };
    let retries = match extended.and_then(|extended| extended.retries) {
        Some(retries) => {
            let mut value = Zval::new();
            value.set_long(retries);
            value
        }
        None => Zval::null(),
    };
    let mut stamps = Vec::new();
    for (name, stamp) in doc.map(ResultDoc::stamps).unwrap_or_default() {
        stamps.push((
            value::string(name.as_bytes()),
            incoming::decode(stamp.get())?,
        ));
    }
    let of = |get: fn(&Extended) -> Option<&str>| text(extended.and_then(get));
    let properties = [
        text(Some(id)),
        text(Some(status.as_str())),
        result,
        text(doc.and_then(|doc| doc.traceback.as_deref())),
        date_done,
        text(doc.and_then(|doc| doc.parent_id.as_deref())),
        text(doc.and_then(|doc| doc.group_id.as_deref())),
        children,
        of(|extended| extended.name.as_deref()),
        array(
            extended
                .and_then(|extended| extended.args.as_deref())
                .map(RawValue::get),
        )?,
        array(
            extended
                .and_then(|extended| extended.kwargs.as_deref())
                .map(RawValue::get),
        )?,
        of(|extended| extended.worker.as_deref()),
        retries,
        of(|extended| extended.queue.as_deref()),
        value::map(stamps)?,
    ];
    let mut made = object::new(NAME)?;
    if let Some(object) = made.object_mut() {
        for (slot, value) in properties.into_iter().enumerate() {
            object::init(object, slot, value);
        }
    }
    Ok(made)
}

fn status(call: &mut Call<'_>) -> Result<TaskState, Thrown> {
    let state = object::get(call.object()?, STATE);
    Ok(TaskState::from_word(state.str().unwrap_or_default()))
}

/// Implements `known()`: the state as a case of `Celery\State`.
fn known(call: &mut Call<'_>) -> Result<(), Thrown> {
    let state = object::get(call.object()?, STATE);
    let case = super::enums::state(state.str().unwrap_or_default());
    call.give(case);
    Ok(())
}

fn ready(call: &mut Call<'_>) -> Result<(), Thrown> {
    let is_ready = status(call)?.ready();
    call.give_bool(is_ready);
    Ok(())
}

/// Implements `jsonSerialize()`: the members of the stored document that are there. An exception is
/// its message.
fn json_serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let object = call.object()?;
    let mut entries = Vec::new();
    for (slot, name) in NAMES.into_iter().enumerate() {
        let mut given = object::get(object, slot);
        if slot == DATE_DONE
            && let Some(date) = given.object()
        {
            given =
                crate::ffi::invoke::method(date, "format", &[value::string(b"Y-m-d\\TH:i:s.uP")])?;
        }
        if is_instance(&given, "Celery\\TaskException") {
            let (exception, _) = exceptions::stored(&given)?;
            given = values::decode_as(exception.to_json().get(), Objects::AsValues)?;
        }
        entries.push((value::string(name.as_bytes()), given));
    }
    call.give(value::map(entries)?);
    Ok(())
}
