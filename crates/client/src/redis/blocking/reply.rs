//! Reads the answers of Redis from bytes that arrive in any pieces.
//!
//! The first step *checks* where an answer ends: a small [scanner](Scanner) follows the lengths of
//! RESP2, and the forms of RESP3 that the driver's commands cause. It refuses answers that the
//! command cannot have ([`Shape`]). The second step *parses* the whole answer with redis-rs. An
//! integer (the answer to a post) and a text (such as a stored result) do not need the parser.
//!
//! In RESP3, *pushes* come between the answers: the messages of channels, and the confirmations of
//! subscriptions. They are returned in their place, as [`Value::Push`].

mod scanner;
mod shape;
#[cfg(test)]
mod tests;

use redis::Value;

use scanner::Scanner;
pub use shape::Shape;
pub(super) use shape::unread;

use crate::blocking::stream::Inbox;

/// The size of an idle buffer, in bytes. Redis collects this much before it writes, and one read
/// takes it.
const RESTING: usize = 16 << 10;
/// The size above which an empty buffer is released.
const LARGE: usize = 256 << 10;

/// Collects bytes and returns answers.
pub(super) struct ReplyReader {
    buffer: Vec<u8>,
    /// The number of bytes of `buffer` that are filled.
    filled: usize,
    /// Where the current answer begins.
    start: usize,
    /// The state of reading the current answer.
    scanner: Scanner,
    /// The largest result to accept.
    max_reply: usize,
    /// Limit for the bytes that wait unread while commands are written.
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

    /// Sets the limit for results, from the next answer on.
    pub(super) fn set_limit(&mut self, max_reply: usize) {
        self.max_reply = max_reply;
    }

    /// Sets how many bytes may wait unread while commands are written.
    pub(super) fn allow_unread(&mut self, bytes: usize) {
        self.unread = bytes;
    }

    /// Returns `true` if every received byte was returned in an answer.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.filled
    }

    /// Returns the received bytes that no answer has returned yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.filled]
    }

    /// Returns the next answer or push if it is complete, or an error if the bytes cannot become an
    /// answer of this shape, or a push.
    pub(super) fn next(&mut self, shape: Shape) -> Result<Option<Value>, String> {
        let bytes = &self.buffer[self.start..self.filled];
        let Some(answer) = self.scanner.scan(bytes, shape, self.max_reply)? else {
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

impl Inbox for ReplyReader {
    fn room(&mut self) -> &mut [u8] {
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
            // Doubling keeps the cost of copying a large answer linear. If the end of an answer is
            // known, the buffer may end there.
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

    fn filled(&mut self, count: usize) {
        self.filled += count;
    }

    fn is_overfull(&self) -> bool {
        self.filled - self.start > self.unread
    }
}

/// Reads answers from bytes that arrive in pieces. Returns the answers, and the error that follows
/// the last one, if any.
///
/// It is public only for the fuzz target and the test of its kept corpus, and is not part of the
/// interface.
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
