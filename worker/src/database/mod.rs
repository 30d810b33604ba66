//! The database tasks work on: MySQL or MariaDB, PostgreSQL, SQLite, by URL.
//!
//! Three invariants:
//!
//! * A statement is not left to itself. All work happens in tasks of the runtime of its own; if the caller goes away, its
//!   statement is cancelled from another connection and its transaction rolled back. A connection that is dropped in the middle
//!   of one is closed, and its session ended in the server.
//! * Nothing is connected before it is needed. A server that is away is an error of kind [`Kind::Unavailable`], which makes
//!   the worker keep the task; the log says when it goes and when it is back.
//! * Values are bound, never pasted (see [`Params`]).

mod binding;
mod caller;
mod connection;
mod dialect;
mod error;
mod grammar;
mod health;
mod inbox;
mod options;
mod params;
mod places;
mod pool;
mod prepare;
mod purpose;
mod refusal;
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
use futures_util::future::BoxFuture;
use health::Health;
use pool::Pool;
use prometheus_client::metrics::counter::Counter;
use watch::Outside;

use crate::failpoint::failpoint;
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

/// Connections at most, to a server, unless said. More would wait for each other's locks inside the server instead of in line
/// here.
pub(crate) const CONNECTIONS: NonZeroU16 = NonZeroU16::new(16).unwrap();
/// How often a deadlock or a lock wait is met by doing the same again before it counts as a failure.
const TRIES: u32 = 6;
/// How long a transaction may take unless said, and how long one waits for a connection. Lock waits of a server (MySQL's `innodb_lock_wait_timeout` is 50 s) must fit in.
const TIMEOUT: Duration = Duration::from_mins(5);
/// The first wait between these tries; it doubles, and is drawn from its half to one and a half of it: two who met would meet
/// again.
const FIRST_WAIT: Duration = Duration::from_millis(10);

/// The first wait before a database is asked whether it is back. Tasks that wait for it ask more
/// often than this, so that only an idle worker asks by itself.
const FIRST_LOOK: Duration = Duration::from_secs(6);
/// The waits of those who ask an absent database double up to this: one connection in half a minute
/// is no load for a server.
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
    /// Whether `celery_inbox` is used.
    inbox: AtomicBool,
    /// Calls found in it.
    known: Counter,
}

/// Whether a URL is one of a database.
pub(crate) fn check_url(url: &str) -> Result<(), DatabaseUrlError> {
    Address::parse(url).map(drop)
}

impl Database {
    /// A database by its URL. Nothing is connected yet. Call it on the runtime of the worker.
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

    /// How many connections there may be, 16 unless said; transactions wait in line for them. SQLite always has one. To be
    /// called before the database is shared.
    #[must_use]
    pub fn connections(mut self, most: NonZeroU16) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.pool = Arc::new(pool(inner.pool.address().clone(), most));
        }
        self
    }

    /// How long a transaction may take, 5 minutes unless said; `None` is no limit. One that takes longer counts as lost
    /// with its connection. It may wait as long for that connection before. To be called before the database is shared.
    #[must_use]
    pub fn timeout(mut self, limit: Option<Duration>) -> Self {
        if let Some(inner) = Arc::get_mut(&mut self.inner) {
            inner.timeout = limit;
        }
        self
    }

    /// Sets the time zone of each session. Default: the one that the server gives it. Call it before
    /// the database is shared.
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

    /// The URL without its password.
    pub fn display_url(&self) -> &str {
        self.inner.health.shown()
    }

    /// Connects, or uses a connection that is free, and asks nothing. A refusal is for the caller to tell.
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
                // SQLite has but one, which somebody else is using.
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

    /// Looks whether a database that was away is back while no task asks it, until the process
    /// ends. Without this, an idle worker would call it unavailable until its next task.
    pub(crate) async fn look_after(self) {
        let health = &self.inner.health;
        loop {
            health.refused().await;
            let mut wait = FIRST_LOOK;
            while health.silence_after_refusal().is_some() {
                tokio::time::sleep(wait).await;
                let silence = health.silence_after_refusal();
                if silence.is_none_or(|silence| silence < FIRST_LOOK) {
                    continue;
                }
                // A ping leaves it to its caller to note a login that is rejected.
                if let Err(error) = self.ping().await
                    && error.kind() == Kind::Refused
                {
                    health.note(Some(&error));
                }
                wait = (wait * 2).min(LONGEST_LOOK);
            }
        }
    }

    /// Runs one statement and says how many rows it matched (on MySQL also those it left as they were).
    ///
    /// # Errors
    ///
    /// [`DatabaseError`]; its [`kind`](DatabaseError::kind) says whether the statement or the
    /// database is at fault. Lost connections and deadlocks leave the task to be run again.
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
                transaction.execute_with(&sql, &params, dates).await
            })
        })
        .await
    }

    /// Runs `work` in a transaction, which is committed if it succeeds. After a deadlock or a lock wait it is run again.
    ///
    /// When the connection is lost during the commit the outcome is unknown; the error is then
    /// [`Kind::Unavailable`], and the worker runs the task again: what a task does here must bear that, or be done
    /// [`once`](Self::once).
    ///
    /// # Errors
    ///
    /// What `work` returns, or [`DatabaseError`] as for [`execute`](Self::execute).
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
                    // Nothing has begun.
                    let Some(session) = caller.work.session() else {
                        return match database.dialect() {
                            Dialect::Sqlite => working.await,
                            _ => Err(DatabaseError::stopped()),
                        };
                    };
                    let Inner { pool, outside, .. } = &*database.inner;
                    // The work keeps its connection meanwhile: nobody else's statement can be hit.
                    outside.cancel(pool.address(), &session).await;
                    // What a cancelled statement says is nothing about the server.
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
        let mut wait = FIRST_WAIT;
        for _ in 1..TRIES {
            match self.attempt(work, caller).await {
                Err(error) if error.kind() == Kind::Transient => {
                    tracing::debug!("the database asks to try again: {error}");
                    self.inner.retries.inc();
                    tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
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
        let Inner {
            pool,
            outside,
            timeout,
            health,
            ..
        } = &*self.inner;
        // SQLite has no server that could fall silent.
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
        // Its connection went with it; the others may be no better.
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
        let mut transaction = Transaction::begin(&self.inner.pool, place, &caller.work).await?;
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
        self.inner.health.is_up()
    }

    /// The same, if that is not longer ago.
    pub(crate) fn heard_within(&self, time: Duration) -> Option<bool> {
        self.inner.health.heard_within(time)
    }

    /// Counts transactions that were run again.
    pub(crate) fn retries(&self) -> Counter {
        self.inner.retries.clone()
    }

    /// Counts calls that were not applied because they had been before.
    pub(crate) fn known(&self) -> Counter {
        self.inner.known.clone()
    }
}

fn pool(address: Address, most: NonZeroU16) -> Pool {
    // SQLite has one writer at a time; in line here is better than at the file's lock.
    let places = match address.dialect() {
        Dialect::Sqlite => 1,
        _ => most.get(),
    };
    Pool::new(address, places.into())
}

/// `None` if it takes longer.
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
