//! Lenient reading of the JSON that Python writes, and the values JSON itself has no form for.
//!
//! Python writes `NaN`, `Infinity` and `-Infinity` bare and lone surrogates as escapes; strict parsers
//! refuse both. [`normalise`] makes strict JSON of such a text: a bare number becomes `null` (what
//! JavaScript's `JSON.stringify` makes of it), a lone surrogate becomes U+FFFD. Depth is bounded by
//! [`MAX_DEPTH`], for strict text too, so that no parser behind it can exhaust its stack.

use std::borrow::Cow;

use serde_json::Value;

use crate::time::Timestamp;

/// How deep arrays and objects may nest: the limit of serde_json, so that what passes here parses there.
pub const MAX_DEPTH: usize = 127;

/// A text that is not the JSON that Python writes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// The first bad byte.
        at: usize,
    },
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
}

/// Strict JSON of a text that Python wrote. Borrowed if nothing had to change.
///
/// Only what is named in the module's description is changed; a text that is not JSON may still be none
/// afterwards.
pub fn normalise(text: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let _ = text;
    todo!()
}

/// A value of Python's that kombu writes as `{"__type__": …, "__value__": …}`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Special {
    /// `datetime`.
    Datetime(Timestamp),
    /// `date`, as `2026-01-02`.
    Date(String),
    /// `time`, as `03:04:05`.
    Time(String),
    /// `decimal`, its digits.
    Decimal(String),
    /// `uuid`, as 32 hexadecimal digits.
    Uuid(String),
    /// `bytes` or `base64`.
    Bytes(Vec<u8>),
}

impl Special {
    /// Reads a special value. `None` if the value is not one: kombu requires exactly the two members.
    pub fn from_value(value: &Value) -> Option<Result<Self, JsonError>> {
        let _ = value;
        todo!()
    }

    /// Writes it as kombu does.
    pub fn to_value(&self) -> Value {
        todo!()
    }
}
