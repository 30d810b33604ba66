//! Lenient reading of the JSON that Python writes, and of values that JSON has no form for.
//!
//! Python writes `NaN`, `Infinity` and `-Infinity` bare, and lone surrogates as escapes; strict
//! parsers refuse both. [`normalise`] makes such a text strict JSON. A bare number becomes `null`,
//! as in JavaScript's `JSON.stringify`; a lone surrogate becomes U+FFFD. [`MAX_DEPTH`] limits the
//! depth of strict text too, so that no later parser can exhaust its stack.
//!
//! Numbers keep their text: `1e400` and integers of any length pass. The reader of the value must
//! refuse what it cannot hold.

mod members;
mod python;
mod scan;
mod special;
pub(crate) mod swar;
pub(crate) mod write;

use std::borrow::Cow;

pub use members::unique_members;
pub(crate) use members::{Name, each_member};
pub(crate) use python::check_python_reads;
pub use python::has_large_integer;
pub(crate) use scan::{Elements, Members, skip_value};
pub use special::Special;
pub use write::{integer as write_integer, string as write_string};

/// The deepest nesting of arrays and objects: `serde_json`'s limit, so that text accepted here
/// parses there.
pub const MAX_DEPTH: usize = 127;

/// The error of a text that is not JSON as Python writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// The position of the first bad byte.
        at: usize,
    },
    /// A `__type__` that kombu does not know, or a value that does not fit its `__type__`.
    #[error("unknown or invalid __type__")]
    Special,
    /// An integer has more digits than Python converts.
    #[error("integer of more than {} digits", python::MAX_DIGITS)]
    Digits,
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}

/// Returns a text that Python wrote as strict JSON. Borrows if nothing had to change.
///
/// Changes only what the module's description names; a text that is not JSON may still not be JSON
/// afterwards.
///
/// ```
/// use celery_protocol::json::normalise;
/// assert_eq!(normalise(br#"[NaN, -Infinity, "NaN"]"#).unwrap(), r#"[null, null, "NaN"]"#);
/// assert!(normalise("[".repeat(1_000_000).as_bytes()).is_err());
/// ```
///
/// # Errors
///
/// Returns [`JsonError`] if the text is not UTF-8, nests deeper than [`MAX_DEPTH`], or breaks a
/// rule of JSON that this pass sees.
pub fn normalise(text: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let text = std::str::from_utf8(text).map_err(|error| JsonError::Utf8 {
        at: error.valid_up_to(),
    })?;
    normalise_text(text)
}

/// Like [`normalise`], for a text that is known to be UTF-8.
pub(crate) fn normalise_text(text: &str) -> Result<Cow<'_, str>, JsonError> {
    if is_strict(text.as_bytes())? {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(rewritten(text)))
}

/// Checks the depth; returns `true` if nothing in the text has to change.
fn is_strict(text: &[u8]) -> Result<bool, JsonError> {
    let mut depth = 0_usize;
    let mut strict = true;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => {
                let end = scan::string_end(text, at);
                strict = strict && next_lone_surrogate(text, at, end).is_none();
                at = end;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'N' | b'I' => strict = false,
            _ => {}
        }
    }
    Ok(strict)
}

fn rewritten(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut copied = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = scan::string_end(bytes, at + 1);
                at += 1;
                while let Some(lone) = next_lone_surrogate(bytes, at, end) {
                    out.push_str(&text[copied..lone]);
                    out.push_str("\\ufffd");
                    at = lone + 6;
                    copied = at;
                }
                at = end;
            }
            b'N' if bytes[at..].starts_with(b"NaN") => {
                out.push_str(&text[copied..at]);
                out.push_str("null");
                at += 3;
                copied = at;
            }
            b'I' if bytes[at..].starts_with(b"Infinity") => {
                out.push_str(&text[copied..at]);
                if out.ends_with('-') {
                    out.pop();
                }
                out.push_str("null");
                at += 8;
                copied = at;
            }
            _ => at += 1,
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// Returns the position of the next escape in a string that is half of a surrogate pair without its
/// other half.
fn next_lone_surrogate(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut at = start;
    while let Some(backslash) = memchr::memchr(b'\\', &text[at..end]) {
        let escape = at + backslash;
        match escaped_unit(text, escape) {
            Some(0xD800..=0xDBFF) => {
                if !matches!(escaped_unit(text, escape + 6), Some(0xDC00..=0xDFFF)) {
                    return Some(escape);
                }
                at = escape + 12;
            }
            Some(0xDC00..=0xDFFF) => return Some(escape),
            _ => at = escape + 2,
        }
        if at >= end {
            return None;
        }
    }
    None
}

/// Returns the code unit of the `\uXXXX` escape that starts at `at`.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at.checked_add(6)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_text_is_borrowed() {
        for text in [
            r#"{"a": [1, "NaN \ud834\udd1e \\ud800"]}"#,
            "1e400",
            "",
            "]]]",
        ] {
            assert!(
                matches!(normalise(text.as_bytes()), Ok(Cow::Borrowed(same)) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn what_only_python_reads_is_replaced() {
        for (text, strict) in [
            ("[NaN, Infinity, -Infinity]", "[null, null, null]"),
            (
                r#"{"NaN": NaN, "\"I": Infinity}"#,
                r#"{"NaN": null, "\"I": null}"#,
            ),
            (
                r#"["\ud800", "\udc00\ud800x", "\ud834\udd1e\uD834"]"#,
                r#"["\ufffd", "\ufffd\ufffdx", "\ud834\udd1e\ufffd"]"#,
            ),
            (r#"["a\\\ud800\\"]"#, r#"["a\\\ufffd\\"]"#),
        ] {
            let out = normalise(text.as_bytes()).unwrap();
            assert_eq!(out, strict);
            serde_json::from_str::<serde_json::Value>(&out).unwrap();
        }
    }

    #[test]
    fn broken_text_stays_broken() {
        for text in [
            "[N",
            "Inf",
            "\"\\u",
            "\"\\ud8",
            "\"\\ud800",
            "[\"\\ud800\\",
            "-",
            "NaN\"",
            "\"abc\\",
        ] {
            if let Ok(out) = normalise(text.as_bytes()) {
                assert!(
                    serde_json::from_str::<serde_json::Value>(&out).is_err(),
                    "{text}"
                );
            }
        }
        assert_eq!(normalise(b"\"\xff\""), Err(JsonError::Utf8 { at: 1 }));
    }

    #[test]
    fn the_depth_limit_is_serde_jsons() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let deepest = nested(MAX_DEPTH);
        assert!(serde_json::from_str::<serde_json::Value>(&deepest).is_ok());
        assert!(normalise(deepest.as_bytes()).is_ok());
        assert!(serde_json::from_str::<serde_json::Value>(&nested(MAX_DEPTH + 1)).is_err());
        assert_eq!(
            normalise(nested(MAX_DEPTH + 1).as_bytes()),
            Err(JsonError::TooDeep)
        );
    }
}
