//! What chains and groups have in common: how they are declared, counted and iterated.

use super::canvas::form::TASKS;
use super::canvas::tree;
use super::interfaces::CANVAS;
use crate::ffi::call::{Call, Handler, handler};
use crate::ffi::class::{Class, DeclareError, Property, method, variadic};
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::types::Type;

/// Declares a class that is made of any number of tasks.
pub(super) fn declare(name: &'static str, construct: Handler) -> Result<(), DeclareError> {
    Class::closed(name)
        .extending("celery\\canvas")
        .implementing("countable")
        .implementing("iteratoraggregate")
        .having([Property::readonly("tasks", Type::ARRAY)])
        .with([
            method("__construct", construct, [variadic("tasks").typed(CANVAS)]),
            method("count", handler!(count), []).returning(Type::INT),
            method("getIterator", handler!(iterate), []).returning(Type::class("Traversable")),
        ])
        .declare()?;
    Ok(())
}

fn count(call: &mut Call<'_>) -> Result<(), Thrown> {
    let tasks = tree::elements(&object::get(call.object()?, TASKS));
    let mut count = ext_php_rs::types::Zval::new();
    count.set_long(i64::try_from(tasks.len()).unwrap_or(i64::MAX));
    call.give(count);
    Ok(())
}

fn iterate(call: &mut Call<'_>) -> Result<(), Thrown> {
    let tasks = object::get(call.object()?, TASKS);
    let iterator = object::construct("ArrayIterator", &[tasks])?;
    call.give(iterator);
    Ok(())
}
