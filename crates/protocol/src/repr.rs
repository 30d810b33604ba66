//! Values as Python shows them, for `argsrepr`, `kwargsrepr` and log lines.
//!
//! The text is for people. It has Python's quoting, `True` and `None`. Containers below the third
//! level appear as `[...]` and `{...}`, and a long text ends with `...`. Only the part of a value
//! that is shown is read.

use crate::json::skip_value;
use crate::json::swar::{self, plain_run};

/// The longest text written into a message, in characters (Celery's own limit is similar).
pub const MAX_CHARS: usize = 1024;

/// The length of a short string in bytes: to look for its end costs little, should it be longer.
const SHORT: usize = 256;

/// The levels of containers that are shown (Celery's setting `task_repr_maxlevels`).
const MAX_LEVELS: usize = 3;

/// Shows a JSON array as a Python tuple of at most [`MAX_CHARS`] characters: `(2, 3)`, `(2,)`,
/// `()`.
///
/// ```
/// use celery_protocol::repr;
/// assert_eq!(repr::args(r#"[1, "two", null]"#), "(1, 'two', None)");
/// assert_eq!(repr::value(r#"{"b": true}"#, 100), "{'b': True}");
/// ```
pub fn args(json: &str) -> String {
    args_in(String::new(), json)
}

/// Like [`args`], in the memory of another text.
pub(crate) fn args_in(text: String, json: &str) -> String {
    show(text, json, MAX_CHARS, true)
}

/// Shows any JSON value as Python would. A text that is not JSON is shown up to its first error.
pub fn value(json: &str, max_chars: usize) -> String {
    value_in(String::new(), json, max_chars)
}

/// Like [`value`], in the memory of another text.
pub(crate) fn value_in(text: String, json: &str, max_chars: usize) -> String {
    show(text, json, max_chars, false)
}

fn show(mut text: String, json: &str, max_chars: usize, as_tuple: bool) -> String {
    text.clear();
    text.reserve(json.len().min(max_chars));
    let mut shown = Shown {
        text,
        room: max_chars,
        cut: false,
    };
    let mut at = 0;
    let mut closers = Closers::default();
    let mut alone = true;
    while let Some(&byte) = json.as_bytes().get(at) {
        if shown.room == 0 {
            break;
        }
        match byte {
            b'[' | b'{' => {
                let (open, close, hidden) = match byte {
                    b'[' if closers.len() == 0 && as_tuple => ("(", ")", "(...)"),
                    b'[' => ("[", "]", "[...]"),
                    _ => ("{", "}", "{...}"),
                };
                let inside = json[at + 1..].trim_ascii_start();
                let empty = inside.as_bytes().first() == close.as_bytes().first();
                if closers.len() >= MAX_LEVELS && !empty {
                    shown.push_ascii(hidden);
                    let Ok(end) = skip_value(json.as_bytes(), at) else {
                        break;
                    };
                    at = end;
                } else {
                    shown.push_ascii(open);
                    closers.push(close);
                    at += 1;
                }
            }
            b']' | b'}' => {
                let Some(close) = closers.pop() else { break };
                if close == ")" && alone && !shown.text.ends_with('(') {
                    shown.push_ascii(",");
                }
                shown.push_ascii(close);
                at += 1;
            }
            b',' => {
                alone = alone && closers.len() != 1;
                shown.push_ascii(", ");
                at += 1;
            }
            b':' => {
                shown.push_ascii(": ");
                at += 1;
            }
            b'"' => at = show_string(&mut shown, json, at),
            b' ' | b'\t' | b'\n' | b'\r' => at += 1,
            _ => {
                let rest = &json[at..];
                let length = rest
                    .find([',', ']', '}', ' ', '\n', '\t', '\r', ':'])
                    .unwrap_or(rest.len());
                show_scalar(&mut shown, &rest[..length]);
                at += length;
            }
        }
    }
    shown.finish(json[at.min(json.len())..].trim_start().is_empty())
}

/// The closing brackets of the open containers, the outermost first.
#[derive(Default)]
struct Closers {
    /// An empty container is shown below the last level, too.
    texts: [&'static str; MAX_LEVELS + 1],
    count: usize,
}

impl Closers {
    fn len(&self) -> usize {
        self.count
    }

    fn push(&mut self, text: &'static str) {
        if let Some(next) = self.texts.get_mut(self.count) {
            *next = text;
            self.count += 1;
        }
    }

