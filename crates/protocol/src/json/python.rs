//! Checks for strict JSON that Python nevertheless refuses to read.
//!
//! In Python, an integer that is too long and an invalid special value are errors. In kombu's
//! `unacked`, such a text would stop the sweeps of every Python worker.
//!
//! The check goes through the text once and makes no values of it. A number may be larger than any
//! type holds, and a large text takes no additional memory.

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde_json::value::RawValue;

use super::error::MAX_DIGITS;
use super::string::string_end;
use super::{JsonError, Name, Special, each_member};

/// Integers with fewer digits have at most 64 bits.
const LARGE_DIGITS: usize = 19;

/// The begin of an escape of a letter that the names of a special value have. It is prepared once.
static LETTER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\\u00"));

/// Refuses strict JSON that kombu could not read. The caller has checked the depth.
pub(super) fn check_python_reads(text: &str) -> Result<(), JsonError> {
    if longest_number(text.as_bytes()) > MAX_DIGITS {
        return Err(JsonError::Digits);
    }
    check_special_values(text)
}

/// Returns `true` if a string may be the name of a member of a special value, written with escapes.
pub(super) fn may_hide_names(string: &[u8]) -> bool {
    LETTER.find(string).is_some()
}

/// Returns the length of the longest run of digits outside strings.
fn longest_number(text: &[u8]) -> usize {
    let (mut longest, mut run, mut at) = (0, 0, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'0'..=b'9' => {
                run += 1;
                longest = longest.max(run);
            }
            b'"' => {
                at = string_end(text, at);
                run = 0;
            }
            _ => run = 0,
        }
    }
    longest
}

/// Returns `true` if a text may contain an integer beyond 64 bits. Also returns `true` for other
/// numbers with as many digits.
pub fn has_large_integer(text: &str) -> bool {
    text.len() >= LARGE_DIGITS && longest_number(text.as_bytes()) >= LARGE_DIGITS
}

/// An object or array that is still open. In an array there are no names.
#[derive(Default)]
struct Open<'a> {
    /// The last string, which is a name if a colon follows.
    string: Range<usize>,
    /// The name of the current member.
    name: Option<Range<usize>>,
    /// The position where the current value begins.
    value: usize,
    kind: Option<&'a str>,
    inner: Option<&'a str>,
    /// `true` if another member exists: then the object is not a special value.
    more: bool,
}

impl<'a> Open<'a> {
    /// Records the member that ends here, if any.
    fn end_member(&mut self, text: &'a str, at: usize) {
        let Some(name) = self.name.take().and_then(|name| text.get(name)) else {
            return;
        };
        let value = text.get(self.value..at).map(str::trim_ascii);
        let name = serde_json::from_str::<Name<'_>>(name);
        match name.as_ref().map(|Name(name)| &**name) {
            Ok("__type__") => self.kind = value,
            Ok("__value__") => self.inner = value,
            _ => self.more = true,
        }
    }

    /// Returns an error if the object looks like a special value but is not a valid one.
    fn check(self) -> Result<(), JsonError> {
        match (self.more, self.kind, self.inner) {
            (false, Some(kind), Some(inner)) => special(kind, inner).ok_or(JsonError::Special),
            _ => Ok(()),
        }
    }
}

