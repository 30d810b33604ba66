//! Statements that take long: does the server still run them?
//!
//! A driver waits for its answer for ever, also over a link that swallows everything or that somebody on the way has forgotten.
//! So the server is asked over another connection. Two answers in a row that the session is gone, or waits for us while we wait for
//! it, mean that the link is dead: the connection is dropped and the session ended, so that its locks do not outlive it.
//! A server that cannot be asked, or is not the one that runs the statement (there may be several behind an address), gives no
//! verdict.
//!
//! Connections for this, and for cancelling statements of stopped tasks, are not the pool's: it may be full of what they are
//! about. There are at most [`OUTSIDE`] at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::connection::{CONNECT_TIMEOUT, Connection, Session};
use super::health::Health;
use super::pool::Pool;
use super::url::Address;
use super::{DatabaseError, Dialect};

/// Connections besides those of the pool.
const OUTSIDE: usize = 2;
/// Statements seldom take longer; to ask costs a connection.
const LONG: Duration = Duration::from_secs(10);
/// The same while others wait for the connection.
const LONG_FOR_OTHERS: Duration = Duration::from_secs(3);
/// Slower links are none. A server seems to wait for us while a large statement is on its way.
const SLOWEST: u64 = 100_000;
/// How long one question may take, the connecting included.
const ANSWER: Duration = CONNECT_TIMEOUT;
/// Between two questions while there is no clear answer.
const AGAIN: Duration = Duration::from_secs(1);
/// An answer may be on its way when the server is asked; not when it is asked the second time.
const SURE: u32 = 2;

/// What a transaction does at the moment; shared with those who watch it.
#[derive(Debug, Default)]
pub(super) struct AtWork(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    session: Option<Session>,
    /// Since when the statement runs, the time taken off in which it may be on its way. Also tells one from another.
    since: Option<Instant>,
}

/// While it lives, a statement runs.
pub(super) struct Running<'w>(&'w AtWork);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.now().since = None;
    }
}

impl AtWork {
    /// Where it works from now on; `None` when it is over.
    pub(super) fn in_session(&self, session: Option<Session>) {
        self.now().session = session;
    }

    pub(super) fn session(&self) -> Option<Session> {
        self.now().session.clone()
    }

    /// A statement of so many bytes begins.
    pub(super) fn runs(&self, bytes: usize) -> Running<'_> {
        let transfer = Duration::from_secs(bytes as u64 / SLOWEST);
        self.now().since = Some(Instant::now() + transfer);
        Running(self)
    }

    fn since(&self) -> Option<Instant> {
        self.now().since
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // Plain values: a thread that died holding the lock left them whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a session is doing, as its server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It runs, or nothing says otherwise.
    Running,
    /// It is gone, or waits for its client.
    NotRunning,
    /// The server did not answer.
    Nothing,
}

/// Asks and tells a server about sessions, over connections of its own.
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

    /// Returns when the link of a transaction is dead; never, if it is not.
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
                // Whoever waits for their statements would else not say so.
                if error.is_silence() {
                    health.note(Some(&error));
                }
                Seen::Nothing
            }
        }
    }

    /// Has the server stop the statement of somebody who is gone. If that fails, it ends by itself.
    pub(super) async fn cancel(&self, address: &Address, session: &Session) {
        self.tell(address, session, |dialect, number| match dialect {
            Dialect::MySql => format!("KILL QUERY {number}"),
            _ => format!("SELECT CAST(pg_cancel_backend({number}) AS text)"),
        })
        .await;
    }

    /// Has the server end a session whose connection was dropped: it may not learn of that for hours, and keep its locks.
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

    /// `None` if another server answers.
    async fn ask(
        &self,
        address: &Address,
        session: &Session,
        sql: &str,
    ) -> Result<Option<Vec<String>>, DatabaseError> {
        // Waiting for the place is no silence of the server.
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
        // PostgreSQL shows none if it keeps none (track_activities).
        _ => Seen::Running,
    }
}
