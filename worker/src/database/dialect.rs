//! The differences between the three databases in their SQL.

/// The SQL dialect of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    MySql,
    Postgres,
    Sqlite,
}

impl Dialect {
    /// Returns OpenTelemetry's name of the database.
    pub(super) fn word(self) -> &'static str {
        match self {
            Dialect::MySql => "mysql",
            Dialect::Postgres => "postgresql",
            Dialect::Sqlite => "sqlite",
        }
    }

    /// Returns the most values that a statement can have.
    pub(super) fn most_placeholders(self) -> usize {
        match self {
            // Both protocols send the number of values in 16 bits.
            Dialect::MySql | Dialect::Postgres => 65_535,
            // SQLITE_MAX_VARIABLE_NUMBER
            Dialect::Sqlite => 32_766,
        }
    }
}
