//! The errors of databases, and their meaning for a task.
//!
//! The errors of three drivers are sorted into five kinds; only the kinds matter to the rest of the
//! worker. Names and arguments are those of Python's database interface (`OperationalError(1213,
//! '…')`), as Python workers store them.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use sqlx::mysql::MySqlDatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::params::ParamError;

/// The meaning of an error for the task that met it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The server cannot be reached, is stopping, takes no writes, or no connection to it became
    /// free in time. The task waits until that has changed.
    Unavailable,
    /// The server is reachable but rejects the worker: wrong user, password, database or file, a
    /// login that is not supported, a certificate that does not fit. At the start this is a mistake
    /// in the settings; later the task waits, as for an outage.
    Refused,
    /// A deadlock, or too long a wait for a lock. Another attempt may succeed at once.
    Transient,
    /// The statement does not fit the tables, so every call of the task fails. If a whole table is
    /// missing, tasks wait for it: it may be about to be created.
    Schema,
    /// This statement fails with these values.
    Statement,
}

/// The name of an error about a value that cannot be bound. Another attempt cannot help.
const WRONG_VALUE: &str = "DataError";

/// An error of the database.
#[derive(Clone, Debug)]
pub struct DatabaseError {
    kind: Kind,
    name: &'static str,
    code: Option<Value>,
    message: String,
    waits_for: Option<WaitsFor>,
}

/// The condition for another attempt to succeed, although the server is reachable and has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// A missing table, which may be about to be created.
    Table,
    /// One of the worker's own connections has to become free.
    Place,
    /// Another task that is about to commit the same call.
    Twin,
}

impl DatabaseError {
    /// Returns the meaning of the error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns the code of the server, if the error comes from it.
    pub(super) fn code(&self) -> Option<&Value> {
        self.code.as_ref()
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        DatabaseError {
            kind: Kind::Unavailable,
            name: "OperationalError",
            code: None,
            message: message.into(),
            waits_for: None,
        }
    }

    /// Makes an error of a server that rejects the worker, or of a wrong setting.
    pub(super) fn refused(message: impl Into<String>) -> Self {
        DatabaseError {
            kind: Kind::Refused,
            ..Self::unavailable(message)
        }
    }

    /// Changes the meaning of an error whose context says more than its code.
    pub(super) fn of_kind(self, kind: Kind) -> Self {
        DatabaseError {
            kind,
            name: "OperationalError",
            waits_for: None,
            ..self
        }
    }

    /// Makes the error for code that uses the database incorrectly.
    pub(super) fn misuse(message: String) -> Self {
        DatabaseError {
            kind: Kind::Schema,
            name: "RuntimeError",
            code: None,
            message,
            waits_for: None,
        }
    }

    /// Makes the error for a row whose values do not fit the type that the task reads.
    pub(super) fn unreadable(message: String) -> Self {
        DatabaseError {
            kind: Kind::Statement,
            name: WRONG_VALUE,
            code: None,
            message,
            waits_for: None,
        }
    }

    /// Makes the error for a wait in which all connections were in use.
    pub(super) fn busy(waited: Duration) -> Self {
        DatabaseError {
            waits_for: Some(WaitsFor::Place),
            ..Self::unavailable(format!(
                "no connection became free within {} s",
                waited.as_secs_f64()
            ))
        }
    }

    /// Counts a refusal for lack of connections as [`busy`](Self::busy): the worker's own
    /// connections use them up.
    pub(super) fn for_want_of_room(self) -> Self {
        let wants_room = match &self.code {
            // Too many connections, in all or of this user.
            Some(Value::Number(number)) => match number.as_u64() {
                Some(1040 | 1203) => true,
                // This code also stands for other resources.
                Some(1226) => self.message.contains("max_user_connections"),
                _ => false,
            },
            // Too many connections to the server, to the database or of the role.
            Some(Value::String(state)) => state == "53300",
            _ => false,
        };
        DatabaseError {
            waits_for: wants_room.then_some(WaitsFor::Place).or(self.waits_for),
            ..self
        }
    }

    /// Makes MySQL's error for a statement that is too large.
    pub(super) fn too_large(bytes: usize, largest: usize) -> Self {
        Self::refused_here(
            1153,
            format!(
                "Got a packet bigger than 'max_allowed_packet' bytes: about {bytes}, and the server takes {largest}"
            ),
        )
    }

    /// Like [`too_large`](Self::too_large), for a statement with too many values. The other
    /// databases have such limits as well.
    pub(super) fn too_many(values: usize, most: usize) -> Self {
        Self::refused_here(
            1390,
            format!(
                "Prepared statement contains too many placeholders: {values}, and at most {most} can be sent"
            ),
        )
    }

    /// Makes the error for a statement that the server would refuse, in MySQL's words.
    fn refused_here(code: u16, message: String) -> Self {
        DatabaseError {
            kind: Kind::Statement,
            name: "DatabaseError",
            code: Some(code.into()),
            message,
            waits_for: None,
        }
    }

