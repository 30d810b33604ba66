//! An effect that happens once, however often its message comes.
//!
//! A message can come twice: its worker died after the COMMIT, its lease was lost, or the answer to
//! the COMMIT never arrived. The transaction that does the work therefore also writes the task's id
//! into the table `celery_inbox`. A later delivery finds the row, does nothing, and returns the
//! stored answer.
//!
//! ```text
//!   BEGIN ─► SELECT the ids ─► there: the stored answers
//!                  └─────────► not there: the work ─► INSERT the ids and answers ─► COMMIT
//! ```
//!
//! * The row is written last, so that it can hold the answer, and so that a failed call of a batch
//!   has no row.
//! * Two workers with the same message at the same time both do the work. The second one's INSERT
//!   waits for the first one's COMMIT and then meets the key. Its transaction is rolled back and
//!   begun again, and then it finds the row.
//! * A COMMIT whose answer was lost is [`Kind::Unavailable`](super::Kind::Unavailable), like an
//!   outage: the worker runs the task again, and the SELECT shows whether it was committed.
//!
//! An administrator makes the table ([`ddl`]), because workers seldom may make tables. Old rows are
//! deleted.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::params::Statement;
use super::places;
use super::values::Bound;
use super::{Database, DatabaseError, Dialect, Transaction};
use crate::task::{Answers, Exception, TaskError};

/// The longest id, in bytes. A longer one does not fit the table.
const LONGEST_ID: usize = 255;
/// Ids looked up at a time: databases limit the placeholders of a statement.
const LOOKED_UP: usize = 1_000;
/// Rows written at a time, for the same reason; each has two placeholders.
const WRITTEN: usize = 1_000;
/// Old rows deleted in one transaction, so that no other task waits long for its locks.
const PRUNED: u64 = 1_000;
/// The most transactions in a row that delete old rows. The remaining rows are deleted later.
const PRUNINGS: usize = 100;
/// The time between two series of transactions that delete old rows.
const PRUNE_EVERY: Duration = Duration::from_mins(1);

const LOOK: &str = "SELECT task_id, result FROM celery_inbox WHERE task_id IN (:ids)";
/// Only checks whether the table exists.
const PROBE: &str = "SELECT task_id, result FROM celery_inbox WHERE 1 = 0";

/// Returns the statements that make the table.
pub(crate) fn ddl(dialect: Dialect) -> &'static str {
    match dialect {
        // The id is bytes, because a collation could treat two different ids as equal.
        Dialect::MySql => {
            "CREATE TABLE celery_inbox (task_id VARBINARY(255) NOT NULL PRIMARY KEY, \
            result LONGTEXT CHARACTER SET utf8mb4 NULL, \
            created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP, \
            INDEX celery_inbox_created_at (created_at)) ENGINE = InnoDB;"
        }
        Dialect::Postgres => {
            "CREATE TABLE celery_inbox (task_id text PRIMARY KEY, result text, \
            created_at timestamptz NOT NULL DEFAULT now()); \
            CREATE INDEX celery_inbox_created_at ON celery_inbox (created_at);"
        }
        Dialect::Sqlite => {
            "CREATE TABLE celery_inbox (task_id TEXT NOT NULL PRIMARY KEY, result TEXT, \
            created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP); \
            CREATE INDEX celery_inbox_created_at ON celery_inbox (created_at);"
        }
    }
}

/// Returns the statement that deletes rows older than `:age` seconds, at most `:most`.
fn prune(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::MySql => {
            "DELETE FROM celery_inbox WHERE created_at < CURRENT_TIMESTAMP - INTERVAL :age SECOND \
            ORDER BY created_at LIMIT :most"
        }
        Dialect::Postgres => {
            "DELETE FROM celery_inbox WHERE task_id IN (SELECT task_id FROM celery_inbox \
            WHERE created_at < now() - make_interval(secs => :age) ORDER BY created_at LIMIT :most \
            FOR UPDATE SKIP LOCKED)"
        }
        Dialect::Sqlite => {
            "DELETE FROM celery_inbox WHERE task_id IN (SELECT task_id FROM celery_inbox \
            WHERE created_at < datetime('now', '-' || :age || ' seconds') ORDER BY created_at LIMIT :most)"
        }
    }
}

