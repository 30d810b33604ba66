//! Opening a connection to a server, whatever it speaks: through its circuit, and once more after a
//! pause where that may help.

use std::time::Duration;

use super::circuit::{self, CircuitOptions, Patience, Shown, Unreached};
use super::not_open::{NotOpen, took_longer};
use super::resolve;
use super::stream::Server;
use super::wait::Wait;
use crate::backoff::random;
use crate::error::ClientError;

/// Pauses between attempts to connect, as in Celery's `task_publish_retry_policy` (start 0, step
/// 0.2 s, 3 attempts).
///
/// They outlast the restart of a server, and an absent server is reported in well under a second.
/// Each pause varies by up to a quarter. The processes of a pool lose their server at the same
/// moment, but should not reconnect in step.
const PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// How a connection is opened.
pub(crate) struct Connect<'e, S> {
    /// The server.
    pub(crate) server: &'e S,
    /// Limit for everything up to an accepted login.
    pub(crate) timeout: Duration,
    /// When the server is not asked at all.
    pub(crate) circuit: CircuitOptions,
}

impl<S: Server> Connect<'_, S> {
    /// Opens a connection by `open`, unless the circuit of the server is open.
    pub(crate) fn run<L>(
        &self,
        wait: &mut Wait<'_>,
        open: impl FnMut(&mut Wait<'_>) -> Result<L, NotOpen>,
    ) -> Result<L, ClientError> {
        let passage = circuit::enter(&self.server.place(), self.circuit)
            .map_err(|unreached| self.not_asked(unreached))?;
        let mut wait = wait.within(self.timeout);
        let patience = Patience::of(wait.deadline().remaining(), self.timeout);
        let opened = attempts(passage.may_repeat(), &mut wait, open);
        passage.end(match &opened {
            Ok(_) => Shown::Reached,
            Err(not_open) => not_open.shown(patience),
        });
        opened.map_err(|not_open| self.not_connected(not_open.error))
    }

    /// Returns the error of a call that could not connect. The name of the server may lead to
    /// another one now.
    fn not_connected(&self, error: ClientError) -> ClientError {
        let forget = || resolve::forget_address(self.server.address());
        match error {
            ClientError::Server(answer) => {
                if answer.wants_new_connection() {
                    forget();
                }
                ClientError::Server(answer)
            }
            ClientError::Timeout { what, after } => {
                forget();
                ClientError::Connect {
                    endpoint: self.server.display_url(),
                    reason: took_longer(what, after),
                }
            }
            error @ ClientError::Tls { .. } => {
                forget();
                error
            }
            error => error,
        }
    }

    fn not_asked(&self, unreached: Unreached) -> ClientError {
        ClientError::CircuitOpen {
            endpoint: self.server.display_url(),
            failures: unreached.failures,
            since: unreached.since,
            reason: unreached.reason,
            retry_after: unreached.retry_after.unwrap_or_default(),
        }
    }
}

/// Tries to connect: once, or as often as the pauses and the time allow.
fn attempts<L>(
    may_repeat: bool,
    wait: &mut Wait<'_>,
    mut open: impl FnMut(&mut Wait<'_>) -> Result<L, NotOpen>,
) -> Result<L, NotOpen> {
    let mut pauses = PAUSES.iter();
    loop {
        let not_open = match open(wait) {
            Ok(link) => return Ok(link),
            Err(not_open) => not_open,
        };
        let may_repeat = may_repeat && not_open.again;
        let Some(pause) = pauses.next().filter(|_| may_repeat) else {
            return Err(not_open);
        };
        let pause = pause.mul_f64(0.75 + random() / 2.0);
        if pause >= wait.deadline().remaining() {
            return Err(not_open);
        }
        wait.pause(pause, "connecting").map_err(NotOpen::for_good)?;
    }
}
