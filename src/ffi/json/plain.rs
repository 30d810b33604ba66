//! JSON of plain values without PHP's encoder: null, booleans, integers, texts, and arrays of
//! these.
//!
//! Most arguments of tasks are plain. PHP's encoder reads a text byte by byte. This one looks at
//! many bytes at once and need not check its own output afterwards: a large text takes a tenth of
//! the time.
//!
//! Its output equals that of [`encode`](super::encode) byte for byte. Values that could differ are
//! left to `encode`: floats (which follow `serialize_precision`), objects, and all values that are
//! or may become an error.

use celery_protocol::RawValue;
use celery_protocol::json::{write_integer, write_string};
use ext_php_rs::types::Zval;

use crate::ffi::value::{self, Key};

/// Arrays nested deeper are left to PHP, which detects too many levels and an array that contains
/// itself.
const MAX_DEPTH: usize = 32;
/// Initial size of the buffer: enough for the arguments of most tasks.
const ROOM: usize = 128;

/// Returns the JSON of a value that is plain throughout. Runs no PHP code.
pub(crate) fn encode_plain(value: &Zval) -> Option<Box<RawValue>> {
    let mut out = Vec::with_capacity(ROOM);
    write(&mut out, value, MAX_DEPTH)?;
    // SAFETY: the bytes are one JSON value without space around it, of ASCII and of texts checked
    // to be UTF-8.
    Some(unsafe { RawValue::from_string_unchecked(String::from_utf8_unchecked(out)) })
}

fn write(out: &mut Vec<u8>, value: &Zval, depth: usize) -> Option<()> {
    if let Some(bytes) = value::bytes(value) {
        write_string(out, str::from_utf8(bytes).ok()?);
    } else if let Some(number) = value.long() {
        write_integer(out, number);
    } else if let Some(truth) = value.bool() {
        out.extend_from_slice(if truth { b"true" } else { b"false" });
    } else if value.is_null() {
        out.extend_from_slice(b"null");
    } else if value.is_array() {
        write_array(out, value, depth.checked_sub(1)?)?;
    } else {
        return None;
    }
    Some(())
}

fn write_array(out: &mut Vec<u8>, array: &Zval, depth: usize) -> Option<()> {
    let is_list = value::is_list(array);
    let mut separator = if is_list { b'[' } else { b'{' };
    let left_to_php = value::find_in_array(array, |key, element| {
        out.push(separator);
        separator = b',';
        let written = if is_list {
            write(out, element, depth)
        } else {
            write_name(out, key).and_then(|()| write(out, element, depth))
        };
        written.is_none().then_some(())
    });
    if separator != b',' {
        // The array was empty, and an empty array is a list.
        out.push(b'[');
    }
    out.push(if is_list { b']' } else { b'}' });
    left_to_php.is_none().then_some(())
}

fn write_name(out: &mut Vec<u8>, key: Key<'_>) -> Option<()> {
    match key {
        Key::Name(name) => write_string(out, str::from_utf8(name).ok()?),
        Key::Index(index) => {
            out.push(b'"');
            write_integer(out, index);
            out.push(b'"');
        }
    }
    out.push(b':');
    Some(())
}
