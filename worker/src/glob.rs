//! Patterns as Python's `fnmatch` reads them.

/// Returns the regular expression of a pattern, as Python's `fnmatch` reads it.
pub(crate) fn expression(pattern: &str) -> String {
    let mut expression = String::from("(?s)^");
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let after = &rest[first.len_utf8()..];
        rest = after;
        match first {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => match set(after) {
                Some((set, after)) => {
                    expression.push_str(&set);
                    rest = after;
                }
                None => expression.push_str(r"\["),
            },
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    expression.push('$');
    expression
}

/// Returns the expression of a set of characters and the text after it. A leading `]` belongs to
/// the set.
fn set(text: &str) -> Option<(String, &str)> {
    let (not, inside) = match text.strip_prefix('!') {
        Some(inside) => ("^", inside),
        None => ("", text),
    };
    let skipped = inside.chars().next()?.len_utf8();
    let end = skipped + inside.get(skipped..)?.find(']')?;
    let (inside, after) = (&inside[..end], &inside[end + 1..]);
    let mut set = format!("[{not}");
    for character in inside.chars() {
        // These have a meaning in a set of a regular expression, but none in a set of `fnmatch`. A
        // `-` means a range in both.
        if matches!(character, '\\' | '[' | ']' | '^' | '&' | '~') {
            set.push('\\');
        }
        set.push(character);
    }
    set.push(']');
    Some((set, after))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        ] {
            let regex = regex::Regex::new(&expression(pattern));
            let found = regex.map(|regex| regex.is_match(text));
            assert_eq!(found, Ok(wanted), "{pattern} {text}");
        }
    }
}
