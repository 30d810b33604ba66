//! Turns the JSON that Python writes into strict JSON, in one pass and without parsing values.

use std::borrow::Cow;

use super::error::MAX_DIGITS;
use super::python::{check_python_reads, check_special_values, may_hide_names};
use super::string::{next_lone_surrogate, string_end, string_span};
use super::{JsonError, MAX_DEPTH};

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
    normalise_text(utf8(text)?)
}

/// Like [`normalise`], for a text that is known to be UTF-8.
pub(crate) fn normalise_text(text: &str) -> Result<Cow<'_, str>, JsonError> {
    if scan::<false>(text.as_bytes())?.strict {
        return Ok(Cow::Borrowed(text));
    }
    Ok(Cow::Owned(rewritten(text)))
}

/// Like [`normalise`]. Refuses text that Python could not read, too.
pub(crate) fn normalise_for_python(text: &[u8]) -> Result<Cow<'_, str>, JsonError> {
    let text = utf8(text)?;
    let found = if text.len() > MAX_DIGITS {
        scan::<true>(text.as_bytes())?
    } else {
        scan::<false>(text.as_bytes())?
    };
    if !found.strict {
        let strict = rewritten(text);
        check_python_reads(&strict)?;
        return Ok(Cow::Owned(strict));
    }
    if found.digits > MAX_DIGITS {
        return Err(JsonError::Digits);
    }
    if found.special {
        check_special_values(text)?;
    }
    Ok(Cow::Borrowed(text))
}

fn utf8(text: &[u8]) -> Result<&str, JsonError> {
    std::str::from_utf8(text).map_err(|error| JsonError::Utf8 {
        at: error.valid_up_to(),
    })
}

/// What a pass over a text has found.
struct Found {
    /// Nothing has to change.
    strict: bool,
    /// The length of the longest run of digits outside strings. 0 if they are not counted.
    digits: usize,
    /// The text may have a special value: a member may have the name `__type__`.
    special: bool,
}

/// Looks at each part of a text once, and checks the depth.
fn scan<const DIGITS: bool>(text: &[u8]) -> Result<Found, JsonError> {
    let (mut depth, mut run, mut at) = (0_usize, 0, 0);
    let mut found = Found {
        strict: true,
        digits: 0,
        special: false,
    };
    while let Some(&byte) = text.get(at) {
        at += 1;
        if DIGITS {
            run = if byte.is_ascii_digit() { run + 1 } else { 0 };
            found.digits = found.digits.max(run);
        }
        match byte {
            b'"' => {
                let (end, escaped) = string_span(text, at);
                let string = text.get(at..end).unwrap_or_default();
                if escaped {
                    found.strict &= next_lone_surrogate(text, at, end).is_none();
                    // Escapes may hide the name of a special value.
                    found.special |= may_hide_names(string);
                }
                found.special |= string == b"__type__\"";
                at = end;
            }
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            b'N' | b'I' => found.strict = false,
            _ => {}
        }
    }
    Ok(found)
}

fn rewritten(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut copied = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let end = string_end(bytes, at + 1);
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
