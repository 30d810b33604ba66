//! What kind of statement a task is, as far as its words tell without a database.
//!
//! A task is one statement that changes something. Two statements would be half applied, or run
//! together where the driver allows it; the rows of a `SELECT` go nowhere. Both are mistakes of
//! the settings, and the words show them. Whether the statement is right in everything else says
//! the database: see [`prepare`](super::prepare).

use super::Dialect;
use super::grammar::Grammar;
use super::params::ParamError;
use super::tokens::token;

/// Why a statement cannot be a task.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ShapeError {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] ParamError),
    /// There is none.
    #[error("the statement is empty")]
    Empty,
    /// There are two.
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
    /// It only answers rows.
    #[error(
        "{verb} only answers rows, and a task has no use for them: its result is the number of \
         rows that it matched{hint}"
    )]
    OnlyAnswers {
        /// The word that says so.
        verb: String,
        /// What to write instead.
        hint: &'static str,
    },
}

/// A token that is neither blank nor comment.
#[derive(Clone, Copy, Debug)]
struct Word<'s> {
    text: &'s str,
    /// Its place in the statement, in bytes.
    at: usize,
    /// How many parentheses are open around it; a parenthesis belongs to what is around it.
    depth: usize,
}

impl Word<'_> {
    fn is(&self, keyword: &str) -> bool {
        self.text.eq_ignore_ascii_case(keyword)
    }

    fn is_one_of(&self, keywords: &[&str]) -> bool {
        keywords.iter().any(|keyword| self.is(keyword))
    }
}

/// Statements that change rows.
const CHANGES: [&str; 5] = ["INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"];
/// Statements that only answer rows, besides those that may do something in spite of their name.
const ANSWERS: [&str; 7] = [
    "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "EXPLAIN", "HELP",
];
/// Characters of a second statement that an error shows.
const SHOWN: usize = 30;

/// Checks that a task can be made of a statement.
pub(super) fn check(sql: &str, grammar: Grammar) -> Result<(), ShapeError> {
    let words = words(sql, grammar)?;
    let end = words.iter().position(|word| word.is(";"));
    let (words, rest) = words.split_at(end.unwrap_or(words.len()));
    let second = rest.iter().find(|word| !word.is(";"));
    match (words, second) {
        ([], None) => Err(ShapeError::Empty),
        (_, Some(second)) => Err(named(sql, second.at)),
        (words, None) => only_answers(words, grammar.dialect),
    }
}

/// The procedure that a statement calls, as it is written; `None` if it is not a `CALL`.
pub(super) fn called(sql: &str, grammar: Grammar) -> Option<String> {
    let words = words(sql, grammar).ok()?;
    let (first, rest) = words.split_first()?;
    let name = rest.iter().take_while(|word| !word.is_one_of(&["(", ";"]));
    first
        .is("CALL")
        .then(|| name.map(|word| word.text).collect())
}

/// Whether it reads or changes rows: such a statement can be explained.
pub(super) fn is_explainable(sql: &str, grammar: Grammar) -> bool {
    let words = words(sql, grammar).unwrap_or_default();
    let first = words.iter().find(|word| !word.is("("));
    first.is_some_and(|word| word.is_one_of(&CHANGES) || word.is_one_of(&["SELECT", "WITH"]))
}

fn words(sql: &str, grammar: Grammar) -> Result<Vec<Word<'_>>, ParamError> {
    let (mut words, mut depth, mut at) = (Vec::new(), 0_usize, 0);
    while let Some(next) = sql[at..].chars().next() {
        let length = token(&sql[at..], next, grammar)?.length;
        let text = &sql[at..at + length];
        if text == ")" {
            depth = depth.saturating_sub(1);
        }
        if !next.is_whitespace() && !is_comment(text, grammar.dialect) {
            words.push(Word { text, at, depth });
        }
        if text == "(" {
            depth += 1;
        }
        at += length;
    }
    Ok(words)
}

