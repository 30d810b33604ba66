//! Patterns of names, as Python's `fnmatch` reads them: in routes, in remote control, and for types
//! of events.

/// A pattern of names. `*` stands for any text and `?` for one character. `[abc]` stands for one of
/// these characters, `[!abc]` for any other, `[a-c]` for a range. Case matters.
///
/// ```
/// use celery_protocol::glob::Glob;
/// let mails = Glob::new("mail.*").unwrap();
/// assert!(mails.matches("mail.send") && !mails.matches("email.send"));
/// assert!(Glob::new("[z-a]").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Vec<Part>);

/// A pattern with a range whose end comes before its start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a pattern: a range in it ends before its start")]
pub struct GlobError(String);

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// Any text.
    Text,
    /// Any character.
    One,
    /// This character.
    Literal(char),
    /// A character that is in one of the ranges, or in none of them.
    Set {
        is_negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// [`GlobError`] if a range ends before its start.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some(first) = rest.chars().next() {
            rest = &rest[first.len_utf8()..];
            parts.push(match first {
                '*' => Part::Text,
                '?' => Part::One,
                '[' => match set(rest) {
                    Some((set, after)) => {
                        rest = after;
                        set.ok_or_else(|| GlobError(pattern.to_owned()))?
                    }
                    None => Part::Literal('['),
                },
                other => Part::Literal(other),
            });
        }
        parts.dedup_by(|next, previous| *next == Part::Text && *previous == Part::Text);
        Ok(Self(parts))
    }

    /// Returns `true` if the whole text matches. The time is at most the product of the lengths of
    /// pattern and text.
    pub fn matches(&self, text: &str) -> bool {
        let (mut part, mut rest) = (0, text);
        // The part after the last `*`, and the text where it was tried.
        let mut retry: Option<(usize, &str)> = None;
        loop {
            let next = rest.chars().next();
            match (self.0.get(part), next) {
                (Some(Part::Text), _) => {
                    part += 1;
                    retry = Some((part, rest));
                    continue;
                }
                (Some(one), Some(character)) if one.takes(character) => {
                    part += 1;
                    rest = &rest[character.len_utf8()..];
                    continue;
                }
                (None, None) => return true,
                _ => {}
            }
            // The last `*` takes one more character.
            let Some((after, from)) = retry else {
                return false;
            };
            let Some(taken) = from.chars().next() else {
                return false;
            };
            rest = &from[taken.len_utf8()..];
            part = after;
            retry = Some((after, rest));
        }
    }

    /// Returns the text with which everything that matches begins.
    pub fn prefix(&self) -> String {
        let literals = self.0.iter().map_while(|part| match part {
            Part::Literal(character) => Some(*character),
            _ => None,
        });
        literals.collect()
    }

    /// Returns the text with which everything that matches one of these patterns begins. Without a
    /// pattern, it is empty.
    pub fn common_prefix(globs: &[Glob]) -> String {
        let mut prefixes = globs.iter().map(Glob::prefix);
        let first = prefixes.next().unwrap_or_default();
        prefixes.fold(first, |common, other| {
            let same = common.chars().zip(other.chars());
            same.take_while(|(one, other)| one == other)
                .map(|(one, _)| one)
                .collect()
        })
    }
}

impl Part {
    fn takes(&self, character: char) -> bool {
        match self {
            Self::Text | Self::One => true,
            Self::Literal(wanted) => *wanted == character,
            Self::Set { is_negated, ranges } => {
                let mut ranges = ranges.iter();
                let is_in = ranges.any(|(first, last)| (*first..=*last).contains(&character));
                is_in != *is_negated
            }
        }
    }
}

/// Returns a set of characters and the text after it, or `None` if no `]` ends it. The set is
/// `None` if a range is impossible. A leading `]` belongs to the set.
fn set(text: &str) -> Option<(Option<Part>, &str)> {
    let (is_negated, inside) = match text.strip_prefix('!') {
        Some(inside) => (true, inside),
        None => (false, text),
    };
    let skipped = inside.chars().next()?.len_utf8();
    let end = skipped + inside.get(skipped..)?.find(']')?;
    let (inside, tail) = (&inside[..end], &inside[end + 1..]);
    let characters: Vec<char> = inside.chars().collect();
    let mut ranges = Vec::new();
    let mut rest = &characters[..];
    while let [first, more @ ..] = rest {
        let (last, after) = match more {
            ['-', last, after @ ..] => (last, after),
            _ => (first, more),
        };
        if first > last {
            return Some((None, tail));
        }
        ranges.push((*first, *last));
        rest = after;
    }
    Some((Some(Part::Set { is_negated, ranges }), tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Glob::new(pattern).unwrap().matches(text)
    }

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, wanted) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("**", "anything\nat all", true),
            ("?", "ü", true),
            ("?", "", false),
            ("celery@*", "celery@web1.example", true),
            ("celery@web?.example", "celery@web1.example", true),
            ("celery@web[!2].*", "celery@web1.example", true),
            ("web", "celery@web1", false),
            ("*web", "celery@web1", false),
            ("CELERY@*", "celery@web1", false),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3c4", false),
            ("*.send", "mail.send.send", true),
            ("a.b", "axb", false),
            ("[", "[", true),
            ("[!", "[!", true),
            ("[]", "[]", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }

    #[test]
    fn sets_have_any_characters() {
        for (pattern, text, wanted) in [
            ("[<>]", "<", true),
            ("[<>]", "=", false),
            ("w[»-]1", "w»1", true),
            ("[!\"'`@]", "a", true),
            ("[!\"'`@]", "@", false),
            ("[^a]", "^", true),
            ("[^a]", "b", false),
            ("[&&]", "&", true),
            ("[a~~b]", "~", true),
            ("[[:alpha:]]", ":]", true),
            ("[\\d]", "\\", true),
            ("[\\d]", "7", false),
            ("[]a]", "]", true),
            ("[a-c ]", "b", true),
            ("[a-c-e]", "-", true),
            ("[a-c-e]", "d", false),
            ("[-a]", "-", true),
            ("[a-]", "-", true),
            ("[!a-c]", "d", true),
            ("[!!]", "!", false),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
        for impossible in ["[z-a]", "a[!9-0]b", "[a-bz-y]"] {
            let error = Glob::new(impossible).unwrap_err();
            assert!(error.to_string().contains(impossible), "{error}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_quick() {
        let pattern = "*a".repeat(1000);
        let text = "a".repeat(999);
        assert!(!matches(&pattern, &text));
        assert!(matches(&pattern, &(text + "a")));
    }

    #[test]
    fn the_prefix_is_what_all_have_in_common() {
        let prefix = |pattern| Glob::new(pattern).unwrap().prefix();
        assert_eq!(prefix("task-*"), "task-");
        assert_eq!(prefix("worker-online"), "worker-online");
        assert_eq!(prefix("*"), "");
        assert_eq!(prefix("t[ae]sk"), "t");
        assert_eq!(prefix("w?"), "w");
    }
}