    /// Marks an error about a key that another transaction has inserted, or is about to insert,
    /// since this transaction looked for it. Another attempt will find the key. The task waits for
    /// that without limit, because the other transaction does the work for it.
    pub(super) fn of_a_race(mut self) -> Self {
        if self.name == "IntegrityError" {
            self.kind = Kind::Transient;
        }
        if self.kind == Kind::Transient {
            self.waits_for = Some(WaitsFor::Twin);
        }
        self
    }

    /// Makes the error with which the work of a stopped task ends.
    pub(super) fn stopped() -> Self {
        DatabaseError {
            kind: Kind::Statement,
            ..Self::unavailable("the task was stopped")
        }
    }

    /// Returns `true` if the statement needs a table that is missing.
    pub(super) fn misses_table(&self) -> bool {
        self.waits_for == Some(WaitsFor::Table)
    }

    /// Makes a missing table a failure of the task, as a missing column is.
    pub(crate) fn without_waiting_for_a_table(self) -> Self {
        DatabaseError {
            waits_for: self.waits_for.filter(|waits| *waits != WaitsFor::Table),
            ..self
        }
    }

    /// Returns `true` if the server gave no answer, not even a refusal.
    pub(super) fn is_silence(&self) -> bool {
        self.kind == Kind::Unavailable && self.code.is_none() && !self.is_our_own()
    }

    /// Returns `true` if the error is not about the server, but about the worker's own connections.
    pub(super) fn is_our_own(&self) -> bool {
        self.waits_for == Some(WaitsFor::Place)
    }

    /// Returns `true` if the task has to wait: another attempt may succeed once something else has
    /// changed.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Refused) || self.waits_for.is_some()
    }

    /// Returns `true` if no attempt can succeed, whatever the tables hold.
    pub(crate) fn is_permanent(&self) -> bool {
        self.name == WRONG_VALUE
    }

    /// Returns `true` if no single call of a batch is at fault. The batch is then not halved: every
    /// half would fail in the same way, and all their retries would take hours.
    pub(crate) fn is_of_whole_batch(&self) -> bool {
        !self.is_permanent() && matches!(self.kind, Kind::Schema | Kind::Transient)
    }

    /// Returns the name and the arguments of the exception that Python's database interface raises.
    pub(crate) fn into_python(self) -> (&'static str, Vec<Value>) {
        let mut args: Vec<Value> = self.code.into_iter().collect();
        args.push(Value::String(self.message));
        (self.name, args)
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
        let (kind, name) = match error {
            ParamError::Value { .. } => (Kind::Statement, WRONG_VALUE),
            _ => (Kind::Schema, "ProgrammingError"),
        };
        DatabaseError {
            kind,
            name,
            code: None,
            message: error.to_string(),
            waits_for: None,
        }
    }
}

