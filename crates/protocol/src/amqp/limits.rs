//! The limits of the codec. No input makes it recurse or allocate beyond them.

/// The largest frame to send or accept, with its eight bytes of framing. RabbitMQ proposes this
/// size.
pub const FRAME_MAX: u32 = 131_072;
/// The smallest frame size that the protocol permits a server to propose.
pub const FRAME_MIN: u32 = 4_096;
/// The deepest nesting of tables and arrays. It is that of JSON in this crate, because tables
/// become JSON.
pub const MAX_DEPTH: usize = crate::json::MAX_DEPTH;
/// The longest short string, in bytes: its length is one byte.
pub const MAX_SHORT: usize = 255;
/// The default of the largest body that a session collects, like that of the other readers.
pub const MAX_BODY: usize = crate::message::DEFAULT_MAX_BODY;
