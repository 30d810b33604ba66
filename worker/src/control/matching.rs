//! Compares the worker's name with the pattern of a request, as kombu's matchers do.

use celery_protocol::glob::Glob;
use regex::RegexBuilder;

use super::answer::{quoted, raised};

/// The most memory of a compiled pattern: names are short, and so are their patterns.
const MOST_BYTES: usize = 1 << 16;

/// Returns `true` if a node's name matches a pattern of this kind.
///
/// The kinds are `glob`, Python's `fnmatch`, and `pcre`, an expression that must match from the
/// start of the name. An expression with a back reference or a look-around is refused: it could
/// take very long.
pub(super) fn matches(node: &str, pattern: &str, matcher: &str) -> Result<bool, String> {
    let is_match = match matcher {
        "glob" => Glob::new(pattern).ok().map(|glob| glob.matches(node)),
        "pcre" => RegexBuilder::new(&format!("^(?:{pattern})"))
            .size_limit(MOST_BYTES)
            .build()
            .ok()
            .map(|regex| regex.is_match(node)),
        other => {
            let message = format!("No matcher installed for {other}");
            return Err(raised("MatcherNotInstalled", &message));
        }
    };
    is_match.ok_or_else(|| format!("the pattern {} cannot be used", quoted(pattern)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_kombu() {
        let matches = |pattern, matcher| matches("celery@web1.example", pattern, matcher);
        for (pattern, matcher, wanted) in [
            ("celery@*", "glob", true),
            ("celery@web?.example", "glob", true),
            ("celery@web[!2].*", "glob", true),
            ("web", "glob", false),
            ("*web", "glob", false),
            ("CELERY@*", "glob", false),
            ("celery@web", "pcre", true),
            ("celery@web\\d", "pcre", true),
            ("web1", "pcre", false),
            ("a|celery", "pcre", true),
            (".*example$", "pcre", true),
            ("celery@web2|x", "pcre", false),
        ] {
            assert_eq!(matches(pattern, matcher), Ok(wanted), "{matcher} {pattern}");
        }
        assert!(
            matches("a", "regex")
                .unwrap_err()
                .contains("MatcherNotInstalled")
        );
        for hostile in ["(", "(?=c)", "(a)\\1", "((a{1000}){1000}){1000}"] {
            assert!(matches(hostile, "pcre").is_err(), "{hostile}");
        }
    }
}
