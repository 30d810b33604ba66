//! Makes the database prepare the statements that tasks will run, to find mistakes in them early.
//!
//! A statement that the database cannot read will never work. One whose table, column or right is
//! missing may work after the next migration. Preparing shows both, and changes nothing. Before a
//! statement runs, MySQL does not check that a procedure exists, and PostgreSQL does not check
//! rights. So the worker asks MySQL for the procedure, and PostgreSQL to explain the statement.
//!
//! The connection is closed afterwards, because PostgreSQL keeps a prepared statement with the
//! types that it has guessed for the parameters. The values of tasks are bound with types of their
//! own.

use serde_json::Value;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use tokio::time::timeout;

use super::connection::{CONNECT_TIMEOUT, Raw};
use super::grammar::Grammar;
use super::params::Statement;
use super::values::Dates;
use super::{Database, DatabaseError, Dialect, Kind, Sample, params, shape, types};

/// The statement that runs before a statement is prepared. A locked table must not block the check
/// or the start of a worker. The setting is `LOCAL`, because a pooler may give the session to other
/// clients.
const MYSQL_BEFORE: &str = "SET SESSION lock_wait_timeout = 1";
const POSTGRES_BEFORE: &str = "BEGIN; SET LOCAL lock_timeout = '1s'";
/// The name of the statement that PostgreSQL explains.
const NAME: &str = "celery_worker_check";

/// The verdict of a database on a statement.
#[derive(Debug)]
pub(crate) enum Finding {
    /// It can run, or only a run can show whether it can.
    Fits,
    /// It cannot run with the tables as they are now, or not by this user.
    Unfit(DatabaseError),
    /// It cannot be read, whatever the tables are.
    Mistake(DatabaseError),
}

impl Database {
    /// Prepares each statement. An error means that the database cannot be asked now.
    pub(crate) async fn prepare(&self, samples: &[Sample]) -> Result<Vec<Finding>, DatabaseError> {
        let dialect = self.dialect();
        // A database in memory has only one connection.
        if dialect == Dialect::Sqlite {
            let samples = samples.to_vec();
            let working = self.transaction(move |open| {
                let samples = samples.clone();
                Box::pin(async move { prepare_all(open.raw(), dialect.into(), &samples).await })
            });
            return working.await;
        }
        let pool = &self.inner.pool;
        let preparing = async {
            let place = self.place(self.inner.timeout).await?;
            let mut taken = pool.begin(place).await?;
            let grammar = taken.connection.grammar;
            let findings = prepare_all(&mut taken.connection.raw, grammar, samples).await;
            pool.part_with(taken).await;
            findings
        };
        let outcome = preparing.await;
        self.inner.health.note(outcome.as_ref().err());
        outcome
    }
}

async fn prepare_all(
    raw: &mut Raw,
    grammar: Grammar,
    samples: &[Sample],
) -> Result<Vec<Finding>, DatabaseError> {
    let mut findings = Vec::with_capacity(samples.len());
    for sample in samples {
        if let Some(cause) = sample.misread(grammar) {
            findings.push(Finding::Mistake(DatabaseError::misuse(cause)));
            continue;
        }
        let preparing = prepare(raw, grammar, sample);
        let outcome = timeout(CONNECT_TIMEOUT, preparing)
            .await
            .unwrap_or_else(|_| Err(DatabaseError::unavailable("no answer")));
        findings.push(match outcome {
            Ok(()) => Finding::Fits,
            Err(error) => found(error, grammar.dialect)?,
        });
    }
    Ok(findings)
}

