//! What the classes of both families share: the API that an object serves, and arguments that are text.

use std::borrow::Cow;

use ext_php_rs::types::Zval;

use crate::ffi::call::Call;
use crate::ffi::throw::Thrown;
use crate::values::{self, type_name};

/// The API of celery-php that an object serves. In both APIs the error of a failed task is returned
/// as a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Api {
    /// The API of 2.1: reading a final result deletes it.
    #[default]
    DropIn,
    /// The API of 3.0, under `Celery\`: results stay until forgotten.
    Namespaced,
}

/// Returns a required argument as text; a number counts as text.
pub(crate) fn text_argument(call: &Call<'_>, index: usize, what: &str) -> Result<String, Thrown> {
    let value = held_argument(call, index, what)?;
    required_text(&value, what).map(Cow::into_owned)
}

/// Returns a required argument, which stays alive while PHP code runs.
pub(crate) fn held_argument(call: &Call<'_>, index: usize, what: &str) -> Result<Zval, Thrown> {
    call.argument(index)
        .map(Zval::shallow_clone)
        .ok_or_else(|| Thrown::celery(format!("The {what} is missing.")))
}

/// Returns a value as text; a number counts as text.
pub(crate) fn required_text<'v>(value: &'v Zval, what: &str) -> Result<Cow<'v, str>, Thrown> {
    values::text_of(value)?.ok_or_else(|| {
        Thrown::celery(format!(
            "The {what} must be a string of valid UTF-8, {} given.",
            type_name(value)
        ))
    })
}

/// Returns an optional argument as text; null, false and '' count as not given.
pub(crate) fn optional_text(
    call: &Call<'_>,
    index: usize,
    what: &str,
) -> Result<Option<String>, Thrown> {
    match call.argument(index) {
        Some(value) if value.coerce_to_bool() || value.is_long() => {
            text_argument(call, index, what).map(Some)
        }
        Some(value) if value.is_string() => text_argument(call, index, what)
            .map(Some)
            .map(|t| t.filter(|t| !t.is_empty())),
        _ => Ok(None),
    }
}
