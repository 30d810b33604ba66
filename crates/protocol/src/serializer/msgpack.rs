//! MessagePack, read and written as Python's `msgpack` does with its defaults.

use rmp::encode as pack;
use serde_json::value::RawValue;

use super::tree::{Node, to_json};
use super::{Serializer, SerializerError};
use crate::json::{MAX_DEPTH, Special};

pub(super) fn read(data: &[u8], limit: usize) -> Result<String, SerializerError> {
    let mut rest = data;
    let mut deserializer = rmp_serde::Deserializer::new(&mut rest);
    deserializer.set_max_depth(MAX_DEPTH + 1);
    let json = to_json(Serializer::Msgpack, &mut deserializer, limit)?;
    if rest.is_empty() {
        Ok(json)
    } else {
        Err(Serializer::Msgpack.invalid("data follows the value"))
    }
}

pub(super) fn write(value: &RawValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = Vec::with_capacity(value.get().len());
    write_value(&mut out, value)?;
    Ok(out)
}

/// Writes a value. Recurses as deep as the text nests, which the caller has limited.
fn write_value(out: &mut Vec<u8>, value: &RawValue) -> Result<(), SerializerError> {
    let invalid = |error: &dyn std::fmt::Display| Serializer::Msgpack.invalid(error);
    match Node::of(value).map_err(|error| invalid(&error))? {
        Node::Null => pack::write_nil(out).map_err(|error| invalid(&error)),
        Node::Bool(value) => pack::write_bool(out, value).map_err(|error| invalid(&error)),
        Node::Number(text) => write_number(out, text),
        Node::String(text) => pack::write_str(out, &text).map_err(|error| invalid(&error)),
        Node::Array(elements) => {
            let length = length(elements.len())?;
            pack::write_array_len(out, length).map_err(|error| invalid(&error))?;
            elements
                .into_iter()
                .try_for_each(|element| write_value(out, element))
        }
        Node::Special(Special::Bytes(bytes)) => {
            pack::write_bin(out, &bytes).map_err(|error| invalid(&error))
        }
        Node::Special(other) => Err(Serializer::Msgpack.has_no(&other)),
        Node::Object(members) => {
            let length = length(members.len())?;
            pack::write_map_len(out, length).map_err(|error| invalid(&error))?;
            members.into_iter().try_for_each(|(name, member)| {
                pack::write_str(out, &name).map_err(|error| invalid(&error))?;
                write_value(out, member)
            })
        }
    }
}

fn length(length: usize) -> Result<u32, SerializerError> {
    u32::try_from(length).map_err(|error| Serializer::Msgpack.invalid(error))
}

fn write_number(out: &mut Vec<u8>, text: &str) -> Result<(), SerializerError> {
    let invalid =
        |error: &dyn std::fmt::Display| Serializer::Msgpack.invalid(format!("{text:.64}: {error}"));
    if text.contains(['.', 'e', 'E']) {
        let number: f64 = text.parse().map_err(|error| invalid(&error))?;
        return pack::write_f64(out, number).map_err(|error| invalid(&error));
    }
    if let Ok(number) = text.parse() {
        return pack::write_uint(out, number)
            .map(drop)
            .map_err(|error| invalid(&error));
    }
    let number = text.parse().map_err(|error| invalid(&error))?;
    pack::write_sint(out, number)
        .map(drop)
        .map_err(|error| invalid(&error))
}
