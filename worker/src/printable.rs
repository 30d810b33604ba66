//! Text of unknown origin, made safe for a terminal and a log.
//!
//! Messages, tasks and servers choose names, arguments and error texts. Such text must not pass for a line of the worker's,
//! command a terminal, or show its characters in another order than they are stored. Characters that could do that are
//! written as Rust escapes (`\u{1b}`, `\r`).

use std::borrow::Cow;

/// How the second and every further line of a text begins in a log. No line of the worker's begins so.
const CONTINUED: &str = "\n  ";

/// Returns the text in one line: line breaks and tabs are escaped too.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| {
        out.extend(character.escape_default());
    })
}

/// Returns the text with its lines, of which all but the first are indented. Tabs stay.
pub(crate) fn indented(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| match character {
        '\n' => out.push_str(CONTINUED),
        '\t' => out.push('\t'),
        _ => out.extend(character.escape_default()),
    })
}

fn escaped(text: &str, mut write: impl FnMut(char, &mut String)) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            write(character, &mut out);
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// Returns `true` for control characters, for those that Unicode breaks lines at, and for those that change the direction of
/// text (UAX #9, the property `Bidi_Control`).
fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{2028}' | '\u{2029}'
                | '\u{061c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped() {
        for (text, shown) in [
            ("\u{1b}[2J", r"\u{1b}[2J"),
            ("\u{7}", r"\u{7}"),
            ("\u{9b}1m\0\u{7f}", r"\u{9b}1m\u{0}\u{7f}"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            (
                "user\u{202e}txt.exe\u{2066}\u{2069}",
                r"user\u{202e}txt.exe\u{2066}\u{2069}",
            ),
            (
                "\u{200f}\u{61c}\u{2028}\u{85}",
                r"\u{200f}\u{61c}\u{2028}\u{85}",
            ),
            (
                "für später – 日本語 \u{05d0}",
                "für später – 日本語 \u{05d0}",
            ),
        ] {
            assert_eq!(one_line(text), shown);
        }
    }

    #[test]
    fn lines_are_kept_and_indented() {
        assert_eq!(indented("a\r\nb\tc\u{202e}"), "a\\r\n  b\tc\\u{202e}");
    }
}