/// The result of looking up the ids of calls: `fresh` has the positions of the calls to be done,
/// each id once, and `places` has the place of each call.
struct Sorted {
    fresh: Vec<usize>,
    places: Vec<Place>,
}

enum Place {
    /// Done before. The answer, if one was stored.
    Done(Option<String>),
    /// To be done, or a repetition of a call that is to be done: the position in `fresh`.
    Fresh(usize),
    /// The id is too long for the table.
    TooLong,
}

fn sort(ids: &[String], mut seen: HashMap<String, Option<String>>) -> Sorted {
    let mut fresh = Vec::new();
    let mut first: HashMap<&str, usize> = HashMap::new();
    let places = ids
        .iter()
        .enumerate()
        .map(|(position, id)| {
            if id.len() > LONGEST_ID {
                return Place::TooLong;
            }
            if let Some(stored) = seen.get_mut(id) {
                return Place::Done(stored.clone());
            }
            Place::Fresh(*first.entry(id).or_insert_with(|| {
                fresh.push(position);
                fresh.len() - 1
            }))
        })
        .collect();
    Sorted { fresh, places }
}

impl Database {
    /// Runs `work` in a transaction, once for this id, and stores its answer. If that was done
    /// before, for example for an earlier delivery of the message, it returns the stored answer and
    /// does nothing.
    ///
    /// A task passes [`Context::id`](crate::Context::id), or, if it has several parts that must
    /// happen once, an id made from it. Otherwise it behaves like
    /// [`transaction`](Self::transaction). The table `celery_inbox` must exist: `celery-worker
    /// check` prints the statements that make it.
    ///
    /// # Errors
    ///
    /// Like [`transaction`](Self::transaction). An answer that cannot be read back, because its
    /// type has changed, fails the task.
    pub async fn once<T, F>(&self, id: &str, work: F) -> Result<T, TaskError>
    where
        T: Serialize + DeserializeOwned + Send + 'static,
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>
            + Send
            + Sync
            + 'static,
    {
        let answers = self.once_each(vec![id.to_owned()], move |open, _| {
            let working = work(open);
            Box::pin(async move { Ok(vec![Ok(working.await?)]) })
        });
        let nothing = || Err(TaskError::runtime_error("the work gave no answer"));
        answers.await?.pop().unwrap_or_else(nothing)
    }

    /// Like [`once`](Self::once), for the calls of a batch; `ids` are
    /// [`Batch::ids`](crate::Batch::ids).
    ///
    /// `work` gets the positions of the calls that are not done yet, each id once, and returns an
    /// answer for each. An answer that is an error is not stored, and its call is done again if it
    /// comes again: `work` must not have changed anything for it.
    ///
    /// Answers come in the order of the ids.
    ///
    /// # Errors
    ///
    /// Like [`transaction`](Self::transaction), for all calls together.
    pub async fn once_each<R, F>(&self, ids: Vec<String>, work: F) -> Result<Answers<R>, TaskError>
    where
        R: Serialize + DeserializeOwned + Send + 'static,
        F: for<'t> Fn(
                &'t mut Transaction,
                Vec<usize>,
            ) -> BoxFuture<'t, Result<Answers<R>, DatabaseError>>
            + Send
            + Sync
            + 'static,
    {
        self.inner.inbox.store(true, Ordering::Relaxed);
        let (ids, work) = (Arc::<[String]>::from(ids), Arc::new(work));
        let answers = self.transaction(move |open| {
            let (ids, work) = (Arc::clone(&ids), Arc::clone(&work));
            Box::pin(async move { apply(open, &ids, &*work).await })
        });
        let (answers, known) = answers.await?;
        self.inner.known.inc_by(known);
        Ok(answers
            .into_iter()
            .map(|answer| answer.and_then(|json| read(&json)))
            .collect())
    }

    /// Checks that the table exists. An error of kind [`Kind::Schema`](super::Kind::Schema) means
    /// that it does not.
    pub(crate) async fn probe_inbox(&self) -> Result<(), DatabaseError> {
        let probe = self.transaction(|open| Box::pin(async { open.texts(PROBE, &[]).await }));
        probe.await.map(drop)
    }

    /// Returns the statements that make the table in this database.
    pub(crate) fn inbox_ddl(&self) -> &'static str {
        ddl(self.dialect())
    }

    /// Deletes the rows older than `age`, again and again until the process ends. Does nothing
    /// while no task uses the table.
    pub(crate) async fn keep_inbox_small(self, age: Duration) {
        loop {
            tokio::time::sleep(PRUNE_EVERY).await;
            if !self.inner.inbox.load(Ordering::Relaxed) {
                continue;
            }
            match self.prune_inbox(age).await {
                Ok(0) => {}
                Ok(rows) => tracing::debug!("{rows} old rows deleted from celery_inbox"),
                // The database has logged the error itself, or the next attempt comes soon.
                Err(error) => tracing::debug!("celery_inbox was not pruned: {error}"),
            }
        }
    }

    /// Deletes a bounded number of rows older than `age`, and returns how many.
    pub(crate) async fn prune_inbox(&self, age: Duration) -> Result<u64, DatabaseError> {
        let sql = prune(self.dialect());
        let params = [("age", json!(age.as_secs())), ("most", json!(PRUNED))];
        let mut all = 0;
        for _ in 0..PRUNINGS {
            let rows = self.execute(sql, &params).await?;
            all += rows;
            if rows < PRUNED {
                break;
            }
        }
        Ok(all)
    }
}

