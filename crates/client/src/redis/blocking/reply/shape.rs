//! The shapes of answers: which elements a command's answer may have, and how large it may be.

/// The longest line: a status, an error or a length. Redis' longest error messages have a few
/// hundred bytes.
pub(super) const MAX_LINE: usize = 64 << 10;
/// The parts of a channel's message: its kind, a pattern if one was subscribed to, the channel, and
/// a payload or a count.
const MESSAGE_PARTS: usize = 4;
/// The most parts of an answer to HELLO: seven names and values, and room for the modules of a
/// large installation.
const HELLO_PARTS: usize = 1 << 10;
/// The parts of a listing: a page of 50 entries with room for more fields than they have, or the
/// messages of a list that are read at a time.
const LISTING_PARTS: usize = 1 << 12;
/// The parts of the answer to `CLUSTER SLOTS` that are missing at a time: a range for each of the
/// 16,384 slots, if the slots of a cluster are that scattered, and the parts of a range.
const RANGES: usize = 1 << 15;
/// The size expected of an unread short answer. Redis' longest error messages have a few hundred
/// bytes.
const SHORT: usize = 1 << 10;

/// The shape of an answer, which depends on the command.
///
/// It keeps a hostile or broken server from using more memory than the command justifies. The
/// answer to a post cannot be as large as a result, and a result cannot be an array of millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A status, a number, an error or a few bytes: the answer to all commands except those that
    /// read.
    Short,
    /// The answer to HELLO: names and values in turn, with a list of the server's modules.
    Hello,
    /// A text: a stored result, as large as the caller accepts.
    Text,
    /// A message of a channel, or an element of a list with the list's name: a small array, whose
    /// payload may be as large as a stored result.
    Message,
    /// Texts, or entries of a stream: arrays in an array, which together may be as large as a stored
    /// result.
    Listing,
    /// The nodes of a cluster or of Sentinels: arrays in arrays, of the size that the caller accepts.
    Nodes,
}

impl Shape {
    /// Returns the largest answer in bytes, for a caller that accepts results of `max_reply` bytes.
    pub(super) fn limit(self, max_reply: usize) -> usize {
        match self {
            Self::Short => MAX_LINE.min(max_reply),
            Self::Hello => MAX_LINE,
            Self::Text | Self::Nodes => max_reply,
            Self::Message | Self::Listing => max_reply.saturating_add(MAX_LINE),
        }
    }

    /// Returns the most elements that an array may have.
    pub(super) fn most_elements(self) -> usize {
        match self {
            Self::Short | Self::Text => 0,
            Self::Message => MESSAGE_PARTS,
            Self::Hello => HELLO_PARTS,
            Self::Listing => LISTING_PARTS,
            Self::Nodes => RANGES,
        }
    }

    /// Returns `true` if arrays may contain arrays. The limit then counts the elements of all of
    /// them.
    pub(super) fn nests(self) -> bool {
        matches!(self, Self::Hello | Self::Listing | Self::Nodes)
    }
}

/// Returns how many bytes may wait unread while commands are written: the greatest total size of
/// the answers to the commands written so far.
pub(crate) fn unread(questions: usize, listens: bool, max_reply: usize) -> usize {
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
