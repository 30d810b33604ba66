//! A value of a row, and how a task's own type takes it.
//!
//! [`cells`](super::cells) reads values from the drivers; [`rows`](super::rows) gives a row's values
//! to a type.

use serde::de::value::{Error, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde_json::Value;

/// About how many bytes a value takes besides its text.
const AROUND: usize = 32;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Null,
    Bool(bool),
    Whole(i64),
    Unsigned(u64),
    Real(f64),
    /// The digits of a decimal.
    Exact(String),
    Text(String),
    Bytes(Vec<u8>),
    Json(Value),
}

impl Cell {
    /// Returns about how many bytes the value takes.
    pub(super) fn bytes(&self) -> usize {
        AROUND
            + match self {
                Cell::Exact(text) | Cell::Text(text) => text.len(),
                Cell::Bytes(bytes) => bytes.len(),
                // A tree takes more than its text.
                Cell::Json(json) => 4 * json.to_string().len(),
                _ => 0,
            }
    }
}

/// Reads a number from the digits of a decimal, as MySQL returns the sum of integers.
macro_rules! whole {
    ($($method:ident $visit:ident $type:ty;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match &self {
                Cell::Exact(digits) => match digits.parse::<$type>() {
                    Ok(number) => visitor.$visit(number),
                    Err(_) => self.deserialize_any(visitor),
                },
                _ => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Cell {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Cell::Null => visitor.visit_unit(),
            Cell::Bool(value) => visitor.visit_bool(value),
            Cell::Whole(number) => visitor.visit_i64(number),
            Cell::Unsigned(number) => visitor.visit_u64(number),
            Cell::Real(number) => visitor.visit_f64(number),
            Cell::Exact(text) | Cell::Text(text) => visitor.visit_string(text),
            // MySQL's text of a collation such as utf8mb4_bin comes as bytes.
            Cell::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => visitor.visit_byte_buf(error.into_bytes()),
            },
            Cell::Json(json) => json.deserialize_any(visitor).map_err(Error::custom),
        }
    }

    /// MySQL and SQLite have numbers in place of truth.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Cell::Whole(0) | Cell::Unsigned(0) => visitor.visit_bool(false),
            Cell::Whole(1) | Cell::Unsigned(1) => visitor.visit_bool(true),
            other => other.deserialize_any(visitor),
        }
    }

    whole! {
        deserialize_i8 visit_i64 i64;
        deserialize_i16 visit_i64 i64;
        deserialize_i32 visit_i64 i64;
        deserialize_i64 visit_i64 i64;
        deserialize_i128 visit_i128 i128;
        deserialize_u8 visit_u64 u64;
        deserialize_u16 visit_u64 u64;
        deserialize_u32 visit_u64 u64;
        deserialize_u64 visit_u64 u64;
        deserialize_u128 visit_u128 u128;
        deserialize_f32 visit_f64 f64;
        deserialize_f64 visit_f64 f64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Cell::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Bytes are a list of numbers, such as a `Vec<u8>`. JSON may be in a column of text.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Cell::Bytes(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            other => other.inside()?.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.inside()?.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Cell::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Cell::Json(json) => json
                .deserialize_enum(name, variants, visitor)
                .map_err(Error::custom),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Cell::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            other => other.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        char str string unit unit_struct identifier ignored_any
    }
}

impl Cell {
    /// Returns the JSON in a column of text or bytes.
    fn inside(self) -> Result<Cell, Error> {
        match self {
            Cell::Text(text) => json(text.as_bytes()),
            Cell::Bytes(bytes) => json(&bytes),
            other => Ok(other),
        }
    }
}

fn json(text: &[u8]) -> Result<Cell, Error> {
    let read = serde_json::from_slice(text);
    read.map(Cell::Json)
        .map_err(|error| Error::custom(format!("not JSON: {error}")))
}

impl IntoDeserializer<'_, Error> for Cell {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
