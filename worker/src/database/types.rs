//! The types that PostgreSQL expects at the placeholders of a statement.
//!
//! A string literal takes the type of its place; a bound text does not. The server is therefore
//! asked once for each statement of a connection. The placeholder is then written as
//! `$1::text::TYPE`, which reads the text like a literal.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnection, PgTypeInfo};
use sqlx::{AssertSqlSafe, Either, Executor, Row, SqlSafeStr, Statement as _};

use serde_json::Value;

use super::params::Statement;
use super::values::Bound;

/// The type of a place whose type is not known.
pub(super) const TEXT: &str = "text";
/// The type of bytes.
pub(super) const BYTES: &str = "bytea";

/// The most statements whose types a connection remembers. One more makes it forget all of them.
/// The driver keeps as many statements prepared.
const REMEMBERED: usize = 256;

/// Lets the server infer the type.
const UNKNOWN: Oid = Oid(0);
/// SQLSTATE of a parameter whose type cannot be inferred.
const INDETERMINATE: &str = "42P18";

/// The parameter types of the statements that have run on a connection.
#[derive(Default)]
pub(super) struct Known(HashMap<String, Arc<[String]>>);

/// Returns the type at each placeholder.
pub(super) async fn of_places(
    open: &mut PgConnection,
    known: &mut Known,
    statement: &Statement,
) -> Result<Arc<[String]>, sqlx::Error> {
    let mut oids: Vec<Oid> = statement
        .values
        .iter()
        .map(|one| declared(&one.value))
        .collect();
    if statement.is_text || !oids.contains(&UNKNOWN) {
        return Ok(Arc::new([]));
    }
    let sql = with_numbers(statement);
    // The values decide which types are asked for.
    let key: String = oids
        .iter()
        .map(|oid| format!("{},", oid.0))
        .chain([sql.clone()])
        .collect();
    if let Some(types) = known.0.get(&key) {
        return Ok(Arc::clone(types));
    }
    let types: Arc<[String]> = ask(open, sql, &mut oids).await?.into();
    if statement.kept {
        if known.0.len() >= REMEMBERED {
            known.0.clear();
        }
        known.0.insert(key, Arc::clone(&types));
    }
    Ok(types)
}

/// Returns the type that a value has by itself.
fn declared(value: &Bound) -> Oid {
    match value {
        Bound::Bool(_) => Oid(16),
        Bound::Whole(_) => Oid(20),
        Bound::Real(_) => Oid(701),
        Bound::Exact(_) => Oid(1700),
        Bound::Null | Bound::Text(_) | Bound::Moment(..) | Bound::Bytes(_) | Bound::Json(_) => {
            UNKNOWN
        }
    }
}

pub(super) fn with_numbers(statement: &Statement) -> String {
    let mut sql = String::new();
    for (at, text) in statement.texts.iter().enumerate() {
        sql += text;
        sql.push('$');
        sql += &(at + 1).to_string();
    }
    sql + &statement.rest
}

async fn ask(
    open: &mut PgConnection,
    sql: String,
    oids: &mut [Oid],
) -> Result<Vec<String>, sqlx::Error> {
    let sql = AssertSqlSafe(sql).into_sql_str();
    // Preparing fails if a place takes any type (`SELECT :a IS NULL`). That must not end the
    // transaction.
    open.execute("SAVEPOINT celery_types").await?;
    loop {
        let declared: Vec<PgTypeInfo> = oids.iter().map(|oid| PgTypeInfo::with_oid(*oid)).collect();
        let error = match (&mut *open).prepare_with(sql.clone(), &declared).await {
            Ok(prepared) => {
                if let Some(Either::Left(types)) = prepared.parameters() {
                    for (oid, found) in oids.iter_mut().zip(types) {
                        *oid = found.oid().unwrap_or(*oid);
                    }
                }
                break;
            }
            Err(error) => error,
        };
        let Some(at) = indeterminate(&error).filter(|at| oids.get(*at) == Some(&UNKNOWN)) else {
            return Err(error);
        };
        if let Some(oid) = oids.get_mut(at) {
            // 25 is the type `text`, which a string has in a place of any type.
            *oid = Oid(25);
        }
        open.execute("ROLLBACK TO SAVEPOINT celery_types").await?;
    }
    open.execute("RELEASE SAVEPOINT celery_types").await?;
    let names = names(open, oids).await?;
    let name = |oid: &Oid| {
        names
            .get(&oid.0)
            .cloned()
            .unwrap_or_else(|| TEXT.to_owned())
    };
    Ok(oids.iter().map(name).collect())
}

