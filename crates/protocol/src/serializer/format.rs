//! The formats by name and content type, and the error of data that is not in its format.

use crate::json::Special;

/// A format of bodies and results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// `application/json`, the default.
    #[default]
    Json,
    /// `application/x-msgpack`.
    Msgpack,
    /// `application/x-yaml`.
    Yaml,
}

impl Serializer {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Json, Self::Msgpack, Self::Yaml];
}

/// The error of data that could not be converted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SerializerError {
    /// The data is not in its format, or has a value that JSON has no form for.
    #[error("not {}: {detail}", format.content_type())]
    Invalid {
        /// The format that was expected.
        format: Serializer,
        /// The error.
        detail: String,
    },
    /// The format has no form for a value of this type, in Python either.
    #[error("{} has no form for a {kind}; send it as text, or in JSON", format.content_type())]
    NoForm {
        /// The format.
        format: Serializer,
        /// kombu's name of the type: `datetime`, `decimal`, `uuid`.
        kind: &'static str,
    },
    /// The data becomes larger than permitted, for example by YAML aliases.
    #[error("data becomes larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Serializer {
    /// Returns the serializer for a name (`json`) or content type (`application/json`).
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "json" | "application/json" => Self::Json,
            "msgpack" | "application/x-msgpack" => Self::Msgpack,
            "yaml" | "application/x-yaml" => Self::Yaml,
            _ => return None,
        })
    }

    /// Returns Celery's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Msgpack => "msgpack",
            Self::Yaml => "yaml",
        }
    }

    /// Returns the content type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Msgpack => "application/x-msgpack",
            Self::Yaml => "application/x-yaml",
        }
    }

    /// Returns the content encoding.
    pub fn content_encoding(self) -> &'static str {
        match self {
            Self::Json | Self::Yaml => "utf-8",
            Self::Msgpack => "binary",
        }
    }

    pub(super) fn has_no(self, special: &Special) -> SerializerError {
        SerializerError::NoForm {
            format: self,
            kind: special.kind(),
        }
    }

    pub(super) fn invalid(self, detail: impl ToString) -> SerializerError {
        SerializerError::Invalid {
            format: self,
            detail: detail.to_string(),
        }
    }
}
