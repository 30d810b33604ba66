//! Circuit breakers: a server that could not be reached is not asked again for a while.
//!
//! ```text
//!     failures in a row, or one silence
//!   Closed ───────────────────────► Open ◄───────────────┐
//!     ▲                              │                   │
//!     │                              │ after the         │ the probe fails,
//!     │                              ▼ cooldown          │ or ends undecided
//!     └────────────────────────── one probe ─────────────┘
//!        the server answers
//! ```
//!
//! There is one circuit for each server and process (thread, if PHP is thread-safe). It
//! concerns opening connections only. A connection that is open already is used as before.
//!
//! | Outcome of connecting | Its meaning |
//! | --- | --- |
//! | refused, reset, unknown name, TLS broken off | a failure |
//! | no answer within the whole time to connect | a silence: opens the circuit at once |
//! | no answer within less time, but within a second or more | a failure |
//! | logged in | closes the circuit |
//! | refused by the server itself: NOAUTH, LOADING, `maxclients`, a node of a cluster | closes it, too: the server is reachable |
//! | a certificate that is not accepted | likewise |
//! | a caller with less than a second, an interrupt, a fork, no free descriptor, a file of TLS | none: it says nothing about the server |
//!
//! A refusal costs microseconds, so several may be waited for. A silence costs the whole time to
//! connect, and each further one would cost it again.
//!
//! An open connection that is lost, or that stays silent, is not a failure by itself. The next call
//! opens another one, and that attempt counts.
//!
//! All decisions take the time as an argument. A forked child knows what its parent knew, but a
//! probe of its parent is not its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::process::Process;

/// Limit for the servers with failures that are remembered. A process rarely talks to more than a
/// few servers.
const MOST: usize = 64;
/// The least time after which a missing answer counts as a failure. Within less time, a busy server
/// cannot be told from a dead one.
const FAIR: Duration = Duration::from_secs(1);

/// When circuits open, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitOptions {
    /// The number of calls in a row that fail to connect until the circuit opens. A call whose
    /// whole time to connect passes without an answer opens it alone. 0: it never opens, and
    /// failures are not counted.
    pub failures: u32,
    /// The time from the last failure until one call may try to connect again.
    pub cooldown: Duration,
}

impl Default for CircuitOptions {
    fn default() -> Self {
        Self {
            failures: 0,
            // Longer than a restart, and short enough for a person who waits for the recovery.
            cooldown: Duration::from_secs(5),
        }
    }
}

/// A server that could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unreached {
    /// The number of calls in a row that failed to connect.
    pub failures: u32,
    /// The time of the first of these failures.
    pub since: SystemTime,
    /// The reason of the last failure.
    pub reason: String,
    /// The time until the server is asked again; `None` if the circuit is closed.
    pub retry_after: Option<Duration>,
}

/// What an attempt to connect showed about the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// The server is reachable.
    Reached,
    /// The server was not reached, for this reason.
    Unreached(String),
    /// The server did not answer, for this reason, although it had the whole time to connect.
    Silent(String),
    /// Nothing: the cause was in this process.
    Nothing,
}

/// What a missing answer shows about the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// The call has left the server the whole time to connect: a silence.
    Whole,
    /// The call has left the server a second or more: a failure.
    Fair,
    /// The call has left the server too little time: nothing.
    Short,
}

impl Patience {
    /// Judges the time that a call has left the server, except for the moment that passed before.
    pub(crate) fn of(given: Duration, connect_timeout: Duration) -> Self {
        if given >= connect_timeout.mul_f64(0.9) {
            Self::Whole
        } else if given >= FAIR.mul_f64(0.9) {
            Self::Fair
        } else {
            Self::Short
        }
    }

    /// Returns what a missing answer shows, with its reason.
    pub(crate) fn ends(self, reason: String) -> Shown {
        match self {
            Self::Whole => Shown::Silent(reason),
            Self::Fair => Shown::Unreached(reason),
            Self::Short => Shown::Nothing,
        }
    }
}

thread_local! {
    static CIRCUITS: RefCell<Circuits> = RefCell::default();
}

/// Returns the permission to connect, or the reason why the circuit is open.
pub(crate) fn enter(server: &str, options: CircuitOptions) -> Result<Passage, Unreached> {
    let now = Instant::now();
    let kind = CIRCUITS.with_borrow_mut(|all| all.enter(server, options, now))?;
    Ok(Passage {
        server: server.to_owned(),
        options,
        kind,
        shown: Shown::Nothing,
    })
}

/// Returns the servers that the last call could not reach, for display.
pub fn unreached(options: CircuitOptions) -> Vec<(String, Unreached)> {
    let now = Instant::now();
    CIRCUITS.with_borrow(|all| all.list(options, now))
}

