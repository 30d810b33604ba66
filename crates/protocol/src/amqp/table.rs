//! Tables of AMQP as JSON text, and JSON objects as tables.
//!
//! A table on the wire is kept as bytes until its contents are needed, so a table that is only
//! passed on costs nothing and cannot do harm. Python's types keep their kind in both directions.
//! Types of AMQP without a form in JSON become the nearest text: a time is its seconds since 1970,
//! a decimal its digits, bytes their text.

use serde_json::value::RawValue;

use super::error::AmqpError;
use super::limits::{MAX_DEPTH, MAX_SHORT};
use crate::fields::Fields;
use crate::json::{Name, write};

/// The contents of a table as received or as written by [`TableBuf`], without the length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Table<'a>(&'a [u8]);

impl<'a> Table<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns the contents as they are on the wire.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the table as a JSON object.
    ///
    /// # Errors
    /// [`AmqpError`] if a value ends early, has an unknown type, or nests too deep.
    pub fn to_json(self) -> Result<String, AmqpError> {
        let mut out = Vec::with_capacity(self.0.len() + self.0.len() / 4);
        read_table(self.0, &mut out)?;
        String::from_utf8(out).map_err(|_| AmqpError::Malformed("a table is not UTF-8"))
    }

    /// Returns the members of the table.
    ///
    /// # Errors
    /// Like [`to_json`](Self::to_json); also for more than
    /// [`MAX_MEMBERS`](crate::fields::MAX_MEMBERS) members.
    pub fn to_fields(self) -> Result<Fields, AmqpError> {
        let json = self.to_json()?;
        serde_json::from_str(&json).map_err(|error| AmqpError::Json(error.to_string()))
    }
}

/// A table that was made of JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableBuf(pub(super) Vec<u8>);

impl TableBuf {
    /// Makes the table of a JSON object.
    ///
    /// # Errors
    /// [`AmqpError`] if the text is not a JSON object, nests too deep, or has a name of more than
    /// [`MAX_SHORT`] bytes.
    pub fn from_json(object: &str) -> Result<Self, AmqpError> {
        let checked: &RawValue =
            serde_json::from_str(object).map_err(|error| AmqpError::Json(error.to_string()))?;
        if !checked.get().starts_with('{') {
            return Err(AmqpError::Json("it is another value".to_owned()));
        }
        let mut out = Vec::with_capacity(object.len());
        write_members(checked.get(), &mut out)?;
        Ok(Self(out))
    }

    /// Makes the table of the members of an object.
    ///
    /// # Errors
    /// Like [`from_json`](Self::from_json).
    pub fn from_fields(fields: &Fields) -> Result<Self, AmqpError> {
        let json =
            serde_json::to_string(fields).map_err(|error| AmqpError::Json(error.to_string()))?;
        Self::from_json(&json)
    }

    /// Returns the number of bytes.
    #[expect(clippy::len_without_is_empty, reason = "a table has no use for it")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the table.
    pub fn as_table(&self) -> Table<'_> {
        Table(&self.0)
    }
}

/// The bytes of a table that are not read yet.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], AmqpError> {
        let ends_early = AmqpError::Malformed("a table ends within a value");
        let (taken, rest) = self.0.split_at_checked(count).ok_or(ends_early)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], AmqpError> {
        let taken = self.take(N)?;
        <[u8; N]>::try_from(taken).map_err(|_| AmqpError::Malformed("a table ends within a value"))
    }

    fn long(&mut self) -> Result<&'a [u8], AmqpError> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn short(&mut self) -> Result<&'a [u8], AmqpError> {
        let [length] = self.array()?;
        self.take(length.into())
    }
}

/// A table or an array that is being read.
struct Level<'a> {
    rest: Cursor<'a>,
    is_table: bool,
    is_first: bool,
}

impl<'a> Level<'a> {
    /// Begins a table or an array and writes its bracket.
    fn open(is_table: bool, bytes: &'a [u8], out: &mut Vec<u8>) -> Self {
        out.push(if is_table { b'{' } else { b'[' });
        Self {
            rest: Cursor(bytes),
            is_table,
            is_first: true,
        }
    }
}

/// Writes a table as JSON. The levels are in a list, so that no table can exhaust the stack.
fn read_table(table: &[u8], out: &mut Vec<u8>) -> Result<(), AmqpError> {
    let mut levels = vec![Level::open(true, table, out)];
    while let Some(level) = levels.last_mut() {
        if level.rest.0.is_empty() {
            out.push(if level.is_table { b'}' } else { b']' });
            levels.pop();
            continue;
        }
        if !std::mem::take(&mut level.is_first) {
            out.push(b',');
        }
        if level.is_table {
            write::string(out, &String::from_utf8_lossy(level.rest.short()?));
            out.push(b':');
        }
        let [kind] = level.rest.array()?;
        if matches!(kind, b'F' | b'A') {
            let inside = level.rest.long()?;
            check_depth(levels.len() + 1)?;
            levels.push(Level::open(kind == b'F', inside, out));
        } else {
            read_value(kind, &mut level.rest, out)?;
        }
    }
    Ok(())
}

