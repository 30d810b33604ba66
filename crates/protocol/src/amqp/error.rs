//! The errors of reading and writing AMQP.

use super::limits::MAX_DEPTH;

/// Bytes of a server that cannot be used, or values that have no form in AMQP.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AmqpError {
    /// A part ends before its announced length, or has an impossible value.
    #[error("{0}")]
    Malformed(&'static str),
    /// A part is larger than permitted.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge {
        /// The part.
        what: &'static str,
        /// The largest permitted size.
        limit: usize,
    },
    /// Tables and arrays nest too deep.
    #[error("a table is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// A table has a value of an unknown type.
    #[error("a table has a value of the unknown type {0:#04x}")]
    ValueType(u8),
    /// A method that this crate does not know.
    #[error("unknown method {class}.{method}")]
    UnknownMethod {
        /// The number of its class.
        class: u16,
        /// Its number in the class.
        method: u16,
    },
    /// The server sent a frame or a method that has no place here.
    #[error("unexpected {what} on channel {channel}")]
    Unexpected {
        /// The frame or method.
        what: &'static str,
        /// The channel.
        channel: u16,
    },
    /// The server speaks another version of the protocol, or another protocol.
    #[error("the server does not speak AMQP 0-9-1")]
    Version,
    /// The server offers none of the ways to log in that this client knows.
    #[error("the server offers no login by {0}")]
    Mechanism(&'static str),
    /// A text must be JSON here.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// The caller used a channel that is not open, or used a channel twice.
    #[error("channel {0} is not ready for this")]
    Channel(u16),
}
