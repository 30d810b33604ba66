//! The parts of composites, and new composites.

use celery_protocol::canvas::DEPTH;
use ext_php_rs::types::{ZendObject, Zval};

use super::form::{self, BODY, HEADER, Part, TASKS};
use super::parts::{self, changed, entries};
use crate::ffi::object;
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::value;

/// Returns the kind of a canvas.
pub(crate) fn part(canvas: &Zval) -> Part {
    canvas.object().map_or(Part::Task, form::part)
}

/// Returns the steps of a chain or the members of a group.
pub(crate) fn tasks(canvas: &Zval) -> Vec<Zval> {
    match (part(canvas), canvas.object()) {
        (Part::Chain | Part::Group, Some(object)) => elements(&object::get(object, TASKS)),
        _ => Vec::new(),
    }
}

/// Returns the elements of a list.
pub(crate) fn elements(list: &Zval) -> Vec<Zval> {
    entries(list).into_iter().map(|(_, value)| value).collect()
}

/// Returns a property of a canvas by its slot.
pub(crate) fn property(canvas: &Zval, slot: usize) -> Zval {
    canvas
        .object()
        .map_or_else(Zval::null, |object| object::get(object, slot))
}

/// Returns a copy of a chain or a group with other tasks.
pub(crate) fn with_tasks(canvas: &Zval, tasks: Vec<Zval>) -> Result<Zval, Thrown> {
    copied(canvas, |copy| {
        object::init(copy, TASKS, value::list(tasks)?);
        Ok(())
    })
}

/// Returns a copy of a chord with another body.
pub(crate) fn with_body(canvas: &Zval, body: Zval) -> Result<Zval, Thrown> {
    copied(canvas, |copy| {
        object::init(copy, BODY, body);
        Ok(())
    })
}

/// Returns a copy of a canvas that a change was made to.
pub(crate) fn copied(
    canvas: &Zval,
    change: impl FnOnce(&mut ZendObject) -> Result<(), Thrown>,
) -> Result<Zval, Thrown> {
    match canvas.object() {
        Some(object) => changed(object, change),
        None => Err(Thrown::new(Kind::Type, "This is not a canvas.")),
    }
}

/// Makes a chain of these steps, or a group of these members, by the name of the class.
pub(crate) fn of_tasks(class: &str, tasks: Vec<Zval>) -> Result<Zval, Thrown> {
    let mut made = object::new(class)?;
    if let Some(object) = made.object_mut() {
        fill(object, tasks)?;
    }
    Ok(made)
}

/// Sets the properties of a new chain or group.
pub(crate) fn fill(object: &mut ZendObject, tasks: Vec<Zval>) -> Result<(), Thrown> {
    parts::fill(object, false, Vec::new())?;
    object::init(object, TASKS, value::list(tasks)?);
    Ok(())
}

/// Makes a chord of a group and a body.
pub(crate) fn chord(group: Zval, body: Zval) -> Result<Zval, Thrown> {
    let mut made = object::new(form::CHORD)?;
    if let Some(object) = made.object_mut() {
        fill_chord(object, group, body)?;
    }
    Ok(made)
}

/// Sets the properties of a new chord.
pub(crate) fn fill_chord(object: &mut ZendObject, group: Zval, body: Zval) -> Result<(), Thrown> {
    parts::fill(object, false, Vec::new())?;
    object::init(object, HEADER, group);
    object::init(object, BODY, body);
    Ok(())
}

/// Binds a new canvas to the client that its members are bound to.
pub(crate) fn bind(object: &mut ZendObject, members: &mut [Zval]) -> Result<(), Thrown> {
    let mut found: Option<Zval> = None;
    for member in members {
        let Some(client) = member
            .object_mut()
            .map(parts::client)
            .transpose()?
            .flatten()
        else {
            continue;
        };
        match &found {
            Some(other) if value::identity(other) != value::identity(&client) => {
                return Err(Thrown::new(
                    Kind::Value,
                    "These canvases are bound to different clients: bind() them to one.",
                ));
            }
            Some(_) => {}
            None => found = Some(client),
        }
    }
    match found {
        Some(client) => parts::set_client(object, client),
        None => Ok(()),
    }
}

/// Refuses a canvas that is nested deeper than any that can be sent.
pub(crate) fn check_depth(depth: usize) -> Result<(), Thrown> {
    if depth > DEPTH {
        Err(Thrown::celery(format!(
            "This canvas is nested more than {DEPTH} levels deep."
        )))
    } else {
        Ok(())
    }
}