/// MySQL and MariaDB run what stands in some comments.
fn is_comment(token: &str, dialect: Dialect) -> bool {
    let is_run = token.starts_with("/*!") || token.starts_with("/*M!");
    match dialect {
        Dialect::MySql if is_run => false,
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

fn only_answers(words: &[Word<'_>], dialect: Dialect) -> Result<(), ShapeError> {
    // `(SELECT …) UNION (SELECT …)`
    let opening = words.iter().take_while(|word| word.is("(")).count();
    let Some(first) = words.get(opening) else {
        return Ok(());
    };
    let does_something = match () {
        () if first.is("SELECT") => selects_into(words, dialect) || calls_function(words, dialect),
        () if first.is("WITH") => with_changes(words),
        () => !first.is_one_of(&ANSWERS),
    };
    if does_something {
        return Ok(());
    }
    Err(ShapeError::OnlyAnswers {
        verb: match first.is("WITH") {
            true => "WITH … SELECT".to_owned(),
            false => first.text.to_uppercase(),
        },
        hint: match dialect {
            Dialect::MySql => "; a function is called by DO f(…), a procedure by CALL",
            Dialect::Postgres => "; a function is called by SELECT f(…) alone, a procedure by CALL",
            Dialect::Sqlite => "",
        },
    })
}

/// `SELECT … INTO` makes a table in PostgreSQL, and may make a file in MySQL.
fn selects_into(words: &[Word<'_>], dialect: Dialect) -> bool {
    let into = words.windows(2).find_map(|pair| match pair {
        [into, what] if into.depth == 0 && into.is("INTO") => Some(what),
        _ => None,
    });
    into.is_some_and(|what| match dialect {
        Dialect::MySql => what.is_one_of(&["OUTFILE", "DUMPFILE"]),
        Dialect::Postgres => true,
        Dialect::Sqlite => false,
    })
}

/// `SELECT schema.name(…)` and nothing else: PostgreSQL has no other words to call a function.
fn calls_function(words: &[Word<'_>], dialect: Dialect) -> bool {
    let is_name = |word: &Word<'_>| {
        word.is(".")
            || word
                .text
                .starts_with(|c: char| c == '"' || c == '_' || c.is_alphabetic())
    };
    let named = words
        .iter()
        .skip(1)
        .take_while(|word| is_name(word))
        .count();
    let arguments = words.get(1 + named..).unwrap_or_default();
    let (first, last) = (arguments.first(), arguments.last());
    dialect == Dialect::Postgres
        && named > 0
        && first.is_some_and(|word| word.is("("))
        && last.is_some_and(|word| word.is(")"))
        // The first parenthesis is the one that the last closes.
        && arguments.iter().filter(|word| word.depth == 0).count() == 2
}

/// Whether the statement behind the tables of `WITH`, or one of those inside them, changes rows.
fn with_changes(words: &[Word<'_>]) -> bool {
    let mut statement = words
        .iter()
        .filter(|word| word.depth == 0)
        .filter(|word| word.is_one_of(&CHANGES) || word.is_one_of(&["SELECT", "VALUES", "TABLE"]));
    let changes = statement
        .next()
        .is_some_and(|word| word.is_one_of(&CHANGES));
    let inside = words.windows(2).any(|pair| match pair {
        [open, first] => open.depth == 0 && open.is("(") && first.is_one_of(&CHANGES),
        _ => false,
    });
    changes || inside
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
    fn one_statement_may_end_and_speak_of_others() {
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
    fn a_second_statement_is_named_with_its_place() {
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
                "CREATE TRIGGER x BEFORE INSERT ON t BEGIN DELETE FROM a; END",
                "(END)",
            ),
            ("; DELETE FROM a", "column 3"),
        ] {
            refused(sql, &ALL, part);
        }
        // To MySQL, a comment of two hyphens begins with a blank behind them.
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
        let run = "DELETE FROM a; /*! DELETE FROM b */";
        refused(run, &[Dialect::MySql], "column 16");
        fits(run, &[Dialect::Postgres, Dialect::Sqlite]);
        for sql in ["", "  ;", "-- nothing\n", "/* DELETE FROM a */"] {
            refused(sql, &ALL, "empty");
        }
        refused("UPDATE t SET a = 'x", &ALL, "ends inside quotes");
    }

    #[test]
    fn what_only_answers_is_no_task() {
        for (sql, verb) in [
            ("SELECT a FROM t WHERE id = :id", "SELECT"),
            ("/* look */ select 1;", "SELECT"),
            ("(SELECT a FROM t) UNION (SELECT b FROM t)", "SELECT"),
            ("SELECT a FROM t WHERE id = :id FOR UPDATE", "SELECT"),
            ("WITH x AS (SELECT 1) SELECT * FROM x", "WITH … SELECT"),
            (
                "WITH x AS (SELECT 1), y (a) AS (SELECT 2) SELECT * FROM x FOR UPDATE",
                "WITH",
            ),
            ("WITH x AS (SELECT 1) VALUES (1)", "WITH"),
            ("VALUES (:a, :b)", "VALUES"),
            ("TABLE t", "TABLE"),
            ("SHOW TABLES", "SHOW"),
            ("DESC t", "DESC"),
            ("explain DELETE FROM t", "EXPLAIN"),
        ] {
            refused(sql, &ALL, verb);
        }
        let both = [Dialect::MySql, Dialect::Sqlite];
        refused("SELECT f(:a)", &both, "SELECT");
        refused("SELECT a INTO @x FROM t", &[Dialect::MySql], "DO f(…)");
        for sql in [
            "SELECT f(:a), g(:b)",
            "SELECT (f(:a))",
            "SELECT * FROM f(:a)",
            "SELECT a",
        ] {
            refused(sql, &[Dialect::Postgres], "SELECT f(…) alone");
        }
    }

    #[test]
    fn what_changes_something_is_a_task() {
        for sql in [
            "INSERT INTO t SELECT * FROM u WHERE id = :id",
            "INSERT INTO t (a) VALUES (:a) RETURNING id",
            "REPLACE INTO t VALUES (:a)",
            "CREATE TABLE t AS SELECT 1",
            "WITH x AS (SELECT 1 AS a) UPDATE t SET a = (SELECT a FROM x)",
            "WITH x AS (SELECT 1), y AS (SELECT 2) INSERT INTO t SELECT * FROM y",
            "WITH gone AS (DELETE FROM t WHERE id = :id RETURNING *) SELECT * FROM gone",
            "DO f(:a)",
            "ANALYZE TABLE t",
        ] {
            fits(sql, &ALL);
        }
        fits("SELECT a INTO OUTFILE '/tmp/x' FROM t", &[Dialect::MySql]);
        for sql in [
            "SELECT f(:a)",
            "SELECT s.f(:a, (SELECT 1))",
            "SELECT \"S\".\"f\"(:a::int);",
            "SELECT * INTO u FROM t",
        ] {
            fits(sql, &[Dialect::Postgres]);
        }
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
