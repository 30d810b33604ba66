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

use crate::ffi::room;
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

/// The reason why a value was not written.
pub(crate) enum NotWritten {
    /// Another encoder has to decide about the value.
    NotPlain,
    /// The text is larger than a call's copies may be.
    TooLarge,
}

/// Returns the JSON of a value that is plain throughout. Runs no PHP code.
pub(crate) fn encode_plain(value: &Zval) -> Result<Box<RawValue>, NotWritten> {
    let mut writer = Writer {
        out: BUFFER.take(),
        most: room::most(),
    };
    let written = writer.write(value, MAX_DEPTH);
    let mut out = writer.out;
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

struct Writer {
    out: Vec<u8>,
    /// The limit on the bytes of `out`. One text may exceed it.
    most: usize,
}

impl Writer {
    fn write(&mut self, value: &Zval, depth: usize) -> Result<(), NotWritten> {
        // An array may have one large text many times.
        if self.out.len() > self.most {
            return Err(NotWritten::TooLarge);
        }
        if let Some(bytes) = value::bytes(value) {
            self.text(bytes)
        } else if let Some(number) = value.long() {
            write_integer(&mut self.out, number);
            Ok(())
        } else if let Some(truth) = value.bool() {
            let truth: &[u8] = if truth { b"true" } else { b"false" };
            self.out.extend_from_slice(truth);
            Ok(())
        } else if value.is_null() {
            self.out.extend_from_slice(b"null");
            Ok(())
        } else if value.is_array() {
            let depth = depth.checked_sub(1).ok_or(NotWritten::NotPlain)?;
            self.array(value, depth)
        } else {
            Err(NotWritten::NotPlain)
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Result<(), NotWritten> {
        write_utf8_string(&mut self.out, bytes).map_err(|_| NotWritten::NotPlain)
    }

    fn array(&mut self, array: &Zval, depth: usize) -> Result<(), NotWritten> {
        let is_list = value::is_list(array);
        if let Some(elements) = value::elements(array) {
            self.out.push(b'[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    self.out.push(b',');
                }
                self.write(element.dereference(), depth)?;
            }
            self.out.push(b']');
            return Ok(());
        }
        let mut separator = if is_list { b'[' } else { b'{' };
        let not_written = value::find_in_array(array, |key, element| {
            self.out.push(separator);
            separator = b',';
            let name = if is_list { Ok(()) } else { self.name(key) };
            name.and_then(|()| self.write(element, depth)).err()
        });
        if separator != b',' {
            // The array was empty, and an empty array is a list.
            self.out.push(b'[');
        }
        self.out.push(if is_list { b']' } else { b'}' });
        not_written.map_or(Ok(()), Err)
    }

    fn name(&mut self, key: Key<'_>) -> Result<(), NotWritten> {
        match key {
            Key::Name(name) => self.text(name)?,
            Key::Index(index) => {
                self.out.push(b'"');
                write_integer(&mut self.out, index);
                self.out.push(b'"');
            }
        }
        self.out.push(b':');
        Ok(())
    }
}
