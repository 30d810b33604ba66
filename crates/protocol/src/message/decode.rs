//! Reading a task message.

use super::{DecodeError, Task};
use crate::serializer::Serializer;

/// What a reader accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DecodeOptions<'a> {
    /// Serializers accepted, as Celery's `accept_content`.
    pub accept: &'a [Serializer],
    /// The largest body after base64 and decompression.
    pub max_body: usize,
}

/// The largest body accepted unless told otherwise: twice the 64 MiB that a large message has, and small
/// enough that a few compression bombs do not exhaust a worker
pub const DEFAULT_MAX_BODY: usize = 128 << 20;

impl Default for DecodeOptions<'_> {
    fn default() -> Self {
        Self {
            accept: &[Serializer::Json],
            max_body: DEFAULT_MAX_BODY,
        }
    }
}

impl<'a> DecodeOptions<'a> {
    /// Sets the accepted serializers.
    pub fn accept(mut self, accept: &'a [Serializer]) -> Self {
        self.accept = accept;
        self
    }

    /// Sets the largest body.
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }
}

impl Task {
    /// Reads one element of a Redis queue whose body is JSON.
    pub fn decode_redis(raw: &[u8]) -> Result<Task, DecodeError> {
        Self::decode_redis_with(raw, &DecodeOptions::default())
    }

    /// Reads one element of a Redis queue, accepting what the options say.
    pub fn decode_redis_with(raw: &[u8], options: &DecodeOptions<'_>) -> Result<Task, DecodeError> {
        let _ = (raw, options);
        todo!()
    }
}
