//! What goes wrong in databases, and what that means for a task.
//!
//! The errors of three drivers are sorted into five kinds; only the kinds matter to the rest of the worker. Names and
//! arguments are those of Python's database interface (`OperationalError(1213, '…')`), as Python workers store them.

use std::fmt;

use serde_json::Value;
use sqlx::mysql::MySqlDatabaseError;

use super::params::ParamError;
use crate::task::{Exception, TaskError};

/// What an error means for the task that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The server cannot be reached, is stopping, or takes no writes: the task waits until it does.
    Unavailable,
    /// It is there and lets us not in: wrong user, password, database or file. At the start this is a mistake in the
    /// settings; later it is waited for, like an absence.
    Refused,
    /// A deadlock or a lock that was waited for too long: the same again may succeed at once.
    Transient,
    /// The statement fits no table: every task of the kind meets it. Where the whole table is missing, tasks wait for it:
    /// whoever makes it may be about to.
    Schema,
    /// This statement with these values.
    Statement,
}

/// An error of the database.
#[derive(Clone, Debug)]
pub struct DatabaseError {
    kind: Kind,
    name: &'static str,
    code: Option<Value>,
    message: String,
    misses_table: bool,
}

impl DatabaseError {
    /// What it means.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        DatabaseError {
            kind: Kind::Unavailable,
            name: "OperationalError",
            code: None,
            message: message.into(),
            misses_table: false,
        }
    }

    /// Code that does not do what it has to.
    pub(super) fn misuse(message: String) -> Self {
        DatabaseError {
            kind: Kind::Schema,
            name: "RuntimeError",
            code: None,
            message,
            misses_table: false,
        }
    }

    /// Of a key that is taken since this transaction looked: the same again will see it.
    pub(super) fn of_a_race(mut self) -> Self {
        if self.name == "IntegrityError" {
            self.kind = Kind::Transient;
        }
        self
    }

    /// What the work of a task ends with that has been stopped.
    pub(super) fn stopped() -> Self {
        DatabaseError {
            kind: Kind::Statement,
            ..Self::unavailable("the task was stopped")
        }
    }

    /// Whether the statement needs a table that is not there.
    pub(super) fn misses_table(&self) -> bool {
        self.misses_table
    }

    pub(crate) fn into_task_error(self) -> TaskError {
        if matches!(self.kind, Kind::Unavailable | Kind::Refused) || self.misses_table {
            return TaskError::Unavailable {
                cause: self.to_string(),
            };
        }
        let mut args: Vec<Value> = self.code.into_iter().collect();
        args.push(Value::String(self.message));
        let exception = Exception::with_args(self.name, args).module("celery_worker.database");
        TaskError::Failed(match self.kind {
            // That was tried often enough: with each half of the batch again, it would take hours.
            Kind::Schema | Kind::Transient => exception.of_whole_batch(),
            _ => exception,
        })
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(Value::String(code)) => write!(f, "{} ({code})", self.message),
            Some(code) => write!(f, "{} ({code})", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for DatabaseError {}

impl From<ParamError> for DatabaseError {
    fn from(error: ParamError) -> Self {
        DatabaseError {
            kind: Kind::Schema,
            name: "ProgrammingError",
            code: None,
            message: error.to_string(),
            misses_table: false,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let (kind, name, code) = match &error {
            sqlx::Error::Database(database) => {
                let (kind, code) = match database.try_downcast_ref::<MySqlDatabaseError>() {
                    Some(mysql) => (of_mysql(mysql.number()), Some(mysql.number().into())),
                    None => {
                        let code = database.code().unwrap_or_default();
                        // A SQLSTATE has five characters; SQLite's codes are small numbers.
                        match code.parse::<u32>() {
                            Ok(number) if code.len() < 5 => {
                                (of_sqlite(number), Some(number.into()))
                            }
                            _ => (of_sqlstate(&code), Some(code.into_owned().into())),
                        }
                    }
                };
                let name = match (kind, database.kind()) {
                    (Kind::Schema, _) => "ProgrammingError",
                    (Kind::Statement, sqlx::error::ErrorKind::Other) => "DatabaseError",
                    (Kind::Statement, _) => "IntegrityError",
                    _ => "OperationalError",
                };
                (kind, name, code)
            }
            sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => {
                (Kind::Refused, "InterfaceError", None)
            }
            // A certificate that does not fit will not fit later either, but its server may.
            sqlx::Error::Tls(_) => (Kind::Refused, "OperationalError", None),
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => (Kind::Unavailable, "OperationalError", None),
            _ => (Kind::Statement, "InterfaceError", None),
        };
        let message = match &error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            sqlx::Error::PoolTimedOut => {
                "no connection to the database could be made in time".into()
            }
            other => other.to_string(),
        };
        let misses_table = kind == Kind::Schema && misses_table(code.as_ref(), &message);
        DatabaseError {
            kind,
            name,
            code,
            message,
            misses_table,
        }
    }
}

/// SQLite has one code for all of it.
fn misses_table(code: Option<&Value>, message: &str) -> bool {
    match code {
        Some(Value::String(state)) => state == "42P01",
        Some(Value::Number(number)) => {
            number.as_u64() == Some(1146) || message.starts_with("no such table")
        }
        _ => false,
    }
}

/// By the error numbers of MySQL and MariaDB.
fn of_mysql(number: u16) -> Kind {
    match number {
        // Too many connections, shutting down, network errors, read-only, killed connection, host blocked.
        1040
        | 1053
        | 1077
        | 1079
        | 1129
        | 1152..=1161
        | 1184
        | 1203
        | 1226
        | 1290
        | 1836
        | 1927
        | 4031 => Kind::Unavailable,
        // Access denied, no such database.
        1044 | 1045 | 1049 | 1130 | 1251 | 1698 => Kind::Refused,
        // Lock wait, deadlock, a prepared statement that the table has outlived, a table that changed.
        1205 | 1213 | 1412 | 1615 | 1020 => Kind::Transient,
        // No such table or column, syntax, no right to the table.
        1054 | 1064 | 1142 | 1143 | 1146 | 1109 | 1305 | 1176 => Kind::Schema,
        _ => Kind::Statement,
    }
}

/// By PostgreSQL's SQLSTATE.
fn of_sqlstate(code: &str) -> Kind {
    match code {
        "40001" | "40P01" | "55P03" => Kind::Transient,
        "25006" | "53300" => Kind::Unavailable,
        "3D000" => Kind::Refused,
        _ => match code.get(..2) {
            Some("08" | "57" | "53") => Kind::Unavailable,
            Some("28") => Kind::Refused,
            Some("42") => Kind::Schema,
            _ => Kind::Statement,
        },
    }
}

/// By SQLite's result codes; the lower byte is the primary code.
fn of_sqlite(code: u32) -> Kind {
    match code & 0xff {
        1 => Kind::Schema,
        5 | 6 => Kind::Transient,
        10 | 13 => Kind::Unavailable,
        8 | 14 | 23 | 26 => Kind::Refused,
        _ => Kind::Statement,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        assert_eq!(of_mysql(1213), Kind::Transient);
        assert_eq!(of_mysql(1146), Kind::Schema);
        assert_eq!(of_mysql(1045), Kind::Refused);
        assert_eq!(of_mysql(1290), Kind::Unavailable);
        assert_eq!(of_mysql(1062), Kind::Statement);
        assert_eq!(of_sqlstate("40P01"), Kind::Transient);
        assert_eq!(of_sqlstate("57P01"), Kind::Unavailable);
        assert_eq!(of_sqlstate(""), Kind::Statement);
        assert_eq!(of_sqlite(517), Kind::Transient);
        assert_eq!(of_sqlite(14), Kind::Refused);
    }

    #[test]
    fn a_missing_table_is_waited_for() {
        assert!(misses_table(Some(&1146.into()), ""));
        assert!(misses_table(Some(&"42P01".into()), ""));
        assert!(misses_table(Some(&1.into()), "no such table: t"));
        assert!(!misses_table(Some(&1.into()), "no such column: c"));
        assert!(!misses_table(Some(&1054.into()), ""));
    }

    #[test]
    fn an_absence_costs_the_task_nothing() {
        let away = DatabaseError::unavailable("gone away").into_task_error();
        assert!(matches!(away, TaskError::Unavailable { .. }));
        let io: DatabaseError = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into();
        assert_eq!(io.kind(), Kind::Unavailable);
    }
}
