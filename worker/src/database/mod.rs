//! The database tasks work on: MySQL or MariaDB, PostgreSQL, SQLite, by URL.
//!
//! Three invariants:
//!
//! * Once begun, the future of a statement is not dropped: the MySQL driver would leave its connection in the middle of an
//!   answer. All work happens in tasks of the runtime of its own; if the caller goes away, its statement is cancelled from
//!   another connection and its transaction rolled back.
//!   The one exception is a server that does not answer in time: then the whole pool is parted with.
//! * Nothing is connected before it is needed. A server that is away is an error of kind [`Kind::Unavailable`], which makes
//!   the worker keep the task; the log has one line when it goes and one when it comes back.
//! * Values are bound, never pasted (see [`Params`]).

mod caller;
mod error;
mod inbox;
mod params;
mod transaction;
mod url;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use caller::Caller;
pub(crate) use caller::stoppable;
use futures_util::future::BoxFuture;
use prometheus_client::metrics::counter::Counter;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::SqlitePoolOptions;

use crate::failpoint::failpoint;
pub use error::{DatabaseError, Kind};
pub(crate) use params::names as parameter_names;
pub use params::{ParamError, Params};
pub use transaction::Transaction;
use url::Address;
pub use url::DatabaseUrlError;
pub(crate) use url::mask;

/// How long one try to get a connection may take. The task tries again, so that this only bounds how soon an absence
/// is noticed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at most, to a server. More would wait for each other's locks inside the server instead of in line here.
const CONNECTIONS: u32 = 16;
/// How often a deadlock or a lock wait is met by doing the same again before it counts as a failure.
const TRIES: u32 = 6;
/// How long a transaction may take unless said. The drivers wait for an answer for ever, also over a link that swallows
/// everything; lock waits of a server (MySQL's `innodb_lock_wait_timeout` is 50 s) must fit in.
const TIMEOUT: Duration = Duration::from_secs(300);
/// The first wait between these tries; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// Which words a database understands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    MySql,
    Postgres,
    Sqlite,
}

/// A pool of connections to one database. Clones share it.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    address: Address,
    /// Another one takes its place when a connection of it does not answer: see [`Inner::give_up`].
    pool: RwLock<Arc<Pool>>,
    /// How long a transaction may take.
    timeout: Option<Duration>,
    /// Tables that were missed, each told of once.
    missed: Mutex<HashSet<String>>,
    /// The URL, masked.
    shown: String,
    /// Whether the last thing heard of it was that it is away.
    away: AtomicBool,
    /// When that was.
    heard: Mutex<Option<Instant>>,
    /// Transactions that were run again after a deadlock or a lock wait.
    retries: Counter,
    /// Whether `celery_inbox` is used.
    inbox: AtomicBool,
    /// Calls found in it.
    known: Counter,
}

pub(crate) enum Pool {
    MySql(sqlx::MySqlPool),
    Postgres(sqlx::PgPool),
    Sqlite(sqlx::SqlitePool),
}

impl Pool {
    /// A pool with no connection yet.
    fn of(address: &Address) -> Self {
        match address.clone() {
            Address::MySql(options) => Pool::MySql(
                MySqlPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .connect_lazy_with(options),
            ),
            Address::Postgres(options) => Pool::Postgres(
                PgPoolOptions::new()
                    .max_connections(CONNECTIONS)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .connect_lazy_with(options),
            ),
            // SQLite has one writer at a time; in line here is better than at the file's lock.
            Address::Sqlite(options) => Pool::Sqlite(
                SqlitePoolOptions::new()
                    .max_connections(1)
                    .acquire_timeout(CONNECT_TIMEOUT)
                    .connect_lazy_with(options),
            ),
        }
    }
}

