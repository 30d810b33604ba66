//! One connection to a Redis.

/// A connection: a non-blocking stream, perhaps TLS over it, and what is still unanswered on it.
pub struct Link;
