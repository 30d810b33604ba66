//! Statements inside a transaction, on any of the three databases.

use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use serde::de::DeserializeOwned;
use sqlx::mysql::{MySqlQueryResult, MySqlRow};
use sqlx::{AssertSqlSafe, Either, Executor as _, Row};

use super::binding::{self, Plain, Ready};
use super::connection::{Connection, Raw};
use super::grammar::Grammar;
use super::params::{self, Params, Statement};
use super::pool::{Place, Pool, Taken};
use super::rows::Table;
use super::values::Dates;
use super::watch::{AtWork, Running};
use super::{DatabaseError, Dialect, Kind, cells, error, types};
use crate::trace;

/// A transaction that is open. See [`Database::transaction`](super::Database::transaction).
pub struct Transaction {
    taken: Taken,
    pool: Arc<Pool>,
    work: Arc<AtWork>,
    /// `true` if its connection cannot be used any longer.
    broken: bool,
}

/// The rows that a query returned.
enum Rows {
    MySql(Vec<sqlx::mysql::MySqlRow>),
    Postgres(Vec<sqlx::postgres::PgRow>),
    Sqlite(Vec<sqlx::sqlite::SqliteRow>),
}

/// Binds the values to a query. The three drivers have the same methods and no common type.
macro_rules! bound {
    ($ready:expr) => {{
        let mut query = sqlx::query(AssertSqlSafe($ready.sql)).persistent($ready.kept);
        for value in $ready.values {
            query = match value {
                Plain::Null => query.bind(None::<String>),
                Plain::Bool(value) => query.bind(value),
                Plain::Whole(value) => query.bind(value),
                Plain::Real(value) => query.bind(value),
                Plain::Text(value) => query.bind(value),
                Plain::Bytes(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Adds the rows of a query to a table until it has enough.
macro_rules! collected {
    ($rows:expr, $read:path, $table:ident, $most:ident) => {{
        let collecting = async {
            let mut rows = $rows;
            while $table.len() < $most
                && let Some(row) = rows.try_next().await?
            {
                $table.add(|| cells::names(&row), $read(&row)?)?;
            }
            Ok(())
        };
        collecting.await
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

    /// Returns the connection that it runs on.
    pub(super) fn raw(&mut self) -> &mut Raw {
        &mut self.taken.connection.raw
    }

    fn grammar(&self) -> Grammar {
        self.taken.connection.grammar
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.taken.connection.dialect()
    }

    /// Runs a statement and returns how many rows it matched (on MySQL also those that it left
    /// unchanged).
    ///
    /// # Errors
    ///
    /// [`DatabaseError`], after which the transaction can only be rolled back.
    pub async fn execute(&mut self, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
        self.execute_with(sql, params, Dates::Kept).await
    }

    /// Like [`execute`](Self::execute), for a task that is a statement.
    pub(crate) async fn execute_with(
        &mut self,
        sql: &str,
        params: Params<'_>,
        dates: Dates,
    ) -> Result<u64, DatabaseError> {
        let statement = params::rewrite(sql, self.grammar(), params, dates)?;
        self.run(statement).await
    }

    /// Like [`execute`](Self::execute), for a statement that has its values.
    pub(super) async fn run(&mut self, statement: Statement) -> Result<u64, DatabaseError> {
        let work = Arc::clone(&self.work);
        let _running = self.runs(&statement, &work)?;
        let span =
            trace::Statement::begin(self.dialect().word(), || statement.shown(trace::MOST_TEXT));
        let ready = self.ready(statement).await?;
        let outcome = match &mut self.taken.connection.raw {
            Raw::MySql(open) => matched(open.fetch_many(bound!(ready))).await,
            Raw::Postgres(open) => {
                let done = bound!(ready).execute(open).await;
                done.map(|done| done.rows_affected())
            }
            Raw::Sqlite(open) => {
                let done = bound!(ready).execute(open).await;
                done.map(|done| done.rows_affected())
            }
        };
        finished(span, self.heard(outcome))
    }

    /// Writes a statement for its database. PostgreSQL has to be asked for the types.
    async fn ready(&mut self, statement: Statement) -> Result<Ready, DatabaseError> {
        let dialect = self.dialect();
        let Connection {
            raw, zone, types, ..
        } = &mut self.taken.connection;
        let types = match raw {
            Raw::Postgres(open) => types::of_places(open, types, &statement).await,
            _ => return Ok(binding::untyped(statement, dialect, zone)?),
        };
        let types = self.heard(types)?;
        Ok(binding::typed(
            statement,
            &types,
            &self.taken.connection.zone,
        )?)
    }

    async fn fetch(&mut self, statement: Statement) -> Result<Rows, DatabaseError> {
        let work = Arc::clone(&self.work);
        let _running = self.runs(&statement, &work)?;
        let span =
            trace::Statement::begin(self.dialect().word(), || statement.shown(trace::MOST_TEXT));
        let ready = self.ready(statement).await?;
        let outcome = match &mut self.taken.connection.raw {
            Raw::MySql(open) => bound!(ready).fetch_all(open).await.map(Rows::MySql),
            Raw::Postgres(open) => bound!(ready).fetch_all(open).await.map(Rows::Postgres),
            Raw::Sqlite(open) => bound!(ready).fetch_all(open).await.map(Rows::Sqlite),
        };
        finished(span, self.heard(outcome))
    }

    /// Returns the rows of a query as values of a type that serde can read; see
    /// [`Database::rows`](super::Database::rows).
    ///
    /// # Errors
    ///
    /// Those of [`Database::rows`](super::Database::rows), after which the transaction can only be
    /// rolled back.
    pub async fn rows<T>(&mut self, sql: &str, params: Params<'_>) -> Result<Vec<T>, DatabaseError>
    where
        T: DeserializeOwned,
    {
        self.table(sql, params, usize::MAX).await?.read()
    }

    /// Like [`rows`](Self::rows), for the first row; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`rows`](Self::rows).
    pub async fn one<T>(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Option<T>, DatabaseError>
    where
        T: DeserializeOwned,
    {
        let rows = self.table(sql, params, 1).await?.read()?;
        Ok(rows.into_iter().next())
    }

    /// Returns the first rows of a query, at most `most`.
    async fn table(
        &mut self,
        sql: &str,
        params: Params<'_>,
        most: usize,
    ) -> Result<Table, DatabaseError> {
        let statement = params::rewrite(sql, self.grammar(), params, Dates::Kept)?;
        let work = Arc::clone(&self.work);
        let _running = self.runs(&statement, &work)?;
        let span =
            trace::Statement::begin(self.dialect().word(), || statement.shown(trace::MOST_TEXT));
        let ready = self.ready(statement).await?;
        let mut table = Table::default();
        let outcome = match &mut self.taken.connection.raw {
            Raw::MySql(open) => collected!(bound!(ready).fetch(open), cells::mysql, table, most),
            Raw::Postgres(open) => {
                collected!(bound!(ready).fetch(open), cells::postgres, table, most)
            }
            Raw::Sqlite(open) => collected!(bound!(ready).fetch(open), cells::sqlite, table, most),
        };
        finished(span, self.heard(outcome))?;
        Ok(table)
    }

    /// Returns the first column of a query whose values are whole numbers, such as keys.
    ///
    /// # Errors
    ///
    /// Those of [`execute`](Self::execute). A value that is not a whole number is an error, too.
    pub async fn keys(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<i128>, DatabaseError> {
        let statement = params::rewrite(sql, self.grammar(), params, Dates::Kept)?;
        let mut keys = Vec::new();
        match self.fetch(statement).await? {
            Rows::MySql(rows) => {
                for row in rows {
                    // The driver requires the column's own signedness, which differs from table to
                    // table.
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

    /// Returns the first column of a query as text, and the second, which may be null. Its
    /// parameters are text.
    pub(super) async fn texts(
        &mut self,
        sql: &str,
        params: Params<'_>,
    ) -> Result<Vec<(String, Option<String>)>, DatabaseError> {
        let mut statement = params::rewrite(sql, self.grammar(), params, Dates::Kept)?;
        statement.is_text = true;
        let mut texts = Vec::new();
        match self.fetch(statement).await? {
            Rows::MySql(rows) => {
                for row in rows {
                    // The column is bytes or text, depending on the table.
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

    /// Marks the beginning of a statement, or refuses one that the server would not accept. The
    /// server would close the connection over a statement that is too large, which looks like an
    /// outage.
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

    /// Notes the outcome of a statement.
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

    /// Rolls back. An error is ignored: it means that the connection is lost, and the transaction
    /// with it.
    pub(super) async fn roll_back(self) {
        // A driver that lost track of its connection would wait on it without limit.
        if self.broken {
            self.work.in_session(None);
            return;
        }
        let _ = self.end("ROLLBACK").await;
    }

    async fn end(mut self, word: &'static str) -> Result<(), DatabaseError> {
        let outcome = {
            let _running = self.work.runs(word.len());
            let span = trace::Statement::begin(self.dialect().word(), || word.to_owned());
            finished(span, self.taken.connection.end(word).await)
        };
        self.work.in_session(None);
        match outcome {
            Ok(()) => self.pool.take_back(self.taken),
            // The state of the connection is unknown.
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

/// Ends the span of a statement with its outcome.
fn finished<T>(
    span: Option<trace::Statement>,
    outcome: Result<T, DatabaseError>,
) -> Result<T, DatabaseError> {
    if let Some(span) = span {
        let kind = |error: &DatabaseError| format!("{:?}", error.kind()).to_ascii_lowercase();
        span.finish(outcome.as_ref().err().map(kind));
    }
    outcome
}

/// Returns how many rows a statement of MySQL or MariaDB matched. With `RETURNING`, MariaDB sends
/// the rows in place of their number; a procedure's rows are followed by the number.
async fn matched(
    mut steps: BoxStream<'_, Result<Either<MySqlQueryResult, MySqlRow>, sqlx::Error>>,
) -> Result<u64, sqlx::Error> {
    let (mut matched, mut rows, mut ends) = (0, 0, 0);
    while let Some(step) = steps.try_next().await? {
        match step {
            Either::Left(done) => {
                matched += done.rows_affected();
                ends += 1;
            }
            Either::Right(_) => rows += 1,
        }
    }
    Ok(match ends {
        1 if rows > 0 => rows,
        _ => matched,
    })
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Transaction({:?})", self.dialect())
    }
}