/// The permission of one call to connect. Dropping it tells the circuit what the call showed.
#[derive(Debug)]
pub(crate) struct Passage {
    server: String,
    options: CircuitOptions,
    kind: Kind,
    shown: Shown,
}

impl Passage {
    /// Returns `true` if the call may try several times. After a failure, each further call tries
    /// once.
    pub(crate) fn may_repeat(&self) -> bool {
        self.kind == Kind::Closed
    }

    /// Ends the attempt of the call.
    pub(crate) fn end(mut self, shown: Shown) {
        self.shown = shown;
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        let shown = std::mem::replace(&mut self.shown, Shown::Nothing);
        let now = Instant::now();
        // At the end of a thread, the circuits may be gone already.
        let _ = CIRCUITS.try_with(|all| {
            all.borrow_mut()
                .leave(&self.server, self.options, self.kind, shown, now);
        });
    }
}

/// The kind of a permission to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No failure is known.
    Closed,
    /// The server was not reached before, but too few times to open the circuit.
    Doubted,
    /// The cooldown is over, and this call finds out whether the server is back.
    Probe,
}

/// The failures of one server. A server without failures has no circuit.
#[derive(Debug)]
struct Circuit {
    failures: u32,
    /// Whether one of the failures was a silence.
    was_silent: bool,
    first: Instant,
    last: Instant,
    reason: String,
    /// The process whose call is probing the server.
    probe: Option<Process>,
}

impl Circuit {
    fn unreached(&self, options: CircuitOptions, now: Instant) -> Unreached {
        let age = now.saturating_duration_since(self.first);
        let rested = now.saturating_duration_since(self.last);
        Unreached {
            failures: self.failures,
            since: SystemTime::now()
                .checked_sub(age)
                .unwrap_or(SystemTime::UNIX_EPOCH),
            reason: self.reason.clone(),
            retry_after: self
                .is_open(options)
                .then(|| options.cooldown.saturating_sub(rested)),
        }
    }

    fn is_open(&self, options: CircuitOptions) -> bool {
        options.failures > 0 && (self.was_silent || self.failures >= options.failures)
    }
}

/// The circuits of all servers.
#[derive(Debug, Default)]
struct Circuits(HashMap<String, Circuit>);

impl Circuits {
    fn enter(
        &mut self,
        server: &str,
        options: CircuitOptions,
        now: Instant,
    ) -> Result<Kind, Unreached> {
        if options.failures == 0 {
            return Ok(Kind::Closed);
        }
        let Some(circuit) = self.0.get_mut(server) else {
            return Ok(Kind::Closed);
        };
        if !circuit.is_open(options) {
            return Ok(Kind::Doubted);
        }
        let rested = now.saturating_duration_since(circuit.last);
        let process = Process::current();
        if rested < options.cooldown || circuit.probe == Some(process) {
            return Err(circuit.unreached(options, now));
        }
        circuit.probe = Some(process);
        Ok(Kind::Probe)
    }

    fn leave(
        &mut self,
        server: &str,
        options: CircuitOptions,
        kind: Kind,
        shown: Shown,
        now: Instant,
    ) {
        let is_silent = matches!(shown, Shown::Silent(_));
        match shown {
            Shown::Reached => {
                self.0.remove(server);
            }
            Shown::Unreached(reason) | Shown::Silent(reason) if options.failures > 0 => {
                self.make_room(server);
                let circuit = self.0.entry(server.to_owned()).or_insert(Circuit {
                    failures: 0,
                    was_silent: false,
                    first: now,
                    last: now,
                    reason: String::new(),
                    probe: None,
                });
                circuit.failures = circuit.failures.saturating_add(1);
                circuit.was_silent |= is_silent;
                (circuit.last, circuit.reason) = (now, reason);
                circuit.probe = None;
            }
            Shown::Unreached(_) | Shown::Silent(_) | Shown::Nothing => {
                if kind == Kind::Probe
                    && let Some(circuit) = self.0.get_mut(server)
                {
                    circuit.probe = None;
                }
            }
        }
    }

    /// Forgets the server that failed longest ago if the limit is reached.
    fn make_room(&mut self, server: &str) {
        if self.0.len() < MOST || self.0.contains_key(server) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|(_, circuit)| circuit.last);
        if let Some(oldest) = oldest.map(|(server, _)| server.clone()) {
            self.0.remove(&oldest);
        }
    }

    fn list(&self, options: CircuitOptions, now: Instant) -> Vec<(String, Unreached)> {
        let all = self.0.iter();
        all.map(|(server, circuit)| (server.clone(), circuit.unreached(options, now)))
            .collect()
    }
}

#[cfg(test)]
mod tests;