/// Returns the placeholder that has no type according to an error, counted from 0. The message is
/// in the language of the server; the number is in all of them.
fn indeterminate(error: &sqlx::Error) -> Option<usize> {
    let error = error.as_database_error()?;
    let message = error.message();
    let from = message
        .find('$')
        .filter(|_| error.code().as_deref() == Some(INDETERMINATE))?
        + 1;
    let digits: String = message[from..]
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse::<usize>().ok()?.checked_sub(1)
}

/// Returns the names of types, as they can be written in a cast.
///
/// For a domain it is the name of its base type: a cast to the domain would cut a text that is too
/// long, while an assignment refuses it.
async fn names(open: &mut PgConnection, oids: &[Oid]) -> Result<HashMap<u32, String>, sqlx::Error> {
    let mut numbers: Vec<u32> = oids.iter().map(|oid| oid.0).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let list: Vec<String> = numbers.iter().map(u32::to_string).collect();
    // With the modifier -1 the name has no length that would cut values: "bpchar", not "character".
    let sql = format!(
        "WITH RECURSIVE below AS (\
            SELECT oid AS asked, oid, typtype, typbasetype FROM pg_catalog.pg_type \
            WHERE oid = ANY ('{{{}}}'::pg_catalog.oid[]) \
            UNION ALL SELECT asked, one.oid, one.typtype, one.typbasetype \
            FROM below JOIN pg_catalog.pg_type AS one ON one.oid = below.typbasetype \
            WHERE below.typtype = 'd') \
        SELECT CAST(asked AS int8), pg_catalog.format_type(oid, -1) FROM below WHERE typtype <> 'd'",
        list.join(",")
    );
    let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(open).await?;
    let name = |row: sqlx::postgres::PgRow| {
        let oid: i64 = row.try_get(0)?;
        Ok((u32::try_from(oid).unwrap_or_default(), row.try_get(1)?))
    };
    rows.into_iter().map(name).collect()
}

/// The clock that a type of dates shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The type has an offset.
    Utc,
    /// The type has no offset.
    Session,
}

impl Clock {
    /// Returns the clock of a type; `None` if it is not a type of dates.
    pub(super) fn of(name: &str) -> Option<Self> {
        match name {
            "timestamp with time zone" => Some(Clock::Utc),
            "timestamp without time zone"
            | "date"
            | "time without time zone"
            | "time with time zone" => Some(Clock::Session),
            _ => None,
        }
    }
}

/// Returns `true` if a type takes a JSON document.
pub(super) fn is_json(name: &str) -> bool {
    matches!(name, "json" | "jsonb")
}

/// Returns `true` if a value of a type is single, so that a list or an object beside it is a
/// mistake. Other types may have literals that look like JSON: ranges, the vectors of pgvector.
pub(super) fn is_single(name: &str) -> bool {
    let unqualified = name.rsplit('.').next().unwrap_or(name);
    Clock::of(name).is_some()
        || matches!(
            unqualified,
            TEXT | BYTES
                | "character varying"
                | "character"
                | "bpchar"
                | "\"char\""
                | "name"
                | "citext"
                | "tsvector"
                | "tsquery"
                | "smallint"
                | "integer"
                | "bigint"
                | "numeric"
                | "real"
                | "double precision"
                | "money"
                | "boolean"
                | "uuid"
                | "interval"
                | "inet"
                | "cidr"
                | "bit"
                | "bit varying"
                | "oid"
        )
}

/// Returns a list as PostgreSQL writes an array: `{1,NULL,"it's"}`.
pub(super) fn array(list: &Value) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    match list {
        Value::Array(list) => {
            let parts: Vec<String> = list.iter().map(array).collect();
            format!("{{{}}}", parts.join(","))
        }
        Value::Null => "NULL".to_owned(),
        Value::String(text) => quoted(text),
        Value::Object(_) => quoted(&list.to_string()),
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lists_are_written_as_arrays() {
        for (list, expected) in [
            (json!([]), "{}"),
            (json!([1, 2.5, null, true]), "{1,2.5,NULL,true}"),
            (
                json!(["it's", "a\"b\\c", "{,}", ""]),
                r#"{"it's","a\"b\\c","{,}",""}"#,
            ),
            (json!([[1], [2]]), "{{1},{2}}"),
            (json!([{"a": "b"}]), r#"{"{\"a\":\"b\"}"}"#),
        ] {
            assert_eq!(array(&list), expected);
        }
    }
}
