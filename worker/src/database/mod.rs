//! The database that tasks use: MySQL or MariaDB, PostgreSQL, SQLite, by URL.
//!
//! Three invariants:
//!
//! * A statement is not abandoned. All work happens in separate tasks of the runtime. If the caller
//!   goes away, its statement is cancelled from another connection and its transaction rolled back.
//!   A connection that is dropped during a statement is closed, and its session ended in the
//!   server.
//! * The pool connects only when a connection is needed. A server that is away is an error of kind
//!   [`Kind::Unavailable`], which makes the worker keep the task. The log says when the server goes
//!   and when it is back.
//! * Values are bound, never pasted (see [`Params`]).

mod binding;
mod caller;
mod cell;
mod cells;
mod connection;
mod dialect;
mod error;
mod grammar;
mod health;
mod inbox;
mod options;
mod params;
mod place_words;
mod places;
mod pool;
mod prepare;
mod purpose;
mod refusal;
mod rows;
mod sample;
mod session;
mod shape;
mod tokens;
mod transaction;
mod types;
mod url;
mod values;
mod watch;
mod zone;

use std::fmt;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use caller::Caller;
use celery_client::backoff::Backoff;
use futures_util::future::BoxFuture;
use health::Health;
use pool::Pool;
use prometheus_client::metrics::counter::Counter;
use serde::de::DeserializeOwned;
use watch::Outside;

use crate::failpoint::failpoint;
use crate::task_log::Running;
use crate::trace;
pub(crate) use dialect::Dialect;
pub use error::{DatabaseError, Kind};
pub use params::{ParamError, Params};
pub(crate) use prepare::Finding;
pub(crate) use sample::Sample;
pub use transaction::Transaction;
use url::Address;
pub use url::DatabaseUrlError;
pub(crate) use values::Dates;
pub use zone::{Zone, ZoneError};

/// The default of the most connections to a server. More would wait for each other's locks inside
/// the server instead of queueing here.
pub(crate) const CONNECTIONS: NonZeroU16 = NonZeroU16::new(16).unwrap();
/// How often a transaction is attempted after deadlocks or lock waits before it counts as a
/// failure.
const TRIES: u32 = 6;
/// The default of how long a transaction may take, and how long a task waits for a connection. It
/// must exceed the lock waits of a server (MySQL's `innodb_lock_wait_timeout` is 50 s).
const TIMEOUT: Duration = Duration::from_mins(5);
/// The first wait between two attempts of a transaction. Waits double and carry jitter: without
/// jitter, transactions that met once would meet again.
const FIRST_WAIT: Duration = Duration::from_millis(15);
/// The longest wait between two attempts of a transaction, which only the last attempt reaches.
const LONGEST_WAIT: Duration = Duration::from_millis(480);

/// The first wait before a database is checked again. Tasks that wait for it try more often, so
/// only an idle worker checks by itself.
const FIRST_LOOK: Duration = Duration::from_secs(6);
/// The longest wait between two checks of an absent database: one connection in half a minute is
/// not a load for a server.
pub(crate) const LONGEST_LOOK: Duration = Duration::from_secs(30);

/// A pool of connections to one database. Clones share it.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Arc<Pool>,
    outside: Outside,
    /// How long a transaction may take.
    timeout: Option<Duration>,
    health: Arc<Health>,
    /// Transactions that were run again after a deadlock or a lock wait.
    retries: Counter,
    /// `true` once `celery_inbox` is used.
    inbox: AtomicBool,
    /// Calls that were found in `celery_inbox`.
    known: Counter,
}

/// Checks that a URL is that of a database.
pub(crate) fn check_url(url: &str) -> Result<(), DatabaseUrlError> {
    Address::parse(url).map(drop)
}

impl Database {
    /// Makes a pool for a database by its URL. It does not connect yet. Call it on the runtime of
    /// the worker.
    ///
    /// # Errors
    ///
    /// [`DatabaseUrlError`] says what is wrong, and shows no password.
    pub fn from_url(url: &str) -> Result<Self, DatabaseUrlError> {
        let address = Address::parse(url)?;
        Ok(Database {
            inner: Arc::new(Inner {
                pool: Arc::new(pool(address, CONNECTIONS)),
                outside: Outside::new(),
                timeout: Some(TIMEOUT),
                health: Health::of(celery_client::mask::mask(url)),
                retries: Counter::default(),
                inbox: AtomicBool::new(false),
                known: Counter::default(),
            }),
        })
    }