async fn prepare(raw: &mut Raw, grammar: Grammar, sample: &Sample) -> Result<(), DatabaseError> {
    let value = if sample.is_batch {
        Value::Array(vec![Value::Null])
    } else {
        Value::Null
    };
    let names = sample.names.iter();
    let params: Vec<_> = names.map(|name| (name.as_str(), value.clone())).collect();
    let statement = params::rewrite(&sample.sql, grammar, &params, Dates::Kept)?;
    let text = text(&statement, grammar.dialect);
    let sql = AssertSqlSafe(text.clone()).into_sql_str();
    match raw {
        Raw::MySql(open) => {
            sqlx::raw_sql(MYSQL_BEFORE).execute(&mut *open).await?;
            open.prepare(sql).await?;
            if let Some(procedure) = shape::called(&sample.sql, grammar) {
                let show = format!("SHOW CREATE PROCEDURE {procedure}");
                sqlx::raw_sql(AssertSqlSafe(show))
                    .execute(&mut *open)
                    .await?;
            }
        }
        Raw::Postgres(open) => {
            sqlx::raw_sql(POSTGRES_BEFORE).execute(&mut *open).await?;
            let prepared = open.prepare(sql).await.map(drop);
            let explained = if prepared.is_ok() && shape::is_explainable(&sample.sql, grammar) {
                explain(open, &text, statement.values.len()).await
            } else {
                Ok(())
            };
            sqlx::raw_sql("ROLLBACK").execute(&mut *open).await?;
            prepared?;
            explained?;
        }
        Raw::Sqlite(open) => drop(open.prepare(sql).await?),
    }
    Ok(())
}

/// Returns the statement with the plain placeholders of its database.
fn text(statement: &Statement, dialect: Dialect) -> String {
    if dialect == Dialect::Postgres {
        return types::with_numbers(statement);
    }
    let mut sql = String::new();
    for text in &statement.texts {
        sql += text;
        sql.push('?');
    }
    sql + &statement.rest
}

/// Explains a statement, which checks the rights to its tables and runs nothing. Only a missing
/// right counts: the values are not those of a task.
async fn explain(
    open: &mut sqlx::PgConnection,
    statement: &str,
    values: usize,
) -> Result<(), sqlx::Error> {
    let nulls = vec!["NULL"; values].join(", ");
    let arguments = if nulls.is_empty() {
        String::new()
    } else {
        format!("({nulls})")
    };
    let prepare = sqlx::raw_sql(AssertSqlSafe(format!("PREPARE {NAME} AS {statement}")));
    if prepare.execute(&mut *open).await.is_err() {
        return Ok(());
    }
    let explain = sqlx::raw_sql(AssertSqlSafe(format!("EXPLAIN EXECUTE {NAME}{arguments}")));
    let explained = explain.execute(&mut *open).await;
    // It outlives the transaction, which may have failed.
    let forget = sqlx::raw_sql(AssertSqlSafe(format!("ROLLBACK; DEALLOCATE {NAME}")));
    forget.execute(open).await?;
    match explained {
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42501") => {
            Err(sqlx::Error::Database(error))
        }
        _ => Ok(()),
    }
}

/// Sorts an error of preparing. Returns an error if the fault is the server's, not the statement's.
fn found(error: DatabaseError, dialect: Dialect) -> Result<Finding, DatabaseError> {
    match error.kind() {
        Kind::Unavailable | Kind::Refused | Kind::Transient => Err(error),
        _ if is_told_by_running(&error) => Ok(Finding::Fits),
        _ if is_mistake(&error, dialect) => Ok(Finding::Mistake(error)),
        _ => Ok(Finding::Unfit(error)),
    }
}

/// Returns `true` if only a run can show whether the statement works. MySQL's 1295: it cannot be
/// prepared. PostgreSQL's 42P18 and 42725: only the value of a parameter shows its type.
fn is_told_by_running(error: &DatabaseError) -> bool {
    match error.code() {
        Some(Value::Number(number)) => number.as_u64() == Some(1295),
        Some(Value::String(state)) => matches!(state.as_str(), "42P18" | "42725"),
        _ => false,
    }
}

/// Returns `true` if a migration cannot help, because the statement is wrong.
fn is_mistake(error: &DatabaseError, dialect: Dialect) -> bool {
    match (dialect, error.code()) {
        // A syntax error, an empty statement, a misplaced clause or aggregate function, an
        // unsupported feature, a derived table without a name, a name for two tables.
        (Dialect::MySql, Some(Value::Number(number))) => matches!(
            number.as_u64(),
            Some(1064 | 1065 | 1149 | 1221 | 1235 | 1248 | 1066 | 1111)
        ),
        // A syntax error, an invalid name, a reserved name.
        (Dialect::Postgres, Some(Value::String(state))) => {
            matches!(state.as_str(), "42601" | "42602" | "42939")
        }
        // SQLite has one code for all errors.
        (Dialect::Sqlite, _) => {
            let text = error.to_string();
            ["syntax error", "incomplete input", "unrecognized token"]
                .iter()
                .any(|part| text.contains(part))
        }
        _ => false,
    }
}
