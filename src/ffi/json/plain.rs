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

use std::cell::Cell;

use celery_protocol::RawValue;
use celery_protocol::json::{write_integer, write_utf8_string};
use ext_php_rs::types::Zval;

use crate::ffi::value::{self, Key};

/// Arrays nested deeper are left to PHP, which detects too many levels and an array that contains
/// itself.
const MAX_DEPTH: usize = 32;
/// The largest text to copy out of the buffer, which then serves the next value. A larger one takes
/// the buffer over.
const SMALL: usize = 4 << 10;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Returns the JSON of a value that is plain throughout. Runs no PHP code.
pub(crate) fn encode_plain(value: &Zval) -> Option<Box<RawValue>> {
    let mut out = BUFFER.take();
    let written = write(&mut out, value, MAX_DEPTH);
    let text = written.map(|()| {
        if out.len() <= SMALL {
            out.as_slice().to_vec()
        } else {
            std::mem::take(&mut out)
        }
    });
    if out.capacity() <= SMALL {
        out.clear();
        BUFFER.set(out);
    }
    // SAFETY: the bytes are one JSON value without space around it, of ASCII and of texts checked
    // to be UTF-8.
    text.map(|text| unsafe { RawValue::from_string_unchecked(String::from_utf8_unchecked(text)) })
}

fn write(out: &mut Vec<u8>, value: &Zval, depth: usize) -> Option<()> {
    if let Some(bytes) = value::bytes(value) {
        write_utf8_string(out, bytes).ok()?;
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
    if let Some(elements) = value::elements(array) {
        out.push(b'[');
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write(out, element.dereference(), depth)?;
        }
        out.push(b']');
        return Some(());
    }
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
        Key::Name(name) => write_utf8_string(out, name).ok()?,
        Key::Index(index) => {
            out.push(b'"');
            write_integer(out, index);
            out.push(b'"');
        }
    }
    out.push(b':');
    Some(())
}
