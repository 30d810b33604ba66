//! PHP values as JSON text, and JSON text as PHP values.
//!
//! Both directions behave as in PHP (`json_encode`, `json_decode`). This folder adds the division
//! into positional and keyword arguments, and an error that names the place of a value that cannot
//! be sent.

pub(crate) mod encode;
pub(crate) mod incoming;
pub(crate) mod place;

use std::borrow::Cow;

use celery_protocol::RawValue;
use ext_php_rs::types::Zval;

pub(crate) use self::place::Root;
use crate::errors::not_sent;
use crate::ffi::bailout;
use crate::ffi::json::{self, DecodeError, NotWritten, Objects};
use crate::ffi::room::Full;
use crate::ffi::throw::{self, Thrown};
pub(crate) use crate::ffi::type_name::type_name;
use crate::ffi::value;

/// The arguments of a task as JSON text.
pub(crate) enum Arguments {
    /// A JSON array.
    Positional(Box<RawValue>),
    /// A JSON object.
    Keyword(Box<RawValue>),
}

/// Encodes `$args`: a list holds positional arguments, any other array keyword arguments.
pub(crate) fn arguments(args: &Zval) -> Result<Arguments, Thrown> {
    // PHP code that runs meanwhile may replace the value behind a reference.
    let args = &args.shallow_clone();
    if !args.is_array() {
        return Err(Thrown::celery(format!(
            "Args must be an array, {} given. A list is passed on as positional arguments, any \
             other array as keyword arguments.",
            type_name(args)
        )));
    }
    let is_list = value::is_list(args);
    let text = encode(args, Root::Arguments)?;
    Ok(if is_list {
        Arguments::Positional(text)
    } else {
        Arguments::Keyword(text)
    })
}

/// Encodes a value exactly as `json_encode` does. Runs PHP code (`jsonSerialize`).
pub(crate) fn encode(value: &Zval, root: Root<'_>) -> Result<Box<RawValue>, Thrown> {
    match json::encode_plain(value) {
        Ok(text) => return Ok(text),
        Err(NotWritten::TooLarge) => {
            return Err(not_sent(format!("{} {Full}, as JSON.", place::takes(root))));
        }
        Err(NotWritten::NotPlain) => {}
    }
    match json::encode(value) {
        Ok(text) => raw(text),
        Err(_) if throw::is_pending() => Err(Thrown::Pending),
        Err(_) => Err(not_sent(format!("{}.", place::problem(value, root)))),
    }
}

/// Decodes JSON text as `json_decode` does by default.
pub(crate) fn decode(text: &RawValue) -> Result<Zval, Thrown> {
    decode_as(text.get(), Objects::AsObjects)
}

/// Decodes JSON text; the caller chooses the form of objects.
pub(crate) fn decode_as(text: &str, objects: Objects) -> Result<Zval, Thrown> {
    json::decode(text, objects).map_err(|error| {
        let why = match error {
            DecodeError::Bailout => return Thrown::Pending,
            DecodeError::Depth => "it is nested deeper than 512 levels",
            DecodeError::Name => "a name in it begins with a NUL byte",
            DecodeError::Syntax => "PHP finds it malformed",
        };
        Thrown::celery(format!("The result cannot be represented in PHP: {why}."))
    })
}

/// Returns a value as text, converted as by PHP: a string of valid UTF-8, a number, or an object
/// that can be a string. Returns `None` for all other values.
///
/// Runs PHP code (`__toString`). An error means that this code has thrown or bailed out, and that
/// no further PHP code may run.
pub(crate) fn text(value: &Zval) -> Result<Option<String>, Thrown> {
    Ok(text_of(value)?.map(Cow::into_owned))
}

/// Like [`text`], without a copy of a string. Hold its value while PHP code runs.
pub(crate) fn text_of(value: &Zval) -> Result<Option<Cow<'_, str>>, Thrown> {
    if let Some(bytes) = value::bytes(value) {
        return Ok(std::str::from_utf8(bytes).ok().map(Cow::Borrowed));
    }
    if value.is_long() || value.is_double() {
        return Ok(value.coerce_to_string().map(Cow::Owned));
    }
    if !value.is_object() {
        return Ok(None);
    }
    // The object's `__toString()` may drop the last reference to it.
    let held = value.shallow_clone();
    let text = bailout::catch(|| held.coerce_to_string())?;
    if throw::is_pending() {
        return Err(Thrown::Pending);
    }
    Ok(text.map(Cow::Owned))
}

/// Wraps a text that is JSON already.
pub(crate) fn raw(text: String) -> Result<Box<RawValue>, Thrown> {
    RawValue::from_string(text)
        .map_err(|error| Thrown::celery(format!("This is not JSON: {error}.")))
}
