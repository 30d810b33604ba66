//! SQL statements with named parameters. The worker's modules are included as files: the crate
//! itself would bring the drivers of three databases, which the sanitizer does not need.

#![allow(dead_code, reason = "the worker uses the rest")]

#[path = "../../worker/src/database/params.rs"]
mod params;
#[path = "../../worker/src/database/places.rs"]
mod places;
#[path = "../../worker/src/database/shape.rs"]
mod shape;
#[path = "../../worker/src/database/tokens.rs"]
mod tokens;
#[path = "../../worker/src/database/values.rs"]
mod values;
#[path = "../../worker/src/database/zone.rs"]
mod zone;

use self::values::Dates;
use serde_json::Value;

/// The kinds of database, named as in the worker's module `database`.
#[derive(Clone, Copy, PartialEq)]
pub enum Dialect {
    MySql,
    Sqlite,
    Postgres,
}

/// Parses a statement: each named parameter becomes a placeholder, and the rest does not change.
pub fn statement(bytes: &[u8]) {
    let Ok(sql) = std::str::from_utf8(bytes) else {
        return;
    };
    for dialect in [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres] {
        let _ = shape::check(sql, dialect);
        let Ok(names) = params::names(sql, dialect) else {
            continue;
        };
        let given: Vec<(&str, Value)> = names.iter().map(|name| (&**name, Value::Null)).collect();
        let written = params::rewrite(sql, dialect, &given, Dates::Converted).unwrap();
        assert!(written.values.len() >= names.len());
        if names.is_empty() {
            assert_eq!(written.rest, sql);
        } else {
            assert!(params::rewrite(sql, dialect, &given[1..], Dates::Converted).is_err());
        }
    }
}
