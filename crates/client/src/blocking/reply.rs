//! Answers, found in bytes that arrive in any pieces.
//!
//! First *check* where an answer ends, then *parse*: a small scanner follows the lengths of RESP2, remembers where it
//! stopped, and refuses what the command cannot be answered with ([`Shape`]) before anything is allocated for it; redis-rs'
//! parser then reads the whole answer. An integer, which is what a post is answered with, is read directly.

mod shape;

use redis::Value;

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
    /// How far it was scanned.
    scanned: usize,
    /// Where the current answer ends, as far as its lengths have said.
    announced: usize,
    /// Elements still missing of the open array.
    missing: Option<usize>,
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
            scanned: 0,
            announced: 0,
            missing: None,
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
        if self.is_empty() && self.missing.is_none() {
            (self.filled, self.start, self.scanned) = (0, 0, 0);
            self.announced = 0;
            if self.buffer.len() > LARGE {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 && self.filled == self.buffer.len() {
            self.buffer.copy_within(self.start..self.filled, 0);
            self.filled -= self.start;
            self.scanned -= self.start;
            self.announced = self.announced.saturating_sub(self.start);
            self.start = 0;
        }
        if self.filled == self.buffer.len() {
            // Doubling keeps the copying of a large answer linear, and its end is where the buffer may end.
            let size = (self.buffer.len() * 2).max(RESTING);
            let size = if self.announced > self.filled {
                size.min(self.announced)
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
        if !self.scan(shape)? {
            return Ok(None);
        }
        let bytes = &self.buffer[self.start..self.scanned];
        let value = match integer(bytes) {
            Some(number) => Value::Int(number),
            None => redis::parse_redis_value(bytes).map_err(|error| error.to_string())?,
        };
        self.start = self.scanned;
        Ok(Some(value))
    }

    /// Moves on to the end of the answer; true if it is there.
    fn scan(&mut self, shape: Shape) -> Result<bool, String> {
        let limit = shape.limit(self.max_reply);
        loop {
            let at = self.scanned;
            let Some(line) = self.line(at)? else {
                return Ok(false);
            };
            let next = at + line.len() + 2;
            let mut end = next;
            match line.first() {
                Some(b'+' | b'-') => {}
                Some(b':') => {
                    length(&line[1..]).ok_or("a number that is none")?;
                }
                Some(b'$') => match length(&line[1..]) {
                    Some(-1) => {}
                    Some(size) => {
                        let size = usize::try_from(size)
                            .ok()
                            .filter(|size| *size <= limit)
                            .ok_or("a text that is too long")?;
                        end = next + size + 2;
                        self.check_size(end, limit)?;
                        if end > self.filled {
                            self.announced = end;
                            return Ok(false);
                        }
                        if self.buffer[end - 2..end] != *b"\r\n" {
                            return Err("a text that does not end where it should".to_owned());
                        }
                    }
                    None => return Err("a length that is none".to_owned()),
                },
                Some(b'*') => {
                    let count = length(&line[1..]).ok_or("a length that is none")?;
                    let most = shape.most_elements();
                    if most == 0 || (self.missing.is_some() && !shape.nests()) {
                        return Err("an array where none can be".to_owned());
                    }
                    // None at all is an answer by itself.
                    if !matches!(count, -1 | 0) {
                        // An array inside another takes the place of one of its elements.
                        let others = self.missing.map_or(0, |missing| missing - 1);
                        let count = usize::try_from(count).ok();
                        let count = count.and_then(|count| count.checked_add(others));
                        let count = count.filter(|count| *count <= most);
                        self.missing = Some(count.ok_or("an array that is too long")?);
                        self.scanned = next;
                        self.check_size(next, limit)?;
                        continue;
                    }
                }
                _ => return Err("bytes that are no answer of Redis".to_owned()),
            }
            self.scanned = end;
            self.check_size(end, limit)?;
            if self.element_ended() {
                return Ok(true);
            }
        }
    }

    /// The line that begins at `at`, without its end; `None` while its end is missing.
    fn line(&self, at: usize) -> Result<Option<&[u8]>, String> {
        let rest = &self.buffer[at..self.filled];
        match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) if end > 0 && rest[end - 1] == b'\r' => Ok(Some(&rest[..end - 1])),
            Some(_) => Err("a line that ends badly".to_owned()),
            None if rest.len() > MAX_LINE => Err("a line that does not end".to_owned()),
            None => Ok(None),
        }
    }

    fn check_size(&self, end: usize, limit: usize) -> Result<(), String> {
        if end - self.start > limit {
            return Err(format!("an answer of more than {limit} bytes"));
        }
        Ok(())
    }

    /// Counts one element; true if it was the last of the answer.
    fn element_ended(&mut self) -> bool {
        self.missing = match self.missing {
            None | Some(0 | 1) => None,
            Some(missing) => Some(missing - 1),
        };
        self.missing.is_none()
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

fn length(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn integer(answer: &[u8]) -> Option<i64> {
    length(answer.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn feed(reader: &mut ReplyReader, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = reader.room();
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            reader.filled(count);
            bytes = &bytes[count..];
        }
    }

    fn read_all(reader: &mut ReplyReader, into: &mut Vec<Value>) -> Result<(), String> {
        while let Some(value) = reader.next(Shape::Message)? {
            into.push(value);
        }
        Ok(())
    }

    /// An answer as bytes, as Redis writes it.
    fn answers() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
            "[A-Za-z ]{0,20}".prop_map(|text| format!("+{text}\r\n").into_bytes()),
            "[A-Z]{1,10} [a-z ]{0,20}".prop_map(|text| format!("-{text}\r\n").into_bytes()),
            Just(b"$-1\r\n".to_vec()),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(|text| {
                let mut bytes = format!("${}\r\n", text.len()).into_bytes();
                bytes.extend(text);
                bytes.extend(b"\r\n");
                bytes
            }),
        ];
        let message = prop::collection::vec(leaf.clone(), 0..4).prop_map(|parts| {
            let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
            bytes.extend(parts.concat());
            bytes
        });
        prop_oneof![leaf, message, Just(b"*-1\r\n".to_vec())]
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(answers in prop::collection::vec(answers(), 1..8), cuts in prop::collection::vec(1usize..50, 1..40)) {
            let expected: Vec<Value> = answers.iter().map(|bytes| redis::parse_redis_value(bytes).unwrap()).collect();
            let all = answers.concat();
            let mut reader = ReplyReader::new(LIMIT);
            let mut got = Vec::new();
            let mut rest = all.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (piece, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                feed(&mut reader, piece);
                read_all(&mut reader, &mut got).unwrap();
                rest = later;
            }
            prop_assert_eq!(got, expected);
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn no_bytes_do_harm(bytes in prop::collection::vec(prop_oneof![Just(b'*'), Just(b'$'), Just(b':'), Just(b'\r'), Just(b'\n'), b'0'..=b'9', any::<u8>()], 0..200)) {
            let mut reader = ReplyReader::new(LIMIT);
            feed(&mut reader, &bytes);
            let _ = read_all(&mut reader, &mut Vec::new());
        }
    }

    fn refused(shape: Shape, bytes: &[u8]) -> bool {
        let mut reader = ReplyReader::new(LIMIT);
        feed(&mut reader, bytes);
        reader.next(shape).is_err()
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_is_allocated() {
        for bytes in [
            "$99999999999\r\n",
            "*2147483647\r\n",
            "$-2\r\n",
            "*-7\r\n",
            "$1114113\r\n",
            "!x\r\n",
            "+a\n",
            ":x\r\n",
            "$1\r\nabc",
            "*4\r\n",
            "*1\r\n*1\r\n",
            "*2\r\n:1\r\n*0\r\n",
        ] {
            for shape in [Shape::Short, Shape::Text, Shape::Message] {
                assert!(refused(shape, bytes.as_bytes()), "{shape:?} {bytes:?}");
            }
        }
        assert!(refused(Shape::Text, &vec![b'+'; MAX_LINE + 2]));
    }

    #[test]
    fn an_answer_has_the_shape_of_its_command() {
        let text = |size: usize| format!("${size}\r\n{}\r\n", "x".repeat(size)).into_bytes();
        let message = |size: usize| [b"*3\r\n:1\r\n:2\r\n", &*text(size)].concat();
        let cases = [
            // What the bytes are, and whether they are short, a text, a message.
            (b":1\r\n".to_vec(), [true, true, true]),
            (b"$-1\r\n".to_vec(), [true, true, true]),
            (b"-ERR no\r\n".to_vec(), [true, true, true]),
            (text(100), [true, true, true]),
            (text(MAX_LINE), [false, true, true]),
            (text(LIMIT - 100), [false, true, true]),
            (text(LIMIT), [false, false, true]),
            (text(LIMIT + MAX_LINE), [false, false, false]),
            (message(100), [false, false, true]),
            (message(LIMIT - 100), [false, false, true]),
            (b"*0\r\n".to_vec(), [false, false, true]),
            (b"*-1\r\n".to_vec(), [false, false, true]),
            (b"*1\r\n*1\r\n:1\r\n".to_vec(), [false, false, false]),
            (b"*20000000\r\n:1\r\n:1\r\n".to_vec(), [false, false, false]),
        ];
        for (bytes, accepted) in cases {
            let shapes = [Shape::Short, Shape::Text, Shape::Message];
            let got = shapes.map(|shape| !refused(shape, &bytes));
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(20)]).into_owned();
            assert_eq!(got, accepted, "{begin:?} of {}", bytes.len());
        }
    }

    #[test]
    fn what_nobody_asked_for_is_bounded() {
        let mut reader = ReplyReader::new(LIMIT);
        reader.allow_unread(unread(10, false, LIMIT));
        feed(&mut reader, &vec![b':'; MAX_LINE + 10 * 1024]);
        assert!(!reader.is_overfull());
        feed(&mut reader, b":");
        assert!(reader.is_overfull());
        reader.allow_unread(unread(0, true, LIMIT));
        assert!(!reader.is_overfull());
    }

    #[test]
    fn the_buffer_of_a_large_answer_ends_with_it() {
        let size = LIMIT - 1000;
        let mut reader = ReplyReader::new(LIMIT);
        feed(&mut reader, format!("${size}\r\n").as_bytes());
        assert_eq!(reader.next(Shape::Text), Ok(None));
        feed(&mut reader, &vec![b'x'; size]);
        feed(&mut reader, b"\r\n");
        assert!(reader.buffer.len() <= LIMIT);
        assert!(matches!(
            reader.next(Shape::Text),
            Ok(Some(Value::BulkString(_)))
        ));
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut reader = ReplyReader::new(LIMIT);
        let text = "x".repeat(LARGE * 2);
        feed(
            &mut reader,
            format!("${}\r\n{text}\r\n", text.len()).as_bytes(),
        );
        assert_eq!(
            reader.next(Shape::Text),
            Ok(Some(Value::BulkString(text.into_bytes())))
        );
        assert!(reader.room().len() <= RESTING);
    }
}
