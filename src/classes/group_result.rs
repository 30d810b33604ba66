//! `GroupResult`: the results of a group. It is stored as Python stores it.

use std::rc::Rc;
use std::time::Duration;

use celery_client::blocking::Deadline;
use celery_protocol::result::GroupDoc;
use ext_php_rs::types::Zval;

use super::client::state::Client;
use super::exceptions::UNREADABLE;
use super::result::Place;
use super::result::model::{
    GROUP, GROUP_ID, GROUP_PARENT, SetState, is_result, leaves, of_tree, results_of, set_state_of,
    state_of, this, tree,
};
use super::result_set;
use crate::client::Config;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, optional, required};
use crate::ffi::object::{self, Held};
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::types::Type;
use crate::ffi::value;
use crate::{errors, pool, values};

/// The time for which a group is stored: the default of Celery's `result_expires`.
const EXPIRES: Duration = Duration::from_hours(24);

/// What needs a Redis, for errors.
const SAVED_GROUPS: &str = "saved groups";

/// Declares the class, after its parent.
pub(super) fn declare() -> Result<(), DeclareError> {
    let relative = Type::class("Celery\\Result|Celery\\GroupResult").nullable();
    Class::closed(GROUP)
        .extending("celery\\resultset")
        .having([
            Property::readonly("id", Type::STRING),
            Property::readonly("parent", relative),
        ])
        .with([
            method(
                "__construct",
                handler!(construct),
                [
                    required("id").typed(Type::STRING),
                    optional("results", "[]").typed(Type::ITERABLE),
                    optional("parent", "null").typed(relative),
                ],
            ),
            method("save", handler!(save), []).returning(Type::VOID),
            method("delete", handler!(delete), []).returning(Type::VOID),
            method("__serialize", handler!(serialize), []).returning(Type::ARRAY),
            method(
                "__unserialize",
                handler!(unserialize),
                [required("data").typed(Type::ARRAY)],
            )
            .returning(Type::VOID),
        ])
        .declare()?;
    Ok(())
}

/// Restores a saved group, or returns null if the backend does not have it.
pub(crate) fn restore(client: &Rc<Config>, id: &str) -> Result<Zval, Thrown> {
    let backend = client.backend()?;
    let deadline = Deadline::after(client.command_timeout());
    let stored = pool::with_limits(
        backend.kept_results(SAVED_GROUPS)?,
        client.limits(),
        deadline,
        |client, wait| client.get_group(id, wait),
    );
    let stored = stored.map_err(|error| errors::command("read the group", &backend, error))?;
    let Some(stored) = stored else {
        return Ok(Zval::null());
    };
    let tree = GroupDoc::decode_any(&stored).and_then(|group| group.tree());
    let tree = tree.map_err(|error| {
        let message = format!("The saved group {id} cannot be read: {error}.");
        Thrown::new(UNREADABLE, message)
    })?;
    of_tree(&Place::Client(Rc::clone(client)), &tree)
}

/// Implements `Client::groupResult()`.
pub(crate) fn of_client(call: &mut Call<'_>) -> Result<(), Thrown> {
    let config = call.state::<Client>()?.config()?;
    let id = call.argument(0).and_then(Zval::str).unwrap_or_default();
    let id = id.to_owned();
    if let Err(error) = celery_protocol::names::check_task_id(&id) {
        return Err(call.refuse(0, &format!("cannot be used: {error}")));
    }
    let restored = restore(&config, &id)?;
    call.give(restored);
    Ok(())
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    if !object::is_blank(call.object()?, GROUP_ID) {
        return Err(object::is_constructed());
    }
    let id = call.argument(0).and_then(Zval::str).unwrap_or_default();
    if id.is_empty() {
        return Err(call.refuse(0, "must not be empty"));
    }
    let results = result_set::given_results(call, 1)?;
    let results = value::list(members(&results))?;
    let parent = call
        .argument(2)
        .map_or_else(Zval::null, Zval::shallow_clone);
    let object = call.object()?;
    object::init(object, GROUP_ID, value::string(id.as_bytes()));
    object::init(object, GROUP_PARENT, parent);
    call.state::<SetState>()?.held = Some(Held::new(results));
    Ok(())
}

