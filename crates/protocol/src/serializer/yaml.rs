//! YAML, read with limits on its aliases and written in the flow style that all readers agree on.
//!
//! The reader follows YAML 1.2, but PyYAML writes YAML 1.1. A plain word such as `1e3`, which
//! PyYAML writes for the string, is therefore read as a number. The writer quotes every string, so
//! this cannot happen with its own texts. Dates without quotes are read as text. Tags never have an
//! effect: `!!python/…` is dropped, other tags are refused.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::tree::{Node, to_json};
use super::{Serializer, SerializerError};
use crate::json::Special;

/// The longest YAML text accepted. The parser keeps about a hundred bytes for each byte of the
/// worst text.
const MAX_TEXT: usize = 2 << 20;

/// The most `[` and `{` accepted in a text. The parser's time grows with the square of their
/// nesting, which only parsing could measure. PyYAML itself writes block style, which has neither
/// of them.
const MAX_FLOW: usize = 4_096;

/// PyYAML accepts `key: value` only with keys shorter than this; longer keys need `? key : value`.
const MAX_SIMPLE_KEY: usize = 1_000;

pub(super) fn read(data: &[u8], limit: usize) -> Result<String, SerializerError> {
    if data.len() > MAX_TEXT {
        return Err(SerializerError::TooLarge { limit: MAX_TEXT });
    }
    if data
        .iter()
        .filter(|byte| matches!(byte, b'[' | b'{'))
        .count()
        > MAX_FLOW
    {
        let detail = format!("more than {MAX_FLOW} collections in flow style");
        return Err(Serializer::Yaml.invalid(detail));
    }
    if has_directives(data) {
        return Err(Serializer::Yaml.invalid("a directive other than %YAML"));
    }
    to_json(
        Serializer::Yaml,
        serde_yaml_ng::Deserializer::from_slice(data),
        limit,
    )
}

/// Returns `true` if a line begins a directive other than YAML's version. The parser's time grows
/// with the square of their number; PyYAML writes none.
fn has_directives(data: &[u8]) -> bool {
    memchr::memchr_iter(b'%', data).any(|at| {
        let (before, directive) = data.split_at(at);
        matches!(before.last(), None | Some(b'\n' | b'\r')) && !directive.starts_with(b"%YAML ")
    })
}

pub(super) fn write(value: &RawValue) -> Result<Vec<u8>, SerializerError> {
    let mut out = String::with_capacity(value.get().len() + 1);
    write_value(&mut out, value)?;
    out.push('\n');
    Ok(out.into_bytes())
}

/// Writes a value. Recurses as deep as the text nests, which the caller has limited.
fn write_value(out: &mut String, value: &RawValue) -> Result<(), SerializerError> {
    match Node::of(value).map_err(|error| Serializer::Yaml.invalid(error))? {
        Node::Special(special) => write_special(out, &special)?,
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if value { "true" } else { "false" }),
        Node::Number(text) => write_number(out, text),
        Node::String(text) => write_string(out, &text),
        Node::Array(elements) => {
            out.push('[');
            for (index, element) in elements.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_value(out, element)?;
            }
            out.push(']');
        }
        Node::Object(members) => {
            out.push('{');
            for (index, (name, member)) in members.into_iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_key(out, &name);
                write_value(out, member)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// Writes a value for which PyYAML has a tag or a form without quotes.
fn write_special(out: &mut String, special: &Special) -> Result<(), SerializerError> {
    match special {
        Special::Datetime(time) => out.push_str(&time.to_string()),
        Special::Date(date) => out.push_str(date),
        Special::Bytes(bytes) => {
            out.push_str("!!binary \"");
            out.push_str(&STANDARD.encode(bytes));
            out.push('"');
        }
        other => return Err(Serializer::Yaml.has_no(other)),
    }
    Ok(())
}

fn write_key(out: &mut String, name: &str) {
    let start = out.len();
    write_string(out, name);
    if out.len() - start > MAX_SIMPLE_KEY {
        out.insert_str(start, "? ");
        out.push(' ');
    }
    out.push_str(": ");
}

/// Writes a number. In YAML 1.1 a float has a point and a signed exponent: `1e5` would be a string.
fn write_number(out: &mut String, text: &str) {
    if !text.contains(['.', 'e', 'E']) {
        return out.push_str(text);
    }
    match text.parse::<f64>() {
        Ok(number) if number.is_infinite() => {
            out.push_str(if number > 0.0 { ".inf" } else { "-.inf" });
        }
        Ok(number) => {
            let shown = format!("{number:?}");
            let (mantissa, exponent) = shown.split_once('e').unwrap_or((&shown, ""));
            out.push_str(mantissa);
            out.push_str(if mantissa.contains('.') { "" } else { ".0" });
            if !exponent.is_empty() {
                out.push_str(if exponent.starts_with('-') { "e" } else { "e+" });
                out.push_str(exponent);
            }
        }
        Err(_) => out.push_str(text),
    }
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(character),
            _ => {
                let code = u32::from(character);
                // Writing into a string cannot fail.
                let _ = match code {
                    0..0x100 => write!(out, "\\x{code:02X}"),
                    0x100..0x1_0000 => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
            }
        }
    }
    out.push('"');
}