impl Inner {
    fn pool(&self) -> Arc<Pool> {
        Arc::clone(&self.pool.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Parts with a pool one of whose connections does not answer. That connection is in the middle of an answer and
    /// cannot be used again, and what holds for it may hold for the others: a link that swallows everything.
    fn give_up(&self, old: &Arc<Pool>) {
        let mut pool = self.pool.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&pool, old) {
            *pool = Arc::new(Pool::of(&self.address));
        }
    }
}

/// Whether a URL is one of a database.
pub(crate) fn check_url(url: &str) -> Result<(), DatabaseUrlError> {
    Address::parse(url).map(drop)
}

impl Database {
    /// A database by its URL. Nothing is connected yet. Call it on the runtime of the worker.
    pub fn from_url(url: &str) -> Result<Self, DatabaseUrlError> {
        let address = Address::parse(url)?;
        Ok(Database {
            inner: Arc::new(Inner {
                pool: RwLock::new(Arc::new(Pool::of(&address))),
                address,
                timeout: Some(TIMEOUT),
                missed: Mutex::default(),
                shown: mask(url),
                away: AtomicBool::new(false),
                heard: Mutex::default(),
                retries: Counter::default(),
                inbox: AtomicBool::new(false),
                known: Counter::default(),
            }),
        })
    }

    /// How long a transaction may take, 5 minutes unless said; `None` is no limit. One that takes longer counts as lost
    /// with its connection. To be called before the database is shared.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.timeout = limit;
        }
        self
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.inner.address {
            Address::MySql(_) => Dialect::MySql,
            Address::Postgres(_) => Dialect::Postgres,
            Address::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// The URL without its password.
    pub fn display_url(&self) -> &str {
        &self.inner.shown
    }

    /// Connects, or uses a connection, and asks nothing. A refusal is for the caller to tell.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let database = self.clone();
        let running = tokio::spawn(async move {
            let pool = database.inner.pool();
            let begin = tokio::time::timeout(2 * CONNECT_TIMEOUT, Transaction::begin(&pool));
            let outcome = begin.await.unwrap_or_else(|_| {
                database.inner.give_up(&pool);
                Err(DatabaseError::unavailable("no answer"))
            });
            match outcome {
                Ok(open) => {
                    open.roll_back().await;
                    database.note(None);
                    Ok(())
                }
                Err(error) => {
                    if error.kind() != Kind::Refused {
                        database.note(Some(&error));
                    }
                    Err(error)
                }
            }
        });
        running
            .await
            .unwrap_or_else(|_| Err(DatabaseError::unavailable("the worker is stopping")))
    }

    /// Runs one statement and says how many rows it matched (on MySQL also those it left as they were).
    pub async fn execute(&self, sql: &str, params: Params<'_>) -> Result<u64, DatabaseError> {
        let sql: Arc<str> = Arc::from(sql);
        let params: Arc<[(String, serde_json::Value)]> = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        self.transaction(move |transaction| {
            let (sql, params) = (Arc::clone(&sql), Arc::clone(&params));
            Box::pin(async move {
                let params: Vec<_> = params
                    .iter()
                    .map(|(name, value)| (name.as_str(), value.clone()))
                    .collect();
                transaction.execute(&sql, &params).await
            })
        })
        .await
    }