/// Runs one transaction. Returns the answers as JSON, and how many calls were done before.
async fn apply<R, F>(
    open: &mut Transaction,
    ids: &[String],
    work: &F,
) -> Result<(Vec<Result<String, TaskError>>, u64), DatabaseError>
where
    R: Serialize + Send,
    F: for<'t> Fn(
            &'t mut Transaction,
            Vec<usize>,
        ) -> BoxFuture<'t, Result<Answers<R>, DatabaseError>>
        + Sync,
{
    let Sorted { fresh, places } = sort(ids, look(open, ids).await?);
    let mut done = Vec::new();
    if !fresh.is_empty() {
        let answers = work(open, fresh.clone()).await?;
        if answers.len() != fresh.len() {
            return Err(DatabaseError::misuse(format!(
                "the work for {} calls gave {} answers",
                fresh.len(),
                answers.len()
            )));
        }
        done.extend(answers.into_iter().map(|answer| {
            answer.and_then(|value| serde_json::to_string(&value).map_err(TaskError::from))
        }));
    }
    let mut rows: Vec<(&str, &str)> = fresh
        .iter()
        .zip(&done)
        .filter_map(|(position, answer)| {
            Some((ids[*position].as_str(), answer.as_ref().ok()?.as_str()))
        })
        .collect();
    // The rows are sorted, so that batches that overlap take their locks in the same order.
    rows.sort_unstable();
    for rows in rows.chunks(WRITTEN) {
        open.write_inbox(rows).await?;
    }
    let mut known = 0;
    let answers = places.into_iter().zip(ids).map(|(place, id)| match place {
        Place::Done(stored) => {
            known += 1;
            Ok(stored.unwrap_or_else(|| "null".to_owned()))
        }
        Place::Fresh(at) => done[at].clone(),
        Place::TooLong => Err(too_long(id)),
    });
    Ok((answers.collect(), known))
}

/// Returns which of the ids are in the table, with their answers.
async fn look(
    open: &mut Transaction,
    ids: &[String],
) -> Result<HashMap<String, Option<String>>, DatabaseError> {
    let mut seen = HashMap::new();
    let fitting: Vec<&String> = ids.iter().filter(|id| id.len() <= LONGEST_ID).collect();
    for ids in fitting.chunks(LOOKED_UP) {
        seen.extend(open.texts(LOOK, &[("ids", json!(ids))]).await?);
    }
    Ok(seen)
}

fn read<R: DeserializeOwned>(json: &str) -> Result<R, TaskError> {
    serde_json::from_str(json).map_err(|error| {
        let message =
            format!("the task was done before, but its stored answer cannot be read: {error}");
        TaskError::Failed(Exception::new("ValueError", message).permanent())
    })
}

