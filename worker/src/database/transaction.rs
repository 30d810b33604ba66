//! Statements inside a transaction, in the words of whichever database it is.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Row};

use super::params::{self, Params, Statement};
use super::{DatabaseError, Dialect, Pool};

/// A transaction that is open. See [`Database::transaction`](super::Database::transaction).
pub struct Transaction(Open);

enum Open {
    MySql(sqlx::Transaction<'static, sqlx::MySql>),
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
}

/// What another session says to stop the statement of this one.
pub(super) fn cancel(dialect: Dialect, session: i64) -> Option<String> {
    match dialect {
        Dialect::MySql => Some(format!("KILL QUERY {session}")),
        Dialect::Postgres => Some(format!("SELECT pg_cancel_backend({session})")),
        Dialect::Sqlite => None,
    }
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
    pub(super) async fn begin(pool: &Pool) -> Result<Self, DatabaseError> {
        Ok(Transaction(match pool {
            Pool::MySql(pool) => Open::MySql(pool.begin().await?),
            Pool::Postgres(pool) => Open::Postgres(pool.begin().await?),
            // Taking the write lock at once: taking it later can fail without a wait.
            Pool::Sqlite(pool) => Open::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
        }))
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.0 {
            Open::MySql(_) => Dialect::MySql,
            Open::Postgres(_) => Dialect::Postgres,
            Open::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// The number of the server's session, for [`cancel`]; 0 where there is none.
    pub(super) async fn session(&mut self) -> Result<i64, DatabaseError> {
        let sql = match self.dialect() {
            Dialect::MySql => "SELECT CONNECTION_ID()",
            Dialect::Postgres => "SELECT pg_backend_pid()",
            Dialect::Sqlite => return Ok(0),
        };
        let session = self.keys(sql, &[]).await?;
        Ok(session
            .first()
            .and_then(|session| i64::try_from(*session).ok())
            .unwrap_or(0))
    }

    /// Runs a statement and says how many rows it matched (on MySQL also those it left as they were).
    pub async fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
        let statement = params::rewrite(sql, self.dialect(), params)?;
        self.run(statement).await
    }

    /// The same with the placeholders of the database.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        Ok(match &mut self.0 {
            Open::MySql(open) => bound!(statement)
                .execute(&mut **open)
                .await?
                .rows_affected(),
            Open::Postgres(open) => bound!(statement)
                .execute(&mut **open)
                .await?
                .rows_affected(),
            Open::Sqlite(open) => bound!(statement)
                .execute(&mut **open)
                .await?
                .rows_affected(),
        })
    }

    /// The first column of a query whose values are whole numbers, such as keys.
    pub async fn keys(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<i128>, DatabaseError> {
        let statement = params::rewrite(sql, self.dialect(), params)?;
        let mut keys = Vec::new();
        match &mut self.0 {
            Open::MySql(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
                    // The driver insists on the column's own signedness, which differs from table to table.
                    let key = match row.try_get::<u64, _>(0) {
                        Ok(key) => i128::from(key),
                        Err(_) => i128::from(row.try_get::<i64, _>(0)?),
                    };
                    keys.push(key);
                }
            }
            Open::Postgres(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
                    let key = match row.try_get::<i64, _>(0) {
                        Ok(key) => i128::from(key),
                        Err(_) => i128::from(row.try_get::<i32, _>(0)?),
                    };
                    keys.push(key);
                }
            }
            Open::Sqlite(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
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
        let statement = params::rewrite(sql, self.dialect(), params)?;
        let mut rows = Vec::new();
        match &mut self.0 {
            Open::MySql(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
                    // Bytes or text, as the table has it.
                    let first: Vec<u8> = row.try_get(0)?;
                    let first = String::from_utf8_lossy(&first).into_owned();
                    rows.push((first, row.try_get(1)?));
                }
            }
            Open::Postgres(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
                    rows.push((row.try_get(0)?, row.try_get(1)?));
                }
            }
            Open::Sqlite(open) => {
                for row in bound!(statement).fetch_all(&mut **open).await? {
                    rows.push((row.try_get(0)?, row.try_get(1)?));
                }
            }
        }
        Ok(rows)
    }

    pub(super) async fn commit(self) -> Result<(), DatabaseError> {
        match self.0 {
            Open::MySql(open) => open.commit().await?,
            Open::Postgres(open) => open.commit().await?,
            Open::Sqlite(open) => open.commit().await?,
        }
        Ok(())
    }

    /// Undoes everything. An error here says nothing new: the connection is gone, and the transaction with it.
    pub(super) async fn roll_back(self) {
        let _ = match self.0 {
            Open::MySql(open) => open.rollback().await,
            Open::Postgres(open) => open.rollback().await,
            Open::Sqlite(open) => open.rollback().await,
        };
    }
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transaction({:?})", self.dialect())
    }
}
