//! Content types, and the conversion of MessagePack and YAML to and from JSON.
//!
//! Bodies and results are JSON inside this crate; other formats are converted when they are read
//! and written. Pickle is refused: reading it would run its author's code.

mod format;
mod msgpack;
mod tree;
mod yaml;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub use format::{Serializer, SerializerError};

use crate::json;

impl Serializer {
    /// Converts JSON into this format.
    ///
    /// The values of the message are kept. A value that kombu wraps in JSON becomes what Python writes:
    /// bytes in both formats, datetimes and dates in YAML. MessagePack has no integers beyond 64 bits,
    /// so such an integer is an error.
    ///
    /// # Errors
    ///
    /// Returns [`SerializerError`] if the text is not JSON, or has a value that this format cannot
    /// hold.
    pub fn from_json(self, json: &[u8]) -> Result<Vec<u8>, SerializerError> {
        let json = json::normalise(json).map_err(|error| self.invalid(error))?;
        let value: &RawValue = serde_json::from_str(&json).map_err(|error| self.invalid(error))?;
        match self {
            Self::Json => Ok(json.into_owned().into_bytes()),
            Self::Msgpack => msgpack::write(value),
            Self::Yaml => yaml::write(value),
        }
    }

    /// Converts data of this format into strict JSON of at most `limit` bytes.
    ///
    /// Bytes become kombu's `{"__type__": "bytes" | "base64", …}`, and numbers that are not finite
    /// become null. Keys that are not strings become the strings that Python's JSON makes of them.
    ///
    /// # Errors
    ///
    /// [`SerializerError::TooLarge`] beyond `limit`. Returns another [`SerializerError`] if the
    /// data is not in this format, or has a value that JSON cannot hold.
    pub fn to_json(self, data: &[u8], limit: usize) -> Result<String, SerializerError> {
        match self {
            Self::Json => {
                let json = json::normalise(data).map_err(|error| self.invalid(error))?;
                if json.len() > limit {
                    return Err(SerializerError::TooLarge { limit });
                }
                serde_json::from_str::<IgnoredAny>(&json).map_err(|error| self.invalid(error))?;
                Ok(json.into_owned())
            }
            Self::Msgpack => msgpack::read(data, limit),
            Self::Yaml => yaml::read(data, limit),
        }
    }
}