fn too_long(id: &str) -> TaskError {
    let message = format!(
        "an id of {} bytes does not fit celery_inbox, whose longest is {LONGEST_ID}",
        id.len()
    );
    TaskError::Failed(Exception::new("ValueError", message).permanent())
}

impl Transaction {
    /// Writes ids and answers. An id that exists already means that another task has just done the
    /// same work: this transaction has to be undone and begun again.
    async fn write_inbox(&mut self, rows: &[(&str, &str)]) -> Result<(), DatabaseError> {
        let mut statement = Statement::new();
        statement.text("INSERT INTO celery_inbox (task_id, result) VALUES ");
        let columns = ["task_id", "result"].map(Arc::<str>::from);
        for (at, (id, answer)) in rows.iter().enumerate() {
            statement.text(if at == 0 { "(" } else { ", (" });
            statement.value(
                &columns[0],
                places::Place::Value,
                Bound::Text((*id).to_owned()),
            );
            statement.text(", ");
            statement.value(
                &columns[1],
                places::Place::Value,
                Bound::Text((*answer).to_owned()),
            );
            statement.text(")");
        }
        statement.kept = rows.len() == 1;
        statement.is_text = true;
        let written = self.run(statement).await;
        written.map(drop).map_err(DatabaseError::of_a_race)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes the table as documented, and deletes old rows.
    async fn pruned(database: &Database, old: &str) {
        // Drivers run one statement at a time.
        for sql in database.inbox_ddl().split_inclusive(';') {
            database
                .execute(sql.trim_end_matches(';'), &[])
                .await
                .unwrap();
        }
        for id in ["new", "old", "older"] {
            let done = database.once(id, |_| Box::pin(async { Ok(()) }));
            done.await.unwrap();
        }
        let age = format!("UPDATE celery_inbox SET created_at = {old} WHERE task_id LIKE 'old%'");
        database.execute(&age, &[]).await.unwrap();
        let day = Duration::from_hours(24);
        assert_eq!(database.prune_inbox(3 * day).await.unwrap(), 0);
        assert_eq!(database.prune_inbox(day).await.unwrap(), 2);
        assert_eq!(database.prune_inbox(day).await.unwrap(), 0);
        database.probe_inbox().await.unwrap();
    }

    #[tokio::test]
    async fn old_rows_go_mariadb() {
        let server = celery_testkit::MariaDb::start().unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        let missing = database.probe_inbox().await.unwrap_err();
        assert_eq!(missing.kind(), crate::Kind::Schema);
        pruned(&database, "CURRENT_TIMESTAMP - INTERVAL 2 DAY").await;
    }

    #[tokio::test]
    async fn old_rows_go_sqlite() {
        let database = Database::from_url("sqlite::memory:").unwrap();
        let missing = database.probe_inbox().await.unwrap_err();
        assert_eq!(missing.kind(), crate::Kind::Schema);
        pruned(&database, "datetime('now', '-2 days')").await;
    }

    #[tokio::test]
    async fn old_rows_go_postgres() {
        let server = celery_testkit::Postgres::start().unwrap();
        let database = Database::from_url(&server.url()).unwrap();
        pruned(&database, "now() - interval '2 days'").await;
    }

    #[test]
    fn each_id_is_fresh_once() {
        let ids = ["a", "b", "a", "c", "b"].map(str::to_owned);
        let long = "x".repeat(LONGEST_ID + 1);
        let ids: Vec<String> = ids.into_iter().chain([long]).collect();
        let seen = HashMap::from([("c".to_owned(), Some("3".to_owned()))]);
        let Sorted { fresh, places } = sort(&ids, seen);
        assert_eq!(fresh, [0, 1]);
        let places: Vec<i32> = places
            .iter()
            .map(|place| match place {
                Place::Fresh(at) => i32::try_from(*at).unwrap(),
                Place::Done(_) => -1,
                Place::TooLong => -2,
            })
            .collect();
        assert_eq!(places, [0, 1, 0, -1, 1, -2]);
    }
}
