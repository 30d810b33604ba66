//! The form in which documents are stored: Celery's `result_serializer` and `result_compression`.
//!
//! Inside this crate a document is JSON. Beside results, a chord's members and the saved result of a
//! group have this form, as in Celery's Redis backend.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::de::IgnoredAny;

use super::error::ResultError;
use crate::compression::Compression;
use crate::json;
use crate::message::{DEFAULT_MAX_UNPACKED, DecodeOptions};
use crate::serializer::Serializer;

/// The mark before compressed results; the content type of the compression and a zero byte follow.
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// What YAML begins with here, so that readers recognise it: the text is otherwise in flow style, as
/// JSON is.
const YAML: &[u8] = b"--- ";

/// A serializer and a compression of stored documents. The default is plain JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoredForm {
    /// The serializer.
    pub serializer: Serializer,
    /// The compression, if there is one.
    pub compression: Option<Compression>,
}

impl StoredForm {
    /// Returns `true` for JSON without compression.
    pub fn is_plain(self) -> bool {
        self == Self::default()
    }

    /// Returns a document in this form. One that readers would not decompress, because it is larger than
    /// [`DEFAULT_MAX_UNPACKED`], is not compressed.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError`] if the text is not JSON, or has a value that the serializer has no
    /// form for.
    pub fn write(self, json: &[u8]) -> Result<Cow<'_, [u8]>, ResultError> {
        let written = match self.serializer {
            Serializer::Json => Cow::Borrowed(json),
            Serializer::Yaml => {
                let mut yaml = YAML.to_vec();
                yaml.extend(Serializer::Yaml.from_json(json)?);
                Cow::Owned(yaml)
            }
            Serializer::Msgpack => Cow::Owned(Serializer::Msgpack.from_json(json)?),
        };
        let Some(compression) = self.compression else {
            return Ok(written);
        };
        if written.len() > DEFAULT_MAX_UNPACKED {
            return Ok(written);
        }
        let mut marked = COMPRESSED.to_vec();
        marked.extend(compression.content_type().as_bytes());
        marked.push(0);
        marked.extend(compression.compress(&written)?);
        Ok(Cow::Owned(marked))
    }

    /// Returns the form of a stored document, by its first bytes. A compressed document that cannot be
    /// read counts as JSON.
    pub fn of(stored: &[u8]) -> Self {
        let Some(Ok((compression, data))) = stored.strip_prefix(COMPRESSED).map(compressed) else {
            return StoredForm {
                serializer: recognised(stored),
                compression: None,
            };
        };
        let data = compression.decompress(data, DEFAULT_MAX_UNPACKED);
        StoredForm {
            serializer: data.map_or_else(|_| Serializer::Json, |data| recognised(&data)),
            compression: Some(compression),
        }
    }

    /// Returns a document in any of the forms as JSON.
    ///
    /// # Errors
    ///
    /// Returns [`ResultError`] if it is a pickle, does not decompress, or is not in its format.
    pub fn read(stored: &[u8]) -> Result<String, ResultError> {
        document(stored, None)
    }
}

/// Returns `true` for a pickle of protocol 2 or later, as Celery writes them. No document in
/// another format begins like that: in MessagePack the bytes are an empty map with data after it.
fn is_pickle(bytes: &[u8]) -> bool {
    matches!(bytes, [0x80, 2..=5, ..])
}

/// Returns the serializer of a stored map or list, by its first byte. In MessagePack it begins with a
/// byte that cannot begin a text, in JSON with a bracket. In YAML, as Python writes it, a map begins
/// with its first name, and a list with a hyphen; this project begins both with three hyphens.
fn recognised(bytes: &[u8]) -> Serializer {
    match bytes.first() {
        Some(0x80..=0x9f | 0xdc..=0xdf) => Serializer::Msgpack,
        Some(first) if first.is_ascii_alphabetic() || *first == b'-' => Serializer::Yaml,
        _ => Serializer::Json,
    }
}

/// Returns a stored document as strict JSON. It may become as large as a message's body.
pub(super) fn document(
    bytes: &[u8],
    serializer: Option<Serializer>,
) -> Result<String, ResultError> {
    let limits = DecodeOptions::default();
    let (bytes, compression) = match bytes.strip_prefix(COMPRESSED) {
        None => (Cow::Borrowed(bytes), None),
        Some(rest) => {
            let (compression, data) = compressed(rest)?;
            let limit = limits.limit(serializer.unwrap_or_default(), Some(compression));
            (
                Cow::Owned(compression.decompress(data, limit)?),
                Some(compression),
            )
        }
    };
    if is_pickle(&bytes) {
        return Err(ResultError::Pickle);
    }
    let serializer = serializer.unwrap_or_else(|| recognised(&bytes));
    if serializer == Serializer::Yaml
        && let Some(json) = bytes.strip_prefix(YAML).and_then(flow_as_json)
    {
        return Ok(json);
    }
    match serializer {
        Serializer::Json => match json::normalise(&bytes) {
            Ok(json) => Ok(json.into_owned()),
            Err(error) => Err(ResultError::Invalid(error.to_string())),
        },
        other => Ok(other.to_json(&bytes, limits.limit(other, compression))?),
    }
}

/// Returns the YAML that [`StoredForm::write`] makes as JSON: that is what it is, except for some
/// escapes. `None` if it has values that JSON has not, such as datetimes.
///
/// The parser of YAML would refuse large results, because its time and its memory grow fast.
fn flow_as_json(yaml: &[u8]) -> Option<String> {
    let mut rest = str::from_utf8(yaml).ok()?;
    let mut json = String::with_capacity(rest.len());
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        json.push_str(before);
        let digits = match escape.as_bytes().get(1)? {
            b'x' => 2,
            b'U' => 8,
            _ => 0,
        };
        let (escape, after) = escape.split_at_checked(2 + digits)?;
        rest = after;
        if digits == 0 {
            json.push_str(escape);
            continue;
        }
        let code = u32::from_str_radix(escape.get(2..)?, 16).ok()?;
        let character = char::from_u32(code)?;
        if code < 0x1_0000 {
            // Writing into a string cannot fail.
            let _ = write!(json, "\\u{code:04X}");
        } else {
            json.push(character);
        }
    }
    json.push_str(rest);
    serde_json::from_str::<IgnoredAny>(&json).ok()?;
    Some(json::normalise(json.as_bytes()).ok()?.into_owned())
}

/// Splits the text after the mark of compressed results: a content type, a zero byte and the data.
fn compressed(marked: &[u8]) -> Result<(Compression, &[u8]), ResultError> {
    let mut parts = marked.splitn(2, |byte| *byte == 0);
    let name = parts.next().and_then(|name| str::from_utf8(name).ok());
    let compression = name.and_then(Compression::from_name);
    match (compression, parts.next()) {
        (Some(compression), Some(data)) => Ok((compression, data)),
        _ => Err(ResultError::Invalid("unknown compression".to_owned())),
    }
}
