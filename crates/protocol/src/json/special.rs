//! Values that kombu wraps as `{"__type__": …, "__value__": …}`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::JsonError;
use crate::time::Timestamp;

/// A Python value that kombu writes as `{"__type__": …, "__value__": …}`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Special {
    /// `datetime`.
    Datetime(Timestamp),
    /// `date`, as `2026-01-02`.
    Date(String),
    /// `time`, as `03:04:05`.
    Time(String),
    /// `decimal`, its digits.
    Decimal(String),
    /// `uuid`, as 32 hexadecimal digits.
    Uuid(String),
    /// `bytes` or `base64`.
    Bytes(Vec<u8>),
}

impl Special {
    /// Reads a special value; `None` if the value is not one. kombu requires exactly the two
    /// members.
    ///
    /// An unknown type, or a value that does not fit its type, is an error, as in Python.
    pub fn from_value(value: &Value) -> Option<Result<Self, JsonError>> {
        let object = value.as_object().filter(|object| object.len() == 2)?;
        let (kind, inner) = (object.get("__type__")?, object.get("__value__")?);
        let special = kind.as_str().and_then(|kind| {
            let text = match kind {
                "uuid" => inner.get("hex")?,
                _ => inner,
            };
            Self::read(kind, text.as_str()?)
        });
        Some(special.ok_or(JsonError::Special))
    }

    /// Reads the text of a special value of this kind; for a UUID it is the member `hex`.
    pub fn read(kind: &str, text: &str) -> Option<Self> {
        match kind {
            "uuid" => {
                let valid = text.len() == 32 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                valid.then(|| Self::Uuid(text.to_owned()))
            }
            "datetime" => Timestamp::parse(text).ok().map(Self::Datetime),
            "date" => Timestamp::parse(text)
                .ok()
                .filter(|_| text.len() == 10)
                .map(|_| Self::Date(text.to_owned())),
            "time" => Timestamp::parse(&format!("1970-01-01T{text}"))
                .ok()
                .map(|_| Self::Time(text.to_owned())),
            // Python writes its decimals like its floats.
            "decimal" => text
                .parse::<f64>()
                .ok()
                .map(|_| Self::Decimal(text.to_owned())),
            "bytes" => Some(Self::Bytes(text.as_bytes().to_vec())),
            "base64" => STANDARD.decode(text).ok().map(Self::Bytes),
            _ => None,
        }
    }

    /// Returns kombu's name of its type.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Datetime(_) => "datetime",
            Self::Date(_) => "date",
            Self::Time(_) => "time",
            Self::Decimal(_) => "decimal",
            Self::Uuid(_) => "uuid",
            Self::Bytes(_) => "bytes",
        }
    }

    /// Returns the value as text, as kombu writes it; `None` for bytes that are not UTF-8.
    pub fn text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Datetime(time) => Some(Cow::Owned(time.to_string())),
            Self::Date(text) | Self::Time(text) | Self::Decimal(text) | Self::Uuid(text) => {
                Some(Cow::Borrowed(text))
            }
            Self::Bytes(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
        }
    }

    /// Returns the JSON value that kombu writes.
    pub fn to_value(&self) -> Value {
        let (kind, value) = match self {
            Self::Datetime(time) => ("datetime", time.to_string().into()),
            Self::Date(text) => ("date", text.as_str().into()),
            Self::Time(text) => ("time", text.as_str().into()),
            Self::Decimal(text) => ("decimal", text.as_str().into()),
            Self::Uuid(hex) => ("uuid", json!({ "hex": hex })),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => ("bytes", text.into()),
                Err(_) => ("base64", Value::String(STANDARD.encode(bytes))),
            },
        };
        json!({ "__type__": kind, "__value__": value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_survives_both_ways() {
        for value in [
            json!({"__type__": "datetime", "__value__": "2026-01-02T03:04:05.678901+00:00"}),
            json!({"__type__": "datetime", "__value__": "2026-01-02T03:04:05"}),
            json!({"__type__": "date", "__value__": "2026-01-02"}),
            json!({"__type__": "time", "__value__": "03:04:05"}),
            json!({"__type__": "uuid", "__value__": {"hex": "12345678123456781234567812345678"}}),
            json!({"__type__": "decimal", "__value__": "1.10"}),
            json!({"__type__": "base64", "__value__": "/wBhYmM="}),
            json!({"__type__": "bytes", "__value__": "abc"}),
        ] {
            let special = Special::from_value(&value).unwrap().unwrap();
            assert_eq!(special.to_value(), value);
        }
    }

    #[test]
    fn only_exactly_two_members_are_special() {
        assert!(Special::from_value(&json!({"__type__": "date"})).is_none());
        assert!(
            Special::from_value(&json!({"__type__": "date", "__value__": "2026-01-02", "x": 1}))
                .is_none()
        );
        assert!(
            Special::from_value(&json!({"__type__": [], "__value__": 1}))
                .unwrap()
                .is_err()
        );
        assert!(
            Special::from_value(&json!({"__type__": "foo", "__value__": 1}))
                .unwrap()
                .is_err()
        );
        assert!(
            Special::from_value(&json!({"__type__": "uuid", "__value__": {"hex": "12"}}))
                .unwrap()
                .is_err()
        );
        assert!(
            Special::from_value(&json!({"__type__": "base64", "__value__": "/w="}))
                .unwrap()
                .is_err()
        );
    }
}
