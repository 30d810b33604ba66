//! PHP's own JSON encoder and decoder, so that values look exactly as `json_encode` and
//! `json_decode` make them.
//!
//! The module `plain` encodes values for which PHP's encoder is not needed.

mod plain;

use std::ffi::{c_char, c_int};
use std::ptr;

use ext_php_rs::ffi;
use ext_php_rs::types::Zval;

use super::bailout::{self, Bailout};

pub(crate) use plain::{NotWritten, encode_plain};

unsafe extern "C" {
    fn php_json_encode_ex(
        buffer: *mut SmartStr,
        value: *mut Zval,
        options: c_int,
        depth: ffi::zend_long,
    ) -> c_int;
    fn php_json_decode_ex(
        value: *mut Zval,
        text: *const c_char,
        len: usize,
        options: ffi::zend_long,
        depth: ffi::zend_long,
    ) -> c_int;
}

#[cfg(not(php_zts))]
unsafe extern "C" {
    static mut json_globals: Globals;
}

#[cfg(php_zts)]
unsafe extern "C" {
    static json_globals_id: c_int;
    fn tsrm_get_ls_cache() -> *mut std::ffi::c_void;
}

/// The struct `zend_json_globals`, which is the same in every PHP since 7.1.
#[repr(C)]
struct Globals {
    encoder_depth: c_int,
    encode_max_depth: c_int,
    error_code: c_int,
}

/// Returns the value of `json_last_error()`. The encoder's own return value is not enough: it also
/// reports success for half a text.
fn last_error() -> c_int {
    #[cfg(not(php_zts))]
    // SAFETY: without threads, PHP's JSON extension, which is always present, has its globals in
    // this variable.
    unsafe {
        (&raw const json_globals.error_code).read()
    }
    #[cfg(php_zts)]
    // SAFETY: TSRM keeps a table of pointers for each thread. Ids count from one.
    unsafe {
        let table = *tsrm_get_ls_cache().cast::<*mut *mut Globals>();
        let index = usize::try_from(json_globals_id - 1).unwrap_or(0);
        (**table.add(index)).error_code
    }
}

/// The struct `smart_str`: a string under construction.
#[repr(C)]
struct SmartStr {
    string: *mut ffi::zend_string,
    allocated: usize,
}

/// The default depth of `json_encode` and `json_decode`.
pub(crate) const DEPTH: usize = 512;
/// `JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_LINE_TERMINATORS`: the values
/// stay equal and take fewer bytes.
const COMPACT: c_int = (1 << 6) | (1 << 8) | (1 << 11);
/// `JSON_OBJECT_AS_ARRAY`
const AS_ARRAY: ffi::zend_long = 1;
/// `JSON_BIGINT_AS_STRING`
const BIGINT_AS_STRING: ffi::zend_long = 1 << 1;

/// The error of a refused value, or of PHP code that has thrown or bailed out during the encoding.
#[derive(Debug)]
pub(crate) struct EncodeError;

/// Encodes a value as `json_encode` does. Runs PHP code (`jsonSerialize`).
pub(crate) fn encode(value: &Zval) -> Result<String, EncodeError> {
    let mut buffer = SmartStr {
        string: ptr::null_mut(),
        allocated: 0,
    };
    // SAFETY: the encoder only reads the value; it may mark it while it descends, and unmarks it.
    // The buffer starts empty and is filled with a string that we own. It is released below, except
    // after a bailout, when the engine frees all its memory itself.
    unsafe {
        let value = ptr::from_ref(value).cast_mut();
        let outcome =
            bailout::catch(|| php_json_encode_ex(&raw mut buffer, value, COMPACT, depth()))
                .map_err(|Bailout| EncodeError)?;
        let text = buffer.string.as_ref().map(|string| {
            // `smart_str` grows in advance and sets the final length as it goes. A text that the
            // encoder abandoned may end in the middle of a character.
            match str::from_utf8(string.as_bytes()) {
                Ok(text) => text.to_owned(),
                Err(_) => String::from_utf8_lossy(string.as_bytes()).into_owned(),
            }
        });
        if !buffer.string.is_null() {
            ffi::ext_php_rs_zend_string_release(buffer.string);
        }
        if outcome == 0 && last_error() == 0 && !super::throw::is_pending() {
            text.ok_or(EncodeError)
        } else {
            Err(EncodeError)
        }
    }
}

/// The representation of objects.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "it reads as in a sentence")]
pub(crate) enum Objects {
    /// As `stdClass`, which is PHP's default.
    AsObjects,
    /// As associative arrays.
    AsArrays,
    /// As associative arrays, with integers of more than 64 bits as strings.
    AsValues,
}

/// The reason why `json_decode` refused a text.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The text has more than [`DEPTH`] levels.
    Depth,
    /// An object's name begins with a NUL byte, which PHP reserves.
    Name,
    /// The text is not JSON.
    Syntax,
    /// PHP's memory is exhausted, and the script is about to end.
    Bailout,
}

/// `PHP_JSON_ERROR_DEPTH`
const ERROR_DEPTH: c_int = 1;
/// `PHP_JSON_ERROR_INVALID_PROPERTY_NAME`
const ERROR_NAME: c_int = 9;

/// Decodes a text as `json_decode` does.
pub(crate) fn decode(text: &str, objects: Objects) -> Result<Zval, DecodeError> {
    let mut value = Zval::new();
    let options = match objects {
        Objects::AsObjects => 0,
        Objects::AsArrays => AS_ARRAY,
        Objects::AsValues => AS_ARRAY | BIGINT_AS_STRING,
    };
    // PHP's scanner takes a NUL for the end of the text. It expects one there, as every string of
    // PHP has.
    let mut terminated = Vec::with_capacity(text.len() + 1);
    terminated.extend_from_slice(text.as_bytes());
    terminated.push(0);
    // SAFETY: the text is valid for its length and the NUL after it. The value is initialised, and
    // on failure it stays null.
    let outcome = bailout::catch(|| unsafe {
        php_json_decode_ex(
            &raw mut value,
            terminated.as_ptr().cast(),
            text.len(),
            options,
            depth(),
        )
    });
    match outcome {
        Ok(0) => Ok(value),
        Ok(_) => Err(match last_error() {
            ERROR_DEPTH => DecodeError::Depth,
            ERROR_NAME => DecodeError::Name,
            _ => DecodeError::Syntax,
        }),
        Err(Bailout) => Err(DecodeError::Bailout),
    }
}

fn depth() -> ffi::zend_long {
    ffi::zend_long::try_from(DEPTH).unwrap_or(ffi::zend_long::MAX)
}
