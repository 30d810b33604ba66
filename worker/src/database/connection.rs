//! One connection to the database, over any of the three drivers.
//!
//! Each step of connecting and of beginning a transaction has a deadline. A statement that runs
//! later has no deadline here: see [`watch`](super::watch).

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, Executor, Row};
use tokio::time::timeout;

use super::grammar::Grammar;
use super::pool::Open;
use super::session::{self, SessionZone, Settings};
use super::types::Known;
use super::url::{Address, Options};
use super::{DatabaseError, Dialect, refusal};

/// The limit for one attempt to connect, or to begin a transaction on a new connection. The task
/// tries again, so this limit only decides how soon an outage is noticed.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Begins a transaction, and returns the session and its server in the same round trip: behind a
/// pooler each transaction may run in another session.
const MYSQL_BEGIN: &str = "BEGIN; \
    SELECT CONCAT_WS(' ', CONNECTION_ID(), CONCAT(@@hostname, ':', @@port), @@max_allowed_packet)";
/// Like [`MYSQL_BEGIN`]. The start time identifies the server: two servers do not start in the same
/// microsecond.
const POSTGRES_BEGIN: &str =
    "BEGIN; SELECT pg_backend_pid() || ' ' || extract(epoch from pg_postmaster_start_time())";
/// Takes the write lock at once: taking it later can fail without a wait.
const SQLITE_BEGIN: &str = "BEGIN IMMEDIATE";

/// A session of a server. The number of a session means nothing to another server, which may answer
/// at the same address later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) number: i64,
    pub(super) server: String,
}

/// A connection, and when it was made and used.
pub(super) struct Connection {
    pub(super) raw: Raw,
    /// The zone in which dates are read and shown.
    pub(super) zone: SessionZone,
    /// How the session reads the quotes of a statement.
    pub(super) grammar: Grammar,
    /// The types that PostgreSQL has reported for the statements of this connection.
    pub(super) types: Known,
    made: Instant,
    used: Instant,
    /// Counts the connection as one of the pool.
    open: Option<Open>,
}

pub(super) enum Raw {
    MySql(sqlx::MySqlConnection),
    Postgres(sqlx::PgConnection),
    Sqlite(sqlx::SqliteConnection),
}

/// The answer of a server when a transaction begins.
#[derive(Default)]
pub(super) struct Begun {
    /// `None` for SQLite, which has no sessions.
    pub(super) session: Option<Session>,
    /// The largest statement that the server accepts, in bytes, if it has such a limit.
    pub(super) largest: Option<usize>,
}

impl Connection {
    /// Connects, and prepares the session.
    pub(super) async fn make(address: &Address) -> Result<Self, DatabaseError> {
        let dialect = address.dialect();
        let connecting = async {
            let raw = match &address.options {
                Options::MySql(options) => options.connect().await.map(Raw::MySql),
                Options::Postgres(options) => options.connect().await.map(Raw::Postgres),
                Options::Sqlite(options) => options.connect().await.map(Raw::Sqlite),
            };
            let mut raw = raw.map_err(|error| refusal::at_connect(error, dialect))?;
            let settings = session::prepare(&mut raw, address.zone.as_ref()).await?;
            Ok((raw, settings))
        };
        // The driver panics if the first answer is too short.
        let connecting = AssertUnwindSafe(in_time(CONNECT_TIMEOUT, dialect, connecting));
        let made = connecting.catch_unwind().await;
        let made = made.unwrap_or_else(|_| Err(refusal::not_understood(dialect)));
        let (raw, Settings { zone, grammar }) = made?;
        let now = Instant::now();
        Ok(Connection {
            raw,
            zone,
            grammar,
            types: Known::default(),
            made: now,
            used: now,
            open: None,
        })
    }

    /// Counts the connection as long as it is open.
    pub(super) fn counted(self, open: Open) -> Self {
        Connection {
            open: Some(open),
            ..self
        }
    }

