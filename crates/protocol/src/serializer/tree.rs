//! JSON text as a tree, one level at a time, and other formats written as JSON text.
//!
//! Both directions limit their depth: a [`Node`] is made only from text whose depth was checked,
//! and [`to_json`] counts the levels that it writes.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Serializer, SerializerError};
use crate::json::{MAX_DEPTH, Name, Special, each_member, write};

/// One level of a JSON value.
pub(super) enum Node<'a> {
    Null,
    Bool(bool),
    /// The number's text.
    Number(&'a str),
    String(Cow<'a, str>),
    Array(Vec<&'a RawValue>),
    Object(Vec<(Cow<'a, str>, &'a RawValue)>),
    /// A value that kombu wraps in JSON.
    Special(Special),
}

impl<'a> Node<'a> {
    pub(super) fn of(value: &'a RawValue) -> Result<Self, serde_json::Error> {
        let json = value.get();
        Ok(match json.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::String(serde_json::from_str::<Name<'a>>(json)?.0),
            Some(b'[') => Self::Array(serde_json::from_str(json)?),
            Some(b'{') => {
                let mut members = Vec::new();
                each_member(json, |name, value| members.push((name, value)))?;
                let is_wrapped = members.len() == 2 && json.contains("__type__");
                match is_wrapped.then(|| special(json)).flatten() {
                    Some(special) => Self::Special(special),
                    None => Self::Object(members),
                }
            }
            _ => Self::Number(json),
        })
    }
}

/// Reads a wrapped value; `None` for any other object.
fn special(json: &str) -> Option<Special> {
    Special::from_value(&serde_json::from_str(json).ok()?)?.ok()
}

/// Writes the values of a deserializer as JSON of at most `limit` bytes.
pub(super) fn to_json<'de, D: Deserializer<'de>>(
    format: Serializer,
    deserializer: D,
    limit: usize,
) -> Result<String, SerializerError> {
    let mut sink = Sink {
        out: Vec::new(),
        limit,
        overflowed: false,
    };
    let written = ToJson {
        sink: &mut sink,
        depth: 0,
    }
    .deserialize(deserializer);
    if sink.overflowed {
        return Err(SerializerError::TooLarge { limit });
    }
    written.map_err(|error| format.invalid(error))?;
    String::from_utf8(sink.out).map_err(|error| format.invalid(error))
}

/// A JSON text with a limit.
struct Sink {
    out: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Sink {
    fn check<E: Error>(&mut self) -> Result<(), E> {
        self.overflowed = self.out.len() > self.limit;
        if self.overflowed {
            Err(E::custom("too large"))
        } else {
            Ok(())
        }
    }

    fn raw<E: Error>(&mut self, text: &str) -> Result<(), E> {
        self.out.extend_from_slice(text.as_bytes());
        self.check()
    }

    fn string<E: Error>(&mut self, text: &str) -> Result<(), E> {
        write::string(&mut self.out, text);
        self.check()
    }
}

/// A writer for the next value.
struct ToJson<'s> {
    sink: &'s mut Sink,
    depth: usize,
}

impl ToJson<'_> {
    fn deeper<E: Error>(&mut self) -> Result<ToJson<'_>, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom("nested too deep"));
        }
        Ok(ToJson {
            sink: self.sink,
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for ToJson<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToJson<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.sink.raw("null")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        self.sink.raw("null")
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.sink.raw(if value { "true" } else { "false" })
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.sink.raw(&value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.sink.raw(&value.to_string())
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<(), E> {
        self.sink.raw(&value.to_string())
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<(), E> {
        self.sink.raw(&value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // Rust's debug form always shows that a number is a float: it writes `1.0`, not `1`.
        if value.is_finite() {
            self.sink.raw(&format!("{value:?}"))
        } else {
            self.sink.raw("null")
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.sink.string(value)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<(), E> {
        let (kind, text) = match std::str::from_utf8(value) {
            Ok(text) => ("bytes", Cow::Borrowed(text)),
            Err(_) => ("base64", Cow::Owned(STANDARD.encode(value))),
        };
        let mut object = write::Object::new(&mut self.sink.out);
        object.string("__type__", kind);
        object.string("__value__", &text);
        object.end();
        self.sink.check()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.sink.raw("[")?;
        let mut first = true;
        loop {
            let start = self.sink.out.len();
            if !first {
                self.sink.raw(",")?;
            }
            if seq.next_element_seed(self.deeper()?)?.is_none() {
                self.sink.out.truncate(start);
                return self.sink.raw("]");
            }
            first = false;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.sink.raw("{")?;
        let mut first = true;
        while let Some(Key(name)) = map.next_key()? {
            if !first {
                self.sink.raw(",")?;
            }
            first = false;
            self.sink.string(&name)?;
            self.sink.raw(":")?;
            map.next_value_seed(self.deeper()?)?;
        }
        self.sink.raw("}")
    }
}

/// A key as Python's JSON writes it.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key that JSON has")
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Key, E> {
                Ok(Key(value.to_owned()))
            }

            fn visit_string<E: Error>(self, value: String) -> Result<Key, E> {
                Ok(Key(value))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Key, E> {
                Ok(Key(format!("{value:?}")))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Key, E> {
                Ok(Key(value.to_string()))
            }

            fn visit_unit<E: Error>(self) -> Result<Key, E> {
                Ok(Key("null".to_owned()))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}
