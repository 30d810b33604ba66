//! Finds the end of an answer while its bytes are still arriving.
//!
//! The scanner keeps its state between calls, so that it looks at each byte once, however small the
//! pieces of an answer are. Before it allocates, it refuses an answer that its command cannot have.

use redis::Value;

use super::shape::{MAX_LINE, Shape};

/// The state of reading an answer. Positions count from its first byte.
#[derive(Default)]
pub(super) struct Scanner {
    /// The position where the next element begins, or its text once the length is known.
    next: usize,
    /// The position up to which the current line was searched for its end.
    searched: usize,
    /// The position where the current text ends, once its length is known.
    text_end: Option<usize>,
    /// The number of elements that the open arrays still lack.
    missing: Option<usize>,
    /// Whether the bytes are a push of RESP3, which answers no command.
    is_push: bool,
    /// The number of bytes that were looked at.
    #[cfg(test)]
    pub(super) looked_at: usize,
}

/// What was found in the next bytes.
enum Found {
    /// The beginning of an element whose rest has not arrived.
    Unfinished,
    /// The length of a text, or of an array that has elements.
    Length,
    /// A whole element. Its value is set if it needs no parser.
    Element(Option<Value>),
}

/// A complete answer.
#[derive(Debug, PartialEq)]
pub(super) struct Whole {
    /// Where it ends.
    pub(super) end: usize,
    /// Its value if it needs no parser: a number, a text, or null.
    pub(super) value: Option<Value>,
}

impl Scanner {
    /// Returns the earliest possible end of the answer, from the lengths read so far.
    pub(super) fn announced(&self) -> usize {
        self.text_end.unwrap_or(self.next)
    }

    /// Returns the answer if `bytes` holds all of it. `bytes` must begin with those of the previous
    /// call. A push has the shape of a message, whatever answer is expected.
    pub(super) fn scan(
        &mut self,
        bytes: &[u8],
        shape: Shape,
        max_reply: usize,
    ) -> Result<Option<Whole>, String> {
        if self.next == 0 && bytes.first() == Some(&b'>') {
            self.is_push = true;
        }
        let shape = if self.is_push { Shape::Message } else { shape };
        let limit = shape.limit(max_reply);
        loop {
            let found = match self.text_end {
                Some(end) => self.text(bytes, end)?,
                None => self.line(bytes, shape, limit)?,
            };
            let value = match found {
                Found::Unfinished => return Ok(None),
                Found::Length => continue,
                Found::Element(value) => value.filter(|_| self.missing.is_none()),
            };
            if self.element_ended() {
                let end = self.next;
                return Ok(Some(Whole { end, value }));
            }
        }
    }

    /// Reads the text that ends at `end`.
    fn text(&mut self, bytes: &[u8], end: usize) -> Result<Found, String> {
        if end > bytes.len() {
            return Ok(Found::Unfinished);
        }
        self.look(2);
        if bytes[end - 2..end] != *b"\r\n" {
            return Err("a text that does not end where it should".to_owned());
        }
        let text = &bytes[self.next..end - 2];
        let value = match self.missing {
            None => Some(Value::BulkString(text.to_vec())),
            Some(_) => None,
        };
        self.text_end = None;
        self.go_on(end);
        Ok(Found::Element(value))
    }

