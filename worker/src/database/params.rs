//! Named parameters: `:name` in a statement, bound by value, never pasted into the text.
//!
//! A list becomes several placeholders if its parameter is alone inside `IN (…)`. Elsewhere it is
//! bound as JSON. Where JSON can only be a mistake, the list is refused with an error that names
//! the parameter (see [`Place`]).

use std::sync::Arc;

use serde_json::Value;

use super::Dialect;
use super::grammar::Grammar;
use super::places::{Pieces, Place};
use super::values::{Bound, Dates};

/// Values by name.
///
/// Python's dates, decimals, UUIDs and bytes, which kombu wraps in objects, are bound as values of
/// those types. A list becomes several placeholders if its parameter is alone inside `IN (…)`, and
/// JSON elsewhere.
pub type Params<'p> = &'p [(&'p str, Value)];

/// An error in a statement or its parameters.
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
    /// A placeholder in the database's own syntax. It would get no value.
    #[error("the statement has the placeholder {0}; parameters are written :name")]
    Placeholder(String),
    /// The parameter of a batch is in a place that cannot take a list of values.
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
        /// The fault of its value.
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

    /// Makes the error for an object in a place where its text would match nothing.
    pub(super) fn object(name: &str, place: &str) -> Self {
        Self::value(
            name,
            format!("is an object, and stands {place}: an object is bound as its JSON text"),
        )
    }

    /// Makes the error for a list or an object in a place where a single value is compared.
    ///
    /// MySQL, MariaDB and SQLite do not report the type of a column. So the error shows how to
    /// compare a column that holds JSON.
    pub(super) fn compared(name: &str, json: &Value, dialect: Dialect) -> Self {
        let (what, instead) = if json.is_array() {
            ("a list", "a list stands alone inside IN (…), and ")
        } else {
            ("an object", "")
        };
        let document = match dialect {
            Dialect::MySql => {
                format!("CAST(:{name} AS JSON), or JSON_COMPACT(:{name}) on MariaDB")
            }
            Dialect::Sqlite => format!("json(:{name})"),
            Dialect::Postgres => format!("CAST(:{name} AS text)"),
        };
        Self::value(
            name,
            format!(
                "is {what}, and stands where single values are compared: {instead}a column that \
                 holds JSON is compared with {document}"
            ),
        )
    }

    /// Makes the error for a list in a place where its text would be read as a plain string.
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

/// A statement with the values of its placeholders, before both are written for a database.
#[derive(Debug, PartialEq)]
pub(super) struct Statement {
    /// The text before each placeholder.
    pub(super) texts: Vec<String>,
    /// The text after the last placeholder.
    pub(super) rest: String,
    pub(super) values: Vec<Placed>,
    /// `true` if the server should keep the prepared statement. Statements with very long lists are
    /// not kept, because another list of that length is unlikely.
    pub(super) kept: bool,
    /// `true` if every value is text and its place takes text. PostgreSQL then need not be asked
    /// for the types.
    pub(super) is_text: bool,
}

/// A value, and the parameter that it belongs to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) name: Arc<str>,
    pub(super) place: Place,
    pub(super) value: Bound,
}

/// The bytes that a server may count for each value in addition to the value itself, for its type
/// and length.
pub(super) const AROUND_A_VALUE: usize = 16;
/// The longest list that is padded. A list is padded to a power of two with its last value, so that
/// lists of all lengths make few distinct statements: the server prepares and keeps each. Longer
/// lists seldom come again.
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

    /// Returns the text with the names of its parameters, for people. It has no value of a
    /// parameter, and ends after the first parameter beyond `most` bytes.
    pub(super) fn shown(&self, most: usize) -> String {
        let mut shown = String::new();
        for (text, placed) in self.texts.iter().zip(&self.values) {
            shown.push_str(text);
            shown.push(':');
            shown.push_str(&placed.name);
            if shown.len() > most {
                return shown;
            }
        }
        shown.push_str(&self.rest);
        shown
    }

    /// Returns the approximate number of bytes that are sent to the server.
    pub(super) fn bytes(&self) -> usize {
        let values = self.values.iter();
        let values = values.map(|one| AROUND_A_VALUE + "?".len() + one.value.bytes());
        let texts = self.texts.iter().map(String::len);
        texts.chain(values).sum::<usize>() + self.rest.len()
    }

    /// Writes an empty list inside `IN (…)`. The written list contains no value, not even NULL.
    /// `start` is the position of the word `IN`, or of the `NOT` before it, in the text since the
    /// last placeholder.
    ///
    /// Returns `true` if the closing parenthesis is written, too.
    fn empty_list(&mut self, dialect: Dialect, start: usize, not: bool) -> bool {
        match dialect {
            // SQLite allows empty parentheses.
            Dialect::Sqlite => false,
            Dialect::MySql => {
                self.text("SELECT NULL FROM DUAL WHERE FALSE");
                false
            }
            // A subquery would need the type of the left operand.
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

/// Replaces the parameters of a statement by placeholders with their values.
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
            (Value::Array(_), Place::Count | Place::Number) => {
                return Err(ParamError::list(&name, "where only a number can be"));
            }
            _ => {
                let value = Bound::read(value, dates).map_err(wrong)?;
                if let (Bound::Json(_), Place::Count | Place::Number) = (&value, place) {
                    return Err(ParamError::object(&name, "where only a number can be"));
                }
                statement.value(&name, *place, value);
            }
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => Err(ParamError::Unused(params[at].0.to_owned())),
        None => Ok(statement),
    }
}

/// Returns the values of a list that is expanded.
fn elements(list: &[Value], dates: Dates) -> Result<Vec<Bound>, String> {
    let element = |value| match Bound::read(value, dates)? {
        Bound::Json(_) => Err("holds a list or an object inside its list".to_owned()),
        value => Ok(value),
    };
    list.iter().map(element).collect()
}

/// Returns the parameters that a statement names, in the order of their first use.
pub(super) fn names(sql: &str, grammar: Grammar) -> Result<Vec<String>, ParamError> {
    let mut names: Vec<String> = Vec::new();
    for (name, _) in Pieces::of(sql, grammar)?.parameters() {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// Checks that each parameter is in a place that can take a list of values.
pub(super) fn check_batch(sql: &str, grammar: Grammar) -> Result<(), ParamError> {
    // PostgreSQL knows the type of a place, but only when the statement runs.
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
mod tests;
