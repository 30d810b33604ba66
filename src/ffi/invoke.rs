//! Calls PHP code: a method of an object, or a function.

use ext_php_rs::convert::IntoZvalDyn;
use ext_php_rs::types::{ZendObject, Zval};

use super::bailout;
use super::throw::{self, Thrown};

/// Calls a method of an object. What PHP code throws continues after the call has ended.
pub(crate) fn method(object: &ZendObject, name: &str, arguments: &[Zval]) -> Result<Zval, Thrown> {
    run(name, arguments, |arguments| {
        object.try_call_method(name, arguments)
    })
}

/// Calls a closure, or anything that PHP can call.
pub(crate) fn function(function: &Zval, arguments: &[Zval]) -> Result<Zval, Thrown> {
    run("The function", arguments, |arguments| {
        function.try_call(arguments)
    })
}

fn run(
    what: &str,
    arguments: &[Zval],
    call: impl FnOnce(Vec<&dyn IntoZvalDyn>) -> ext_php_rs::error::Result<Zval>,
) -> Result<Zval, Thrown> {
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    let arguments = arguments
        .iter()
        .map(|argument| argument as &dyn IntoZvalDyn)
        .collect();
    let answer = bailout::catch(|| call(arguments))?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    answer.map_err(|error| Thrown::celery(format!("{what} could not be called: {error}.")))
}
