//! Writing JSON text straight into a buffer.

use std::str::Utf8Error;

use serde_json::value::RawValue;

use super::swar::{self, plain_run};
use crate::time::Timestamp;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Bytes that are looked at and copied together, while they are in the fastest cache.
const BLOCK: usize = 1 << 10;

/// Appends a string with its quotes. Escapes only what JSON requires, as Python and PHP do.
pub fn string(out: &mut Vec<u8>, text: &str) {
    // Also reserves room for the quotes and the next comma or bracket. Growing later would copy a
    // large text again.
    out.reserve(text.len() + 3);
    out.push(b'"');
    escape(out, text.as_bytes());
    out.push(b'"');
}

/// Appends a string like [`string`], of bytes that need not be UTF-8. A long text of plain ASCII is
/// read only once.
///
/// # Errors
///
/// [`Utf8Error`] if the bytes are not UTF-8. Then a part of the string may have been appended.
pub fn utf8_string(out: &mut Vec<u8>, text: &[u8]) -> Result<(), Utf8Error> {
    out.reserve(text.len() + 3);
    out.push(b'"');
    let mut rest = text;
    while let Some((block, later)) = rest.split_at_checked(BLOCK) {
        if !is_plain_ascii(block) {
            break;
        }
        out.extend_from_slice(block);
        rest = later;
    }
    escape(out, str::from_utf8(rest)?.as_bytes());
    out.push(b'"');
    Ok(())
}

/// Returns `true` if the bytes are ASCII without characters to escape.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "without branches, the compiler makes vector instructions of it"
)]
fn is_plain_ascii(bytes: &[u8]) -> bool {
    let special = bytes.iter().fold(false, |special, &byte| {
        // Bytes from 0x80 are negative.
        special | (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\')
    });
    !special
}

/// Appends text with escapes.
fn escape(out: &mut Vec<u8>, mut rest: &[u8]) {
    loop {
        let plain = plain_run(rest, escaped);
        out.extend_from_slice(&rest[..plain]);
        let Some(&byte) = rest.get(plain) else { break };
        rest = &rest[plain + 1..];
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
    }
}

fn escaped(word: u64) -> u64 {
    swar::less(word, 0x20) | swar::equal(word, b'"') | swar::equal(word, b'\\')
}

/// Appends an integer.
pub fn integer(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends a finite number; whole numbers without a fraction.
pub(crate) fn float(out: &mut Vec<u8>, number: f64) {
    let text = if number.fract() == 0.0 && number.abs() < 1e15 {
        format!("{number:.0}")
    } else {
        format!("{number:?}")
    };
    out.extend_from_slice(text.as_bytes());
}

/// Appends a finite number, or null.
pub(crate) fn optional_float(out: &mut Vec<u8>, number: Option<f64>) {
    match number {
        Some(number) => float(out, number),
        None => out.extend_from_slice(b"null"),
    }
}

/// Appends an array of strings.
pub(crate) fn strings<T: AsRef<str>>(out: &mut Vec<u8>, texts: &[T]) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        string(out, text.as_ref());
    }
    out.push(b']');
}

/// Appends an array of values.
pub(crate) fn raws(out: &mut Vec<u8>, values: &[Box<RawValue>]) {
    out.push(b'[');
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(value.get().as_bytes());
    }
    out.push(b']');
}

/// An object being written.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

