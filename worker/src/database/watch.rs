//! Checks whether the server still runs a slow statement.
//!
//! A driver waits for its answer without limit, even over a link that loses everything or that a
//! router has forgotten. The server is therefore asked over another connection. The link is dead if
//! two answers in a row say that the session is gone, or that it waits for the worker. Then the
//! connection is dropped and the session ended, so that its locks do not outlive it. A server that
//! cannot be asked gives no verdict. A server that does not run the statement gives no verdict
//! either, because several servers may share an address.
//!
//! Connections for this, and for cancelling statements of stopped tasks, are not from the pool: the
//! statements in question may use all of it. There are at most [`OUTSIDE`] at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::connection::{CONNECT_TIMEOUT, Connection, Session};
use super::health::Health;
use super::pool::Pool;
use super::url::Address;
use super::{DatabaseError, Dialect};

/// The most connections besides those of the pool.
const OUTSIDE: usize = 2;
/// A statement is checked after this time. A check costs a connection, and few statements take
/// longer.
const LONG: Duration = Duration::from_secs(10);
/// Like [`LONG`], while other tasks wait for a connection.
const LONG_FOR_OTHERS: Duration = Duration::from_secs(3);
/// The slowest link that counts as alive, in bytes per second. While a large statement is under
/// way, the server seems to wait for the worker.
const SLOWEST: u64 = 100_000;
/// How long one check may take, with its connection.
const ANSWER: Duration = CONNECT_TIMEOUT;
/// The time between two checks while the answer is not clear.
const AGAIN: Duration = Duration::from_secs(1);
/// How many checks must agree. At the first one the answer to the statement may still be under way;
/// at the second it is not.
const SURE: u32 = 2;

/// The current action of a transaction, shared with the tasks that watch it.
#[derive(Debug, Default)]
pub(super) struct AtWork(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    session: Option<Session>,
    /// The time at which the statement counts as begun: its start plus the time that its transfer
    /// may take. This value also distinguishes statements.
    since: Option<Instant>,
}

/// Marks a running statement. Dropping it marks the end.
pub(super) struct Running<'w>(&'w AtWork);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.now().since = None;
    }
}

impl AtWork {
    /// Sets the session of the transaction; `None` when it is over.
    pub(super) fn in_session(&self, session: Option<Session>) {
        self.now().session = session;
    }

    pub(super) fn session(&self) -> Option<Session> {
        self.now().session.clone()
    }

    /// Marks the beginning of a statement of this many bytes.
    pub(super) fn runs(&self, bytes: usize) -> Running<'_> {
        let transfer = Duration::from_secs(bytes as u64 / SLOWEST);
        self.now().since = Some(Instant::now() + transfer);
        Running(self)
    }

    fn since(&self) -> Option<Instant> {
        self.now().since
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // A thread that panicked while it held the lock has left valid values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a session according to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It runs a statement, or its state is unknown.
    Running,
    /// It has ended, or waits for its client.
    NotRunning,
    /// The server did not answer.
    Nothing,
}

/// Checks and ends sessions of a server, over connections of its own.
#[derive(Debug)]
pub(super) struct Outside {
    places: Semaphore,
}

impl Outside {
    pub(super) fn new() -> Self {
        Outside {
            places: Semaphore::new(OUTSIDE),
        }
    }

    /// Waits until the link of a transaction is dead. Does not return while it is alive.
    pub(super) async fn dead_link(&self, pool: &Pool, work: &AtWork, health: &Arc<Health>) {
        loop {
            sleep(AGAIN).await;
            let long = if pool.is_full() {
                LONG_FOR_OTHERS
            } else {
                LONG
            };
            let Some(since) = work.since().filter(|since| since.elapsed() >= long) else {
                continue;
            };
            let Some(session) = work.session() else {
                return std::future::pending().await;
            };
            let mut sure = 0;
            while work.since() == Some(since) {
                let pause = match self.look(pool.address(), &session, health).await {
                    Seen::Running => {
                        sure = 0;
                        LONG
                    }
                    Seen::Nothing => AGAIN,
                    Seen::NotRunning => {
                        sure += 1;
                        AGAIN
                    }
                };
                if sure >= SURE && work.since() == Some(since) {
                    return;
                }
                sleep(pause).await;
            }
        }
    }

    async fn look(&self, address: &Address, session: &Session, health: &Arc<Health>) -> Seen {
        let sql = match address.dialect() {
            Dialect::MySql => format!(
                "SELECT command FROM information_schema.processlist WHERE id = {}",
                session.number
            ),
            Dialect::Postgres => format!(
                "SELECT state FROM pg_stat_activity WHERE pid = {}",
                session.number
            ),
            Dialect::Sqlite => return Seen::Running,
        };
        match self.ask(address, session, &sql).await {
            Ok(Some(state)) => seen(address, state.first().map(String::as_str)),
            Ok(None) => Seen::Running,
            Err(error) => {
                // The task that waits for its statement does not report the outage meanwhile.
                if error.is_silence() {
                    health.note(Some(&error));
                }
                Seen::Nothing
            }
        }
    }

    /// Makes the server cancel the statement of a stopped task. If that fails, the statement ends
    /// by itself.
    pub(super) async fn cancel(&self, address: &Address, session: &Session) {
        self.tell(address, session, |dialect, number| match dialect {
            Dialect::MySql => format!("KILL QUERY {number}"),
            _ => format!("SELECT CAST(pg_cancel_backend({number}) AS text)"),
        })
        .await;
    }

    /// Makes the server end a session whose connection was dropped. The server might not notice the
    /// lost connection for hours, and the session would keep its locks.
    pub(super) async fn end(&self, address: &Address, session: &Session) {
        self.tell(address, session, |dialect, number| match dialect {
            Dialect::MySql => format!("KILL {number}"),
            _ => format!("SELECT CAST(pg_terminate_backend({number}) AS text)"),
        })
        .await;
    }

    async fn tell(
        &self,
        address: &Address,
        session: &Session,
        words: impl Fn(Dialect, i64) -> String,
    ) {
        let sql = words(address.dialect(), session.number);
        if let Err(error) = self.ask(address, session, &sql).await {
            tracing::debug!("{sql}: {error}");
        }
    }

    /// Runs a query on the server of a session. Returns `None` if another server answers.
    async fn ask(
        &self,
        address: &Address,
        session: &Session,
        sql: &str,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        // The deadline begins after the wait for a place, which says nothing about the server.
        let _place = self.places.acquire().await;
        let asking = async {
            let mut connection = Connection::make(address).await?;
            let here = connection.begin(ANSWER).await?.session;
            let said = match here {
                Some(here) if here.server == session.server => Some(connection.column(sql).await?),
                _ => None,
            };
            connection.close().await;
            Ok(said)
        };
        let asked = timeout(ANSWER, asking).await;
        asked.unwrap_or_else(|_| Err(DatabaseError::unavailable("no answer")))
    }
}

fn seen(address: &Address, state: Option<&str>) -> Seen {
    match (address.dialect(), state) {
        (_, None) | (Dialect::MySql, Some("Sleep")) => Seen::NotRunning,
        (Dialect::Postgres, Some(state)) if state.starts_with("idle") => Seen::NotRunning,
        // PostgreSQL shows no state if `track_activities` is off.
        _ => Seen::Running,
    }
}
