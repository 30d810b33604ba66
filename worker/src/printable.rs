//! Makes text of unknown origin safe for a terminal and a log.
//!
//! Messages, tasks and servers choose names, arguments and error texts. Such text must not look
//! like a line of the worker or control a terminal. It must not hide characters either, or show
//! them in another order than they are stored. Characters that could do that are written as Rust
//! escapes (`\u{1b}`, `\r`), or as JSON escapes (`\u001b`) inside JSON.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The beginning of the second and every further line of a text in a log. The worker's own lines
/// never begin with it.
const CONTINUED: &str = "\n  ";

/// Returns the text as one line: line breaks and tabs are escaped too.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| {
        out.extend(character.escape_default());
    })
}

/// Returns the text with its line breaks, and indents all lines except the first. Tabs stay.
pub(crate) fn indented(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| match character {
        '\n' => out.push_str(CONTINUED),
        '\t' => out.push('\t'),
        _ => out.extend(character.escape_default()),
    })
}

/// Returns JSON with the meaning of the given JSON. Unsafe characters can only occur in its
/// strings.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    escaped(text, |character, out| {
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _written = write!(out, "\\u{unit:04x}");
        }
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

/// Returns `true` for characters that show nothing or have no agreed shape, by Unicode's general
/// category.
///
/// These are control characters, separators of lines and paragraphs, and code points that are
/// private or not assigned. Format characters count too, such as those that change the direction of
/// text.
fn is_unsafe(character: char) -> bool {
    !character.is_ascii_graphic()
        && matches!(
            character.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
                | GeneralCategory::PrivateUse
                | GeneralCategory::Unassigned
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
            // Contains a joiner, a byte order mark, a tag, a soft hyphen, and code points that are
            // private or not assigned.
            (
                "a\u{200d}b\u{feff}c\u{e0041}",
                r"a\u{200d}b\u{feff}c\u{e0041}",
            ),
            ("\u{ad}\u{180e}\u{2060}", r"\u{ad}\u{180e}\u{2060}"),
            (
                "\u{e000}\u{f8ff}\u{10fffd}\u{378}\u{ffff}",
                r"\u{e000}\u{f8ff}\u{10fffd}\u{378}\u{ffff}",
            ),
            ("\u{fff9}\u{1d173}", r"\u{fff9}\u{1d173}"),
            (
                "e\u{301} \u{a0}\u{3000} 🎉 ✅",
                "e\u{301} \u{a0}\u{3000} 🎉 ✅",
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
    fn json_keeps_its_meaning() {
        for text in [
            "plain ü",
            "a\u{202e}b\u{200d}",
            "\u{e0041}\u{7f}\u{feff}",
            "\u{10fffd}\\\"\u{9b}",
        ] {
            let written = serde_json::Value::from(text).to_string();
            let shown = json(&written);
            assert!(!shown.contains(is_unsafe), "{shown}");
            assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text);
        }
    }

    #[test]
    fn lines_are_kept_and_indented() {
        assert_eq!(indented("a\r\nb\tc\u{202e}"), "a\\r\n  b\tc\\u{202e}");
    }
}
