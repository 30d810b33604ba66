//! The changes that go through a whole canvas: arguments, options, callbacks, stamps.
//!
//! A composite passes a change on to the tasks that it concerns. So the change survives where the
//! composite is unrolled, in another canvas or in a worker.

use ext_php_rs::types::{ZendObject, Zval};

use super::form::{self, BODY, HEADER, ID, IMMUTABLE, Part, TASKS};
use super::parts::{self, Arguments, add_options, entries, option};
use super::tree::{check_depth, copied, elements, part, property, with_tasks};
use crate::classes::options::Given;
use crate::classes::signature;
use crate::ffi::object;
use crate::ffi::throw::{Kind, Thrown};
use crate::ffi::value;
use crate::values::encode;

/// Adds arguments for the tasks that are called first: of a chain the first step, of a group each
/// member, of a chord each member of the header. An immutable task takes none.
pub(crate) fn add_arguments(object: &mut ZendObject, given: Arguments) -> Result<(), Thrown> {
    if given.is_empty() {
        return Ok(());
    }
    change_first(object, 0, &|object| {
        if object::get(object, IMMUTABLE).is_true() {
            return Ok(());
        }
        signature::add_arguments(object, given.copy())
    })
}

/// Sets whether the tasks that are called first take results of tasks before them.
pub(crate) fn set_immutable(object: &mut ZendObject, flag: &Zval) -> Result<(), Thrown> {
    object::init(object, IMMUTABLE, flag.shallow_clone());
    change_first(object, 0, &|object| {
        object::init(object, IMMUTABLE, flag.shallow_clone());
        Ok(())
    })
}

/// Changes the tasks that a canvas calls first. The object is new: PHP code has not seen it yet.
fn change_first(
    object: &mut ZendObject,
    depth: usize,
    change: &dyn Fn(&mut ZendObject) -> Result<(), Thrown>,
) -> Result<(), Thrown> {
    check_depth(depth)?;
    let inside = |canvas: &Zval| copied(canvas, |copy| change_first(copy, depth + 1, change));
    match form::part(object) {
        Part::Task => change(object),
        Part::Chain => {
            let mut steps = elements(&object::get(object, TASKS));
            if let Some(first) = steps.first_mut() {
                *first = inside(first)?;
            }
            object::init(object, TASKS, value::list(steps)?);
            Ok(())
        }
        Part::Group => {
            let members = elements(&object::get(object, TASKS));
            let members: Result<Vec<_>, _> = members.iter().map(inside).collect();
            object::init(object, TASKS, value::list(members?)?);
            Ok(())
        }
        Part::Chord => {
            let header = inside(&object::get(object, HEADER))?;
            object::init(object, HEADER, header);
            Ok(())
        }
    }
}

/// Sets options. The id of a chord's result is that of its body.
pub(crate) fn set_options(object: &mut ZendObject, given: Vec<Given>) -> Result<(), Thrown> {
    if form::part(object) != Part::Chord {
        return add_options(object, given);
    }
    let is_id = |(name, _): &Given| value::bytes(name) == Some(b"task_id");
    let (ids, others): (Vec<_>, Vec<_>) = given.into_iter().partition(is_id);
    if let Some((_, id)) = ids.first() {
        let id = id.shallow_clone();
        let body = object::get(object, BODY);
        let body = copied(&body, |body| set_options(body, ids))?;
        object::init(object, BODY, body);
        object::init(object, ID, id);
    }
    add_options(object, others)
}

/// Adds callbacks: to a chord's body, otherwise to the options. A group refuses them.
pub(crate) fn link(object: &mut ZendObject, callbacks: &[Zval]) -> Result<(), Thrown> {
    link_at(object, callbacks, 0)
}

fn link_at(object: &mut ZendObject, callbacks: &[Zval], depth: usize) -> Result<(), Thrown> {
    check_depth(depth)?;
    match form::part(object) {
        Part::Group => Err(Thrown::new(
            Kind::Value,
            "A group has no callback of its own: use then(), which waits for all members.",
        )),
        Part::Chord => {
            let body = object::get(object, BODY);
            let body = copied(&body, |body| link_at(body, callbacks, depth + 1))?;
            object::init(object, BODY, body);
            Ok(())
        }
        Part::Task | Part::Chain => append(object, "link", callbacks),
    }
}

