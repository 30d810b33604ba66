//! Whether a connection can send the events of posts.

use std::time::{Duration, Instant};

use celery_protocol::amqp::Close;

use crate::amqp::declaration::NOT_FOUND;

/// The time without events after the server has refused one.
const PAUSE: Duration = Duration::from_mins(1);

/// What a connection knows about sending events.
#[derive(Debug, Default)]
pub(super) struct Announcing {
    /// `true` if the exchange of events is missing, so that the next event declares it.
    pub(super) is_missing: bool,
    /// The time of the last refusal.
    refused: Option<Instant>,
}

impl Announcing {
    /// Notes that the server has closed the channel for events.
    pub(super) fn refused(&mut self, close: Close) {
        let is_first = !self.is_missing;
        self.is_missing = close.code == NOT_FOUND;
        if !(self.is_missing && is_first) {
            self.refused = Some(Instant::now());
        }
    }

    /// Returns `true` if the server has refused an event a moment ago.
    pub(super) fn is_paused(&self) -> bool {
        self.refused.is_some_and(|at| at.elapsed() < PAUSE)
    }
}
