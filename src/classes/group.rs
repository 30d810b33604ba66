//! `Group`: tasks side by side.

use ext_php_rs::types::Zval;

use super::canvas::form::{GROUP, TASKS};
use super::canvas::parts::Arguments;
use super::canvas::tree;
use super::members;
use crate::ffi::call::{Call, handler};
use crate::ffi::class::DeclareError;
use crate::ffi::object;
use crate::ffi::throw::Thrown;

/// Declares the class.
pub(super) fn declare() -> Result<(), DeclareError> {
    members::declare(GROUP, handler!(construct))
}

fn construct(call: &mut Call<'_>) -> Result<(), Thrown> {
    let mut tasks: Vec<Zval> = Arguments::of_call(call).values().collect();
    let object = call.object()?;
    if !object::is_blank(object, TASKS) {
        return Err(object::is_constructed());
    }
    tree::fill(object, tasks.iter().map(Zval::shallow_clone).collect())?;
    tree::bind(object, &mut tasks)
}
