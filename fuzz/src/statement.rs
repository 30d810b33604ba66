//! SQL statements with named parameters. The worker's modules are included as files: the crate
//! itself would bring the drivers of three databases, which the sanitizer does not need.

#![allow(dead_code, reason = "the worker uses the rest")]

#[path = "../../worker/src/database/grammar.rs"]
mod grammar;
// rustfmt cannot find the files below this module, `places` and `purpose` from here.
#[rustfmt::skip]
#[path = "../../worker/src/database/params.rs"]
mod params;
#[path = "../../worker/src/database/place_words.rs"]
mod place_words;
#[rustfmt::skip]
#[path = "../../worker/src/database/places.rs"]
mod places;
#[rustfmt::skip]
#[path = "../../worker/src/database/purpose.rs"]
mod purpose;
#[path = "../../worker/src/database/shape.rs"]
mod shape;
#[path = "../../worker/src/database/tokens.rs"]
mod tokens;
#[path = "../../worker/src/database/values.rs"]
mod values;
#[path = "../../worker/src/database/zone.rs"]
mod zone;

use self::grammar::Grammar;
use self::values::Dates;
use serde_json::Value;

/// The kinds of database, named as in the worker's module `database`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    let dialects = [Dialect::MySql, Dialect::Sqlite, Dialect::Postgres];
    for grammar in dialects.into_iter().flat_map(Grammar::possible) {
        let _ = shape::check(sql, grammar);
        let Ok(names) = params::names(sql, grammar) else {
            continue;
        };
        let given: Vec<(&str, Value)> = names.iter().map(|name| (&**name, Value::Null)).collect();
        let written = params::rewrite(sql, grammar, &given, Dates::Converted).unwrap();
        assert!(written.values.len() >= names.len());
        if names.is_empty() {
            assert_eq!(written.rest, sql);
        } else {
            assert!(params::rewrite(sql, grammar, &given[1..], Dates::Converted).is_err());
        }
    }
}
