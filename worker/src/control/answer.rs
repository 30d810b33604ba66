//! The answers of commands, as Python's commands make them.

use celery_protocol::repr;
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// A command's answer as JSON, or the `repr` of an exception that Python would have raised.
pub(crate) type Answer = Result<Box<RawValue>, String>;

/// Returns a value as an answer.
pub(crate) fn answer(value: &impl Serialize) -> Answer {
    to_raw_value(value).map_err(|error| raised("EncodeError", &error.to_string()))
}

/// Returns the answer of a command that did what was asked.
pub(crate) fn ok(text: &str) -> Answer {
    answer(&json!({"ok": text}))
}

/// Returns the answer of a command that refuses, without an exception.
pub(crate) fn nok(text: &str) -> Answer {
    answer(&json!({"error": text}))
}

/// Returns the answer of a command that failed.
pub(crate) fn error(text: &str) -> Box<RawValue> {
    // A JSON object of one text can always be written.
    to_raw_value(&json!({"error": text})).unwrap_or_default()
}

/// Returns the `repr` of an exception with this message.
pub(crate) fn raised(exception: &str, message: &str) -> String {
    format!("{exception}({})", quoted(message))
}

/// Returns a text as Python's `repr` shows it.
pub(crate) fn quoted(text: &str) -> String {
    repr::value(&json!(text).to_string(), repr::MAX_CHARS)
}
