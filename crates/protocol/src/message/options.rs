//! The limits and formats of a reader of messages and results, with their defaults.

use crate::compression::Compression;
use crate::serializer::Serializer;

/// The limits and formats that a reader accepts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DecodeOptions<'a> {
    /// Serializers accepted, as Celery's `accept_content`.
    pub accept: &'a [Serializer],
    /// The largest body after base64 and decompression, in bytes.
    pub max_body: usize,
    /// Like [`max_body`](Self::max_body), for bodies that may grow while they are read: compressed
    /// bodies, and YAML with its aliases. `max_body` still applies.
    pub max_unpacked: usize,
}

/// The default of [`max_body`](DecodeOptions::max_body): twice the 64 MiB of a large message. Its
/// sender had to send as much, and Redis had to hold it.
pub const DEFAULT_MAX_BODY: usize = 128 << 20;

/// The default of [`max_unpacked`](DecodeOptions::max_unpacked). A decompression bomb grows a
/// thousandfold: 32 KiB become 32 MiB, and a worker takes up to 250 messages at once. Text
/// compresses to about a tenth. The limit therefore permits texts compressed to 3 MiB, more than a
/// queue should carry.
pub const DEFAULT_MAX_UNPACKED: usize = 32 << 20;

impl Default for DecodeOptions<'_> {
    fn default() -> Self {
        Self {
            accept: &[Serializer::Json],
            max_body: DEFAULT_MAX_BODY,
            max_unpacked: DEFAULT_MAX_UNPACKED,
        }
    }
}

impl<'a> DecodeOptions<'a> {
    /// Sets the accepted serializers.
    #[must_use]
    pub fn accept(mut self, accept: &'a [Serializer]) -> Self {
        self.accept = accept;
        self
    }

    /// Sets the largest body.
    #[must_use]
    pub fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets the largest body for bodies that may grow while they are read.
    #[must_use]
    pub fn max_unpacked(mut self, bytes: usize) -> Self {
        self.max_unpacked = bytes;
        self
    }

    /// Returns the largest permitted size of a body of this kind.
    pub(crate) fn limit(&self, serializer: Serializer, compression: Option<Compression>) -> usize {
        match (serializer, compression) {
            (Serializer::Json | Serializer::Msgpack, None) => self.max_body,
            _ => self.max_unpacked.min(self.max_body),
        }
    }
}
