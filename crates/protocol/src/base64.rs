//! The base64 encoding of a message's body.
//!
//! A large message is mostly base64, so the encoder uses the vector instructions of the processor,
//! which each process detects once. Its results equal those of the plain engine, which is used on
//! processors without such instructions.

use std::sync::LazyLock;

use base64::engine::GeneralPurposeConfig;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use base64::engine::Simd;
use base64::{DecodeError, Engine as _};
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use base64::{alphabet, engine::GeneralPurpose};

/// Base64 as Python reads it: padding is required, unused bits at the end are ignored.
const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);

/// The engine that works everywhere.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<GeneralPurpose> =
    LazyLock::new(|| GeneralPurpose::new(&alphabet::STANDARD, CONFIG));

/// The engine that uses the vector instructions of this processor.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<Simd> = LazyLock::new(|| Simd::standard(CONFIG));

/// Bytes that are encoded at once. A block and its base64 fit into the fastest cache, and each is
/// shorter than the 2 KiB from which on the C library copies with an instruction that starts slowly.
/// The length is a multiple of three, so that only the last block has padding, and of the 24 bytes
/// that the encoder takes at once.
const BLOCK: usize = 1440;
/// The block for short texts, which takes less time to prepare.
const SMALL_BLOCK: usize = 240;

/// Appends the base64 of `bytes`, with padding.
pub fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    out.reserve(encoded_len(bytes.len()));
    for block in bytes.chunks(BLOCK) {
        encode_block(out, block);
    }
}

/// Appends the base64 of the joined `parts`, with padding.
pub(crate) fn encode_parts(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let length = parts.iter().map(|part| part.len()).sum();
    out.reserve(encoded_len(length));
    if length <= SMALL_BLOCK {
        encode_in_blocks::<SMALL_BLOCK>(out, parts);
    } else {
        encode_in_blocks::<BLOCK>(out, parts);
    }
}

fn encode_in_blocks<const BLOCK: usize>(out: &mut Vec<u8>, parts: &[&[u8]]) {
    let mut block = [0; BLOCK];
    let mut filled = 0;
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(BLOCK - filled));
            block[filled..filled + now.len()].copy_from_slice(now);
            filled += now.len();
            rest = later;
            if filled == BLOCK {
                encode_block(out, &block);
                filled = 0;
            }
        }
    }
    encode_block(out, &block[..filled]);
}

/// Returns the length of the padded base64 of `length` bytes.
pub(crate) fn encoded_len(length: usize) -> usize {
    length.div_ceil(3) * 4
}

fn encode_block(out: &mut Vec<u8>, block: &[u8]) {
    let start = out.len();
    out.resize(start + encoded_len(block.len()), b'=');
    // The slice has exactly the length that padded base64 needs.
    let written = ENGINE.encode_slice(block, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(start + written, out.len());
}

/// Reads base64 without line breaks.
pub(crate) fn decode(text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    ENGINE.decode(text)
}

#[cfg(test)]
mod tests {
    use base64::alphabet;
    use base64::engine::GeneralPurpose;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn every_length_is_written_and_read_as_by_the_plain_engine() {
        // The texts are longer than a vector, with a rest of each length that is too short for a
        // vector.
        // Some fill several blocks.
        let bytes: Vec<u8> = (0..2_000_u32).map(|n| (n * n % 251) as u8).collect();
        for length in 0..bytes.len() {
            let plain = STANDARD.encode(&bytes[..length]);
            let mut out = b"\"".to_vec();
            encode(&mut out, &bytes[..length]);
            assert_eq!(&out[1..], plain.as_bytes());
            assert_eq!(decode(&out[1..]).as_deref(), Ok(&bytes[..length]));
            for cuts in [[0, 1], [1, 2], [7, 769], [768, 1_537], [5, 5]] {
                let [first, second] = cuts.map(|cut| cut.min(length));
                let parts = [
                    &bytes[..first],
                    &bytes[first..second],
                    &bytes[second..length],
                ];
                let mut joined = b"\"".to_vec();
                encode_parts(&mut joined, &parts);
                assert_eq!(joined, out, "{length} bytes in parts {cuts:?}");
            }
        }
    }

    #[test]
    fn long_parts_are_written_as_by_the_plain_engine() {
        let bytes: Vec<u8> = (0..40_000_u32)
            .map(|n| (n % 7_919 * (n % 13) % 251) as u8)
            .collect();
        for length in [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 2, bytes.len()] {
            let plain = STANDARD.encode(&bytes[..length]);
            for cut in [0, 1, 769, BLOCK - 2, BLOCK, BLOCK + 1].map(|cut| cut.min(length)) {
                let mut out = Vec::new();
                encode_parts(&mut out, &[&bytes[..cut], &[], &bytes[cut..length]]);
                assert_eq!(out, plain.as_bytes(), "{length} bytes, cut at {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_base64_is_refused_wherever_it_stands() {
        let plain = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
        let good = STANDARD.encode([0xa5; 200]).into_bytes();
        for at in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut text = good.clone();
                text[at] = byte;
                assert_eq!(decode(&text), plain.decode(&text), "{byte} at {at}");
            }
        }
        assert!(decode(b"YQ").is_err());
        assert_eq!(decode(b"YR==").as_deref(), Ok(&b"a"[..]));
    }
}
