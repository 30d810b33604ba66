//! The statement of a task, read before a session is open. The settings of a session decide what
//! its quotes mean.

use super::Dialect;
use super::grammar::Grammar;
use super::params;
use super::shape::{self, ShapeError};

/// A statement that a task can be made of.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub(super) sql: String,
    /// Its parameters, in the order of their first use.
    pub(crate) names: Vec<String>,
    /// `true` if each parameter stands for a list.
    pub(super) is_batch: bool,
}

impl Sample {
    /// Reads a statement as some session of the database may read it.
    ///
    /// # Errors
    ///
    /// The error of the usual reading, if no session can run it as a task.
    pub(crate) fn read(sql: &str, dialect: Dialect, is_batch: bool) -> Result<Self, ShapeError> {
        let mut readings = Grammar::possible(dialect)
            .into_iter()
            .map(|grammar| read(sql, grammar, is_batch));
        let usual = readings
            .next()
            .unwrap_or_else(|| read(sql, dialect.into(), is_batch));
        let names = usual.or_else(|error| readings.find_map(Result::ok).ok_or(error))?;
        Ok(Sample {
            sql: sql.to_owned(),
            names,
            is_batch,
        })
    }

    /// Returns why a session with this grammar cannot run the task as it was read.
    pub(super) fn misread(&self, grammar: Grammar) -> Option<String> {
        match read(&self.sql, grammar, self.is_batch) {
            Ok(names) if names == self.names => None,
            Ok(names) => Some(format!(
                "the quotes of the statement can be read in two ways: with the settings of the \
                 database, the statement has the parameters {}, and without a database {}",
                listed(&names),
                listed(&self.names),
            )),
            Err(error) => Some(format!("{error}, as the settings of the database read it")),
        }
    }
}

/// Returns the parameters of a statement that a task can be made of.
fn read(sql: &str, grammar: Grammar, is_batch: bool) -> Result<Vec<String>, ShapeError> {
    shape::check(sql, grammar)?;
    if is_batch {
        params::check_batch(sql, grammar)?;
    }
    Ok(params::names(sql, grammar)?)
}

fn listed(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!(":{name}")).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(sql: &str, dialect: Dialect) -> Vec<String> {
        Sample::read(sql, dialect, false).unwrap().names
    }

    #[test]
    fn a_backslash_is_read_as_some_session_may_read_it() {
        for (sql, expected) in [
            (r"UPDATE t SET a = 'a\', b = :b", &["b"][..]),
            (r"UPDATE t SET a = 'C:\', b = 'D:\', c = :c", &["c"]),
            (r"INSERT INTO t VALUES ('it\'s', :b)", &["b"]),
            (r"UPDATE t SET a = 'x\\', b = :b", &["b"]),
            (r"UPDATE t SET a = 'it''s \', b = :b, c = :c", &["b", "c"]),
        ] {
            for dialect in [Dialect::MySql, Dialect::Postgres] {
                assert_eq!(names(sql, dialect), expected, "{dialect:?}: {sql}");
            }
        }
        let quoted = r#"UPDATE t SET "a\" = :a"#;
        assert_eq!(names(quoted, Dialect::MySql), ["a"]);
        assert_eq!(names(quoted, Dialect::Postgres), ["a"]);
        for sql in [
            r"UPDATE t SET a = 'a\\', b = 'c",
            r"UPDATE t SET a = 'a', b = 'c",
        ] {
            assert!(Sample::read(sql, Dialect::MySql, false).is_err(), "{sql}");
        }
        assert!(Sample::read(r"UPDATE t SET a = 'it\'s'", Dialect::Sqlite, false).is_err());
    }

    #[test]
    fn the_settings_of_a_session_decide() {
        let plain = Grammar::from(Dialect::MySql);
        let literal = Grammar::of_sql_mode("NO_BACKSLASH_ESCAPES");
        for (sql, as_escapes, as_letters) in [
            (
                r"UPDATE t SET a = 'a\', b = :b",
                Some("ends inside quotes"),
                None,
            ),
            (
                r"UPDATE t SET a = 'it\'s', b = :b",
                None,
                Some("ends inside quotes"),
            ),
            (
                r"UPDATE t SET a = 'x\'; DELETE FROM t -- '",
                None,
                Some("another one begins"),
            ),
            (
                r"INSERT INTO t VALUES ('\', :a, '\' /* \'' */, :b)",
                None,
                Some("has the parameters :a, :b, and without a database :b"),
            ),
            (r"UPDATE t SET a = '\\', b = :b", None, None),
        ] {
            let Ok(sample) = Sample::read(sql, Dialect::MySql, false) else {
                panic!("{sql}");
            };
            for (grammar, expected) in [(plain, as_escapes), (literal, as_letters)] {
                let misread = sample.misread(grammar);
                match expected {
                    Some(part) => assert!(misread.unwrap().contains(part), "{sql}"),
                    None => assert_eq!(misread, None, "{sql}"),
                }
            }
        }
    }
}
