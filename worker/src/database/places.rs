//! The place of a parameter in its statement, which decides how a list is bound.

use super::Dialect;
use super::grammar::Grammar;
use super::params::ParamError;
use super::tokens::{Token, is_name, token};

/// Functions that take a JSON document, or pass their argument on unchanged. A list is bound as
/// JSON there; any other function would read the text of the document as a plain string.
const TAKE_DOCUMENTS: &[&str] = &[
    "CAST",
    "COALESCE",
    "CONVERT",
    "IF",
    "IFNULL",
    "IIF",
    "JSON",
    "JSONB",
    "JSON_ARRAY_INTERSECT",
    "JSON_ARRAY_LENGTH",
    "JSON_COMPACT",
    "JSON_CONTAINS",
    "JSON_CONTAINS_PATH",
    "JSON_DEPTH",
    "JSON_DETAILED",
    "JSON_EACH",
    "JSON_EXISTS",
    "JSON_EXTRACT",
    "JSON_KEYS",
    "JSON_LENGTH",
    "JSON_LOOSE",
    "JSON_MERGE",
    "JSON_MERGE_PATCH",
    "JSON_MERGE_PRESERVE",
    "JSON_NORMALIZE",
    "JSON_OVERLAPS",
    "JSON_PATCH",
    "JSON_PRETTY",
    "JSON_QUERY",
    "JSON_SCHEMA_VALID",
    "JSON_SEARCH",
    "JSON_TABLE",
    "JSON_TREE",
    "JSON_TYPE",
    "JSON_VALID",
    "JSON_VALUE",
    "NULLIF",
    // `17 MEMBER OF(:list)`
    "OF",
];

/// Words that may precede a parenthesis and are not the name of a function.
const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "BETWEEN",
    "BY",
    "CASE",
    "DISTINCT",
    "DIV",
    "ELSE",
    "EXISTS",
    "FROM",
    "HAVING",
    "IS",
    "JOIN",
    "LIKE",
    "LIMIT",
    "MOD",
    "NOT",
    "OFFSET",
    "ON",
    "OR",
    "REGEXP",
    "RETURNING",
    "RLIKE",
    "ROW",
    "SELECT",
    "SET",
    "SOME",
    "THEN",
    "UNION",
    "USING",
    "VALUE",
    "VALUES",
    "WHEN",
    "WHERE",
    "XOR",
];

/// Operators of arithmetic.
const OPERATORS: &[&str] = &["+", "-", "*", "/", "%", "DIV", "MOD"];

/// Words that compare a single value, before it and after it. `=` is not among them: it also assigns.
const COMPARE_BEFORE: &[&str] = &["LIKE", "NOT", "REGEXP", "RLIKE", "BETWEEN"];
const COMPARE_AFTER: &[&str] = &[
    "<", ">", "!", "IN", "NOT", "LIKE", "REGEXP", "RLIKE", "BETWEEN",
];
/// Words around a condition.
const BEFORE_CONDITION: &[&str] = &["WHERE", "HAVING", "AND", "OR", "XOR"];
const AFTER_CONDITION: &[&str] = &[
    "",
    ")",
    ";",
    "AND",
    "OR",
    "XOR",
    "ORDER",
    "GROUP",
    "HAVING",
    "LIMIT",
    "RETURNING",
];

/// The place of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Alone inside `IN (…)`. `from` is the piece with the word `IN`, or with the `NOT` before it;
    /// `to` is the piece with the closing parenthesis.
    In { from: usize, to: usize, not: bool },
    /// Inside `IN (…)`, beside other values.
    AmongOthers,
    /// An argument of a function that is not known to take a JSON document.
    Argument,
    /// An argument of a function that takes a JSON document.
    Document,
    /// Inside `ANY (…)` or `ALL (…)`.
    Array,
    /// After `LIMIT` or `OFFSET`: a number of rows.
    Count,
    /// Beside an operator of arithmetic, or after `INTERVAL`. Not used for PostgreSQL, which has
    /// such operators for JSON and reports the type of a place itself.
    Number,
    /// Beside a comparison, or as a condition of its own. A JSON document there would change other
    /// rows than meant: `id <> '[1]'` is true for each row. Not used for PostgreSQL, like `Number`.
    Compared,
    /// Anywhere else.
    Value,
}