    /// Sets the most connections. Default: 16. Transactions queue for them. SQLite always has one.
    /// Call it before the database is shared.
    #[must_use]
    pub fn connections(mut self, most: NonZeroU16) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.pool = Arc::new(pool(inner.pool.address().clone(), most));
        }
        self
    }

    /// Sets how long a transaction may take; `None` means without limit. Default: 5 minutes. A
    /// transaction that takes longer counts as lost, with its connection. Before that, it may wait
    /// as long for the connection. Call it before the database is shared.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.timeout = limit;
        }
        self
    }

    /// Sets the time zone of each session. Default: the one that the server gives it. Call it
    /// before the database is shared.
    ///
    /// Dates that carry an offset are converted to this zone before they are bound.
    #[must_use]
    pub fn time_zone(mut self, zone: Option<Zone>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner)
            && let Some(pool) = Arc::get_mut(&mut inner.pool)
        {
            pool.set_zone(zone);
        }
        self
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.inner.pool.address().dialect()
    }

    /// Returns the URL without its password.
    pub fn display_url(&self) -> &str {
        self.inner.health.shown()
    }

    /// Connects, or uses a free connection, and runs no statement. The caller reports a refusal.
    ///
    /// # Errors
    ///
    /// [`Kind::Unavailable`] if the database is away, [`Kind::Refused`] if it rejects the worker.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let database = self.clone();
        let running = tokio::spawn(async move {
            let Inner { pool, health, .. } = &*database.inner;
            let outcome = match pool.free_place() {
                Some(place) => match Transaction::begin(pool, place, &Arc::default()).await {
                    Ok(open) => {
                        open.roll_back().await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
                // SQLite has only one connection, which a task is using.
                None if database.dialect() == Dialect::Sqlite => Ok(()),
                None => match pool.make().await {
                    Ok(connection) => {
                        connection.close().await;
                        Ok(())
                    }
                    Err(error) => Err(error),
                },
            };
            if outcome
                .as_ref()
                .err()
                .is_none_or(|error| error.kind() != Kind::Refused)
            {
                health.note(outcome.as_ref().err());
            }
            outcome
        });
        running
            .await
            .unwrap_or_else(|_| Err(DatabaseError::unavailable("the worker is stopping")))
    }

    /// Checks whether a database that was away is back while no task uses it, until the process
    /// ends. Otherwise an idle worker would call it unavailable until its next task.
    pub(crate) async fn look_after(self) {
        let health = &self.inner.health;
        loop {
            health.refused().await;
            let mut backoff = Backoff::between(FIRST_LOOK, LONGEST_LOOK);
            let mut pause = backoff.pause();
            while health.silence_after_refusal().is_some() {
                tokio::time::sleep(pause).await;
                let silence = health.silence_after_refusal();
                if silence.is_none_or(|silence| silence < FIRST_LOOK) {
                    continue;
                }
                // A ping does not note a rejected login itself, so this code does.
                if let Err(error) = self.ping().await
                    && error.kind() == Kind::Refused
                {
                    health.note(Some(&error));
                }
                pause = backoff.pause();
            }
        }
    }

    /// Runs one statement and returns how many rows it matched (on MySQL also those that it left
    /// unchanged).
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; its [`kind`](DatabaseError::kind) says whether the statement or the
    /// database is at fault. After a lost connection or a deadlock the worker runs the task again.
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
        self.execute_with(sql, params, Dates::Kept).await
    }

    /// Like [`execute`](Self::execute), for a task that is a statement.
    pub(crate) async fn execute_with(
        &self,
        sql: &str,
        params: Params<'_>,
        dates: Dates,
    ) -> Result<u64, DatabaseError> {
        let call = Call::of(sql, params);
        self.transaction(move |transaction| {
            let call = call.clone();
            Box::pin(async move {
                transaction
                    .execute_with(&call.sql, &call.params(), dates)
                    .await
            })
        })
        .await
    }

    /// Runs one query in a transaction and returns its rows as values of a type that serde can read.
    ///
    /// A struct takes columns by their names, a tuple by their order. Any other type takes the only
    /// column. NULL is `None`. Decimals are text; a number takes them if it can. Dates and times are
    /// text in the form of ISO 8601. JSON columns can be read as lists, maps and structs.
    ///
    /// ```no_run
    /// use celery_worker::{Database, State, TaskResult, task};
    /// use serde::Deserialize;
    /// use serde_json::json;
    ///
    /// #[derive(Deserialize)]
    /// struct Line {
    ///     product: String,
    ///     pieces: u32,
    ///     note: Option<String>,
    /// }
    ///
    /// #[task]
    /// async fn pack(database: State<Database>, order: u64) -> TaskResult<u32> {
    ///     let sql = "SELECT product, pieces, note FROM lines WHERE order_id = :order";
    ///     let lines: Vec<Line> = database.rows(sql, &[("order", json!(order))]).await?;
    ///     Ok(lines.iter().map(|line| line.pieces).sum())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`execute`](Self::execute). A `DataError` if a value does not fit its type. An error
    /// also for a type of the database that is not read, and for more than 64 MiB of rows.
    pub async fn rows<T>(&self, sql: &str, params: Params<'_>) -> Result<Vec<T>, DatabaseError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let call = Call::of(sql, params);
        self.transaction(move |transaction| {
            let call = call.clone();
            Box::pin(async move { transaction.rows(&call.sql, &call.params()).await })
        })
        .await
    }

    /// Like [`rows`](Self::rows), for the first row; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`rows`](Self::rows).
    pub async fn one<T>(&self, sql: &str, params: Params<'_>) -> Result<Option<T>, DatabaseError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let call = Call::of(sql, params);
        self.transaction(move |transaction| {
            let call = call.clone();
            Box::pin(async move { transaction.one(&call.sql, &call.params()).await })
        })
        .await
    }

    /// Runs `work` in a transaction, and commits it if `work` succeeds. After a deadlock or a lock
    /// wait it runs `work` again.
    ///
    /// If the connection is lost during the commit, the outcome is unknown. The error is then
    /// [`Kind::Unavailable`], and the worker runs the task again. The work must allow that, or be
    /// done [`once`](Self::once).
    ///
    /// # Errors
    ///
    /// The error of `work`, or [`DatabaseError`] as for [`execute`](Self::execute).
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>
            + Send
            + Sync
            + 'static,
    {
        let database = self.clone();
        // This value is dropped together with the future, which happens when the task is stopped.
        let (_waiting, caller) = Caller::here();
        let running = tokio::spawn(async move {
            let mut working = std::pin::pin!(database.repeat(&work, &caller));
            let outcome = tokio::select! {
                biased;
                outcome = &mut working => outcome,
                () = caller.left() => {
                    // No transaction has begun.
                    let Some(session) = caller.work.session() else {
                        return match database.dialect() {
                            Dialect::Sqlite => working.await,
                            _ => Err(DatabaseError::stopped()),
                        };
                    };
                    let Inner { pool, outside, .. } = &*database.inner;
                    // The work keeps its connection meanwhile, so no other statement can be
                    // cancelled.
                    outside.cancel(pool.address(), &session).await;
                    // The error of a cancelled statement says nothing about the server.
                    return working.await;
                }
            };
            database.inner.health.note(outcome.as_ref().err());
            outcome
        });
        match running.await {
            Ok(outcome) => outcome,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(DatabaseError::unavailable("the worker is stopping")),
            },
        }
    }

    async fn repeat<T, F>(&self, work: &F, caller: &Caller) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let mut backoff = Backoff::between(FIRST_WAIT, LONGEST_WAIT);
        for _ in 1..TRIES {
            match self.attempt(work, caller).await {
                Err(error) if error.kind() == Kind::Transient => {
                    tracing::debug!("the database asks to try again: {error}");
                    self.inner.retries.inc();
                    tokio::time::sleep(backoff.pause()).await;
                }
                outcome => return outcome,
            }
        }
        self.attempt(work, caller).await
    }

    async fn attempt<T, F>(&self, work: &F, caller: &Caller) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let Inner {
            pool,
            outside,
            timeout,
            health,
            ..
        } = &*self.inner;
        // SQLite has no server that could stop answering.
        let limit = timeout.filter(|_| self.dialect() != Dialect::Sqlite);
        let place = self.place(limit).await?;
        let lost = {
            let transaction = self.one_transaction(place, work, caller);
            tokio::select! {
                biased;
                outcome = within(limit, transaction) => match outcome {
                    Some(outcome) => return outcome,
                    None => format!("no answer within {} s", limit.unwrap_or_default().as_secs_f64()),
                },
                () = outside.dead_link(pool, &caller.work, health) => {
                    "the connection is dead: the server waits at its other end".to_owned()
                }
            }
        };
        // The connection of the transaction was dropped with it. Other connections may be dead,
        // too.
        pool.give_up();
        if let Some(session) = caller.work.session() {
            outside.end(pool.address(), &session).await;
            caller.work.in_session(None);
        }
        Err(DatabaseError::unavailable(lost))
    }

    /// Waits for the right to have a connection.
    async fn place(&self, limit: Option<Duration>) -> Result<pool::Place, DatabaseError> {
        let place = within(limit, self.inner.pool.place()).await;
        place.unwrap_or_else(|| Err(DatabaseError::busy(limit.unwrap_or_default())))
    }

    async fn one_transaction<T, F>(
        &self,
        place: pool::Place,
        work: &F,
        caller: &Caller,
    ) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let spans = caller.spans.clone();
        trace::run(spans, self.open_transaction(place, work, caller)).await
    }

    async fn open_transaction<T, F>(
        &self,
        place: pool::Place,
        work: &F,
        caller: &Caller,
    ) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let mut transaction = Transaction::begin(&self.inner.pool, place, &caller.work).await?;
        if caller.is_gone() {
            transaction.roll_back().await;
            return Err(DatabaseError::stopped());
        }
        let outcome = Running::run_any(caller.task.clone(), work(&mut transaction)).await;
        let outcome = match outcome {
            // The task was stopped meanwhile: it has failed, or will be run again.
            Ok(_) if caller.is_gone() => Err(DatabaseError::stopped()),
            outcome => outcome,
        };
        match outcome {
            Ok(value) => {
                failpoint!("commit");
                transaction.commit().await?;
                failpoint!("committed");
                Ok(value)
            }
            Err(error) => {
                transaction.roll_back().await;
                Err(error)
            }
        }
    }

    /// Returns `true` if the database was up when last heard of, or if nothing was heard yet.
    pub(crate) fn is_up(&self) -> bool {
        self.inner.health.is_up()
    }

    /// Like [`is_up`](Self::is_up), or `None` if the last answer is older than `time`.
    pub(crate) fn heard_within(&self, time: Duration) -> Option<bool> {
        self.inner.health.heard_within(time)
    }

    /// Returns the counter of transactions that were run again.
    pub(crate) fn retries(&self) -> Counter {
        self.inner.retries.clone()
    }

    /// Returns the counter of calls that were not applied because they had been applied before.
    pub(crate) fn known(&self) -> Counter {
        self.inner.known.clone()
    }
}

/// A statement and its values, for a transaction that may have to be repeated.
#[derive(Clone)]
struct Call {
    sql: Arc<str>,
    values: Arc<[(String, serde_json::Value)]>,
}

impl Call {
    fn of(sql: &str, params: Params<'_>) -> Self {
        let values = params.iter();
        let values = values.map(|(name, value)| ((*name).to_owned(), value.clone()));
        Call {
            sql: Arc::from(sql),
            values: values.collect(),
        }
    }

    fn params(&self) -> Vec<(&str, serde_json::Value)> {
        let values = self.values.iter();
        values
            .map(|(name, value)| (name.as_str(), value.clone()))
            .collect()
    }
}

fn pool(address: Address, most: NonZeroU16) -> Pool {
    // SQLite has one writer at a time; queueing here is better than at the file's lock.
    let places = match address.dialect() {
        Dialect::Sqlite => 1,
        _ => most.get(),
    };
    Pool::new(address, places.into())
}

/// Waits for a future. Returns `None` if it takes longer than the limit.
async fn within<T>(limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.inner.health.shown())
    }
}