impl From<sqlx::Error> for DatabaseError {
    fn from(error: sqlx::Error) -> Self {
        let (kind, name, code) = match &error {
            sqlx::Error::Database(database) => {
                let (kind, code) = if let Some(mysql) =
                    database.try_downcast_ref::<MySqlDatabaseError>()
                {
                    let number = mysql.number();
                    (of_mysql(number, mysql.message()), Some(number.into()))
                } else {
                    let code = database.code().unwrap_or_default();
                    // A SQLSTATE has five characters; SQLite's codes are small numbers.
                    match code.parse::<u32>() {
                        Ok(number) if code.len() < 5 => (of_sqlite(number), Some(number.into())),
                        _ => (of_postgres(&error, &code), Some(code.into_owned().into())),
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
            // A certificate that does not fit will not fit later either, but the server may change.
            sqlx::Error::Tls(_) => (Kind::Refused, "OperationalError", None),
            // The drivers count the values themselves, without asking the server.
            sqlx::Error::Protocol(said) if said.contains("parameters") => {
                (Kind::Schema, "ProgrammingError", None)
            }
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
                (Kind::Unavailable, "OperationalError", None)
            }
            _ => (Kind::Statement, "InterfaceError", None),
        };
        let message = match &error {
            sqlx::Error::Database(database) => database.message().to_owned(),
            other => other.to_string(),
        };
        let misses_table = kind == Kind::Schema && misses_table(code.as_ref(), &message);
        let waits_for = misses_table.then_some(WaitsFor::Table);
        DatabaseError {
            kind,
            name,
            code,
            message,
            waits_for,
        }
    }
}

/// Returns `true` if a table is missing. SQLite has one code for several errors, so its message
/// decides.
fn misses_table(code: Option<&Value>, message: &str) -> bool {
    match code {
        Some(Value::String(state)) => state == "42P01",
        Some(Value::Number(number)) => {
            number.as_u64() == Some(1146) || message.starts_with("no such table")
        }
        _ => false,
    }
}

/// Returns `true` if the table was changed under a statement that the connection keeps prepared.
/// The statement then fails on this connection every time.
pub(super) fn outlived(error: &sqlx::Error) -> bool {
    let postgres = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    // The error is "cached plan must not change result type", in the language of the server. Its
    // routine distinguishes it from others of 0A000.
    postgres.is_some_and(|error| {
        error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery")
    })
}

/// Sorts an error by the numbers of MySQL and MariaDB.
fn of_mysql(number: u16, message: &str) -> Kind {
    match number {
        // Too many connections, shutting down, network errors, read-only, killed connection, host
        // blocked, a Galera node that is not ready, a full disk or table space. A statement that is
        // too large (1153) is not among them.
        1021
        | 1040
        | 1047
        | 1053
        | 1077
        | 1079
        | 1114
        | 1129
        | 1152
        | 1154..=1161
        | 1184
        | 1203
        | 1226
        | 1290
        | 1792
        | 1836
        | 1927
        | 4031 => Kind::Unavailable,
        // Writing to a file failed; only the text has the reason. 28 is ENOSPC.
        3 | 1026 | 1030 if message.contains("rror 28") || message.contains("rrno: 28") => {
            Kind::Unavailable
        }
        // Access denied, no such database.
        1044 | 1045 | 1049 | 1130 | 1251 | 1698 => Kind::Refused,
        // Lock wait, deadlock, a prepared statement that no longer fits its table, a table that
        // changed.
        1205 | 1213 | 1412 | 1615 | 1020 => Kind::Transient,
        // No such table or column, syntax, no right to the table.
        1054 | 1064 | 1142 | 1143 | 1146 | 1109 | 1305 | 1176 => Kind::Schema,
        _ => Kind::Statement,
    }
}

fn of_postgres(error: &sqlx::Error, code: &str) -> Kind {
    if outlived(error) {
        return Kind::Transient;
    }
    let postgres = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    // PgBouncer uses this code for every error, and then ends the connection.
    if code == "08P01" && postgres.is_some_and(|error| error.severity() == PgSeverity::Error) {
        return Kind::Schema;
    }
    of_sqlstate(code)
}

/// Sorts an error by PostgreSQL's SQLSTATE.
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

/// Sorts an error by SQLite's result codes; the lower byte is the primary code.
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
        assert_eq!(of_mysql(1213, ""), Kind::Transient);
        assert_eq!(of_mysql(1146, ""), Kind::Schema);
        assert_eq!(of_mysql(1045, ""), Kind::Refused);
        for away in [1021, 1047, 1114, 1152, 1154, 1290, 1792] {
            assert_eq!(of_mysql(away, ""), Kind::Unavailable, "{away}");
        }
        assert_eq!(of_mysql(1062, ""), Kind::Statement);
        assert_eq!(of_mysql(1153, ""), Kind::Statement);
        let full = "Got error 28 \"No space left on device\" from storage engine";
        assert_eq!(of_mysql(1030, full), Kind::Unavailable);
        assert_eq!(of_mysql(1030, "Got error 1"), Kind::Statement);
        assert_eq!(of_sqlstate("40P01"), Kind::Transient);
        assert_eq!(of_sqlstate("57P01"), Kind::Unavailable);
        assert_eq!(of_sqlstate(""), Kind::Statement);
        assert_eq!(of_sqlite(517), Kind::Transient);
        assert_eq!(of_sqlite(14), Kind::Refused);
    }

    #[test]
    fn a_refusal_for_lack_of_connections_may_be_our_own() {
        let user = "User 'u' has exceeded the 'max_user_connections' resource (current value: 5)";
        let hour = "User 'u' has exceeded the 'max_queries_per_hour' resource (current value: 5)";
        let mysql = |code, message: &str| DatabaseError {
            kind: of_mysql(code, message),
            ..DatabaseError::refused_here(code, message.to_owned())
        };
        for (code, message, own) in [
            (1040, "Too many connections", true),
            (1203, "", true),
            (1226, user, true),
            (1226, hour, false),
            (1053, "", false),
            (1045, "", false),
        ] {
            let error = mysql(code, message);
            assert!(!error.is_our_own(), "{code}");
            assert_eq!(error.for_want_of_room().is_our_own(), own, "{code}");
        }
        for (state, own) in [("53300", true), ("53200", false), ("57P03", false)] {
            let error = DatabaseError {
                code: Some(state.into()),
                ..DatabaseError::unavailable("")
            };
            assert_eq!(error.for_want_of_room().is_our_own(), own, "{state}");
        }
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
    fn a_driver_that_counts_the_values_is_not_an_outage() {
        let said = "prepared statement expected 2 parameters but 1 parameters were provided";
        let error: DatabaseError = sqlx::Error::Protocol(said.to_owned()).into();
        assert_eq!(error.kind(), Kind::Schema);
    }

    #[test]
    fn a_task_that_waits_for_a_twin_never_fails() {
        for code in [1205, 1062] {
            let name = if code == 1062 {
                "IntegrityError"
            } else {
                "OperationalError"
            };
            let locked = DatabaseError {
                kind: of_mysql(code, ""),
                name,
                ..DatabaseError::refused_here(code, String::new())
            };
            let waiting = locked.of_a_race();
            assert_eq!(waiting.kind(), Kind::Transient);
            assert!(waiting.is_absence());
        }
    }

    #[test]
    fn an_outage_makes_the_task_wait() {
        assert!(DatabaseError::unavailable("gone away").is_absence());
        let io: DatabaseError = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into()).into();
        assert_eq!(io.kind(), Kind::Unavailable);
    }
}
