//! Finds the end of a string in JSON text, and escapes in it that strict JSON does not have.

/// Returns the index after a string's closing quote, or the text's end if the string is not closed.
/// `inside` is the index after its opening quote.
pub(super) fn string_end(text: &[u8], inside: usize) -> usize {
    string_span(text, inside).0
}

/// Like [`string_end`]. The `bool` is `true` if the string has escapes.
pub(super) fn string_span(text: &[u8], inside: usize) -> (usize, bool) {
    let mut at = inside;
    let mut escaped = false;
    while let Some(found) = text
        .get(at..)
        .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
    {
        at += found + 1;
        if text[at - 1] == b'"' {
            return (at, escaped);
        }
        escaped = true;
        at += 1;
    }
    (text.len(), escaped)
}

/// Returns the position of the next escape in a string that is half of a surrogate pair without its
/// other half.
pub(super) fn next_lone_surrogate(text: &[u8], start: usize, end: usize) -> Option<usize> {
    let mut at = start;
    while let Some(backslash) = memchr::memchr(b'\\', &text[at..end]) {
        let escape = at + backslash;
        match escaped_unit(text, escape) {
            Some(0xD800..=0xDBFF) => {
                if !matches!(escaped_unit(text, escape + 6), Some(0xDC00..=0xDFFF)) {
                    return Some(escape);
                }
                at = escape + 12;
            }
            Some(0xDC00..=0xDFFF) => return Some(escape),
            _ => at = escape + 2,
        }
        if at >= end {
            return None;
        }
    }
    None
}

/// Returns the code unit of the `\uXXXX` escape that starts at `at`.
fn escaped_unit(text: &[u8], at: usize) -> Option<u16> {
    let escape = text.get(at..at.checked_add(6)?)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0_u16, |unit, digit| {
        let value = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}
