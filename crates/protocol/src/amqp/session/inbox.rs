//! The bytes of a server that are not parsed yet.

use crate::amqp::error::AmqpError;
use crate::amqp::frame::Frame;

/// The least room for a read. One read takes many small frames, such as confirms.
const ROOM: usize = 16 << 10;

/// The bytes that have arrived, from the first one that is not parsed.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    /// The number of bytes of `buffer` that are filled.
    filled: usize,
}

impl Inbox {
    /// Returns room to read into. The buffer grows to a frame and a read at most, if frames are
    /// taken out between two reads.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.buffer.len() < self.filled + ROOM {
            self.buffer.resize(self.filled + ROOM, 0);
        }
        self.buffer.get_mut(self.filled..).unwrap_or_default()
    }

    /// Notes that `count` bytes were read into the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.filled = (self.filled + count).min(self.buffer.len());
    }

    /// Returns the number of bytes that are not parsed.
    pub(super) fn len(&self) -> usize {
        self.filled - self.start
    }

    /// Returns the first bytes that are not parsed.
    pub(super) fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..self.filled).unwrap_or_default()
    }

    /// Takes the bytes out, to put them back with [`give_back`](Self::give_back). So a frame can
    /// borrow them while the session changes.
    pub(super) fn lend(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }

    /// Returns the next frame of lent bytes.
    pub(super) fn frame<'b>(
        &mut self,
        lent: &'b [u8],
        limit: u32,
    ) -> Result<Option<Frame<'b>>, AmqpError> {
        let rest = lent.get(self.start..self.filled).unwrap_or_default();
        let Some((frame, length)) = Frame::read(rest, limit)? else {
            return Ok(None);
        };
        self.start += length;
        Ok(Some(frame))
    }

    pub(super) fn give_back(&mut self, lent: Vec<u8>) {
        self.buffer = lent;
    }
}
