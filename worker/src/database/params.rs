//! Named parameters: `:name` in a statement, bound by value, never pasted into the text.
//!
//! The tokenizer knows as much of SQL as it takes to leave alone what only looks like a parameter: strings, quoted
//! names, comments, PostgreSQL's casts and dollar quotes, MySQL's `:=`. A list stands for as many placeholders as it
//! has values: `WHERE id IN (:ids)`.

use serde_json::Value;

use super::Dialect;

/// Values by name. A list becomes several placeholders.
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
}

/// A statement in the words of one kind of database.
#[derive(Debug, PartialEq)]
pub(crate) struct Statement {
    pub(crate) sql: String,
    /// The values of its placeholders, in their order.
    pub(crate) values: Vec<Value>,
    /// Whether it is worth to be kept prepared: not if it is of a length that seldom comes again.
    pub(crate) kept: bool,
}

/// What a server may count for a value besides its own bytes: its type, its length.
const AROUND_A_VALUE: usize = 16;

impl Statement {
    /// About as many as are sent to the server.
    pub(crate) fn bytes(&self) -> usize {
        let value = |value: &Value| match value {
            Value::String(text) => text.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 0,
            json => json.to_string().len(),
        };
        let values = self.values.iter().map(|one| AROUND_A_VALUE + value(one));
        self.sql.len() + values.sum::<usize>()
    }
}

/// Rewrites the `:name` of a statement to the placeholders of `dialect`.
pub(crate) fn rewrite(
    sql: &str,
    dialect: Dialect,
    params: Params<'_>,
) -> Result<Statement, ParamError> {
    let mut out = String::with_capacity(sql.len() + 16);
    let mut values = Vec::new();
    let mut used = vec![false; params.len()];
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let token = token(rest, next, dialect)?;
        let (text, after) = rest.split_at(token.length);
        rest = after;
        if !token.is_parameter {
            out.push_str(text);
            continue;
        }
        let name = &text[1..];
        let Some(at) = params.iter().position(|(given, _)| *given == name) else {
            return Err(ParamError::Missing(name.to_owned()));
        };
        used[at] = true;
        match &params[at].1 {
            Value::Array(list) => push_list(list, dialect, &mut out, &mut values),
            value => push(value, dialect, &mut out, &mut values),
        }
    }
    match used.iter().position(|used| !used) {
        Some(at) => Err(ParamError::Unused(params[at].0.to_owned())),
        None => Ok(Statement {
            sql: out,
            values,
            kept: true,
        }),
    }
}

/// The parameters a statement names, in the order in which it names them first.
pub(crate) fn names(sql: &str, dialect: Dialect) -> Result<Vec<String>, ParamError> {
    let mut names: Vec<String> = Vec::new();
    let mut rest = sql;
    while let Some(next) = rest.chars().next() {
        let token = token(rest, next, dialect)?;
        let (text, after) = rest.split_at(token.length);
        rest = after;
        if token.is_parameter && !names.iter().any(|name| *name == text[1..]) {
            names.push(text[1..].to_owned());
        }
    }
    Ok(names)
}

fn push(value: &Value, dialect: Dialect, out: &mut String, values: &mut Vec<Value>) {
    values.push(value.clone());
    match dialect {
        Dialect::MySql | Dialect::Sqlite => out.push('?'),
        Dialect::Postgres => out.push_str(&format!("${}", values.len())),
    }
}

/// A list is filled up to a power of two with its last value, so that lists of all lengths make few distinct
/// statements: each of them is prepared and kept by the server. An empty list matches nothing.
fn push_list(list: &[Value], dialect: Dialect, out: &mut String, values: &mut Vec<Value>) {
    let Some(last) = list.last() else {
        out.push_str("NULL");
        return;
    };
    for at in 0..list.len().next_power_of_two() {
        if at > 0 {
            out.push_str(", ");
        }
        push(list.get(at).unwrap_or(last), dialect, out, values);
    }
}

struct Token {
    length: usize,
    is_parameter: bool,
}

/// The first token of `rest`, which begins with `next`.
fn token(rest: &str, next: char, dialect: Dialect) -> Result<Token, ParamError> {
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
        '\'' | '"' | '`' => {
            let backslash = dialect == Dialect::MySql && next != '`';
            string(0, next, backslash)
        }
        // PostgreSQL's strings with escapes.
        'E' | 'e' if dialect == Dialect::Postgres && rest[1..].starts_with('\'') => {
            string(1, '\'', true)
        }
        '-' if rest.starts_with("--") => text(rest.find('\n').unwrap_or(rest.len())),
        '#' if dialect == Dialect::MySql => text(rest.find('\n').unwrap_or(rest.len())),
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
        // PostgreSQL has operators of it.
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
                // A cast; the name behind it is no parameter.
                () if rest.starts_with("::") => text(2),
                () => text(1),
            }
        }
        // A name or number in one piece, so that `a:b` inside of none of them is misread.
        _ if is_name(next) => {
            let inside = |c: char| is_name(c) || c == '$';
            text(rest.find(|c: char| !inside(c)).unwrap_or(rest.len()))
        }
        _ => text(next.len_utf8()),
    }
}

/// The length of the quoted text `rest` begins with; a doubled quote stands for itself.
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

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mysql(sql: &str, params: Params<'_>) -> Result<(String, Vec<Value>), ParamError> {
        rewrite(sql, Dialect::MySql, params).map(|statement| (statement.sql, statement.values))
    }

    #[test]
    fn each_dialect_has_its_placeholders() {
        let params: Params<'_> = &[("a", json!(1)), ("b", json!("x"))];
        let sql = "SELECT :a, :b, :a";
        let (text, values) = mysql(sql, params).unwrap();
        assert_eq!(text, "SELECT ?, ?, ?");
        assert_eq!(values, [json!(1), json!("x"), json!(1)]);
        let postgres = rewrite(sql, Dialect::Postgres, params).unwrap();
        assert_eq!(postgres.sql, "SELECT $1, $2, $3");
    }

    #[test]
    fn parameters_are_named_once_in_their_order() {
        let sql = "SELECT :b, ':c', :a, :b";
        assert_eq!(
            names(sql, Dialect::Sqlite),
            Ok(vec!["b".to_owned(), "a".to_owned()])
        );
    }

    #[test]
    fn lists_are_padded() {
        let (text, values) = mysql("IN (:ids)", &[("ids", json!([1, 2, 3]))]).unwrap();
        assert_eq!(text, "IN (?, ?, ?, ?)");
        assert_eq!(values, [json!(1), json!(2), json!(3), json!(3)]);
        assert_eq!(
            mysql("IN (:ids)", &[("ids", json!([]))]).unwrap().0,
            "IN (NULL)"
        );
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
            assert_eq!(rewrite(sql, Dialect::Postgres, &[]).unwrap().sql, sql);
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
            assert_eq!(names(&sql, dialect), wrong, "{sql}");
        }
    }

    #[test]
    fn a_statement_knows_its_size() {
        let params: Params<'_> = &[("a", json!("x".repeat(1_000))), ("b", json!([1, 2, 3]))];
        let statement = rewrite("SELECT :a, :b", Dialect::MySql, params).unwrap();
        let placeholders = "SELECT ?, ?, ?, ?, ?".len() + 5 * AROUND_A_VALUE;
        assert_eq!(statement.bytes(), 1_000 + placeholders);
    }
}