/// A statement in pieces, and the place of each parameter.
pub(super) struct Pieces<'s> {
    /// Each piece of text, and its place if it is a parameter.
    pub(super) all: Vec<(&'s str, Option<Place>)>,
}

/// What an open parenthesis belongs to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    /// A list of `IN (…)` or `NOT IN (…)`. `from` is the piece with the word `IN`, or with the
    /// `NOT` before it; `not` is `true` if there is a `NOT`.
    In {
        from: usize,
        not: bool,
    },
    Argument,
    Document,
    Array,
    Group,
}

impl<'s> Pieces<'s> {
    /// Splits a statement.
    pub(super) fn of(sql: &'s str, grammar: Grammar) -> Result<Self, ParamError> {
        let mut pieces: Vec<(&str, bool)> = Vec::new();
        let mut rest = sql;
        while let Some(next) = rest.chars().next() {
            let Token {
                length,
                is_parameter,
            } = token(rest, next, grammar)?;
            let (text, after) = rest.split_at(length);
            rest = after;
            pieces.push((text, is_parameter));
        }
        let matter: Vec<usize> = (0..pieces.len())
            .filter(|at| pieces.get(*at).is_some_and(|(text, _)| matters(text)))
            .collect();
        let word = |at: Option<usize>| {
            let piece = at
                .and_then(|at| matter.get(at))
                .and_then(|at| pieces.get(*at));
            piece.map_or("", |(text, _)| *text)
        };
        let mut all: Vec<(&str, Option<Place>)> =
            pieces.iter().map(|(text, _)| (*text, None)).collect();
        let mut open: Vec<Open> = Vec::new();
        for (at, piece) in matter.iter().enumerate() {
            let (before, after) = (at.checked_sub(1), Some(at + 1));
            match pieces.get(*piece) {
                Some(("(", false)) => {
                    let is_query = ["SELECT", "WITH", "VALUES", "TABLE"]
                        .iter()
                        .any(|first| word(after).eq_ignore_ascii_case(first));
                    let outer = open.last().copied().unwrap_or(Open::Group);
                    open.push(if is_query {
                        Open::Group
                    } else {
                        opened(word(before), outer, || {
                            let not = word(at.checked_sub(2)).eq_ignore_ascii_case("NOT");
                            let first = at.checked_sub(if not { 2 } else { 1 });
                            let from = first.and_then(|first| matter.get(first));
                            (from.copied().unwrap_or(*piece), not)
                        })
                    });
                }
                Some((")", false)) => drop(open.pop()),
                Some((_, true)) => {
                    let alone = word(before) == "(" && word(after) == ")";
                    let to = matter.get(at + 1).copied().unwrap_or(*piece);
                    let place = match open.last().copied().unwrap_or(Open::Group) {
                        Open::In { from, not } if alone => Place::In { from, to, not },
                        Open::In { .. } => Place::AmongOthers,
                        Open::Argument => Place::Argument,
                        Open::Document => Place::Document,
                        Open::Array => Place::Array,
                        Open::Group => Place::Value,
                    };
                    let around = Around {
                        before: [1, 2, 3].map(|back| word(at.checked_sub(back))),
                        after: [1, 2].map(|on| word(Some(at + on))),
                    };
                    if let Some((_, found)) = all.get_mut(*piece) {
                        *found = Some(match place {
                            Place::Value | Place::Argument => around.narrow(place, grammar.dialect),
                            place => place,
                        });
                    }
                }
                _ => {}
            }
        }
        Ok(Pieces { all })
    }