    fn pop(&mut self) -> Option<&'static str> {
        self.count = self.count.checked_sub(1)?;
        Some(self.texts[self.count])
    }
}

/// A text with a limit.
struct Shown {
    text: String,
    room: usize,
    cut: bool,
}

impl Shown {
    fn push(&mut self, text: &str) {
        if text.is_ascii() {
            self.push_ascii(text);
        } else {
            for character in text.chars() {
                self.push_char(character);
            }
        }
    }

    /// Appends ASCII, where a byte is a character.
    fn push_ascii(&mut self, text: &str) {
        let length = text.len().min(self.room);
        self.room -= length;
        self.text.push_str(&text[..length]);
        self.cut |= length < text.len();
    }

    fn push_char(&mut self, character: char) {
        if self.room > 0 {
            self.room -= 1;
            self.text.push(character);
        } else {
            self.cut = true;
        }
    }

    fn finish(mut self, whole: bool) -> String {
        if !whole || self.cut {
            for _ in 0..3_usize.saturating_sub(self.room) {
                self.text.pop();
            }
            self.text.push_str("...");
        }
        self.text
    }
}

fn show_scalar(shown: &mut Shown, token: &str) {
    match token {
        "true" => shown.push("True"),
        "false" => shown.push("False"),
        "null" => shown.push("None"),
        "NaN" => shown.push("nan"),
        "Infinity" => shown.push("inf"),
        "-Infinity" => shown.push("-inf"),
        _ if token.contains(['.', 'e', 'E']) => match token.parse::<f64>() {
            Ok(number) => shown.push(&python_float(number)),
            Err(_) => shown.push(token),
        },
        _ => shown.push(token),
    }
}

