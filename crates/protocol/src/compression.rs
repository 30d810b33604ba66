//! Compressed bodies: Celery's names for the formats, and decompression that stops at a limit.
//!
//! Celery compresses after serializing and names the format in the header `compression`. The format
//! that it calls gzip is a zlib stream (RFC 1950).

use std::io::{self, Read, Write};

use bzip2::read::{BzDecoder, BzEncoder};
use flate2::read::{ZlibDecoder, ZlibEncoder};
use liblzma::read::{XzDecoder, XzEncoder};
use liblzma::stream::Stream;

/// xz's own default.
const XZ_PRESET: u32 = 6;
/// The memory that an xz stream may ask for: enough for its highest preset, which takes 65 MiB.
const XZ_MEMORY: u64 = 96 << 20;
/// The smallest and the largest window that a zstd frame may ask for, as powers of two.
///
/// Every reader should allow 8 MiB (RFC 8878), and the levels up to 19 need it. The highest level
/// needs 128 MiB. Between them, the window may be as large as the permitted output.
const ZSTD_WINDOW: (u32, u32) = (23, 27);
/// The highest level used: higher levels of brotli take ten times the time for little gain.
const BROTLI_QUALITY: i32 = 5;
/// The number of bytes that brotli reads at once.
const BUFFER: usize = 4_096;

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

/// The error of data that could not be compressed or decompressed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompressionError {
    /// The data is not a whole stream of the format.
    #[error("damaged {} data: {detail}", format.content_type())]
    Damaged {
        /// The format that was expected.
        format: Compression,
        /// The decompressor's message.
        detail: String,
    },
    /// The data becomes larger than permitted.
    #[error("decompressed data is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
}

impl Compression {
    /// Returns the format for a name that kombu knows: an alias (`gzip`, `bzip2`, `lzma`, `zstd`,
    /// …) or a content type. kombu knows neither `bz2` nor `gz`.
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

    /// Returns kombu's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zlib => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "lzma",
            Self::Zstd => "zstd",
            Self::Brotli => "brotli",
        }
    }

    /// Returns the value of the header `compression`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Zlib => "application/x-gzip",
            Self::Bzip2 => "application/x-bz2",
            Self::Xz => "application/x-lzma",
            Self::Zstd => "application/zstd",
            Self::Brotli => "application/x-brotli",
        }
    }

    /// Compresses the data.
    ///
    /// # Errors
    ///
    /// Returns [`CompressionError::Damaged`] if the compressor fails, which no input of a valid
    /// size causes.
    pub fn compress(self, data: &[u8]) -> Result<Vec<u8>, CompressionError> {
        let mut out = Vec::with_capacity(data.len() / 2 + 64);
        let read = match self {
            Self::Zlib => {
                ZlibEncoder::new(data, flate2::Compression::default()).read_to_end(&mut out)
            }
            Self::Bzip2 => BzEncoder::new(data, bzip2::Compression::best()).read_to_end(&mut out),
            Self::Xz => XzEncoder::new(data, XZ_PRESET).read_to_end(&mut out),
            Self::Zstd => zstd_compress(data, &mut out).map(|()| 0),
            Self::Brotli => brotli_compress(data, &mut out).map(|()| 0),
        };
        match read {
            Ok(_) => Ok(out),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    /// Decompresses to at most `limit` bytes. Ignores what follows the end of the stream.
    ///
    /// # Errors
    ///
    /// [`CompressionError::TooLarge`] beyond `limit`, [`CompressionError::Damaged`] if the data is
    /// not a whole stream.
    pub fn decompress(self, data: &[u8], limit: usize) -> Result<Vec<u8>, CompressionError> {
        let read = match self {
            Self::Zlib => read_limited(ZlibDecoder::new(data), limit),
            Self::Bzip2 => read_limited(BzDecoder::new(data), limit),
            Self::Xz => Stream::new_stream_decoder(XZ_MEMORY, 0)
                .map_err(io::Error::other)
                .and_then(|stream| read_limited(XzDecoder::new_stream(data, stream), limit)),
            Self::Zstd => {
                zstd_decoder(data, limit).and_then(|decoder| read_limited(decoder, limit))
            }
            Self::Brotli if has_large_window(data) => Err(io::Error::other(
                "a large window, which RFC 7932 does not know",
            )),
            Self::Brotli => read_limited(brotli::Decompressor::new(data, BUFFER), limit),
        };
        match read {
            Ok(Some(out)) => Ok(out),
            Ok(None) => Err(CompressionError::TooLarge { limit }),
            Err(error) => Err(self.damaged(&error)),
        }
    }

    fn damaged(self, error: &io::Error) -> CompressionError {
        CompressionError::Damaged {
            format: self,
            detail: error.to_string(),
        }
    }
}

/// Writes a frame that names the size of its content. Celery 5.2 and 5.4 read no other.
fn zstd_compress(data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let mut encoder = zstd::stream::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL)?;
    encoder.set_pledged_src_size(Some(data.len() as u64))?;
    encoder.write_all(data)?;
    encoder.finish().map(drop)
}