/// Checks every special value in a text.
pub(super) fn check_special_values(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let start = at;
        at += 1;
        if byte == b'"' {
            at = string_end(bytes, at);
        }
        match (byte, open.last_mut()) {
            (b'{' | b'[', _) => open.push(Open::default()),
            (b'"', Some(object)) => object.string = start..at,
            (b':', Some(object)) => {
                object.name = Some(object.string.clone());
                object.value = at;
            }
            (b',', Some(object)) => object.end_member(text, start),
            (b'}' | b']', Some(object)) => {
                object.end_member(text, start);
                open.pop().map_or(Ok(()), Open::check)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns `Some` if `inner` is a valid value of the type `kind`.
fn special(kind: &str, inner: &str) -> Option<()> {
    let Name(kind) = serde_json::from_str(kind).ok()?;
    let mut hex: Option<&RawValue> = None;
    let inner = match &*kind {
        "uuid" => {
            each_member(inner, |name, value| {
                if name == "hex" {
                    hex = Some(value);
                }
            })
            .ok()?;
            hex?.get()
        }
        _ => inner,
    };
    let Name(text) = serde_json::from_str(inner).ok()?;
    Special::read(&kind, &text).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::normalise_for_python;

    #[test]
    fn what_would_stop_a_python_sweeper_is_refused() {
        let digits = |count: usize| {
            format!(
                "{{\"n\":{},\"s\":\"{}\"}}",
                "9".repeat(count),
                "9".repeat(9_000)
            )
        };
        for (count, reads) in [(4_300, Ok(())), (4_301, Err(JsonError::Digits))] {
            let text = digits(count);
            assert_eq!(check_python_reads(&text), reads);
            assert_eq!(normalise_for_python(text.as_bytes()).map(drop), reads);
            // With a value that only Python reads, it is another path.
            let text = format!("[NaN,{text}]");
            assert_eq!(normalise_for_python(text.as_bytes()).map(drop), reads);
        }
        for (text, reads) in [
            (r#"{"h":[{"__type__":"foo","__value__":1}]}"#, false),
            (r#"[1,{"__type__" : "foo" , "__value__" : 1 } ]"#, false),
            (r#"{"h":{"\u005f_type__":"foo","__value__":1}}"#, false),
            (r#"{"__type__":"date","__value__":"x"}"#, false),
            (r#"{"__type__":"date","__value__":"2026-01-02"}"#, true),
            (r#"{"__value__":"2026-01-02","__type__":"date"}"#, true),
            (r#"{"__type__":["date"],"__value__":"2026-01-02"}"#, false),
            (r#"{"__type__":"date","__value__":1e400}"#, false),
            (
                r#"{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678","n":1e400}}"#,
                true,
            ),
            (r#"{"__type__":"uuid","__value__":{"hex":12}}"#, false),
            (
                r#"{"__type__":"uuid","__value__":"12345678123456781234567812345678"}"#,
                false,
            ),
            (
                r#"{"__type__":"\u0064ate","__value__":"2026-01\u002d02"}"#,
                true,
            ),
            // A repeated name has its last value; other members make it an ordinary object.
            (
                r#"{"__type__":"foo","__type__":"date","__value__":"2026-01-02"}"#,
                true,
            ),
            (
                r#"{"__type__":"date","__type__":"foo","__value__":"2026-01-02"}"#,
                false,
            ),
            (r#"{"__type__":"foo","__value__":1,"x":2}"#, true),
            (r#"{"__type__":"foo"}"#, true),
            // Python reads the inner values first.
            (
                r#"{"__type__":"x","__value__":{"__type__":"foo","__value__":1},"x":1}"#,
                false,
            ),
            (r#"{"a":"{\"__type__\":\"foo\",\"__value__\":1}"}"#, true),
            (r#"{"h":"__type__\u00e9","n":[1e400,{"a":-1e999}]}"#, true),
        ] {
            assert_eq!(check_python_reads(text).is_ok(), reads, "{text}");
            let once = normalise_for_python(text.as_bytes());
            assert_eq!(once.is_ok(), reads, "{text}");
        }
    }

    #[test]
    fn text_that_is_no_json_is_left_to_the_parser() {
        for text in [
            "__type__",
            "]}__type__:,",
            "{\"__type__\"",
            "{\"__type__\":",
            ":,\"__type__\":}",
            "[:\"__type__\",]",
        ] {
            assert_eq!(check_python_reads(text), Ok(()), "{text}");
            assert!(normalise_for_python(text.as_bytes()).is_ok(), "{text}");
        }
    }
}
