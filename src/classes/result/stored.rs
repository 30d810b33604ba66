//! A result between requests: `serialize()` and `unserialize()`.
//!
//! The string holds no address and no secret, only the *names* of the connections, which are looked
//! up among those of this process. So a forged string cannot make the extension connect to an
//! address, and it holds only texts.

use std::rc::Rc;

use celery_protocol::result::{ResultDoc, State as TaskState};
use ext_php_rs::types::{ZendHashTable, Zval};

use super::model::{End, ID, PARENT, State, TASK, is_result, read_document, set, state_of, this};
use super::place::Place;
use crate::classes::{exceptions, task_meta};
use crate::ffi::call::Call;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;
use crate::values::{self, Root};

/// The version of the stored form. Newer versions of the extension must also read older forms.
const VERSION: i64 = 1;

/// Implements `__serialize()`.
pub(super) fn serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let state = state_of(&this)?;
    let object = call.object()?;
    let (id, task, parent) = (
        object::get(object, ID),
        object::get(object, TASK),
        object::get(object, PARENT),
    );
    let text = |text: &str| value::string(text.as_bytes());
    let mut version = Zval::new();
    version.set_long(VERSION);
    let document = match &state.end {
        None => Zval::null(),
        Some(End::Stored(document)) => value::large_string(document.text.as_bytes())?,
        Some(end) => value::large_string(&of_test(id.str().unwrap_or_default(), end, &state)?)?,
    };
    let (backend, broker) = match state.place.names() {
        Some((backend, broker)) => (text(&backend), text(&broker)),
        None => (Zval::null(), Zval::null()),
    };
    let mut entries = vec![
        (text("version"), version),
        (text("id"), id),
        (text("name"), task),
        (text("connection"), backend),
        (text("broker"), broker),
        (text("result"), document),
    ];
    if !parent.is_null() {
        entries.push((text("parent"), parent));
    }
    call.give(value::map(entries)?);
    Ok(())
}

/// Returns the document of a result that was made for a test.
fn of_test(id: &str, end: &End, state: &State) -> Result<Vec<u8>, Thrown> {
    let held = state
        .held
        .as_ref()
        .map_or_else(Zval::null, object::Held::get);
    let doc = match end {
        End::Exception => {
            let (exception, traceback) = exceptions::stored(&held)?;
            let status = task_meta::state_of_exception(state);
            let mut doc = ResultDoc::new(id, status, exception.to_json(), None);
            doc.traceback = traceback;
            doc
        }
        End::Value | End::Stored(_) => {
            let value = values::encode(&held, Root::Option("value"))?;
            ResultDoc::new(id, TaskState::Success, value, None)
        }
    };
    Ok(doc.encode())
}

/// Implements `__unserialize()`.
pub(super) fn unserialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    if !object::is_blank(call.object()?, ID) {
        return Err(object::is_constructed());
    }
    let given = call
        .argument(0)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let array = given.array().ok_or_else(|| broken("it has no data"))?;
    match array.get("version").and_then(Zval::long) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(broken(&format!(
                "it has version {version}, and this extension reads version {VERSION}"
            )));
        }
        None => return Err(broken("it has no version")),
    }
    let id = field(array, "id")?
        .filter(|id| !id.is_empty())
        .ok_or_else(|| broken("it has no task id"))?;
    let document = match field(array, "result")? {
        Some(text) => Some(read_document(&id, text.as_bytes())?),
        None => None,
    };
    if document
        .as_ref()
        .is_some_and(|document| !document.is_final())
    {
        return Err(broken("its result is not final"));
    }
    let place = match (field(array, "connection")?, field(array, "broker")?) {
        (Some(backend), Some(broker)) => Place::Named { backend, broker },
        _ => Place::Nowhere,
    };
    let parent = match array.get("parent").map(Zval::dereference) {
        None => Zval::null(),
        Some(parent) if is_result(parent) => parent.shallow_clone(),
        Some(_) => return Err(broken("its parent is not a result")),
    };
    let task = field(array, "name")?;
    let object = call.object()?;
    set(object, &id, task.as_deref(), parent);
    let state = call.state::<State>()?;
    state.place = place;
    state.end = document.map(|document| End::Stored(Rc::new(document)));
    Ok(())
}

fn field(array: &ZendHashTable, name: &str) -> Result<Option<String>, Thrown> {
    match array.get(name).map(Zval::dereference) {
        None => Ok(None),
        Some(value) if value.is_null() => Ok(None),
        Some(value) if value.is_string() => values::text(value)?
            .map(Some)
            .ok_or_else(|| broken(&format!("its field {name} is not valid UTF-8"))),
        Some(_) => Err(broken(&format!("its field {name} is not a string"))),
    }
}

fn broken(why: &str) -> Thrown {
    Thrown::celery(format!("This is not a stored Result: {why}."))
}