fn zstd_decoder(data: &[u8], limit: usize) -> io::Result<zstd::stream::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::Decoder::with_buffer(data)?.single_frame();
    let (smallest, largest) = ZSTD_WINDOW;
    let all = limit.checked_next_power_of_two().unwrap_or(limit);
    decoder.window_log_max(all.max(1).ilog2().clamp(smallest, largest))?;
    Ok(decoder)
}

/// Returns `true` if a brotli stream begins like Google's large-window extension. Our decoder knows
/// the extension and would take a gigabyte for a few bytes of data; Python's decoder does not know
/// it.
fn has_large_window(data: &[u8]) -> bool {
    data.first().is_some_and(|first| first & 0x7f == 0x11)
}

fn brotli_compress(mut data: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let params = brotli::enc::BrotliEncoderParams {
        quality: BROTLI_QUALITY,
        ..Default::default()
    };
    brotli::BrotliCompress(&mut data, out, &params).map(drop)
}

/// Reads everything, or returns `None` beyond the limit. Memory grows with what is really read.
fn read_limited(reader: impl Read, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    let one_more = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(one_more).read_to_end(&mut out)?;
    Ok((out.len() <= limit).then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Compression; 5] = [
        Compression::Zlib,
        Compression::Bzip2,
        Compression::Xz,
        Compression::Zstd,
        Compression::Brotli,
    ];

    #[test]
    fn every_format_survives_both_ways_and_has_its_names() {
        let data: Vec<u8> = (0..100_000_u32)
            .flat_map(|n| (n / 7).to_le_bytes())
            .collect();
        for format in ALL {
            for data in [&data[..], b"", b"[[2, 3], {}, null]"] {
                let packed = format.compress(data).unwrap();
                assert_eq!(
                    format.decompress(&packed, data.len()).unwrap(),
                    data,
                    "{format:?}"
                );
            }
            assert_eq!(Compression::from_name(format.content_type()), Some(format));
        }
        assert_eq!(Compression::Zlib.compress(b"x").unwrap()[0], 0x78);
        assert_eq!(
            [Compression::from_name("bz2"), Compression::from_name("gz")],
            [None, None]
        );
    }

    #[test]
    fn a_zstd_frame_names_the_size_of_its_content() {
        for size in [0, 1, 255, 300_000] {
            let packed = Compression::Zstd.compress(&vec![b'x'; size]).unwrap();
            let named = zstd::zstd_safe::get_frame_content_size(&packed).unwrap();
            assert_eq!(named, Some(size as u64));
        }
    }

    #[test]
    fn truncated_and_foreign_data_is_an_error() {
        let data = b"a task message that is long enough to be cut in the middle".repeat(10);
        for format in ALL {
            let packed = format.compress(&data).unwrap();
            for end in 0..packed.len() - 8 {
                assert!(
                    format.decompress(&packed[..end], 10_000).is_err(),
                    "{format:?} {end}"
                );
            }
            assert!(
                format.decompress(b"[[2, 3], {}, null]", 10_000).is_err(),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_header_cannot_ask_for_a_large_window() {
        let params = brotli::enc::BrotliEncoderParams {
            large_window: true,
            lgwin: 30,
            ..Default::default()
        };
        let mut large = Vec::new();
        brotli::BrotliCompress(&mut &b"a task"[..], &mut large, &params).unwrap();
        let refused = |format: Compression, data: &[u8]| {
            let outcome = format.decompress(data, 32 << 20);
            matches!(outcome, Err(CompressionError::Damaged { .. }))
        };
        assert!(refused(Compression::Brotli, &large));

        // The frame has one raw block of one byte; the window is 2 to the power of 10 + exponent.
        let frame = |exponent: u8| [0x28, 0xb5, 0x2f, 0xfd, 0, exponent << 3, 9, 0, 0, b'x'];
        assert!(refused(Compression::Zstd, &frame(16)));
        let small = |limit| Compression::Zstd.decompress(&frame(13), limit);
        assert_eq!(
            [small(1), small(32 << 20)],
            [Ok(b"x".to_vec()), Ok(b"x".to_vec())]
        );
        let large = Compression::Zstd.decompress(&frame(15), 32 << 20);
        assert_eq!(large.as_deref(), Ok(&b"x"[..]));
    }

    #[test]
    fn bombs_stop_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        for format in ALL {
            let bomb = format.compress(&zeros).unwrap();
            assert!(bomb.len() < zeros.len() / 200, "{format:?}");
            assert_eq!(
                format.decompress(&bomb, 1 << 20),
                Err(CompressionError::TooLarge { limit: 1 << 20 })
            );
        }
    }
}
