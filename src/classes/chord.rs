//! `Chord`: a group, and a body that gets the list of its results.

use ext_php_rs::types::Zval;

use super::canvas::form::{self, BODY, CHORD, GROUP};
use super::canvas::tree;
use super::interfaces::CANVAS;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, required};
use crate::ffi::iterable;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    Class::closed(CHORD)
        .extending("celery\\canvas")
        .having([
            Property::readonly("header", Type::class(GROUP)),
            Property::readonly("body", CANVAS),
        ])
        .with([method(
            "__construct",
            handler!(construct),
            [
                required("header").typed(Type::ITERABLE),
                required("body").typed(CANVAS),
            ],
        )])
        .declare()?;
    Ok(())
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let given = |index| {
        call.argument(index)
            .map_or_else(Zval::null, Zval::shallow_clone)
    };
    let (header, body) = (given(0), given(1));
    let (header, mut members) = if object::is_instance(&header, GROUP) {
        (header.shallow_clone(), vec![header])
    } else {
        let mut members = Vec::new();
        let wrong = iterable::find(&header, |_, member| {
            members.push(member.shallow_clone());
            (!object::is_instance(member, form::NAME)).then_some(())
        })?;
        if wrong.is_some() {
            return Err(call.refuse(0, "must contain nothing but canvases"));
        }
        let tasks = members.iter().map(Zval::shallow_clone).collect();
        let mut group = tree::of_tasks(GROUP, tasks)?;
        if let Some(object) = group.object_mut() {
            tree::bind(object, &mut members)?;
        }
        (group, members)
    };
    members.push(body.shallow_clone());
    let object = call.object()?;
    if !object::is_blank(object, BODY) {
        return Err(object::is_constructed());
    }
    tree::fill_chord(object, header, body)?;
    tree::bind(object, &mut members)
}