    /// Reads a line: an element, or the length of a text, an array, a push or a map.
    fn line(&mut self, bytes: &[u8], shape: Shape, limit: usize) -> Result<Found, String> {
        let Some(line_end) = self.line_end(bytes)? else {
            return Ok(Found::Unfinished);
        };
        let line = &bytes[self.next..line_end];
        let next = line_end + 2;
        check_size(next, limit)?;
        self.look(line.len());
        let found = match line.first() {
            Some(b'+' | b'-') => Found::Element(None),
            Some(b':') => {
                let number = length(&line[1..]).ok_or("an invalid number")?;
                Found::Element(Some(Value::Int(number)))
            }
            Some(b'$') => match length(&line[1..]).ok_or("an invalid length")? {
                -1 => Found::Element(Some(Value::Nil)),
                size => {
                    let size = usize::try_from(size).ok().filter(|size| *size <= limit);
                    let size = size.ok_or("a text that is too long")?;
                    let end = next.saturating_add(size).saturating_add(2);
                    check_size(end, limit)?;
                    self.text_end = Some(end);
                    Found::Length
                }
            },
            Some(b'_') if line.len() == 1 => Found::Element(Some(Value::Nil)),
            Some(b'*') => {
                let count = length(&line[1..]).ok_or("an invalid length")?;
                self.open_array(count, shape)?
            }
            Some(b'>') if self.next == 0 => match length(&line[1..]) {
                Some(count @ 1..) => self.open_array(count, shape)?,
                _ => return Err("an invalid push".to_owned()),
            },
            Some(b'%') if shape.nests() => {
                let pairs = length(&line[1..]).ok_or("an invalid length")?;
                let count = pairs.checked_mul(2).ok_or("an invalid length")?;
                self.open_array(count, shape)?
            }
            _ => return Err("bytes that are not an answer of Redis".to_owned()),
        };
        self.go_on(next);
        Ok(found)
    }

    /// Returns where the current line ends, without its line end, or `None` while that is missing.
    fn line_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, String> {
        // The search covers only the longest line, so that the size of the pieces does not change
        // the outcome.
        let most = bytes.len().min(self.next + MAX_LINE + 1);
        let fresh = &bytes[self.searched..most];
        let found = fresh.iter().position(|byte| *byte == b'\n');
        self.look(found.unwrap_or(fresh.len()));
        let Some(at) = found else {
            self.searched = most;
            return if most - self.next > MAX_LINE {
                Err("a line that does not end".to_owned())
            } else {
                Ok(None)
            };
        };
        match bytes[self.next..self.searched + at].split_last() {
            Some((b'\r', line)) => Ok(Some(self.next + line.len())),
            _ => Err("a line without a carriage return at its end".to_owned()),
        }
    }

    /// Begins an array of `count` elements. An array without elements is complete at once.
    fn open_array(&mut self, count: i64, shape: Shape) -> Result<Found, String> {
        let most = shape.most_elements();
        if most == 0 || (self.missing.is_some() && !shape.nests()) {
            return Err("an unexpected array".to_owned());
        }
        if matches!(count, -1 | 0) {
            return Ok(Found::Element(None));
        }
        // An array inside another takes the place of one of its elements.
        let others = self.missing.map_or(0, |missing| missing - 1);
        let count = usize::try_from(count).ok();
        let count = count.and_then(|count| count.checked_add(others));
        let count = count.filter(|count| *count <= most);
        self.missing = Some(count.ok_or("an array that is too long")?);
        Ok(Found::Length)
    }

    /// Counts an element. Returns `true` if it was the last of the answer.
    fn element_ended(&mut self) -> bool {
        self.missing = match self.missing {
            None | Some(0 | 1) => None,
            Some(missing) => Some(missing - 1),
        };
        self.missing.is_none()
    }

    /// Continues at `next`, when the bytes before it are done.
    fn go_on(&mut self, next: usize) {
        (self.next, self.searched) = (next, next);
    }

    /// Counts the bytes that are looked at, for the tests.
    #[cfg(test)]
    fn look(&mut self, bytes: usize) {
        self.looked_at += bytes;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests count in it")]
    fn look(&mut self, _bytes: usize) {}
}

fn check_size(end: usize, limit: usize) -> Result<(), String> {
    if end > limit {
        return Err(format!("an answer of more than {limit} bytes"));
    }
    Ok(())
}

/// Reads a number as Redis writes it.
fn length(digits: &[u8]) -> Option<i64> {
    match digits {
        // Most numbers are short: the lengths of lists, and counts.
        [b'1'..=b'9', rest @ ..] if rest.len() < 9 && rest.iter().all(u8::is_ascii_digit) => {
            let digit = |number, digit: &u8| number * 10 + i64::from(digit - b'0');
            Some(digits.iter().fold(0, digit))
        }
        _ => std::str::from_utf8(digits).ok()?.parse().ok(),
    }
}
