//! Frames: first *check* that one is complete and not too large, then *parse* it.

use super::error::AmqpError;

/// The eight bytes with which a client begins a connection: the name and version of the protocol.
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The bytes of a frame before its payload: kind, channel, length.
const HEAD: usize = 7;
/// The bytes of a frame around its payload.
pub(super) const FRAMING: usize = HEAD + 1;
/// The last byte of each frame.
const END: u8 = 0xce;

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A method with its arguments.
    Method,
    /// The properties of a message and the size of its body.
    Header,
    /// A part of a message's body.
    Body,
    /// A sign of life.
    Heartbeat,
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The kind.
    pub kind: FrameKind,
    /// The channel; 0 for the connection itself.
    pub channel: u16,
    /// The contents.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Returns the frame at the beginning of `bytes` and its length, or `None` if its end has not
    /// arrived yet.
    ///
    /// # Errors
    /// [`AmqpError`] if the bytes cannot become a frame of at most `limit` bytes. The error comes
    /// as early as the first bytes show it.
    pub fn read(bytes: &'a [u8], limit: u32) -> Result<Option<(Self, usize)>, AmqpError> {
        let kind = match bytes.first() {
            None => return Ok(None),
            Some(1) => FrameKind::Method,
            Some(2) => FrameKind::Header,
            Some(3) => FrameKind::Body,
            Some(8) => FrameKind::Heartbeat,
            // A server that wants another version answers with its own protocol header.
            Some(b'A') => return Err(AmqpError::Version),
            Some(_) => return Err(AmqpError::Malformed("unknown kind of frame")),
        };
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let channel = u16::from_be_bytes([head[1], head[2]]);
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > limit.saturating_sub(FRAMING) {
            return Err(AmqpError::TooLarge {
                what: "a frame",
                limit,
            });
        }
        match rest.get(size) {
            None => Ok(None),
            Some(&END) => {
                let payload = &rest[..size];
                let frame = Self {
                    kind,
                    channel,
                    payload,
                };
                Ok(Some((frame, size + FRAMING)))
            }
            Some(_) => Err(AmqpError::Malformed("a frame does not end where it should")),
        }
    }

    /// Appends the frame to the bytes to send.
    ///
    /// # Errors
    /// [`AmqpError::TooLarge`] if it has more than `limit` bytes.
    pub fn write(&self, out: &mut Vec<u8>, limit: u32) -> Result<(), AmqpError> {
        write_frame(out, self.kind, self.channel, limit, |out| {
            out.extend_from_slice(self.payload);
        })
    }
}

/// Appends a frame whose payload `write` appends.
///
/// # Errors
/// [`AmqpError::TooLarge`] if the frame has more than `limit` bytes; then nothing is appended.
pub(super) fn write_frame(
    out: &mut Vec<u8>,
    kind: FrameKind,
    channel: u16,
    limit: u32,
    write: impl FnOnce(&mut Vec<u8>),
) -> Result<(), AmqpError> {
    let start = out.len();
    let number: u8 = match kind {
        FrameKind::Method => 1,
        FrameKind::Header => 2,
        FrameKind::Body => 3,
        FrameKind::Heartbeat => 8,
    };
    let [high, low] = channel.to_be_bytes();
    out.extend_from_slice(&[number, high, low, 0, 0, 0, 0]);
    write(out);
    let size = out.len() - start - HEAD;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let length = match u32::try_from(size) {
        Ok(length) if size + FRAMING <= limit => length,
        _ => {
            out.truncate(start);
            return Err(AmqpError::TooLarge {
                what: match kind {
                    FrameKind::Header => "the header of a message",
                    _ => "a frame",
                },
                limit,
            });
        }
    };
    if let Some(room) = out.get_mut(start + 3..start + HEAD) {
        room.copy_from_slice(&length.to_be_bytes());
    }
    out.push(END);
    Ok(())
}