#[expect(
    clippy::inline_always,
    reason = "measured: a message has forty members, and a known name is a few stores"
)]
impl<'o> Object<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes the name of one of the protocol's members, which needs no escapes. Returns the buffer
    /// for its value.
    ///
    /// It is inlined, as its callers here are: a known name then takes only a few store
    /// instructions, and a message has forty names.
    #[inline(always)]
    pub(crate) fn name(&mut self, name: &'static str) -> &mut Vec<u8> {
        debug_assert_eq!(plain_run(name.as_bytes(), escaped), name.len(), "{name}");
        self.out.reserve(name.len() + 4);
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a member of any name.
    pub(crate) fn other(&mut self, name: &str, value: &RawValue) {
        self.separate();
        string(self.out, name);
        self.out.push(b':');
        self.out.extend_from_slice(value.get().as_bytes());
    }

    #[inline]
    fn separate(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    #[inline(always)]
    pub(crate) fn string(&mut self, name: &'static str, value: &str) {
        string(self.name(name), value);
    }

    #[inline(always)]
    pub(crate) fn null(&mut self, name: &'static str) {
        self.name(name).extend_from_slice(b"null");
    }

    /// Writes a string or null.
    #[inline(always)]
    pub(crate) fn optional(&mut self, name: &'static str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => self.null(name),
        }
    }

    /// Writes a string, or leaves the member out.
    #[inline(always)]
    pub(crate) fn present(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.string(name, value);
        }
    }

    #[inline(always)]
    pub(crate) fn integer(&mut self, name: &'static str, value: i64) {
        integer(self.name(name), value);
    }

    pub(crate) fn boolean(&mut self, name: &'static str, value: bool) {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.name(name).extend_from_slice(text);
    }

    /// Writes a float in Python's form, which keeps the fraction of a whole number (`2.0`), or null
    /// for what JSON cannot express.
    pub(crate) fn float(&mut self, name: &'static str, value: f64) {
        let out = self.name(name);
        if value.is_finite() {
            out.extend_from_slice(format!("{value:?}").as_bytes());
        } else {
            out.extend_from_slice(b"null");
        }
    }

    #[inline(always)]
    pub(crate) fn optional_integer(&mut self, name: &'static str, value: Option<i64>) {
        match value {
            Some(value) => self.integer(name, value),
            None => self.null(name),
        }
    }

    #[inline(always)]
    pub(crate) fn time(&mut self, name: &'static str, value: Option<Timestamp>) {
        match value {
            Some(value) => self.string(name, &value.to_string()),
            None => self.null(name),
        }
    }

    #[inline(always)]
    pub(crate) fn raw(&mut self, name: &'static str, value: Option<&RawValue>) {
        self.name(name)
            .extend_from_slice(value.map_or("null", RawValue::get).as_bytes());
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn strings_are_what_a_parser_reads_back() {
        let text: String = (0..0x300_u32)
            .filter_map(char::from_u32)
            .chain("𝄞\u{2028}".chars())
            .collect();
        let mut out = Vec::new();
        super::string(&mut out, &text);
        assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
    }

    #[test]
    fn bytes_are_written_as_the_text_that_they_are() {
        let plain = "x".repeat(super::BLOCK);
        for odd in ["", "\"", "\\", "\u{1f}", "\u{7f}", " ", "é", "𝄞", "\n"] {
            for before in [0, 1, super::BLOCK - 1, super::BLOCK, 3 * super::BLOCK - 1] {
                let text = plain.repeat(4)[..before].to_owned() + odd + &plain + odd;
                let (mut expected, mut out) = (Vec::new(), b"[".to_vec());
                super::string(&mut expected, &text);
                super::utf8_string(&mut out, text.as_bytes()).unwrap();
                assert_eq!(&out[1..], expected, "{odd:?} after {before}");
            }
        }
        for bad in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\x80"] {
            for before in [0, super::BLOCK - 1, super::BLOCK, 2 * super::BLOCK + 5] {
                let bytes = [&plain.repeat(3).as_bytes()[..before], bad, plain.as_bytes()].concat();
                assert!(
                    super::utf8_string(&mut Vec::new(), &bytes).is_err(),
                    "{before}"
                );
            }
        }
    }

    #[test]
    fn whole_floats_have_no_fraction() {
        for (number, text) in [
            (30.0, "30"),
            (0.5, "0.5"),
            (-2.0, "-2"),
            (1e300, "1e300"),
            (1e-7, "1e-7"),
        ] {
            let mut out = Vec::new();
            super::float(&mut out, number);
            assert_eq!(out, text.as_bytes());
        }
    }
}
