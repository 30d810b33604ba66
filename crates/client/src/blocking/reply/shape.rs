//! What the answer to a command may look like, and how large it may be.

use super::MAX_LINE;

/// Parts of what a channel brings: what it is, the channel, and a payload or a count.
const MESSAGE_PARTS: usize = 3;
/// Seven names and values, and room for the modules of a large installation.
const HELLO_PARTS: usize = 1 << 10;
/// What an unread short answer is expected to take: Redis' longest error messages are a few hundred bytes.
const SHORT: usize = 1 << 10;

/// The shape of an answer. It follows the command, so that a hostile or broken server cannot make a post's answer take
/// the memory of a large result, or a result that of an array of millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A status, a number, an error or a few bytes: the answer to all commands but those that read.
    Short,
    /// What a server says of itself: names and values in turn, with a list of its modules.
    Hello,
    /// A text: a stored result, as large as the caller accepts.
    Text,
    /// What a channel brings: a small array, whose payload may be as large as a stored result.
    Message,
}

impl Shape {
    /// Returns the largest answer in bytes, for a caller who accepts results of `max_reply` bytes.
    pub(super) fn limit(self, max_reply: usize) -> usize {
        match self {
            Self::Short => MAX_LINE.min(max_reply),
            Self::Hello => MAX_LINE,
            Self::Text => max_reply,
            Self::Message => max_reply.saturating_add(MAX_LINE),
        }
    }

    /// Returns the most elements that an array may have.
    pub(super) fn most_elements(self) -> usize {
        match self {
            Self::Short | Self::Text => 0,
            Self::Message => MESSAGE_PARTS,
            Self::Hello => HELLO_PARTS,
        }
    }

    /// Returns `true` if arrays may contain arrays; all elements together count.
    pub(super) fn nests(self) -> bool {
        self == Self::Hello
    }
}

/// Returns how much may wait unread while commands are written: what the answers to those written so far may take.
pub(in crate::blocking) fn unread(questions: usize, listens: bool, max_reply: usize) -> usize {
    let messages = if listens {
        Shape::Message.limit(max_reply)
    } else {
        0
    };
    questions
        .saturating_mul(SHORT)
        .saturating_add(MAX_LINE)
        .saturating_add(messages)
}
