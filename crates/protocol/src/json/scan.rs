//! Finds the parts of a JSON text without parsing it, so that the rest can stay byte for byte.
//!
//! The scanner knows strings, brackets and commas, not values. It accepts all that Python's JSON
//! accepts and some text that is not JSON. It never recurses and never reads beyond the end.

use std::borrow::Cow;
use std::ops::Range;

use super::string::string_end;
use super::{JsonError, normalise};

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Returns the index after the value that starts here.
pub(crate) fn skip_value(text: &[u8], start: usize) -> Result<usize, JsonError> {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => at = string_end(text, at + 1),
            b'[' | b'{' => {
                depth += 1;
                at += 1;
            }
            b']' | b'}' if depth > 0 => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth > 0 => at += 1,
            b',' | b':' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r' => {
                return unexpected(text, at);
            }
            _ => {
                let rest = &text[at..];
                at += rest
                    .iter()
                    .position(|byte| b",:]} \t\n\r\"[{".contains(byte))
                    .unwrap_or(rest.len());
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
    unexpected(text, at)
}

fn unexpected<T>(text: &[u8], at: usize) -> Result<T, JsonError> {
    Err(JsonError::Syntax(match text.get(at) {
        Some(byte) => format!("unexpected {:?} at byte {at}", char::from(*byte)),
        None => "unexpected end".to_owned(),
    }))
}

/// The parts of an array or object, in order.
struct Parts<'a> {
    text: &'a [u8],
    at: usize,
    close: u8,
    state: State,
}

#[derive(PartialEq)]
enum State {
    First,
    Later,
    Done,
}

impl<'a> Parts<'a> {
    fn new(text: &'a [u8], open: u8, close: u8) -> Result<Self, JsonError> {
        let start = skip_space(text, 0);
        if text.get(start) != Some(&open) {
            return unexpected(text, start);
        }
        Ok(Self {
            text,
            at: start + 1,
            close,
            state: State::First,
        })
    }

    /// Moves to the start of the next part. Returns `false` at the end, after which only space may
    /// follow.
    fn advance(&mut self) -> Result<bool, JsonError> {
        if self.state == State::Done {
            return Ok(false);
        }
        let at = skip_space(self.text, self.at);
        match self.text.get(at) {
            Some(byte) if *byte == self.close => {
                self.state = State::Done;
                self.at = skip_space(self.text, at + 1);
                if self.at == self.text.len() {
                    Ok(false)
                } else {
                    unexpected(self.text, self.at)
                }
            }
            Some(b',') if self.state == State::Later => {
                self.at = skip_space(self.text, at + 1);
                Ok(true)
            }
            Some(_) if self.state == State::First => {
                self.state = State::Later;
                self.at = at;
                Ok(true)
            }
            _ => unexpected(self.text, at),
        }
    }

    fn value(&mut self) -> Result<Range<usize>, JsonError> {
        let start = self.at;
        self.at = skip_value(self.text, start)?;
        Ok(start..self.at)
    }
}

/// The elements of an array, as ranges of its text.
pub(crate) struct Elements<'a>(Parts<'a>);

impl<'a> Elements<'a> {
    pub(crate) fn new(array: &'a [u8]) -> Result<Self, JsonError> {
        Parts::new(array, b'[', b']').map(Self)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Range<usize>>, JsonError> {
        if self.0.advance()? {
            self.0.value().map(Some)
        } else {
            Ok(None)
        }
    }
}

/// A member's name and the range of its value.
type Member<'a> = (Cow<'a, [u8]>, Range<usize>);

/// The members of an object, as ranges of its text.
pub(crate) struct Members<'a>(Parts<'a>);

impl<'a> Members<'a> {
    pub(crate) fn new(object: &'a [u8]) -> Result<Self, JsonError> {
        Parts::new(object, b'{', b'}').map(Self)
    }

    pub(crate) fn next(&mut self) -> Result<Option<Member<'a>>, JsonError> {
        let Some([name, value]) = self.next_places()? else {
            return Ok(None);
        };
        let name = unquoted(&self.0.text[name])?;
        Ok(Some((name, value)))
    }

    /// Returns the ranges of the next member's name, with its quotes, and value.
    pub(crate) fn next_places(&mut self) -> Result<Option<[Range<usize>; 2]>, JsonError> {
        let parts = &mut self.0;
        if !parts.advance()? {
            return Ok(None);
        }
        let name = parts.value()?;
        parts.at = skip_space(parts.text, parts.at);
        if parts.text.get(parts.at) != Some(&b':') {
            return unexpected(parts.text, parts.at);
        }
        parts.at = skip_space(parts.text, parts.at + 1);
        Ok(Some([name, parts.value()?]))
    }

    /// Returns the range of a member's value; the last one if the name is repeated.
    pub(crate) fn find(object: &'a [u8], wanted: &str) -> Result<Option<Range<usize>>, JsonError> {
        let mut members = Self::new(object)?;
        let mut found = None;
        while let Some((name, value)) = members.next()? {
            if *name == *wanted.as_bytes() {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// Decodes a name as Python does: a lone surrogate or a byte that is not UTF-8 is valid in a name.
fn unquoted(token: &[u8]) -> Result<Cow<'_, [u8]>, JsonError> {
    match token {
        [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => Ok(Cow::Borrowed(inside)),
        _ => {
            let text = String::from_utf8_lossy(token);
            let strict = normalise(text.as_bytes())?;
            Ok(Cow::Owned(
                serde_json::from_str::<String>(&strict)?.into_bytes(),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Result<Vec<(String, &str)>, JsonError> {
        let mut members = Members::new(text.as_bytes())?;
        let mut all = Vec::new();
        while let Some((name, value)) = members.next()? {
            all.push((String::from_utf8_lossy(&name).into_owned(), &text[value]));
        }
        Ok(all)
    }

    #[test]
    fn parts_are_found_with_their_own_text() {
        let text = r#" {"a" : 1.50 , "b\n":[ {"x]":"\"}"}, NaN ], "c":{},"a":-Infinity} "#;
        assert_eq!(
            members(text).unwrap(),
            [
                ("a".into(), "1.50"),
                ("b\n".into(), r#"[ {"x]":"\"}"}, NaN ]"#),
                ("c".into(), "{}"),
                ("a".into(), "-Infinity")
            ]
        );
        assert_eq!(
            Members::find(text.as_bytes(), "a")
                .unwrap()
                .map(|at| &text[at]),
            Some("-Infinity")
        );
        assert!(members("{}").unwrap().is_empty());
    }

    #[test]
    fn broken_text_is_an_error_not_a_panic() {
        for text in [
            "",
            "{",
            "[",
            "{\"a",
            "{\"a\"",
            "{\"a\":",
            "{\"a\":1",
            "{\"a\":1,",
            "{,}",
            "{\"a\":1,}",
            "{\"a\":}",
            "{1:2}",
            "{\"a\":1}x",
            "{\"a\":1 2}",
            "{\"a\" 1}",
            "{\"a\\",
            "{\"\\u\":1}",
            "{\"a\":[}",
        ] {
            assert!(members(text).is_err(), "{text}");
        }
        let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
        assert!(members(&deep).is_err());
    }

    #[test]
    fn elements_are_counted_as_written() {
        let text = b"[ 1 , [2,3] ,\"]\" ]";
        let mut elements = Elements::new(text).unwrap();
        let mut all = Vec::new();
        while let Some(place) = elements.next().unwrap() {
            all.push(&text[place]);
        }
        assert_eq!(all, [&b"1"[..], b"[2,3]", b"\"]\""]);
    }
}