    /// Runs `work` in a transaction, which is committed if it succeeds. After a deadlock or a lock wait it is run again.
    ///
    /// When the connection is lost during the commit the outcome is unknown; the error is then
    /// [`Kind::Unavailable`], and the worker runs the task again: what a task does here must bear that, or be done
    /// [`once`](Self::once).
    pub async fn transaction<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>
            + Send
            + Sync
            + 'static,
    {
        let database = self.clone();
        // Dropped with this future, when whoever waits for it has been stopped.
        let (_waiting, caller) = Caller::here();
        let running = tokio::spawn(async move {
            let mut working = std::pin::pin!(database.repeat(&work, &caller));
            let outcome = tokio::select! {
                biased;
                outcome = &mut working => outcome,
                () = caller.left() => {
                    // The work keeps its connection meanwhile: nobody else's statement can be hit.
                    database.cancel(&caller).await;
                    // What a cancelled statement says is nothing about the server.
                    return working.await;
                }
            };
            database.note(outcome.as_ref().err());
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

    /// Has the server stop the statement of somebody who is gone. If that fails, it ends by itself.
    async fn cancel(&self, caller: &Caller) {
        let Some(session) = caller.session() else {
            return;
        };
        let Some(sql) = transaction::cancel(self.dialect(), session) else {
            return;
        };
        let pool = self.inner.pool();
        let cancelling = async {
            let mut open = Transaction::begin(&pool).await?;
            let cancelled = open.execute(&sql, &[]).await;
            open.roll_back().await;
            cancelled
        };
        match tokio::time::timeout(CONNECT_TIMEOUT, cancelling).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::debug!("a statement was not cancelled: {error}"),
            Err(_) => {
                // Its connection may be in the middle of an answer.
                self.inner.give_up(&pool);
            }
        }
    }

    async fn repeat<T, F>(&self, work: &F, caller: &Caller) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.attempt(work, caller).await {
                Err(error) if error.kind() == Kind::Transient => {
                    tracing::debug!("the database asks to try again: {error}");
                    self.inner.retries.inc();
                    tokio::time::sleep(wait).await;
                    wait *= 2;
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
        let pool = self.inner.pool();
        let transaction = self.one_transaction(&pool, work, caller);
        // SQLite has no server that could fall silent, and a database in memory ends with its pool.
        let limit = match self.inner.address {
            Address::Sqlite(_) => None,
            _ => self.inner.timeout,
        };
        let Some(limit) = limit else {
            return transaction.await;
        };
        match tokio::time::timeout(limit, transaction).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.inner.give_up(&pool);
                let text = format!("no answer within {} s", limit.as_secs_f64());
                Err(DatabaseError::unavailable(text))
            }
        }
    }

    async fn one_transaction<T, F>(
        &self,
        pool: &Pool,
        work: &F,
        caller: &Caller,
    ) -> Result<T, DatabaseError>
    where
        F: for<'t> Fn(&'t mut Transaction) -> BoxFuture<'t, Result<T, DatabaseError>>,
    {
        let mut transaction = Transaction::begin(pool).await?;
        if caller.is_stoppable() {
            caller.works_in(transaction.session().await?);
        }
        if caller.is_gone() {
            transaction.roll_back().await;
            return Err(DatabaseError::stopped());
        }
        let outcome = match work(&mut transaction).await {
            // The task was stopped in the meantime; it has failed, or will be run again.
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

    /// Whether it was there when last heard of; true if nothing was.
    pub(crate) fn is_up(&self) -> bool {
        !self.inner.away.load(Ordering::Relaxed)
    }

    /// The same, if that is not longer ago.
    pub(crate) fn heard_within(&self, time: Duration) -> Option<bool> {
        let heard = *self.heard();
        heard
            .is_some_and(|heard| heard.elapsed() <= time)
            .then(|| self.is_up())
    }

    /// Counts transactions that were run again.
    pub(crate) fn retries(&self) -> Counter {
        self.inner.retries.clone()
    }

    /// Counts calls that were not applied because they had been before.
    pub(crate) fn known(&self) -> Counter {
        self.inner.known.clone()
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        // A plain value: a thread that died holding the lock left it whole.
        self.inner
            .heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// One line in the log for each change of state.
    fn note(&self, error: Option<&DatabaseError>) {
        *self.heard() = Some(Instant::now());
        if let Some(error) = error.filter(|error| error.misses_table()) {
            let mut missed = self.inner.missed.lock();
            let missed = missed
                .as_mut()
                .map(|missed| missed.insert(error.to_string()));
            if missed.unwrap_or(true) {
                tracing::warn!(
                    "The database {} lacks a table: {error}. Tasks that need it wait.",
                    self.inner.shown
                );
            }
        }
        let away = &self.inner.away;
        match error.filter(|error| matches!(error.kind(), Kind::Unavailable | Kind::Refused)) {
            Some(error) if !away.swap(true, Ordering::Relaxed) => tracing::warn!(
                "The database {} is unavailable: {error}. Tasks that need it wait.",
                self.inner.shown
            ),
            None if away.load(Ordering::Relaxed) && away.swap(false, Ordering::Relaxed) => {
                tracing::warn!("The database {} is available again.", self.inner.shown);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Database({})", self.inner.shown)
    }
}