/// Reads a value that has no parts. The letters of the types are those of RabbitMQ and of py-amqp,
/// where the two differ from the specification.
fn read_value(kind: u8, from: &mut Cursor<'_>, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    let number = match kind {
        b'b' => i8::from_be_bytes(from.array()?).to_string(),
        b'B' => u8::from_be_bytes(from.array()?).to_string(),
        b's' | b'U' => i16::from_be_bytes(from.array()?).to_string(),
        b'u' => u16::from_be_bytes(from.array()?).to_string(),
        b'I' => i32::from_be_bytes(from.array()?).to_string(),
        b'i' => u32::from_be_bytes(from.array()?).to_string(),
        b'l' | b'L' => i64::from_be_bytes(from.array()?).to_string(),
        b'T' => u64::from_be_bytes(from.array()?).to_string(),
        b'f' => float(f32::from_be_bytes(from.array()?).into()),
        b'd' => float(f64::from_be_bytes(from.array()?)),
        b'D' => {
            let [places] = from.array()?;
            decimal(i32::from_be_bytes(from.array()?), places)
        }
        b't' => (from.array()? != [0]).to_string(),
        b'V' => "null".to_owned(),
        b'S' | b'x' => {
            write::string(out, &String::from_utf8_lossy(from.long()?));
            return Ok(());
        }
        other => return Err(AmqpError::ValueType(other)),
    };
    out.extend_from_slice(number.as_bytes());
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), AmqpError> {
    if depth > MAX_DEPTH {
        return Err(AmqpError::TooDeep);
    }
    Ok(())
}

/// Returns a number with its fraction, so that it stays a float. JSON has no form for a number that
/// is not finite; like elsewhere in this crate, it becomes null.
fn float(number: f64) -> String {
    serde_json::Number::from_f64(number).map_or_else(|| "null".to_owned(), |n| n.to_string())
}

/// Returns a decimal as its digits.
fn decimal(unscaled: i32, places: u8) -> String {
    let places = usize::from(places);
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = format!("{:0>width$}", unscaled.unsigned_abs(), width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    if fraction.is_empty() {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{fraction}")
    }
}

fn write_name(name: &str, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    let Ok(length @ 0..=255) = u8::try_from(name.len()) else {
        return Err(AmqpError::TooLarge {
            what: "a name in a table",
            limit: MAX_SHORT,
        });
    };
    out.push(length);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

/// Writes the members of an object, whose text was checked. The levels are in a list, so that no
/// text can exhaust the stack.
fn write_members(object: &str, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    // The place where the contents of a level begin, and whether it is an object. The outermost
    // object has no length of its own.
    let mut levels: Vec<(Option<usize>, bool)> = Vec::new();
    let mut wants_name = false;
    let mut rest = object;
    while let Some(&byte) = rest.as_bytes().first() {
        let token = match byte {
            b'{' | b'[' => {
                let is_object = byte == b'{';
                check_depth(levels.len() + 1)?;
                let place =
                    (!levels.is_empty()).then(|| begin(if is_object { b'F' } else { b'A' }, out));
                levels.push((place, is_object));
                wants_name = is_object;
                1
            }
            b'}' | b']' => {
                if let Some((Some(place), _)) = levels.pop() {
                    end(place, out)?;
                }
                wants_name = levels.last().is_some_and(|(_, is_object)| *is_object);
                1
            }
            b'"' => {
                let token = string_length(rest);
                let Name(text) = serde_json::from_str(&rest[..token])
                    .map_err(|error| AmqpError::Json(error.to_string()))?;
                if wants_name {
                    write_name(&text, out)?;
                } else {
                    write_text(&text, out)?;
                }
                let in_object = levels.last().is_some_and(|(_, is_object)| *is_object);
                wants_name = in_object && !wants_name;
                token
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => 1,
            _ => {
                let ends = |c: char| ",]} \t\n\r".contains(c);
                let token = rest.find(ends).unwrap_or(rest.len());
                write_scalar(&rest[..token], out)?;
                wants_name = levels.last().is_some_and(|(_, is_object)| *is_object);
                token
            }
        };
        rest = &rest[token..];
    }
    Ok(())
}

/// Returns the length of the string at the beginning of a text, with its quotes.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    let end = text.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(text.len(), |end| end + 2)
}

/// Writes a value that is neither a string nor has parts, with the type that py-amqp chooses.
fn write_scalar(json: &str, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    match json {
        "null" => out.push(b'V'),
        "true" => out.extend_from_slice(b"t\x01"),
        "false" => out.extend_from_slice(b"t\0"),
        number => write_number(number, out)?,
    }
    Ok(())
}

fn write_number(json: &str, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    if let Ok(small) = json.parse::<i32>() {
        out.push(b'I');
        out.extend_from_slice(&small.to_be_bytes());
    } else if let Ok(large) = json.parse::<i64>() {
        out.push(b'l');
        out.extend_from_slice(&large.to_be_bytes());
    } else if json.bytes().any(|byte| b".eE".contains(&byte)) {
        let number: f64 = json
            .parse()
            .map_err(|_| AmqpError::Json("not a number".to_owned()))?;
        out.push(b'd');
        out.extend_from_slice(&number.to_be_bytes());
    } else {
        // An integer of more than 64 bits has no other form.
        write_text(json, out)?;
    }
    Ok(())
}

fn write_text(text: &str, out: &mut Vec<u8>) -> Result<(), AmqpError> {
    let place = begin(b'S', out);
    out.extend_from_slice(text.as_bytes());
    end(place, out)
}

/// Writes a type and room for the length. Returns the place where the contents begin.
fn begin(kind: u8, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(&[kind, 0, 0, 0, 0]);
    out.len()
}

/// Fills in the length of the contents that begin at `place`.
fn end(place: usize, out: &mut [u8]) -> Result<(), AmqpError> {
    let length = u32::try_from(out.len() - place).map_err(|_| AmqpError::TooLarge {
        what: "a value in a table",
        limit: u32::MAX as usize,
    })?;
    if let Some(room) = out.get_mut(place - 4..place) {
        room.copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}