    /// Returns the parameters, with their places.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'s str, Place)> {
        // The text of a parameter begins with a colon, which is one byte long and is cut off here.
        self.all
            .iter()
            .filter_map(|(text, place)| place.map(|place| (&text[1..], place)))
    }
}

/// The words on both sides of a parameter, the nearest first.
struct Around<'s> {
    before: [&'s str; 3],
    after: [&'s str; 2],
}

impl Around<'_> {
    /// Returns `place`, or a place that only takes numbers if the words around it show one.
    fn narrow(&self, place: Place, dialect: Dialect) -> Place {
        let is = |word: &str, others: &[&str]| {
            let mut others = others.iter();
            others.any(|one| word.eq_ignore_ascii_case(one))
        };
        let [before, further, furthest] = self.before;
        let [after, behind] = self.after;
        let counts = is(before, &["LIMIT", "OFFSET"])
            // `LIMIT 10, :count`
            || before == "," && is(furthest, &["LIMIT"])
            // `FETCH FIRST :count ROWS ONLY`
            || is(before, &["FIRST", "NEXT"]) && is(further, &["FETCH"]);
        let calculates = is(before, OPERATORS)
            || is(before, &["INTERVAL"])
            // `->` reads JSON.
            || is(after, OPERATORS) && !(after == "-" && behind == ">");
        // `->` reads JSON. Operators are single characters here: `<>` is `<` and `>`.
        let compares = is(before, &["<", ">"]) && further != "-"
            || before == "=" && is(further, &["<", ">", "!"])
            || is(before, COMPARE_BEFORE) && !is(after, &["IS"])
            || is(after, COMPARE_AFTER)
            || is(before, BEFORE_CONDITION) && is(after, AFTER_CONDITION);
        match () {
            () if counts => Place::Count,
            () if dialect == Dialect::Postgres => place,
            () if calculates => Place::Number,
            () if compares && place == Place::Value => Place::Compared,
            () => place,
        }
    }
}

/// Returns what a parenthesis belongs to that follows `word`, inside of `outer`.
fn opened(word: &str, outer: Open, list: impl FnOnce() -> (usize, bool)) -> Open {
    let is = |others: &[&str]| others.iter().any(|one| word.eq_ignore_ascii_case(one));
    let is_word = word.starts_with(|c: char| is_name(c) || c == '`' || c == '"');
    match () {
        () if is(&["IN"]) => {
            let (from, not) = list();
            Open::In { from, not }
        }
        () if is(&["ANY", "ALL", "SOME"]) => Open::Array,
        () if is(TAKE_DOCUMENTS) => Open::Document,
        () if is(KEYWORDS) => Open::Group,
        () if is_word => Open::Argument,
        // `f((:x))` is `f(:x)`.
        () if word == "(" => outer,
        () => Open::Group,
    }
}

