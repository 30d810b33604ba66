//! Values of results, as the API for new code gives them to PHP.
//!
//! Objects become arrays, and integers of more than 64 bits become strings. Of the types that kombu
//! wraps (`{"__type__": …, "__value__": …}`), a `datetime` becomes a `DateTimeImmutable`, and all
//! others become strings. An unknown type stays an array.

use celery_protocol::json::Special;
use ext_php_rs::types::Zval;

use super::decode_as;
use crate::ffi::json::Objects;
use crate::ffi::object;
use crate::ffi::throw::Thrown;
use crate::ffi::value;

/// Decodes JSON text.
pub(crate) fn decode(text: &str) -> Result<Zval, Thrown> {
    let value = decode_as(text, Objects::AsValues)?;
    // Most results have no wrapped values, so they need not be walked through.
    if text.contains("__type__") {
        unwrapped(value)
    } else {
        Ok(value)
    }
}

/// Returns a value with all wrapped values in it unwrapped. The depth is that of a decoded text.
fn unwrapped(value: Zval) -> Result<Zval, Thrown> {
    if !value.is_array() {
        return Ok(value);
    }
    if let Some(special) = special(&value) {
        return plain(special);
    }
    let mut entries = Vec::new();
    let failed = value::find_in_array(&value, |key, element| {
        match unwrapped(element.shallow_clone()) {
            Ok(element) => {
                entries.push((key.to_zval(), element));
                None
            }
            Err(thrown) => Some(thrown),
        }
    });
    match failed {
        Some(thrown) => Err(thrown),
        None => Ok(value::map(entries)?),
    }
}

/// Reads a wrapped value. An unknown type, or a value that does not fit its type, is not one.
fn special(value: &Zval) -> Option<Special> {
    let array = value.array().filter(|array| array.len() == 2)?;
    let kind = array.get("__type__").and_then(Zval::str)?;
    let inner = array.get("__value__")?;
    let text = match inner.array() {
        Some(inner) if kind == "uuid" => inner.get("hex").and_then(Zval::str)?,
        Some(_) => return None,
        None => inner.str()?,
    };
    Special::read(kind, text)
}

fn plain(special: Special) -> Result<Zval, Thrown> {
    match special {
        Special::Bytes(bytes) => Ok(value::large_string(&bytes)?),
        Special::Uuid(hex) => {
            let parts = [
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..],
            ];
            Ok(value::string(parts.join("-").as_bytes()))
        }
        Special::Datetime(time) => date(&time.to_string()),
        other => Ok(value::string(other.text().unwrap_or_default().as_bytes())),
    }
}

/// Returns a time as a `DateTimeImmutable`. One without an offset is in UTC.
pub(crate) fn date(text: &str) -> Result<Zval, Thrown> {
    let utc = object::construct("DateTimeZone", &[value::string(b"UTC")])?;
    object::construct("DateTimeImmutable", &[value::string(text.as_bytes()), utc])
}
