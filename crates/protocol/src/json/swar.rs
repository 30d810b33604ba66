//! Searches for bytes eight at a time: a message is mostly strings, and most of their bytes need no
//! escape.
//!
//! A *mask* has the highest bit set in each byte that was found. Only the lowest one is reliable:
//! the subtraction may borrow from the bytes above it.

const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES << 7;

/// Marks bytes below `limit`, which is at most 0x80.
pub(crate) const fn less(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * limit as u64) & !word & HIGHS
}

/// Marks bytes equal to `byte`.
pub(crate) const fn equal(word: u64, byte: u8) -> u64 {
    less(word ^ (ONES * byte as u64), 1)
}

/// Marks bytes that are not printable ASCII.
pub(crate) const fn unprintable(word: u64) -> u64 {
    less(word, b' ') | equal(word, 0x7f) | (word & HIGHS)
}

/// Returns the number of bytes before the first one that `special` marks. `special` must not mark
/// `a`.
pub(crate) fn plain_run(bytes: &[u8], special: impl Fn(u64) -> u64) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    let special_in = |word: &[u8; 8]| special(u64::from_le_bytes(*word));
    // Reads a long text four words at a time: the compiler then uses vector instructions.
    let (blocks, _) = words.as_chunks::<4>();
    let plain_blocks = blocks
        .iter()
        .take_while(|block| block.iter().fold(0, |found, word| found | special_in(word)) == 0)
        .count();
    let mut plain = plain_blocks * 4;
    while let Some(word) = words.get(plain) {
        let found = special_in(word);
        if found != 0 {
            return plain * 8 + found.trailing_zeros() as usize / 8;
        }
        plain += 1;
    }
    let mut last = [b'a'; 8];
    last[..rest.len()].copy_from_slice(rest);
    let found = special_in(&last);
    let short = found.trailing_zeros() as usize / 8;
    words.len() * 8 + short.min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_special_byte_is_found_wherever_it_stands() {
        let is_special = |byte| !matches!(byte, b' '..=b'~') || byte == b'"';
        let special = |word| unprintable(word) | equal(word, b'"');
        for byte in 0..=u8::MAX {
            for before in 0..70 {
                // The result must not depend on the bytes after the one that was found.
                for after in [b'!', b'"', 0, 0x1f, 0x20, 0x80, 0xff] {
                    let mut bytes = vec![b'x'; before];
                    bytes.push(byte);
                    bytes.extend([after; 33]);
                    let expected = bytes.iter().position(|&byte| is_special(byte));
                    let found = plain_run(&bytes, special);
                    assert_eq!(found, expected.unwrap_or(bytes.len()), "{bytes:?}");
                }
            }
        }
    }
}
