//! Compressed bodies: the names Celery has for the formats, and decompression that stops at a limit.
//!
//! Celery compresses after serializing and names the format in the header `compression`. What it calls
//! gzip is a zlib stream (RFC 1950).

/// A format that kombu can compress with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// A zlib stream, which kombu calls `gzip`.
    Zlib,
    /// bzip2.
    Bzip2,
    /// The xz container, which kombu calls `lzma`.
    Xz,
    /// A Zstandard frame.
    Zstd,
    /// Brotli.
    Brotli,
}

/// Data that could not be compressed or decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The data is not a whole stream of the format.
    #[error("damaged {} data: {detail}", format.content_type())]
    Damaged {
        /// The format it should have been.
        format: Compression,
        /// What the decompressor said.
        detail: String,
    },
    /// The data becomes larger than allowed.
    #[error("decompressed data is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Compression {
    /// The format of a name that kombu knows: an alias (`gzip`, `bzip2`, `lzma`, `zstd`, …) or a content
    /// type. There is no `bz2` and no `gz`.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "gzip" | "zlib" | "application/x-gzip" => Self::Zlib,
            "bzip2" | "bzip" | "application/x-bz2" => Self::Bzip2,
            "lzma" | "xz" | "application/x-lzma" => Self::Xz,
            "zstd" | "zstandard" | "application/zstd" => Self::Zstd,
            "brotli" | "application/x-brotli" => Self::Brotli,
            _ => return None,
        })
    }

    /// The value of the header `compression`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
            Self::Xz => "application/x-lzma",
            Self::Zstd => "application/zstd",
            Self::Brotli => "application/x-brotli",
        }
    }

    /// Compresses.
    pub fn compress(self, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let _ = data;
        todo!()
    }

    /// Decompresses to at most `limit` bytes.
    pub fn decompress(self, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        let _ = (data, limit);
        todo!()
    }
}