/// Returns Python's `repr` of a float: the shortest digits, an exponent from 1e16 up and below
/// 1e-4.
fn python_float(number: f64) -> String {
    if !number.is_finite() {
        return if number.is_nan() {
            "nan"
        } else if number > 0.0 {
            "inf"
        } else {
            "-inf"
        }
        .to_owned();
    }
    let scientific = format!("{number:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = number.to_string();
        return if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Shows the string whose quote is at `start`; returns the index after it.
fn show_string(shown: &mut Shown, json: &str, start: usize) -> usize {
    // Most strings are short and need no escapes: they are read only once.
    let bytes = &json.as_bytes()[start + 1..];
    let plain = plain_run(&bytes[..bytes.len().min(SHORT)], |word| {
        let quotes = swar::equal(word, b'\'') | swar::equal(word, b'"');
        swar::unprintable(word) | quotes | swar::equal(word, b'\\')
    });
    if bytes.get(plain) == Some(&b'"') && plain + 2 <= shown.room {
        let end = start + 1 + plain;
        shown.push_ascii("'");
        shown.push_ascii(&json[start + 1..end]);
        shown.push_ascii("'");
        return end + 1;
    }
    let end = skip_value(json.as_bytes(), start).unwrap_or(json.len());
    let token = &json[start + 1..end];
    let inside = token.strip_suffix('"').unwrap_or(token);
    // A single quote anywhere in the string changes its quoting, so this search covers the whole
    // string.
    let has_single = memchr::memchr(b'\'', inside.as_bytes()).is_some();
    let quote = if has_single && !inside.contains("\\\"") {
        '"'
    } else {
        '\''
    };
    shown.push_char(quote);
    let mut rest = inside.chars();
    while shown.room > 0 {
        let text = rest.as_str();
        let shown_at_most = text.len().min(shown.room);
        let plain = plain_run(&text.as_bytes()[..shown_at_most], |word| {
            swar::unprintable(word) | swar::equal(word, quote as u8) | swar::equal(word, b'\\')
        });
        shown.push_ascii(&text[..plain]);
        rest = text[plain..].chars();
        let Some(character) = rest.next() else { break };
        let character = if character == '\\' {
            unescaped(&mut rest)
        } else {
            character
        };
        show_char(shown, character, quote);
    }
    shown.push_char(quote);
    end
}

/// Returns the character of an escape, after its backslash.
fn unescaped(rest: &mut std::str::Chars<'_>) -> char {
    match rest.next() {
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('u') => {
            let high = hex_unit(rest);
            let mut ahead = rest.clone();
            if (0xD800..0xDC00).contains(&high)
                && ahead.next() == Some('\\')
                && ahead.next() == Some('u')
            {
                let low = hex_unit(&mut ahead);
                if (0xDC00..0xE000).contains(&low) {
                    *rest = ahead;
                    let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    return char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                }
            }
            char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
        Some(other) => other,
        None => char::REPLACEMENT_CHARACTER,
    }
}

fn hex_unit(rest: &mut std::str::Chars<'_>) -> u32 {
    rest.by_ref()
        .take(4)
        .fold(0, |unit, digit| unit << 4 | digit.to_digit(16).unwrap_or(0))
}

fn show_char(shown: &mut Shown, character: char, quote: char) {
    match character {
        '\\' => shown.push("\\\\"),
        '\n' => shown.push("\\n"),
        '\r' => shown.push("\\r"),
        '\t' => shown.push("\\t"),
        _ if character == quote => {
            shown.push_char('\\');
            shown.push_char(character);
        }
        _ if is_printable(character) => shown.push_char(character),
        _ => {
            let code = u32::from(character);
            shown.push(&match code {
                0..0x100 => format!("\\x{code:02x}"),
                0x100..0x1_0000 => format!("\\u{code:04x}"),
                _ => format!("\\U{code:08x}"),
            });
        }
    }
}

/// Returns almost what Python's `str.isprintable` does: `false` for control characters, for spaces
/// except the plain one, and for the invisible characters that can disguise a log line.
fn is_printable(character: char) -> bool {
    let invisible = matches!(character,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e000}'..='\u{f8ff}' | '\u{fff9}'..='\u{fffb}');
    !character.is_control() && (character == ' ' || !character.is_whitespace()) && !invisible
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_look_as_in_python() {
        for (json, python) in [
            ("[2, 3]", "(2, 3)"),
            ("[2]", "(2,)"),
            ("[[1,2]]", "([1, 2],)"),
            ("[ ]", "()"),
            (
                r#"["it's", "say \"hi\"", "both ' and \""]"#,
                r#"("it's", 'say "hi"', 'both \' and "')"#,
            ),
            (r#"["h\u00e9llo \u2603 \ud834\udd1e"]"#, "('héllo ☃ 𝄞',)"),
            (r#"["a\nb\\\u0000\u202e\/"]"#, r"('a\nb\\\x00\u202e/',)"),
            (
                r#"[{"a":[1,{"b":[1]}]},[[],{}]]"#,
                "({'a': [1, {...}]}, [[], {}])",
            ),
            (
                "[1.0,1e100,1e-7,0.5,1E5,123456789012345678901234567890,-0.0001,1e16,1e400]",
                "(1.0, 1e+100, 1e-07, 0.5, 100000.0, 123456789012345678901234567890, -0.0001, 1e+16, inf)",
            ),
            ("[true,false,null]", "(True, False, None)"),
        ] {
            assert_eq!(args(json), python);
        }
        assert_eq!(
            value(r#"{"three": 3.0, "n": null, "b": true}"#, 100),
            "{'three': 3.0, 'n': None, 'b': True}"
        );
        assert_eq!(value("[[1]]", 100), "[[1]]");
    }

    #[test]
    fn long_values_are_cut() {
        let long = format!("[\"{}\"]", "é".repeat(5_000));
        let shown = args(&long);
        assert_eq!(shown.chars().count(), MAX_CHARS);
        assert!(
            shown.starts_with("('éé") && shown.ends_with("é..."),
            "{shown}"
        );
        for length in [SHORT - 1, SHORT, SHORT + 1, MAX_CHARS - 5, MAX_CHARS - 4] {
            let text = "x".repeat(length);
            let expected = format!("('{text}',)");
            let shown = args(&format!("[\"{text}\"]"));
            assert_eq!(shown == expected, length + 5 <= MAX_CHARS, "{length}");
        }
        for (room, text) in [(5, "'abc'"), (4, "'..."), (3, "..."), (6, "'abc'")] {
            assert_eq!(value("\"abc\"", room), text, "{room}");
        }
        assert_eq!(value("[1, 2, 3]", 9), "[1, 2, 3]");
        assert_eq!(value("[1, 2, 3]", 8), "[1, 2...");
        assert_eq!(value("[1, 2, 3]", 0), "...");
    }

    #[test]
    fn what_is_no_json_is_no_panic() {
        for text in [
            "",
            "[",
            "]",
            "\"",
            "\"\\",
            "\"\\u",
            "[\"\\ud83",
            "{\"é",
            "nul",
            "[[[[[[[",
            "é\u{200b}",
            "[1,",
            "\"\\é",
        ] {
            args(text);
            value(text, 2);
        }
    }
}
