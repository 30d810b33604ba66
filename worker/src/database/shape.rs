//! Checks whether a statement can be a task, without a database.
//!
//! A task is one statement that changes something. Two statements would be half applied, or run
//! together if the driver allows it. The text alone shows that mistake in the settings, and it
//! shows a statement that does not suit a [task](super::purpose). The database decides whether the
//! rest of the statement is right: see [`prepare`](super::prepare).

use super::Dialect;
use super::grammar::Grammar;
use super::params::ParamError;
use super::purpose::{self, CHANGES, PurposeError};
use super::tokens::token;

/// The reason why a statement cannot be a task.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ShapeError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ParamError),
    /// The statement is empty.
    #[error("the statement is empty")]
    Empty,
    /// A second statement follows.
    #[error(
        "a task is one statement, and another one begins at line {line}, column {column} \
         ({begins}); several statements go into a procedure, which a task can call"
    )]
    Second {
        /// Its line, counted from 1.
        line: usize,
        /// Its column in characters, counted from 1.
        column: usize,
        /// Its first words.
        begins: String,
    },
    /// It does not suit a task.
    #[error(transparent)]
    Purpose(#[from] PurposeError),
}

/// A token that is neither blank nor comment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word<'s> {
    pub(super) text: &'s str,
    /// Its place in the statement, in bytes.
    at: usize,
    /// How many parentheses are open around it; a parenthesis belongs to the text around it.
    pub(super) depth: usize,
}

impl Word<'_> {
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    pub(super) fn is_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }
}

/// Characters of a second statement that an error shows.
const SHOWN: usize = 30;

/// How deep comments that MySQL runs may be nested. People write one level. The limit exists
/// because the reader calls itself for each level.
const MOST_COMMENTS: u8 = 8;

/// Checks that a statement can be a task.
pub(super) fn check(sql: &str, grammar: Grammar) -> Result<(), ShapeError> {
    let words = words(sql, grammar)?;
    let end = words.iter().position(|word| word.is(";"));
    let (words, rest) = words.split_at(end.unwrap_or(words.len()));
    // The statements inside a compound statement end with semicolons.
    purpose::refuse_compound(words, grammar.dialect)?;
    let second = rest.iter().find(|word| !word.is(";"));
    if second.is_some() {
        purpose::refuse_definition(words)?;
    }
    match (words, second) {
        ([], None) => Err(ShapeError::Empty),
        (_, Some(second)) => Err(named(sql, second.at)),
        (words, None) => Ok(purpose::check(words, grammar.dialect)?),
    }
}

/// Returns the procedure that a statement calls, as it is written; `None` if it is not a `CALL`.
pub(super) fn called(sql: &str, grammar: Grammar) -> Option<String> {
    let words = words(sql, grammar).ok()?;
    let (first, rest) = words.split_first()?;
    let name = rest.iter().take_while(|word| !word.is_one_of(&["(", ";"]));
    first
        .is("CALL")
        .then(|| name.map(|word| word.text).collect())
}

/// Returns `true` if a statement reads or changes rows: such a statement can be explained.
pub(super) fn is_explainable(sql: &str, grammar: Grammar) -> bool {
    let words = words(sql, grammar).unwrap_or_default();
    let first = words.iter().find(|word| !word.is("("));
    first.is_some_and(|word| word.is_one_of(&CHANGES) || word.is_one_of(&["SELECT", "WITH"]))
}

fn words(sql: &str, grammar: Grammar) -> Result<Vec<Word<'_>>, ParamError> {
    words_inside(sql, grammar, 0)
}

/// Returns the words of a statement, or of a comment that is run inside `comments` others.
fn words_inside(sql: &str, grammar: Grammar, comments: u8) -> Result<Vec<Word<'_>>, ParamError> {
    let (mut words, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    while let Some(next) = sql[at..].chars().next() {
        let length = token(&sql[at..], next, grammar)?.length;
        let text = &sql[at..at + length];
        if text == ")" {
            depth = depth.saturating_sub(1);
        }
        let run = run_by_mysql(text, grammar.dialect).filter(|_| comments < MOST_COMMENTS);
        if let Some(inside) = run {
            // The words inside count as standing where the comment begins, so that an error shows
            // the whole comment.
            let inside = words_inside(inside, grammar, comments + 1)?.into_iter();
            words.extend(inside.map(|word| Word {
                at,
                depth: depth + word.depth,
                ..word
            }));
        } else if !next.is_whitespace() && !is_comment(text, grammar.dialect) {
            words.push(Word { text, at, depth });
        }
        if text == "(" {
            depth += 1;
        }
        at += length;
    }
    Ok(words)
}

/// Returns the text inside a comment that MySQL or MariaDB runs: `/*! … */`, `/*!80000 … */`,
/// `/*M! … */`.
fn run_by_mysql(token: &str, dialect: Dialect) -> Option<&str> {
    let text = token
        .strip_prefix("/*!")
        .or_else(|| token.strip_prefix("/*M!"))
        .filter(|_| dialect == Dialect::MySql)?;
    let without_version = text.trim_start_matches(|c: char| c.is_ascii_digit());
    without_version.strip_suffix("*/")
}

/// Returns `true` for a comment.
fn is_comment(token: &str, dialect: Dialect) -> bool {
    match dialect {
        Dialect::MySql if token.starts_with('#') => true,
        _ => token.starts_with("--") || token.starts_with("/*"),
    }
}

