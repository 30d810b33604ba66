//! The name of a claim.

use std::fmt;

/// The name of one claim of one message. The worker never reuses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag {
    /// On Redis, the number of the claim. With a broker that numbers the messages of each
    /// connection, the number of the connection. Tags of an earlier connection are then lost.
    pub(crate) call: u64,
    /// The message's position in the claim or in the connection, from 1.
    pub(crate) index: u64,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:04}", self.call, self.index)
    }
}
