//! What the classes of both families share: the API that an object serves, and arguments that are text.

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
    let value = call
        .argument(index)
        .ok_or_else(|| Thrown::celery(format!("The {what} is missing.")))?;
    values::text(value)?.ok_or_else(|| {
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
