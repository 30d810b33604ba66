//! Named parameters: `:name` in a statement, bound by value, never pasted into the text.
//!
//! A list becomes several placeholders where its parameter stands alone inside `IN (…)`. Anywhere else it
//! is bound as JSON, or refused by name where that can only be a mistake (see [`Place`]).

use std::sync::Arc;

use serde_json::Value;

use super::Dialect;
use super::grammar::Grammar;
use super::places::{Pieces, Place};
use super::values::{Bound, Dates};

/// Values by name.
///
/// Python's dates, decimals, UUIDs and bytes, as kombu wraps them, are bound as such values. A list
/// becomes several placeholders where its parameter stands alone inside `IN (…)`, and JSON elsewhere.
pub type Params<'p> = &'p [(&'p str, Value)];

/// What is wrong with a statement or its parameters.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamError {
    /// The statement names a parameter that was not given.
    #[error("the statement names the parameter :{0}, which was not given")]
    Missing(String),
    /// A parameter was given that the statement does not name.
    #[error("the parameter :{0} is given but not named in the statement")]
    Unused(String),
    /// A string, a quoted name or a comment does not end.
    #[error("the statement ends inside {0}")]
    Unterminated(&'static str),
    /// A placeholder of the database's own, for which there would be no value.
    #[error("the statement has the placeholder {0}; parameters are written :name")]
    Placeholder(String),
    /// The parameter of a batch stands where a list of values means nothing.
    #[error(
        "with a batch the parameter :{0} stands for a list: it has to stand alone inside IN (…), or in \
        a function that takes JSON"
    )]
    Batch(String),
    /// A value cannot be bound at its place.
    #[error("the parameter :{name} {cause}")]
    Value {
        /// The parameter.
        name: String,
        /// What is wrong with its value.
        cause: String,
    },
}

impl ParamError {
    pub(super) fn value(name: &str, cause: impl Into<String>) -> Self {
        ParamError::Value {
            name: name.to_owned(),
            cause: cause.into(),
        }
    }

    /// A list where its text would be taken for a plain string.
    pub(super) fn list(name: &str, place: &str) -> Self {
        Self::value(
            name,
            format!(
                "is a list, and stands {place}: a list stands alone inside IN (…), or where JSON is \
                taken, as in JSON_EXTRACT(:{name}, '$')"
            ),
        )
    }
}

/// A statement with the values of its placeholders, before both are put into the words of a database.
#[derive(Debug, PartialEq)]
pub(super) struct Statement {
    /// The text before each placeholder.
    pub(super) texts: Vec<String>,
    /// The text behind the last placeholder.
    pub(super) rest: String,
    pub(super) values: Vec<Placed>,
    /// Whether the statement is worth to be kept prepared: not if it is of a length that seldom comes
    /// again.
    pub(super) kept: bool,
    /// Whether every value is text and its place takes text, so that PostgreSQL need not be asked.
    pub(super) is_text: bool,
}

/// A value, and the parameter that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) value: Bound,
}

/// What a server may count for a value besides its own bytes: its type, its length.
pub(super) const AROUND_A_VALUE: usize = 16;
/// A list is filled up to a power of two with its last value, so that lists of all lengths make few
/// distinct statements: each of them is prepared and kept by the server. Longer ones seldom come again.
const MOST_PADDED: usize = 4_096;

