//! `Chain`: tasks one after another.

use ext_php_rs::types::Zval;

use super::canvas::form::{CHAIN, TASKS};
use super::canvas::parts::Arguments;
use super::canvas::{compose, tree};
use super::members;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::DeclareError;
use crate::ffi::object;
use crate::ffi::throw::{Kind, Thrown};

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    members::declare(CHAIN, handler!(construct))
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut tasks: Vec<Zval> = Arguments::of_call(call).values().collect();
    if tasks.is_empty() {
        return Err(Thrown::new(
            Kind::Value,
            "Celery\\Chain::__construct() expects at least one task.",
        ));
    }
    let steps = compose::chain(tasks.iter().map(Zval::shallow_clone).collect())?;
    let object = call.object()?;
    if !object::is_blank(object, TASKS) {
        return Err(object::is_constructed());
    }
    tree::fill(object, steps)?;
    tree::bind(object, &mut tasks)
}
