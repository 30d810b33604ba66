//! Statements inside a transaction, in the words of whichever database it is.

use std::sync::Arc;

use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};

use super::connection::Raw;
use super::params::{self, Params, Statement};
use super::pool::{Place, Pool, Taken};
use super::watch::{AtWork, Running};
use super::{DatabaseError, Dialect, Kind, error};

/// A transaction that is open. See [`Database::transaction`](super::Database::transaction).
pub struct Transaction {
    taken: Taken,
    pool: Arc<Pool>,
    work: Arc<AtWork>,
    /// Whether its connection cannot be used any longer.
    broken: bool,
}

/// What a query has found.
enum Rows {
    MySql(Vec<sqlx::mysql::MySqlRow>),
    Postgres(Vec<sqlx::postgres::PgRow>),
    Sqlite(Vec<sqlx::sqlite::SqliteRow>),
}

/// Binds the values to a query. The three drivers have the same methods and no common type.
macro_rules! bound {
    ($statement:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($statement.sql)).persistent($statement.kept);
        for value in $statement.values {
            query = match value {
                Value::Null => query.bind(None::<String>),
                Value::Bool(value) => query.bind(value),
                Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(whole), _) => query.bind(whole),
                    // Beyond i64 the text keeps every digit, and the server reads it as a number.
                    (None, _) if number.is_u64() => query.bind(number.to_string()),
                    (None, Some(real)) => query.bind(real),
                    (None, None) => query.bind(number.to_string()),
                },
                Value::String(text) => query.bind(text),
                json => query.bind(json.to_string()),
            };
        }
        query
    }};
}

impl Transaction {
    pub(super) async fn begin(
        pool: &Arc<Pool>,
        place: Place,
        work: &Arc<AtWork>,
    ) -> Result<Self, DatabaseError> {
        let taken = pool.begin(place).await?;
        work.in_session(taken.begun.session.clone());
        Ok(Transaction {
            taken,
            pool: Arc::clone(pool),
            work: Arc::clone(work),
            broken: false,
        })
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.taken.connection.dialect()
    }

    /// Runs a statement and says how many rows it matched (on MySQL also those it left as they were).
    pub async fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
        let statement = params::rewrite(sql, self.dialect(), params)?;
        self.run(statement).await
    }

    /// The same with the placeholders of the database.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        let work = Arc::clone(&self.work);
        let _running = self.runs(&statement, &work)?;
        let outcome = match &mut self.taken.connection.raw {
            Raw::MySql(open) => {
                let done = bound!(statement).execute(open).await;
                done.map(|done| done.rows_affected())
            }
            Raw::Postgres(open) => {
                let done = bound!(statement).execute(open).await;
                done.map(|done| done.rows_affected())
            }
            Raw::Sqlite(open) => {
                let done = bound!(statement).execute(open).await;
                done.map(|done| done.rows_affected())
            }
        };
        self.heard(outcome)
    }

    async fn fetch(&mut self, sql: &str, params: Params<'_>) -> Result<Rows, DatabaseError> {
        let statement = params::rewrite(sql, self.dialect(), params)?;
        let work = Arc::clone(&self.work);
        let _running = self.runs(&statement, &work)?;
        let outcome = match &mut self.taken.connection.raw {
            Raw::MySql(open) => bound!(statement).fetch_all(open).await.map(Rows::MySql),
            Raw::Postgres(open) => bound!(statement).fetch_all(open).await.map(Rows::Postgres),
            Raw::Sqlite(open) => bound!(statement).fetch_all(open).await.map(Rows::Sqlite),
        };
        self.heard(outcome)
    }

    /// The first column of a query whose values are whole numbers, such as keys.
    pub async fn keys(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<i128>, DatabaseError> {
        let mut keys = Vec::new();
        match self.fetch(sql, params).await? {
            Rows::MySql(rows) => {
                for row in rows {
                    // The driver insists on the column's own signedness, which differs from table to table.
                    let key = match row.try_get::<u64, _>(0) {
                        Ok(key) => i128::from(key),
                        Err(_) => i128::from(row.try_get::<i64, _>(0)?),
                    };
                    keys.push(key);
                }
            }
            Rows::Postgres(rows) => {
                for row in rows {
                    let key = match row.try_get::<i64, _>(0) {
                        Ok(key) => i128::from(key),
                        Err(_) => i128::from(row.try_get::<i32, _>(0)?),
                    };
                    keys.push(key);
                }
            }
            Rows::Sqlite(rows) => {
                for row in rows {
                    keys.push(i128::from(row.try_get::<i64, _>(0)?));
                }
            }
        }
        Ok(keys)
    }

    /// The first column of a query as text, and the second, which may be null.
    pub(super) async fn texts(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<(String, Option<String>)>, DatabaseError> {
        let mut texts = Vec::new();
        match self.fetch(sql, params).await? {
            Rows::MySql(rows) => {
                for row in rows {
                    // Bytes or text, as the table has it.
                    let first: Vec<u8> = row.try_get(0)?;
                    let first = String::from_utf8_lossy(&first).into_owned();
                    texts.push((first, row.try_get(1)?));
                }
            }
            Rows::Postgres(rows) => {
                for row in rows {
                    texts.push((row.try_get(0)?, row.try_get(1)?));
                }
            }
            Rows::Sqlite(rows) => {
                for row in rows {
                    texts.push((row.try_get(0)?, row.try_get(1)?));
                }
            }
        }
        Ok(texts)
    }

    /// A statement begins, unless the server would not take it. It would close the connection over one that is too large, which
    /// looks like an absence.
    fn runs<'w>(
        &self,
        statement: &Statement,
        work: &'w AtWork,
    ) -> Result<Running<'w>, DatabaseError> {
        let bytes = statement.bytes();
        if let Some(largest) = self.taken.begun.largest.filter(|largest| bytes > *largest) {
            return Err(DatabaseError::too_large(bytes, largest));
        }
        let most = self.dialect().most_placeholders();
        if statement.values.len() > most {
            return Err(DatabaseError::too_many(statement.values.len(), most));
        }
        Ok(work.runs(bytes))
    }

    /// Looks at what came of a statement.
    fn heard<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, DatabaseError> {
        outcome.map_err(|error| {
            let answered = matches!(error, sqlx::Error::Database(_));
            let outlived = error::outlived(&error);
            let error = DatabaseError::from(error);
            let away = error.kind() == Kind::Unavailable && self.dialect() != Dialect::Sqlite;
            if away {
                self.pool.give_up();
            }
            self.broken |= !answered || outlived || away;
            error
        })
    }

    pub(super) async fn commit(self) -> Result<(), DatabaseError> {
        self.end("COMMIT").await
    }

    /// Undoes everything. An error here says nothing new: the connection is gone, and the transaction with it.
    pub(super) async fn roll_back(self) {
        // A driver that lost track of its connection would wait on it for ever.
        if self.broken {
            self.work.in_session(None);
            return;
        }
        let _ = self.end("ROLLBACK").await;
    }

    async fn end(mut self, word: &'static str) -> Result<(), DatabaseError> {
        let outcome = {
            let _running = self.work.runs(word.len());
            self.taken.connection.end(word).await
        };
        self.work.in_session(None);
        match outcome {
            Ok(()) => self.pool.take_back(self.taken),
            // What state it is in is not known.
            Err(error) => {
                if error.kind() == Kind::Unavailable {
                    self.pool.give_up();
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transaction({:?})", self.dialect())
    }
}