    /// Begins a transaction. The server must answer within `limit`.
    pub(super) async fn begin(&mut self, limit: Duration) -> Result<Begun, DatabaseError> {
        let said = in_time(limit, self.dialect(), async {
            match &mut self.raw {
                Raw::MySql(open) => {
                    let rows = sqlx::raw_sql(MYSQL_BEGIN).fetch_all(open).await?;
                    // The host name is bytes or text, depending on the server.
                    let said = rows.first().map(|row| row.try_get::<Vec<u8>, _>(0));
                    Ok(said
                        .transpose()?
                        .map(|said| String::from_utf8_lossy(&said).into_owned()))
                }
                Raw::Postgres(open) => {
                    let rows = sqlx::raw_sql(POSTGRES_BEGIN).fetch_all(open).await?;
                    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
                }
                Raw::Sqlite(open) => {
                    open.execute(SQLITE_BEGIN).await?;
                    Ok(None)
                }
            }
        });
        Ok(said.await?.map_or_else(Begun::default, |said| begun(&said)))
    }

    /// Runs a statement without parameters, and returns the first column of its rows as text; a
    /// NULL is empty.
    pub(super) async fn column(&mut self, sql: &str) -> Result<Vec<String>, DatabaseError> {
        let sql = AssertSqlSafe(sql);
        Ok(match &mut self.raw {
            Raw::MySql(open) => {
                let rows = sqlx::raw_sql(sql).fetch_all(open).await?;
                let text = |row: sqlx::mysql::MySqlRow| {
                    let text = row.try_get::<Option<Vec<u8>>, _>(0);
                    text.map(|text| String::from_utf8_lossy(&text.unwrap_or_default()).into_owned())
                };
                rows.into_iter().map(text).collect::<Result<_, _>>()?
            }
            Raw::Postgres(open) => {
                let rows = sqlx::raw_sql(sql).fetch_all(open).await?;
                let text = |row: sqlx::postgres::PgRow| {
                    row.try_get::<Option<String>, _>(0)
                        .map(Option::unwrap_or_default)
                };
                rows.into_iter().map(text).collect::<Result<_, _>>()?
            }
            Raw::Sqlite(open) => {
                open.execute(sql).await?;
                Vec::new()
            }
        })
    }

    /// Runs `COMMIT` or `ROLLBACK`.
    pub(super) async fn end(&mut self, word: &'static str) -> Result<(), DatabaseError> {
        match &mut self.raw {
            Raw::MySql(open) => open.execute(word).await.map(drop)?,
            Raw::Postgres(open) => open.execute(word).await.map(drop)?,
            Raw::Sqlite(open) => open.execute(word).await.map(drop)?,
        }
        self.used = Instant::now();
        Ok(())
    }

    pub(super) fn dialect(&self) -> Dialect {
        match self.raw {
            Raw::MySql(_) => Dialect::MySql,
            Raw::Postgres(_) => Dialect::Postgres,
            Raw::Sqlite(_) => Dialect::Sqlite,
        }
    }

    /// Returns `true` if the connection has been neither idle for `idle` nor open for `life`.
    pub(super) fn is_fresh(&self, idle: Duration, life: Duration) -> bool {
        // A database in memory ends with its only connection.
        matches!(self.raw, Raw::Sqlite(_))
            || self.used.elapsed() < idle && self.made.elapsed() < life
    }

    /// Closes the connection. Dropping it has the same effect, but some servers log that as an
    /// error.
    pub(super) async fn close(self) {
        let _open = self.open;
        let closing = async {
            match self.raw {
                Raw::MySql(open) => open.close().await,
                Raw::Postgres(open) => open.close().await,
                Raw::Sqlite(open) => open.close().await,
            }
        };
        let _unheard = timeout(CONNECT_TIMEOUT, closing).await;
    }
}

/// Runs a step towards a transaction within a limit.
async fn in_time<T>(
    limit: Duration,
    dialect: Dialect,
    step: impl Future<Output = Result<T, DatabaseError>>,
) -> Result<T, DatabaseError> {
    match timeout(limit, step).await {
        Ok(outcome) => outcome.map_err(|error| refusal::of_server(error, dialect)),
        Err(_) => Err(DatabaseError::unavailable(format!(
            "no answer within {} s",
            limit.as_secs()
        ))),
    }
}

/// Reads `<session> <server> [<largest statement>]`.
fn begun(said: &str) -> Begun {
    let mut words = said.split_whitespace();
    let number = words.next().and_then(|number| number.parse().ok());
    let server = words.next().map(str::to_owned);
    Begun {
        session: number
            .zip(server)
            .map(|(number, server)| Session { number, server }),
        largest: words.next().and_then(|largest| largest.parse().ok()),
    }
}
