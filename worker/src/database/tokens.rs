//! The part of SQL's grammar that is needed to find the parameters of a statement.
//!
//! A colon is not the beginning of a parameter inside strings, quoted names, comments and
//! PostgreSQL's dollar quotes, nor in PostgreSQL's casts and MySQL's `:=`.

use super::Dialect;
use super::grammar::Grammar;
use super::params::ParamError;

/// A piece of a statement that is not divided further.
pub(super) struct Token {
    pub(super) length: usize,
    pub(super) is_parameter: bool,
}

/// Returns the first token of `rest`, which begins with `next`.
pub(super) fn token(rest: &str, next: char, grammar: Grammar) -> Result<Token, ParamError> {
    let dialect = grammar.dialect;
    let text = |length| {
        Ok(Token {
            length,
            is_parameter: false,
        })
    };
    let until = |from: usize, end: &str, what| match rest[from..].find(end) {
        Some(at) => text(from + at + end.len()),
        None => Err(ParamError::Unterminated(what)),
    };
    let string = |from: usize, quote, backslash| match quoted(&rest[from..], quote, backslash) {
        Some(length) => text(from + length),
        None => Err(ParamError::Unterminated("quotes")),
    };
    let placeholder = |length| Err(ParamError::Placeholder(rest[..length].to_owned()));
    match next {
        '\'' | '"' | '`' => string(0, next, grammar.escapes_in(next)),
        // PostgreSQL's strings with escapes.
        'E' | 'e' if dialect == Dialect::Postgres && rest[1..].starts_with('\'') => {
            string(1, '\'', true)
        }
        '-' if begins_comment(rest, dialect) => text(rest.find('\n').unwrap_or(rest.len())),
        '#' if dialect == Dialect::MySql => text(rest.find('\n').unwrap_or(rest.len())),
        '/' if rest.starts_with("/*") && nests(rest, dialect) => match nested_comment(rest) {
            Some(length) => text(length),
            None => Err(ParamError::Unterminated("a comment")),
        },
        '/' if rest.starts_with("/*") => until(2, "*/", "a comment"),
        '$' if dialect == Dialect::Postgres => {
            let tag = rest[1..]
                .find(|c: char| !is_name(c))
                .map_or(rest.len(), |at| at + 1);
            match rest[tag..].starts_with('$') {
                true => until(tag + 1, &rest[..=tag], "a dollar quote"),
                false if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => placeholder(tag),
                false => text(1),
            }
        }
        // PostgreSQL has operators with this character.
        '?' if dialect != Dialect::Postgres => placeholder(1),
        '$' | '@' if dialect == Dialect::Sqlite && rest[1..].starts_with(is_name) => {
            let name = rest[1..].find(|c: char| !is_name(c));
            placeholder(name.map_or(rest.len(), |at| at + 1))
        }
        ':' => {
            let name = rest[1..]
                .find(|c: char| !is_name(c))
                .unwrap_or(rest.len() - 1);
            let starts = rest[1..].starts_with(|c: char| is_name(c) && !c.is_ascii_digit());
            match () {
                () if starts => Ok(Token {
                    length: 1 + name,
                    is_parameter: true,
                }),
                // A cast; the name after it is not a parameter.
                () if rest.starts_with("::") => text(2),
                () => text(1),
            }
        }
        // A name or number stays in one piece, so that no part of it is read as another token.
        _ if is_name(next) => {
            let inside = |c: char| is_name(c) || c == '$';
            text(rest.find(|c: char| !inside(c)).unwrap_or(rest.len()))
        }
        _ => text(next.len_utf8()),
    }
}

/// Returns `true` for `--` that begins a comment. MySQL and MariaDB require a blank after it:
/// `5--3` is 8 to them.
fn begins_comment(rest: &str, dialect: Dialect) -> bool {
    rest.strip_prefix("--").is_some_and(|after| {
        let blank = |c: char| c.is_whitespace() || c.is_control();
        dialect != Dialect::MySql || after.is_empty() || after.starts_with(blank)
    })
}

/// Returns `true` if this comment may contain other comments. In PostgreSQL all comments may. In
/// MySQL and MariaDB, only comments whose text the server runs may.
fn nests(comment: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::Postgres => true,
        Dialect::MySql => comment.starts_with("/*!") || comment.starts_with("/*M!"),
        Dialect::Sqlite => false,
    }
}

/// Returns the length of the comment with which `rest` begins, with the comments inside it.
fn nested_comment(rest: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(found) = rest[at..].find(['/', '*']) {
        at += found;
        let (opens, closes) = (rest[at..].starts_with("/*"), rest[at..].starts_with("*/"));
        depth += usize::from(opens);
        if closes && depth == 1 {
            return Some(at + 2);
        }
        depth -= usize::from(closes);
        at += if opens || closes { 2 } else { 1 };
    }
    None
}

/// Returns the length of the quoted text with which `rest` begins; two quotes in a row stand for
/// one quote in the text.
fn quoted(rest: &str, quote: char, backslash: bool) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == '\\' && backslash {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, doubled)) if *doubled == quote => chars.next(),
                _ => return Some(at + 1),
            };
        }
    }
    None
}

pub(super) fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
