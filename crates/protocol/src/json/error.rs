//! The errors of reading JSON, and the limits that some of them name.

/// The deepest nesting of arrays and objects: `serde_json`'s limit, so that text accepted here
/// parses there.
pub const MAX_DEPTH: usize = 127;

/// Python's `sys.int_info.default_max_str_digits`: reading a longer integer raises.
pub(super) const MAX_DIGITS: usize = 4_300;

/// The error of a text that is not JSON as Python writes it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// The position of the first bad byte.
        at: usize,
    },
    /// A `__type__` that kombu does not know, or a value that does not fit its `__type__`.
    #[error("unknown or invalid __type__")]
    Special,
    /// An integer has more digits than Python converts.
    #[error("integer of more than {MAX_DIGITS} digits")]
    Digits,
    /// The text is not JSON.
    #[error("{0}")]
    Syntax(String),
}

impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        Self::Syntax(error.to_string())
    }
}
