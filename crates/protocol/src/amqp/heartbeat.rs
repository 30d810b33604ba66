//! When to send heartbeats, and when a silent server counts as dead.
//!
//! Times are measured from any point that the caller chooses and keeps.

use std::time::Duration;

/// What the time asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing for this long.
    Wait(Duration),
    /// A heartbeat must be sent now.
    Send,
    /// The server has been silent for two intervals.
    Dead,
}

/// The heartbeats of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeats {
    interval: Duration,
    sent: Duration,
    received: Duration,
}

impl Heartbeats {
    /// Begins at `now` with the interval that client and server have agreed on.
    pub fn new(interval: Duration, now: Duration) -> Self {
        Self {
            interval,
            sent: now,
            received: now,
        }
    }

    /// Notes that bytes were sent. Any traffic counts as a heartbeat.
    pub fn sent(&mut self, now: Duration) {
        self.sent = now;
    }

    /// Notes that bytes have arrived.
    pub fn received(&mut self, now: Duration) {
        self.received = now;
    }

    /// Returns what to do now. A heartbeat is due after half of the interval without traffic, so
    /// that one that is late still comes in time.
    pub fn at(&self, now: Duration) -> Pulse {
        let dead = self.received + self.interval * 2;
        let due = self.sent + self.interval / 2;
        if now >= dead {
            Pulse::Dead
        } else if now >= due {
            Pulse::Send
        } else {
            Pulse::Wait(due.min(dead).saturating_sub(now))
        }
    }
}