/// Returns `true` if a piece is neither white space nor a comment.
fn matters(text: &str) -> bool {
    let blank = text.starts_with(char::is_whitespace);
    !(blank || text.starts_with("--") || text.starts_with("/*") || text.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(sql: &str) -> Place {
        let pieces = Pieces::of(sql, Dialect::MySql.into()).unwrap();
        pieces.parameters().next().unwrap().1
    }

    #[test]
    fn a_list_stands_alone_inside_in() {
        for (sql, negated) in [
            ("x IN (:a)", false),
            ("x in(:a) AND 1", false),
            ("x NOT IN (:a)", true),
            (
                "x not /* never */ In ( -- these\n :a # and no others\n )",
                true,
            ),
            ("f(x IN (:a))", false),
            ("NOT (x IN (:a))", false),
            ("(SELECT 1 WHERE x IN (:a))", false),
        ] {
            match place(sql) {
                Place::In { not, .. } => assert_eq!(not, negated, "{sql}"),
                other => panic!("{sql}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_parameter_may_follow_two_hyphens_in_mysql() {
        assert_eq!(place("UPDATE t SET a = 5--:a"), Place::Number);
    }

    #[test]
    fn other_words_may_begin_with_any_character() {
        for sql in [
            "UPDATE größe SET ß = :a",
            "ü = :a – 1",
            "日本語 IN (:a, '語')",
            "\u{7ec} :a",
        ] {
            let pieces = Pieces::of(sql, Dialect::MySql.into()).unwrap();
            let names: Vec<&str> = pieces.parameters().map(|(name, _)| name).collect();
            assert_eq!(names, ["a"], "{sql}");
        }
    }

    #[test]
    fn other_places_are_distinguished() {
        for (sql, expected) in [
            ("x IN (1, :a)", Place::AmongOthers),
            ("x IN (:a, 2)", Place::AmongOthers),
            ("x IN (-:a)", Place::AmongOthers),
            ("x IN (SELECT y FROM z WHERE w = :a)", Place::Value),
            ("x IN (SELECT f(:a))", Place::Argument),
            ("x = :a", Place::Value),
            ("INSERT INTO t (a) VALUES (:a)", Place::Value),
            ("INSERT INTO t VALUES (1), (:a)", Place::Value),
            ("x = (:a)", Place::Value),
            ("JSON_ARRAY(:a)", Place::Argument),
            ("CONCAT_WS('-', :a)", Place::Argument),
            ("concat ((:a))", Place::Argument),
            ("`json_array`(:a)", Place::Argument),
            ("JSON_ARRAY(1 IN (2), :a)", Place::Argument),
            ("Json_Length(:a)", Place::Document),
            ("CAST(:a AS JSON)", Place::Document),
            ("x MEMBER OF(:a)", Place::Document),
            ("x = ANY (:a)", Place::Array),
            ("x WHERE (y OR (:a))", Place::Value),
            ("DELETE FROM t LIMIT :a", Place::Count),
            ("x limit /* few */ :a", Place::Count),
            ("x LIMIT 5, :a", Place::Count),
            ("x LIMIT 5 OFFSET :a", Place::Count),
            ("x IN (SELECT y FROM z LIMIT :a)", Place::Count),
            ("x FETCH FIRST :a ROWS ONLY", Place::Count),
            ("x = y + :a", Place::Number),
            ("x = :a * 2", Place::Number),
            ("f(:a DIV 2)", Place::Number),
            ("NOW() - INTERVAL :a DAY", Place::Number),
            ("x = :a -> '$.b'", Place::Value),
            ("f(y, :a)", Place::Argument),
            ("DELETE FROM t WHERE id <> :a", Place::Compared),
            ("DELETE FROM t WHERE id != :a", Place::Compared),
            ("DELETE FROM t WHERE id >= :a", Place::Compared),
            ("DELETE FROM t WHERE NOT (id <=> :a)", Place::Compared),
            ("DELETE FROM t WHERE :a < id", Place::Compared),
            ("DELETE FROM t WHERE NOT :a", Place::Compared),
            ("DELETE FROM t WHERE :a", Place::Compared),
            ("DELETE FROM t WHERE id = 1 AND :a;", Place::Compared),
            ("DELETE FROM t WHERE :a NOT IN (1, 2)", Place::Compared),
            ("DELETE FROM t WHERE id NOT LIKE :a", Place::Compared),
            ("DELETE FROM t WHERE id BETWEEN :a AND 5", Place::Compared),
            ("UPDATE t SET tags = :a", Place::Value),
            ("UPDATE t SET tags = :a WHERE id = 1", Place::Value),
            (
                "UPDATE t SET x = 1 WHERE (:a IS NULL OR y = 1)",
                Place::Value,
            ),
            (
                "UPDATE t SET x = 1 WHERE JSON_LENGTH(y) > 0 AND :a IS NULL",
                Place::Value,
            ),
            ("x IN (:a + 1)", Place::AmongOthers),
        ] {
            assert_eq!(place(sql), expected, "{sql}");
        }
    }
}
