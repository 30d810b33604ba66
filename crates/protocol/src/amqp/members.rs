//! The members of a table at its top level: found, left out, added. All others stay as they are,
//! byte by byte.

use super::error::AmqpError;
use super::limits::MAX_SHORT;
use super::table::{Table, TableBuf};

/// A member of a table as it is on the wire.
struct Member<'a> {
    name: &'a [u8],
    kind: u8,
    /// The value without its type.
    value: &'a [u8],
    /// The whole member.
    bytes: &'a [u8],
}

impl<'a> Table<'a> {
    /// Returns the value of the first member of this name at the top level, if it is a text.
    ///
    /// # Errors
    /// [`AmqpError`] if a value before it ends early or has an unknown type.
    pub fn text(self, name: &str) -> Result<Option<&'a [u8]>, AmqpError> {
        let mut rest = self.bytes();
        while !rest.is_empty() {
            let member = next(&mut rest)?;
            if member.name == name.as_bytes() {
                let is_text = matches!(member.kind, b'S' | b'x');
                return Ok(member.value.get(4..).filter(|_| is_text));
            }
        }
        Ok(None)
    }

    /// Returns a copy without the members at the top level whose names fit.
    ///
    /// # Errors
    /// [`AmqpError`] if a value ends early or has an unknown type.
    pub fn without(self, fits: impl Fn(&[u8]) -> bool) -> Result<TableBuf, AmqpError> {
        let mut rest = self.bytes();
        let mut kept = Vec::with_capacity(rest.len());
        while !rest.is_empty() {
            let member = next(&mut rest)?;
            if !fits(member.name) {
                kept.extend_from_slice(member.bytes);
            }
        }
        Ok(TableBuf(kept))
    }
}

impl TableBuf {
    /// Adds a text at the end. The name must not be in the table.
    ///
    /// # Errors
    /// [`AmqpError::TooLarge`] if the name has more than 255 bytes, or the text more than four
    /// gigabytes.
    pub fn push_text(&mut self, name: &str, text: &str) -> Result<(), AmqpError> {
        let too_large = |what, limit| AmqpError::TooLarge { what, limit };
        let name_length = u8::try_from(name.len());
        let name_length = name_length.map_err(|_| too_large("a name in a table", MAX_SHORT))?;
        let length = u32::try_from(text.len());
        let length = length.map_err(|_| too_large("a value in a table", u32::MAX as usize))?;
        self.0.push(name_length);
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'S');
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }

    /// Returns a table with these members, followed by those of another table.
    #[must_use]
    pub fn followed_by(mut self, other: &TableBuf) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }
}

/// Takes the next member.
fn next<'a>(rest: &mut &'a [u8]) -> Result<Member<'a>, AmqpError> {
    const ENDS_EARLY: AmqpError = AmqpError::Malformed("a table ends within a value");
    let begin = *rest;
    let (name_length, after) = begin.split_first().ok_or(ENDS_EARLY)?;
    let (name, after) = after
        .split_at_checked(usize::from(*name_length))
        .ok_or(ENDS_EARLY)?;
    let (kind, after) = after.split_first().ok_or(ENDS_EARLY)?;
    let length = match kind {
        b'V' => 0,
        b'b' | b'B' | b't' => 1,
        b's' | b'u' | b'U' => 2,
        b'i' | b'I' | b'f' => 4,
        b'l' | b'L' | b'T' | b'd' => 8,
        b'D' => 5,
        b'S' | b'x' | b'F' | b'A' => {
            let length = after.first_chunk::<4>().ok_or(ENDS_EARLY)?;
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            length.saturating_add(4)
        }
        other => return Err(AmqpError::ValueType(*other)),
    };
    let (value, after) = after.split_at_checked(length).ok_or(ENDS_EARLY)?;
    let size = begin.len() - after.len();
    *rest = after;
    Ok(Member {
        name,
        kind: *kind,
        value,
        bytes: begin.get(..size).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = r#"{"a":"x","n":null,"t":true,"i":1,"l":5000000000,"d":1.5,"f":{"a":"in"},"r":["y",2],"z":"last"}"#;

    #[test]
    fn members_are_found_left_out_and_added() {
        let table = TableBuf::from_json(ALL).unwrap();
        let text = |name| table.as_table().text(name).unwrap();
        assert_eq!(text("a"), Some(&b"x"[..]));
        assert_eq!(text("z"), Some(&b"last"[..]));
        assert_eq!((text("i"), text("f"), text("none")), (None, None, None));
        let without = |names: &[&str]| {
            let fits = |name: &[u8]| names.iter().any(|it| it.as_bytes() == name);
            table.as_table().without(fits).unwrap()
        };
        assert_eq!(without(&[]), table);
        let mut changed = without(&["a", "f", "z"]);
        changed.push_text("z", "new").unwrap();
        let json = changed.as_table().to_json().unwrap();
        let wanted = r#"{"n":null,"t":true,"i":1,"l":5000000000,"d":1.5,"r":["y",2],"z":"new"}"#;
        assert_eq!(json, wanted);
        assert!(changed.push_text(&"n".repeat(256), "").is_err());
    }

    #[test]
    fn every_type_has_its_length() {
        let mut bytes = Vec::new();
        for (kind, length) in [
            (b'b', 1),
            (b'B', 1),
            (b's', 2),
            (b'u', 2),
            (b'U', 2),
            (b'i', 4),
            (b'f', 4),
            (b'L', 8),
            (b'T', 8),
            (b'D', 5),
        ] {
            bytes.extend_from_slice(&[1, kind, kind]);
            bytes.extend(std::iter::repeat_n(1, length));
        }
        let mut table = TableBuf(bytes);
        table.push_text("end", "here").unwrap();
        assert_eq!(table.as_table().text("end").unwrap(), Some(&b"here"[..]));
        assert!(table.as_table().to_json().is_ok());
        let kept = table.as_table().without(|name| name == b"end").unwrap();
        assert_eq!(kept.0.len() + 4 + 1 + 4 + 4, table.0.len());
    }

    #[test]
    fn tables_that_end_early_are_refused() {
        let whole = TableBuf::from_json(ALL).unwrap();
        for end in 1..whole.0.len() {
            let part = TableBuf(whole.0[..end].to_vec());
            let read = part.as_table().without(|_| false);
            // The table may also end between two members.
            assert!(read.is_err() || read.unwrap() == part, "{end}");
        }
        let unknown = TableBuf(b"\x01a?".to_vec());
        assert!(unknown.as_table().text("b").is_err());
    }
}
