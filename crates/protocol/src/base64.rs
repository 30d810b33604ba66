//! The base64 encoding of a message's body.
//!
//! A large message is mostly base64, so the encoder uses the vector instructions of the processor,
//! detected once a process. Its results equal those of the plain engine, which is used on
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

/// Appends the base64 of `bytes`, with padding.
pub(crate) fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    let length = bytes.len().div_ceil(3) * 4;
    out.resize(start + length, b'=');
    // The slice has exactly the length that padded base64 needs.
    let written = ENGINE.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    debug_assert_eq!(written, length);
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
        let bytes: Vec<u8> = (0..1_000_u32).map(|n| (n * n % 251) as u8).collect();
        for length in 0..bytes.len() {
            let plain = STANDARD.encode(&bytes[..length]);
            let mut out = b"\"".to_vec();
            encode(&mut out, &bytes[..length]);
            assert_eq!(&out[1..], plain.as_bytes());
            assert_eq!(decode(&out[1..]).as_deref(), Ok(&bytes[..length]));
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
