//! Whether the database is there, as last heard, and the lines of the log about it: one for each change of state.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::DatabaseError;
use super::Kind;

/// See the module.
#[derive(Debug)]
pub(super) struct Health {
    /// The URL, masked.
    shown: String,
    heard: Mutex<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    at: Option<Instant>,
    away: bool,
    /// Tables that were missed, each told of once.
    missed: HashSet<String>,
}

impl Health {
    pub(super) fn of(shown: String) -> Self {
        Health {
            shown,
            heard: Mutex::default(),
        }
    }

    pub(super) fn shown(&self) -> &str {
        &self.shown
    }

    /// True if nothing was heard.
    pub(super) fn is_up(&self) -> bool {
        !self.heard().away
    }

    /// The same, if that is not longer ago.
    pub(super) fn heard_within(&self, time: Duration) -> Option<bool> {
        let heard = self.heard();
        let fresh = heard.at.is_some_and(|at| at.elapsed() <= time);
        fresh.then_some(!heard.away)
    }

    /// What came of asking it.
    pub(super) fn note(&self, error: Option<&DatabaseError>) {
        if error.is_some_and(DatabaseError::is_our_own) {
            return;
        }
        let shown = &self.shown;
        let mut heard = self.heard();
        heard.at = Some(Instant::now());
        if let Some(error) = error.filter(|error| error.misses_table())
            && heard.missed.insert(error.to_string())
        {
            tracing::warn!("The database {shown} lacks a table: {error}. Tasks that need it wait.");
        }
        let absence =
            error.filter(|error| matches!(error.kind(), Kind::Unavailable | Kind::Refused));
        match (absence, heard.away) {
            (Some(error), false) => tracing::warn!(
                "The database {shown} is unavailable: {error}. Tasks that need it wait."
            ),
            (None, true) => tracing::warn!("The database {shown} is available again."),
            _ => {}
        }
        heard.away = absence.is_some();
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        // Plain values: a thread that died holding the lock left them whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