impl Statement {
    pub(super) fn new() -> Self {
        Statement {
            texts: Vec::new(),
            rest: String::new(),
            values: Vec::new(),
            kept: true,
            is_text: false,
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.rest.push_str(text);
    }

    pub(super) fn value(&mut self, name: &Arc<str>, place: Place, value: Bound) {
        self.texts.push(std::mem::take(&mut self.rest));
        self.values.push(Placed {
            name: Arc::clone(name),
            place,
            value,
        });
    }

    /// About as many bytes as are sent to the server.
    pub(super) fn bytes(&self) -> usize {
        let values = self.values.iter();
        let values = values.map(|one| AROUND_A_VALUE + "?".len() + one.value.bytes());
        let texts = self.texts.iter().map(String::len);
        texts.chain(values).sum::<usize>() + self.rest.len()
    }

    /// An empty list inside `IN (…)`: nothing is in it, not even NULL. `start` is where the text since the
    /// last placeholder has the word `IN`, or the `NOT` before it.
    ///
    /// Returns `true` if the closing parenthesis is written, too.
    fn empty_list(&mut self, dialect: Dialect, start: usize, not: bool) -> bool {
        match dialect {
            // Its parentheses may be empty.
            Dialect::Sqlite => false,
            Dialect::MySql => {
                self.text("SELECT NULL FROM DUAL WHERE FALSE");
                false
            }
            // A subquery would need the type of what is looked for.
            Dialect::Postgres => {
                self.rest.truncate(start);
                self.text(if not { "<> ALL ('{}')" } else { "= ANY ('{}')" });
                true
            }
        }
    }

    fn list(&mut self, name: &Arc<str>, place: Place, list: Vec<Bound>) {
        let length = match list.len() {
            length if length <= MOST_PADDED => length.next_power_of_two(),
            length => {
                self.kept = false;
                length
            }
        };
        let last = list.last().cloned();
        let padding = last.into_iter().cycle();
        for (at, value) in list.into_iter().chain(padding).take(length).enumerate() {
            if at > 0 {
                self.text(", ");
            }
            self.value(name, place, value);
        }
    }
}

/// Puts the values of the parameters into their places.
pub(super) fn rewrite(
    sql: &str,
    grammar: Grammar,
    params: Params<'_>,
    dates: Dates,
) -> Result<Statement, ParamError> {
    let pieces = Pieces::of(sql, grammar)?.all;
    let mut statement = Statement::new();
    let mut used = vec![false; params.len()];
    // Where each piece begins in the text since the last placeholder.
    let mut starts = Vec::with_capacity(pieces.len());
    let mut skipped_to = None;
    for (at, (text, place)) in pieces.iter().enumerate() {
        starts.push(statement.rest.len());
        if skipped_to.is_some_and(|to| at <= to) {
            continue;
        }
        let Some(place) = place else {
            statement.text(text);
            continue;
        };
        let name = &text[1..];
        let Some(given) = params.iter().position(|(given, _)| *given == name) else {
            return Err(ParamError::Missing(name.to_owned()));
        };
        used[given] = true;
        let (value, wrong) = (&params[given].1, |cause| ParamError::value(name, cause));
        let name: Arc<str> = Arc::from(name);
        match (value, place) {
            (Value::Array(list), Place::In { from, to, not }) => {
                let list = elements(list, dates).map_err(wrong)?;
                let start = starts.get(*from).copied().unwrap_or_default();
                if !list.is_empty() {
                    statement.list(&name, *place, list);
                } else if statement.empty_list(grammar.dialect, start, *not) {
                    skipped_to = Some(*to);
                }
            }
            (Value::Array(_), Place::AmongOthers) => {
                return Err(ParamError::list(&name, "beside others inside IN (…)"));
            }
            _ => {
                let value = Bound::read(value, dates).map_err(wrong)?;
                statement.value(&name, *place, value);
            }
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => Err(ParamError::Unused(params[at].0.to_owned())),
        None => Ok(statement),
    }
}

/// The values of a list that is expanded.
fn elements(list: &[Value], dates: Dates) -> Result<Vec<Bound>, String> {
    let element = |value| match Bound::read(value, dates)? {
        Bound::Json(_) => Err("holds a list or an object inside its list".to_owned()),
        value => Ok(value),
    };
    list.iter().map(element).collect()
}

/// Returns the parameters that a statement names, in the order in which it names them first.
pub(super) fn names(sql: &str, grammar: Grammar) -> Result<Vec<String>, ParamError> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in Pieces::of(sql, grammar)?.parameters() {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Checks that each parameter stands where a list of values can be meant.
pub(super) fn check_batch(sql: &str, grammar: Grammar) -> Result<(), ParamError> {
    // PostgreSQL says what a place takes, but only when the statement runs.
    let typed = grammar.dialect == Dialect::Postgres;
    for (name, place) in Pieces::of(sql, grammar)?.parameters() {
        match place {
            Place::In { .. } | Place::Document => {}
            Place::Argument | Place::Array if typed => {}
            _ => return Err(ParamError::Batch(name.to_owned())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::binding::{self, Plain};
    use super::super::zone::Zone;
    use super::*;
    use serde_json::json;

    /// The statement as a database gets it.
    fn sent(
        sql: &str,
        dialect: Dialect,
        params: Params<'_>,
    ) -> Result<(String, Vec<Plain>), ParamError> {
        let statement = rewrite(sql, dialect.into(), params, Dates::Converted)?;
        let zone = Ok(Zone::utc());
        let ready = match dialect {
            Dialect::Postgres => binding::typed(statement, &[], &zone),
            _ => binding::untyped(statement, dialect, &zone),
        };
        ready.map(|ready| (ready.sql, ready.values))
    }

    fn mysql(sql: &str, params: Params<'_>) -> Result<(String, Vec<Plain>), ParamError> {
        sent(sql, Dialect::MySql, params)
    }

    fn text(text: &str) -> Plain {
        Plain::Text(text.to_owned())
    }

    #[test]
    fn each_dialect_has_its_placeholders() {
        let params: Params<'_> = &[("a", json!(1)), ("b", json!("x"))];
        let sql = "SELECT :a, :b, :a";
        let (sent_sql, values) = mysql(sql, params).unwrap();
        assert_eq!(sent_sql, "SELECT ?, ?, ?");
        assert_eq!(values, [Plain::Whole(1), text("x"), Plain::Whole(1)]);
        let (postgres, _) = sent(sql, Dialect::Postgres, params).unwrap();
        assert_eq!(postgres, "SELECT ($1::int8), ($2::text), ($3::int8)");
    }

    #[test]
    fn parameters_are_named_once_in_their_order() {
        let sql = "SELECT :b, ':c', :a, :b";
        assert_eq!(
            names(sql, Dialect::Sqlite.into()),
            Ok(vec!["b".to_owned(), "a".to_owned()])
        );
    }

    #[test]
    fn a_list_is_expanded_inside_in_only() {
        let ids: Params<'_> = &[("ids", json!([1, 2, 3]))];
        let (sql, values) = mysql("x IN (:ids)", ids).unwrap();
        assert_eq!(sql, "x IN (?, ?, ?, ?)");
        assert_eq!(values, [1, 2, 3, 3].map(Plain::Whole));
        for sql in [
            "x = :ids",
            "VALUES (:ids)",
            "JSON_LENGTH(:ids)",
            "CAST(:ids AS JSON)",
        ] {
            let (_, values) = mysql(sql, ids).unwrap();
            assert_eq!(values, [text("[1,2,3]")], "{sql}");
        }
        for sql in [
            "JSON_ARRAY(:ids)",
            "CONCAT_WS('-', :ids)",
            "x IN (:ids, 4)",
            "x = ANY (:ids)",
        ] {
            for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
                let error = sent(sql, dialect, ids).unwrap_err().to_string();
                assert!(error.contains(":ids is a list"), "{sql}: {error}");
            }
        }
        for list in [json!([[1]]), json!([1, {"a": 1}])] {
            let error = mysql("x IN (:ids)", &[("ids", list)]).unwrap_err();
            assert!(error.to_string().contains(":ids"), "{error}");
        }
        // One value is one value everywhere.
        let (sql, values) = mysql("x IN (:id, 4)", &[("id", json!("a"))]).unwrap();
        assert_eq!((sql.as_str(), values), ("x IN (?, 4)", vec![text("a")]));
    }

    #[test]
    fn nothing_is_in_an_empty_list() {
        let none: Params<'_> = &[("a", json!([])), ("b", json!(7))];
        let sql = ":b not in (:a) OR x IN( :a /* c */ ) AND y = :b";
        for (dialect, expected) in [
            (
                Dialect::MySql,
                "? not in (SELECT NULL FROM DUAL WHERE FALSE) OR \
                x IN( SELECT NULL FROM DUAL WHERE FALSE /* c */ ) AND y = ?",
            ),
            (
                Dialect::Postgres,
                "($1::int8) <> ALL ('{}') OR x = ANY ('{}') AND y = ($2::int8)",
            ),
            (Dialect::Sqlite, "? not in () OR x IN(  /* c */ ) AND y = ?"),
        ] {
            assert_eq!(sent(sql, dialect, none).unwrap().0, expected);
        }
    }

    #[test]
    fn a_long_list_is_sent_as_it_is() {
        let list = |length: usize| [("a", json!(vec![1; length]))];
        for (length, sent, kept) in [(5, 8, true), (4_096, 4_096, true), (4_097, 4_097, false)] {
            let params = list(length);
            let statement =
                rewrite("x IN (:a)", Dialect::MySql.into(), &params, Dates::Kept).unwrap();
            assert_eq!((statement.values.len(), statement.kept), (sent, kept));
        }
    }

    #[test]
    fn a_batch_needs_lists() {
        for sql in ["x IN (:a) AND y IN (:b)", "SELECT JSON_LENGTH(:a)"] {
            assert_eq!(check_batch(sql, Dialect::MySql.into()), Ok(()), "{sql}");
        }
        for sql in [
            "SET n = :a WHERE x IN (:b)",
            "CONCAT(:a)",
            "x = ANY (:a)",
            "x IN (1, :a)",
        ] {
            let wrong = Err(ParamError::Batch("a".to_owned()));
            assert_eq!(check_batch(sql, Dialect::MySql.into()), wrong, "{sql}");
        }
        assert_eq!(
            check_batch("x = ANY (:a)", Dialect::Postgres.into()),
            Ok(())
        );
        assert_eq!(
            check_batch("unnest(:a::int[])", Dialect::Postgres.into()),
            Ok(())
        );
        assert!(check_batch("x = :a", Dialect::Postgres.into()).is_err());
    }

    #[test]
    fn exact_numbers_stay_exact() {
        let decimal = json!({"__type__": "decimal", "__value__": "1.10"});
        let params: Params<'_> = &[("a", decimal), ("b", json!(u64::MAX))];
        let (sql, values) = mysql("SELECT :a, :b", params).unwrap();
        assert_eq!(
            sql,
            "SELECT CAST(? AS DECIMAL(3, 2)), CAST(? AS DECIMAL(20, 0))"
        );
        assert_eq!(values, [text("1.10"), text("18446744073709551615")]);
        let (sql, _) = sent("SELECT :a, :b", Dialect::Postgres, params).unwrap();
        assert_eq!(sql, "SELECT ($1::text::numeric), ($2::text::numeric)");
    }

    #[test]
    fn what_only_looks_like_a_parameter_stays() {
        for sql in [
            "SELECT ':a'",
            r"SELECT 'it\':a'",
            "SELECT 'it'':a'",
            "SELECT `:a`, \":a\"",
            "SELECT 1 -- :a\n",
            "SELECT 1 # :a",
            "SELECT /* :a */ 1",
            "SET @x := 1",
            "SELECT '12:30'",
            "SELECT 'Zoë :a'",
            "SELECT 'why?', @x, a$1",
        ] {
            assert_eq!(mysql(sql, &[]).unwrap().0, sql);
        }
        for sql in [
            "SELECT x::text",
            "SELECT $$ :a $$",
            "SELECT $q$ :a $$ $q$",
            "SELECT a$1, '$1', j ? 'k'",
            r"SELECT '\', x::int",
            r"SELECT E'it\':a', e'\\', like'\'",
        ] {
            assert_eq!(sent(sql, Dialect::Postgres, &[]).unwrap().0, sql);
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            mysql("SELECT :a", &[]),
            Err(ParamError::Missing("a".into()))
        );
        assert_eq!(
            mysql("SELECT 1", &[("a", json!(1))]),
            Err(ParamError::Unused("a".into()))
        );
        assert_eq!(
            mysql("SELECT 'x", &[]),
            Err(ParamError::Unterminated("quotes"))
        );
        assert_eq!(
            mysql("SELECT /* x", &[]),
            Err(ParamError::Unterminated("a comment"))
        );
        for (dialect, placeholder) in [
            (Dialect::MySql, "?"),
            (Dialect::Postgres, "$12"),
            (Dialect::Sqlite, "?"),
            (Dialect::Sqlite, "$a"),
            (Dialect::Sqlite, "@a"),
        ] {
            let sql = format!("SELECT 1, {placeholder}, 2");
            let wrong = Err(ParamError::Placeholder(placeholder.into()));
            assert_eq!(names(&sql, dialect.into()), wrong, "{sql}");
        }
    }

    #[test]
    fn a_statement_knows_its_size() {
        let params: Params<'_> = &[("a", json!("x".repeat(1_000))), ("b", json!([1, 2, 3]))];
        let sql = "SELECT :a, x IN (:b)";
        let statement = rewrite(sql, Dialect::MySql.into(), params, Dates::Kept).unwrap();
        let placeholders = "SELECT ?, x IN (?, ?, ?, ?)".len() + 5 * AROUND_A_VALUE;
        assert_eq!(statement.bytes(), 1_000 + placeholders);
    }
}
