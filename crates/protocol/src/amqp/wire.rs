//! The elements of AMQP: integers, bits, short and long strings, in network byte order.

use std::borrow::Cow;

use super::error::AmqpError;
use super::limits::MAX_SHORT;
use super::table::Table;

const ENDS_EARLY: AmqpError = AmqpError::Malformed("the frame ends within a value");

/// A short string: at most 255 bytes, which need not be UTF-8.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Short<'a>(&'a [u8]);

impl<'a> Short<'a> {
    /// Checks a text that is to be sent.
    ///
    /// # Errors
    /// [`AmqpError::TooLarge`] if the text has more than [`MAX_SHORT`] bytes.
    pub fn new(text: &'a str) -> Result<Self, AmqpError> {
        if text.len() > MAX_SHORT {
            return Err(AmqpError::TooLarge {
                what: "a name",
                limit: MAX_SHORT,
            });
        }
        Ok(Self(text.as_bytes()))
    }

    /// Returns the bytes.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Returns the text. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }
}

impl std::fmt::Debug for Short<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&self.text(), f)
    }
}

/// Reads values from the payload of a frame.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    /// The octet that holds the current bits, shifted so that the next one is the lowest, and the
    /// number of bits that are left in it.
    bits: (u8, u8),
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            bits: (0, 0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], AmqpError> {
        self.bits = (0, 0);
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], AmqpError> {
        self.bits = (0, 0);
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ENDS_EARLY)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads bytes after their length of four bytes.
    pub(super) fn long(&mut self) -> Result<&'a [u8], AmqpError> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| ENDS_EARLY)?)
    }

    /// Reads a bit. Bits that follow each other share octets, the first in the lowest place.
    fn bit(&mut self) -> Result<bool, AmqpError> {
        if self.bits.1 == 0 {
            let [octet] = self.array()?;
            self.bits = (octet, 8);
        }
        let bit = self.bits.0 & 1 == 1;
        self.bits = (self.bits.0 >> 1, self.bits.1 - 1);
        Ok(bit)
    }
}

/// Writes values to a buffer.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The number of bits in the last octet, if it holds bits; otherwise 0.
    bits: u8,
}

impl<'o> Writer<'o> {
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Self { out, bits: 0 }
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        self.bits = 0;
        self.out.extend_from_slice(bytes);
    }

    /// Writes bytes after their length of four bytes. A length that does not fit is larger than any
    /// frame, which the writer of the frame refuses.
    pub(super) fn long(&mut self, bytes: &[u8]) {
        self.put(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.put(bytes);
    }

    fn bit(&mut self, bit: bool) {
        if self.bits == 0 || self.bits == 8 {
            self.out.push(0);
            self.bits = 0;
        }
        if let Some(octet) = self.out.last_mut() {
            *octet |= u8::from(bit) << self.bits;
        }
        self.bits += 1;
    }
}

/// A type of arguments and properties.
pub(super) trait Field<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AmqpError>;
    fn write(&self, writer: &mut Writer<'_>);
}

macro_rules! integers {
    ($($type:ty),*) => {$(
        impl Field<'_> for $type {
            fn read(reader: &mut Reader<'_>) -> Result<Self, AmqpError> {
                reader.array().map(Self::from_be_bytes)
            }

            fn write(&self, writer: &mut Writer<'_>) {
                writer.put(&self.to_be_bytes());
            }
        }
    )*};
}

integers!(u8, u16, u32, u64);

impl Field<'_> for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, AmqpError> {
        reader.bit()
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.bit(*self);
    }
}

impl<'a> Field<'a> for Short<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AmqpError> {
        let [length] = reader.array()?;
        reader.take(length.into()).map(Self)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        // `new` and `read` give at most 255 bytes.
        writer.put(&[u8::try_from(self.0.len()).unwrap_or(u8::MAX)]);
        writer.put(self.0);
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AmqpError> {
        reader.long()
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.long(self);
    }
}

impl<'a> Field<'a> for Table<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, AmqpError> {
        reader.long().map(Self::new)
    }

    fn write(&self, writer: &mut Writer<'_>) {
        writer.long(self.bytes());
    }
}