/// Returns the elements of an array: a group has no keys of its own.
fn members(results: &Zval) -> Vec<Zval> {
    let mut members = Vec::new();
    let _: Option<()> = value::find_in_array(results, |_, member| {
        members.push(member.shallow_clone());
        None
    });
    members
}

/// Returns the client of a group: that which made it, otherwise that of its first result.
fn place(group: &Zval) -> Result<Place, Thrown> {
    let own = set_state_of(group)?.place;
    if !own.is_nowhere() {
        return Ok(own);
    }
    for leaf in leaves(group)? {
        let place = state_of(&leaf)?.place;
        if !place.is_nowhere() {
            return Ok(place);
        }
    }
    Err(Thrown::new(
        Kind::Logic,
        "This group has no client: none of its results has one.",
    ))
}

fn save(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let (place, tree) = (place(&this)?, tree(&this)?);
    let document = GroupDoc::of(&tree).encode();
    let backend = place.backend()?;
    let deadline = Deadline::after(place.command_timeout());
    pool::with_limits(
        backend.kept_results(SAVED_GROUPS)?,
        place.limits(),
        deadline,
        |client, wait| client.save_group(&tree.id, &document, EXPIRES, wait),
    )
    .map_err(|error| errors::command("save the group", &backend, error))
}

fn delete(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let place = place(&this)?;
    let id = object::get(call.object()?, GROUP_ID);
    let id = id.str().unwrap_or_default();
    let backend = place.backend()?;
    let deadline = Deadline::after(place.command_timeout());
    pool::with_limits(
        backend.kept_results(SAVED_GROUPS)?,
        place.limits(),
        deadline,
        |client, wait| client.delete_group(id, wait),
    )
    .map(|_| ())
    .map_err(|error| errors::command("delete the group", &backend, error))
}

fn serialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    let this = this(call)?;
    let results = results_of(&this)?;
    let names = set_state_of(&this)?.place.names();
    let object = call.object()?;
    let text = |text: &str| value::string(text.as_bytes());
    let mut entries = vec![
        (text("id"), object::get(object, GROUP_ID)),
        (text("results"), results),
        (text("parent"), object::get(object, GROUP_PARENT)),
    ];
    if let Some((backend, broker)) = names {
        entries.push((text("connection"), text(&backend)));
        entries.push((text("broker"), text(&broker)));
    }
    call.give(value::map(entries)?);
    Ok(())
}

fn unserialize(call: &mut Call<'_>) -> Result<(), Thrown> {
    if !object::is_blank(call.object()?, GROUP_ID) {
        return Err(object::is_constructed());
    }
    let broken = || Thrown::celery("This is not a stored GroupResult.");
    let results = result_set::stored_results(call)?;
    let data = call.argument(0).and_then(Zval::array).ok_or_else(broken)?;
    let text = |name: &str| -> Result<Option<String>, Thrown> {
        match data.get(name).map(Zval::dereference) {
            Some(text) if text.is_string() => values::text(text)?.map(Some).ok_or_else(broken),
            _ => Ok(None),
        }
    };
    let id = text("id")?.filter(|id| !id.is_empty()).ok_or_else(broken)?;
    let parent = match data.get("parent").map(Zval::dereference) {
        Some(parent) if is_result(parent) => parent.shallow_clone(),
        Some(parent) if parent.is_null() => Zval::null(),
        _ => return Err(broken()),
    };
    let place = match (text("connection")?, text("broker")?) {
        (Some(backend), Some(broker)) => Place::Named { backend, broker },
        _ => Place::Nowhere,
    };
    let object = call.object()?;
    object::init(object, GROUP_ID, value::string(id.as_bytes()));
    object::init(object, GROUP_PARENT, parent);
    *call.state::<SetState>()? = SetState {
        held: Some(Held::new(value::list(members(&results))?)),
        place,
    };
    Ok(())
}
