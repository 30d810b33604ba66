//! Answers, found in bytes that arrive in any pieces.
//!
//! First *check* where an answer ends, then *parse*: a small [scanner](Scanner) follows the lengths
//! of RESP2 and refuses what the command cannot be answered with ([`Shape`]); redis-rs' parser then
//! reads the whole answer. It is not needed for an integer, which is what a post is answered with,
//! nor for a text, which is a stored result.

mod scanner;
mod shape;
#[cfg(test)]
mod tests;

use redis::Value;

use scanner::Scanner;
pub use shape::Shape;
pub(super) use shape::unread;

/// A line is a status, an error or a length. Redis' longest error messages are a few hundred bytes.
const MAX_LINE: usize = 64 << 10;
/// The buffer's size at rest: one read brings what Redis writes at once.
const RESTING: usize = 16 << 10;
/// A buffer larger than this is given back when it is empty.
const LARGE: usize = 256 << 10;

/// Collects bytes and gives out answers.
pub(super) struct ReplyReader {
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are filled.
    filled: usize,
    /// Where the current answer begins.
    start: usize,
    /// How far it is understood.
    scanner: Scanner,
    /// The largest result that is accepted.
    max_reply: usize,
    /// How much may wait unread while something is written.
    unread: usize,
}

impl ReplyReader {
    pub(super) fn new(max_reply: usize) -> Self {
        Self {
            buffer: Vec::new(),
            filled: 0,
            start: 0,
            scanner: Scanner::default(),
            max_reply,
            unread: 0,
        }
    }

    /// Another limit for results, from the next answer on.
    pub(super) fn set_limit(&mut self, max_reply: usize) {
        self.max_reply = max_reply;
    }

    /// How much may wait unread while something is written.
    pub(super) fn allow_unread(&mut self, bytes: usize) {
        self.unread = bytes;
    }

    /// Returns `true` if nothing was received that was not given out.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.filled
    }

    /// Returns what was received and not given out.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.filled]
    }

    /// Returns `true` if more waits to be given out than was asked for.
    pub(super) fn is_overfull(&self) -> bool {
        self.filled - self.start > self.unread
    }

    /// Room to read into; say with [`filled`](Self::filled) how much was used.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.is_empty() {
            (self.filled, self.start) = (0, 0);
            if self.buffer.len() > LARGE {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.filled == self.buffer.len() {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            // Doubling keeps the copying of a large answer linear, and its end is where the buffer may end.
            let size = (self.buffer.len() * 2).max(RESTING);
            let announced = self.start + self.scanner.announced();
            let size = if announced > self.filled {
                size.min(announced)
            } else {
                size
            };
            self.buffer.resize(size, 0);
        }
        &mut self.buffer[self.filled..]
    }

    /// `count` more bytes are in the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.filled += count;
    }

    /// The next answer, if it is complete; an error if the bytes cannot become one of this shape.
    pub(super) fn next(&mut self, shape: Shape) -> Result<Option<Value>, String> {
        let bytes = &self.buffer[self.start..self.filled];
        let limit = shape.limit(self.max_reply);
        let Some(answer) = self.scanner.scan(bytes, shape, limit)? else {
            return Ok(None);
        };
        let value = match answer.value {
            Some(value) => value,
            None => {
                redis::parse_redis_value(&bytes[..answer.end]).map_err(|error| error.to_string())?
            }
        };
        self.start += answer.end;
        self.scanner = Scanner::default();
        Ok(Some(value))
    }
}

/// The answers in bytes that arrive in pieces, and what is wrong behind the last of them: for the fuzz target and its
/// kept corpus, which stand outside of the crate. It is no part of the interface.
#[doc(hidden)]
pub fn answers<'b>(
    pieces: impl IntoIterator<Item = &'b [u8]>,
    shape: Shape,
    max_reply: usize,
) -> (Vec<Value>, Result<(), String>) {
    let mut reader = ReplyReader::new(max_reply);
    let mut answers = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = reader.room();
            let (now, later) = piece.split_at(room.len().min(piece.len()));
            room[..now.len()].copy_from_slice(now);
            reader.filled(now.len());
            piece = later;
        }
        loop {
            match reader.next(shape) {
                Ok(Some(answer)) => answers.push(answer),
                Ok(None) => break,
                Err(error) => return (answers, Err(error)),
            }
        }
    }
    (answers, Ok(()))
}