/// Adds error callbacks: to each member of a group; to a chord's body and to the chords in its
/// header; otherwise to the options.
pub(crate) fn link_error(object: &mut ZendObject, errbacks: &[Zval]) -> Result<(), Thrown> {
    link_error_at(object, errbacks, 0)
}

fn link_error_at(object: &mut ZendObject, errbacks: &[Zval], depth: usize) -> Result<(), Thrown> {
    check_depth(depth)?;
    let inside = |canvas: &Zval| copied(canvas, |copy| link_error_at(copy, errbacks, depth + 1));
    match form::part(object) {
        Part::Task | Part::Chain => append(object, "link_error", errbacks),
        Part::Group => {
            let members = elements(&object::get(object, TASKS));
            let members: Result<Vec<_>, _> = members.iter().map(inside).collect();
            object::init(object, TASKS, value::list(members?)?);
            Ok(())
        }
        Part::Chord => {
            let header = object::get(object, HEADER);
            let members = elements(&property(&header, TASKS));
            let members: Result<Vec<_>, Thrown> = members
                .into_iter()
                .map(|member| match part(&member) {
                    Part::Chord => inside(&member),
                    _ => Ok(member),
                })
                .collect();
            object::init(object, HEADER, with_tasks(&header, members?)?);
            let body = inside(&object::get(object, BODY))?;
            object::init(object, BODY, body);
            Ok(())
        }
    }
}

/// Adds canvases to a list of the options. As in Celery, a list has no two that are equal.
fn append(object: &mut ZendObject, name: &'static str, given: &[Zval]) -> Result<(), Thrown> {
    let mut all = Vec::new();
    if let Some(list) = option(object, name) {
        all.extend(entries(&list).into_iter().map(|(_, canvas)| canvas));
    }
    let mut known = Vec::new();
    for canvas in &all {
        known.push(encode::encode(canvas, name)?);
    }
    for canvas in given {
        let text = encode::encode(canvas, name)?;
        if !known.iter().any(|other| other.get() == text.get()) {
            known.push(text);
            all.push(canvas.shallow_clone());
        }
    }
    let option = (value::string(name.as_bytes()), value::list(all)?);
    add_options(object, vec![option])
}

/// Adds stamps to every task in a canvas, and to the callbacks.
pub(crate) fn stamp(object: &mut ZendObject, stamps: &[(Zval, Zval)]) -> Result<(), Thrown> {
    stamp_at(object, stamps, 0)
}

fn stamp_at(object: &mut ZendObject, stamps: &[(Zval, Zval)], depth: usize) -> Result<(), Thrown> {
    check_depth(depth)?;
    let inside = |canvas: &Zval| copied(canvas, |copy| stamp_at(copy, stamps, depth + 1));
    let all = |list: &Zval| -> Result<Zval, Thrown> {
        let stamped: Result<Vec<_>, _> = elements(list).iter().map(inside).collect();
        Ok(value::list(stamped?)?)
    };
    for name in ["link", "link_error"] {
        if let Some(list) = option(object, name) {
            let stamped = all(&list)?;
            add_options(object, vec![(value::string(name.as_bytes()), stamped)])?;
        }
    }
    match form::part(object) {
        Part::Task => {
            let stamps = stamps.iter();
            let stamps = stamps.map(|(name, value)| (name.shallow_clone(), value.shallow_clone()));
            parts::add_stamps(object, stamps.collect())
        }
        Part::Chain | Part::Group => {
            let stamped = all(&object::get(object, TASKS))?;
            object::init(object, TASKS, stamped);
            Ok(())
        }
        Part::Chord => {
            for slot in [HEADER, BODY] {
                let stamped = inside(&object::get(object, slot))?;
                object::init(object, slot, stamped);
            }
            Ok(())
        }
    }
}
