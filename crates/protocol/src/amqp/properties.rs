//! The content header: the properties of a message and the size of its body.

use super::error::AmqpError;
use super::table::Table;
use super::wire::{Field, Reader, Short, Writer};

/// The class of messages.
const BASIC: u16 = 60;

macro_rules! properties {
    ($($(#[$doc:meta])* $bit:literal $name:ident: $type:ty,)*) => {
        /// The properties of a message; a property that is `None` is not on the wire.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Properties<'a> {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl<'a> Properties<'a> {
            fn read_values(reader: &mut Reader<'a>, flags: u16) -> Result<Self, AmqpError> {
                Ok(Self {
                    $($name: if flags >> $bit & 1 == 1 {
                        Some(Field::read(reader)?)
                    } else {
                        None
                    },)*
                })
            }

            fn write_values(&self, out: &mut Vec<u8>) {
                let mut flags = 0u16;
                $(flags |= u16::from(self.$name.is_some()) << $bit;)*
                let mut writer = Writer::new(out);
                flags.write(&mut writer);
                $(if let Some(value) = &self.$name {
                    value.write(&mut writer);
                })*
            }
        }
    };
}

properties! {
    /// The MIME type of the body.
    15 content_type: Short<'a>,
    /// The encoding of the body, such as `utf-8`.
    14 content_encoding: Short<'a>,
    /// The headers.
    13 headers: Table<'a>,
    /// 1: in memory; 2: kept through a restart of the broker.
    12 delivery_mode: u8,
    /// The priority; bigger is sooner.
    11 priority: u8,
    /// The id of the task.
    10 correlation_id: Short<'a>,
    /// The queue for the reply.
    9 reply_to: Short<'a>,
    /// The milliseconds until the message expires, as text.
    8 expiration: Short<'a>,
    /// An id of the message.
    7 message_id: Short<'a>,
    /// Seconds since 1970.
    6 timestamp: u64,
    /// A name of the kind of message.
    5 kind: Short<'a>,
    /// The user who published it, which the broker checks.
    4 user_id: Short<'a>,
    /// The program that published it.
    3 app_id: Short<'a>,
    /// Reserved.
    2 cluster_id: Short<'a>,
}

impl<'a> Properties<'a> {
    /// Reads the payload of a header frame. Returns the properties and the size of the body.
    ///
    /// # Errors
    /// [`AmqpError`] if the payload is not that of a message.
    pub fn read(payload: &'a [u8]) -> Result<(Self, u64), AmqpError> {
        let mut reader = Reader::new(payload);
        let size = read_size(&mut reader)?;
        let flags = u16::read(&mut reader)?;
        // The lowest bit announces more flags, and none of them has a meaning.
        if flags & 0b11 != 0 {
            return Err(AmqpError::Malformed("a header has unknown properties"));
        }
        let properties = Self::read_values(&mut reader, flags)?;
        if !reader.is_empty() {
            return Err(AmqpError::Malformed(
                "a header has bytes after its properties",
            ));
        }
        Ok((properties, size))
    }

    /// Returns the size of the body that a header announces. It looks at nothing else.
    ///
    /// # Errors
    /// [`AmqpError`] if the payload is not that of a message.
    pub fn body_size(payload: &[u8]) -> Result<u64, AmqpError> {
        read_size(&mut Reader::new(payload))
    }

    /// Appends the payload of a header frame.
    pub fn write(&self, body_size: u64, out: &mut Vec<u8>) {
        let mut writer = Writer::new(out);
        BASIC.write(&mut writer);
        0u16.write(&mut writer);
        body_size.write(&mut writer);
        self.write_values(out);
    }
}

fn read_size(reader: &mut Reader<'_>) -> Result<u64, AmqpError> {
    let (class, _weight) = (u16::read(reader)?, u16::read(reader)?);
    if class != BASIC {
        return Err(AmqpError::Malformed("a header is not that of a message"));
    }
    u64::read(reader)
}