fn named(sql: &str, at: usize) -> ShapeError {
    let before = &sql[..at];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default();
    let words: Vec<&str> = sql[at..].split_whitespace().collect();
    let mut begins: String = words.join(" ");
    if let Some((end, _)) = begins.char_indices().nth(SHOWN) {
        begins.truncate(end);
        begins.push('…');
    }
    ShapeError::Second {
        line,
        column: column.chars().count() + 1,
        begins,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Dialect; 3] = [Dialect::MySql, Dialect::Postgres, Dialect::Sqlite];

    fn fits(sql: &str, dialects: &[Dialect]) {
        for dialect in dialects {
            assert_eq!(check(sql, (*dialect).into()), Ok(()), "{dialect:?}: {sql}");
        }
    }

    fn refused(sql: &str, dialects: &[Dialect], part: &str) {
        for dialect in dialects {
            let error = check(sql, (*dialect).into()).unwrap_err().to_string();
            assert!(error.contains(part), "{dialect:?}: {sql}: {error}");
        }
    }

    #[test]
    fn one_statement_may_end_with_a_semicolon_and_mention_others() {
        for sql in [
            "UPDATE t SET a = :a",
            "UPDATE t SET a = :a;",
            "UPDATE t SET a = :a ; ;\n",
            "UPDATE t SET a = :a; -- and; no; more\n",
            "UPDATE t SET a = :a; /* ; DELETE FROM t */ ;",
            "UPDATE t SET a = 'x; DELETE FROM t' WHERE b = ':c;'",
            "UPDATE t SET a = 'it''s; DELETE'",
            "-- first; second\nDELETE FROM \"a;b\" WHERE id = :id",
            "CALL p(:a)",
        ] {
            fits(sql, &ALL);
        }
        fits("DELETE FROM `a;b` # ; DELETE FROM c", &[Dialect::MySql]);
        fits(r"UPDATE t SET a = 'it\'s; x'", &[Dialect::MySql]);
        fits(
            "DO $$ BEGIN DELETE FROM a; DELETE FROM b; END $$",
            &[Dialect::Postgres],
        );
        fits("DO $x$ BEGIN DELETE FROM a; END $x$;", &[Dialect::Postgres]);
    }

    #[test]
    fn a_second_statement_is_reported_with_its_place() {
        let two = "UPDATE t SET n = n + 1 WHERE id = :id;\n  UPDATE t SET s = 'ü' WHERE id = :id";
        refused(
            two,
            &ALL,
            "line 2, column 3 (UPDATE t SET s = 'ü' WHERE id …)",
        );
        for (sql, part) in [
            (
                "DELETE FROM a; DELETE FROM b",
                "line 1, column 16 (DELETE FROM b)",
            ),
            ("DELETE FROM a;DELETE FROM b;", "column 15"),
            ("DELETE FROM a; -- x\n; SELECT 1", "line 2, column 3"),
            ("DELETE FROM ä WHERE a = ';'; COMMIT", "column 30 (COMMIT)"),
            ("BEGIN; UPDATE t SET a = 1; COMMIT", "column 8"),
            (
                "CREATE TABLE t (a INT); CREATE TRIGGER x BEFORE INSERT ON t BEGIN DELETE FROM a; END",
                "(CREATE TRIGGER x BEFORE INSERT…)",
            ),
            ("; DELETE FROM a", "column 3"),
        ] {
            refused(sql, &ALL, part);
        }
        // In MySQL, the two hyphens of a comment are followed by a blank.
        for sql in [
            "DELETE FROM a --x; DELETE FROM b",
            "UPDATE a SET b = 5--:c; DELETE FROM a",
        ] {
            refused(sql, &[Dialect::MySql], "DELETE FROM");
            fits(sql, &[Dialect::Postgres, Dialect::Sqlite]);
        }
        for sql in [
            "DELETE FROM a --",
            "DELETE FROM a --\t; b",
            "DELETE FROM a --\n",
        ] {
            fits(sql, &ALL);
        }
        for run in [
            "DELETE FROM a; /*! DELETE FROM b */",
            "DELETE FROM a; /*!80000 DELETE FROM b */",
            "DELETE FROM a; /*M!100100 DELETE FROM b */",
        ] {
            refused(run, &[Dialect::MySql], "column 16");
            fits(run, &[Dialect::Postgres, Dialect::Sqlite]);
        }
        refused(
            "DELETE FROM a /*! ; DELETE FROM b */",
            &[Dialect::MySql],
            "column 15",
        );
        // PostgreSQL's comments nest, others end at the first `*/`.
        let nested = "DELETE FROM a /* x /* y */ ; DELETE FROM b */";
        fits(nested, &[Dialect::Postgres]);
        refused(nested, &[Dialect::MySql, Dialect::Sqlite], "DELETE FROM b");
        for sql in [
            "/* /* */ */ DELETE FROM a",
            "DELETE FROM a /* /* /* ; */ ; */ ; x */",
            "DELETE FROM a /*/* ; */*/",
        ] {
            fits(sql, &[Dialect::Postgres]);
        }
        refused(
            "DELETE FROM a /* /* */",
            &[Dialect::Postgres],
            "ends inside a comment",
        );
        // The limit on the depth of comments is reached before the stack is used up.
        let deep = format!(
            "DELETE FROM a {}{}",
            "/*! ".repeat(100_000),
            "*/ ".repeat(100_000)
        );
        fits(&deep, &[Dialect::MySql]);
        for sql in ["", "  ;", "-- nothing\n", "/* DELETE FROM a */"] {
            refused(sql, &ALL, "empty");
        }
        refused("UPDATE t SET a = 'x", &ALL, "ends inside quotes");
    }

    #[test]
    fn the_name_of_a_procedure() {
        for (sql, name) in [
            ("CALL p(:a)", Some("p")),
            ("call `a b`.`p` ( :a );", Some("`a b`.`p`")),
            ("/* x */ CALL p", Some("p")),
            ("UPDATE t SET a = 1", None),
        ] {
            assert_eq!(called(sql, Dialect::MySql.into()).as_deref(), name, "{sql}");
        }
    }
}
