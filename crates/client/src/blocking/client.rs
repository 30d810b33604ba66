//! A client of one Redis: it connects when it must, and repeats what may be repeated.
//!
//! What was only asked (a read, a deletion, a notice to workers) is repeated once after a lost connection, and until
//! the deadline after an answer that says "not now". What changes a queue follows the rules in `publish`.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::keys::Keys;
use redis::{Cmd, Value};

use super::link::Link;
use super::reply::Shape;
use super::resolve;
use super::stream::NotOpen;
use super::wait::Wait;
use crate::endpoint::{Address, Endpoint};
use crate::error::{ClientError, PublishError};

/// Pauses between tries to connect, as Celery's `task_publish_retry_policy` has them (start 0, step 0.2 s, 3 tries):
/// a restarting server is survived, an absent one is reported in well under a second. Each is off by up to a quarter: the
/// processes of a pool lose their server at one moment, and should not come back in step.
const CONNECT_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// Pipelined posts that follow each other so closely are a loop. Its connection is not looked at before each: a look makes
/// the system send what it gathers, and the answers will tell.
const LOOP: Duration = Duration::from_millis(1);

/// The numbers a client works with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Everything up to an accepted connection: name, TCP, TLS, AUTH, SELECT; always inside the call's deadline.
    pub connect_timeout: Duration,
    /// One step of a wait for a result – subscribing, or reading the key. A connection that takes longer is dropped as
    /// dead, and the wait goes on over another, which gets twice the time.
    pub command_timeout: Duration,
    /// Replicas that must have a post before it counts as confirmed (`WAIT`); 0: none is asked.
    pub replicas: u32,
    /// A connection that rested for longer is asked (PING) before it is used.
    pub idle_check: Duration,
    /// The largest result that is accepted, in bytes. Answers to other commands are small, whatever this is.
    pub max_reply: usize,
    /// Pipelined posts that may be open: unanswered, or answered and not yet confirmed by the replicas.
    pub window_posts: usize,
    /// Bytes of pipelined posts whose answers may be outstanding.
    pub window_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(5),
            replicas: 0,
            idle_check: Duration::from_secs(30),
            // Redis' own limit for one value, with room for the frame around it.
            max_reply: (512 << 20) + 1024,
            window_posts: 1000,
            window_bytes: 4 << 20,
        }
    }
}

/// One server, and at most one connection to it. The calls are in `publish`, `results` and `control`.
pub struct Client {
    endpoint: Arc<Endpoint>,
    keys: Keys,
    pub(super) options: ClientOptions,
    link: Option<Link>,
    /// Failures of pipelined posts that were found while something else was done.
    pub(super) late: Vec<PublishError>,
}

impl Client {
    /// A client without a connection yet.
    pub fn new(endpoint: Arc<Endpoint>, options: ClientOptions) -> Self {
        let keys = endpoint.keys();
        Self {
            endpoint,
            keys,
            options,
            link: None,
            late: Vec::new(),
        }
    }

    /// Where it connects to.
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// Other options, from the next call on.
    pub fn set_options(&mut self, options: ClientOptions) {
        self.options = options;
    }

    /// The names of keys and channels it uses.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// Whatever keeps it from answering `PONG`.
    pub fn ping(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.ask(
            &redis::cmd("PING"),
            Shape::Short,
            wait,
            "the answer to PING",
        )
        .map(drop)
    }

    /// Whether there is nothing to report and nothing outstanding.
    pub(super) fn is_settled(&self) -> bool {
        self.late.is_empty() && self.outstanding() == 0
    }

    /// Whether it has a connection that can be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_whole)
    }

    /// Pipelined posts that are not confirmed yet.
    pub fn outstanding(&self) -> usize {
        self.link.as_ref().map_or(0, Link::open_posts)
    }

    /// The connection, taken out: put it back with [`keep`](Self::keep) if it is still good. A resting one is looked at
    /// first; a new one is opened where there is none.
    pub(super) fn link(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        if let Some(mut link) = self.link.take() {
            // It may have been opened for a caller with another limit.
            link.accept_up_to(self.options.max_reply);
            match self.is_usable(&mut link, wait) {
                Ok(true) => return Ok(link),
                Ok(false) => {
                    let cause = lost(&self.endpoint);
                    self.abandon(link, || cause.clone());
                }
                Err(error) => {
                    self.abandon(link, || error.clone());
                    return Err(error);
                }
            }
        }
        self.open(wait)
    }

    /// Keeps the connection for the next call – unless its server is no longer the right one, and owes nothing more.
    pub(super) fn keep(&mut self, mut link: Link) {
        if link.is_retired() {
            self.forget_name();
            if link.open_posts() == 0 {
                return;
            }
        }
        link.touch();
        self.link = Some(link);
    }

    /// The connection as it is, if there is one.
    pub(super) fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    /// Drops a connection; the posts still open on it have an unknown outcome.
    pub(super) fn abandon(&mut self, mut link: Link, cause: impl Fn() -> ClientError) {
        let open = link.take_open_posts();
        self.late
            .extend(open.map(|task_id| PublishError::new(task_id, true, cause())));
    }

    /// Drops a connection at rest that may have died unnoticed. One that owes answers will tell by itself.
    pub(super) fn doubt(&mut self) {
        self.link.take_if(|link| link.open_posts() == 0);
    }

    /// An error ends the call: the deadline or an interrupt.
    fn is_usable(&mut self, link: &mut Link, wait: &mut Wait<'_>) -> Result<bool, ClientError> {
        let rested = link.last_used().elapsed();
        if link.is_retired() {
            return match self.settle(link, wait) {
                Err(ended @ (ClientError::Interrupted | ClientError::Forked)) => Err(ended),
                _ => Ok(false),
            };
        }
        let in_a_loop = !link.owed().is_empty() && rested < LOOP;
        if !link.is_whole() {
            return Ok(false);
        }
        // Behind answers that have come, the server may have closed it: they count, and then nothing hides the end.
        if !in_a_loop && (self.settle_at_hand(link).is_err() || !link.is_alive()) {
            return Ok(false);
        }
        if rested <= self.options.idle_check || !link.owed().is_empty() {
            return Ok(true);
        }
        // Half of what is left in any case: a dead connection must leave time for another.
        let mut wait = wait.share(2, Duration::ZERO);
        let mut wait = wait.within(self.options.connect_timeout);
        let asked = link.await_departure(&mut wait).and_then(|()| {
            link.call(
                &redis::cmd("PING"),
                Shape::Short,
                &mut wait,
                "the answer to PING",
            )
        });
        match asked {
            Ok(_) => Ok(true),
            Err(ended @ (ClientError::Interrupted | ClientError::Forked)) => Err(ended),
            Err(_) => Ok(false),
        }
    }

    fn open(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        let mut wait = wait.within(self.options.connect_timeout);
        let mut pauses = CONNECT_PAUSES.iter();
        loop {
            match Link::open(&self.endpoint, &self.options, &mut wait) {
                Ok(link) => return Ok(link),
                Err(NotOpen {
                    error: ClientError::Server(answer),
                    ..
                }) => {
                    if answer.wants_new_connection() {
                        self.forget_name();
                    }
                    return Err(ClientError::Server(answer));
                }
                Err(NotOpen {
                    error: ClientError::Timeout { what, after },
                    ..
                }) => {
                    self.forget_name();
                    let reason = format!("no end of {what} within {after:?}");
                    return Err(ClientError::Connect {
                        endpoint: self.endpoint.display_url(),
                        reason,
                    });
                }
                Err(NotOpen {
                    error: error @ ClientError::Tls { .. },
                    ..
                }) => {
                    self.forget_name();
                    return Err(error);
                }
                Err(NotOpen { error, again }) => match pauses.next().filter(|_| again) {
                    Some(pause) => {
                        let pause = pause.mul_f64(0.75 + fastrand::f64() / 2.0);
                        if pause >= wait.deadline().remaining() {
                            return Err(error);
                        }
                        wait.pause(pause, "connecting")?;
                    }
                    None => return Err(error),
                },
            }
        }
    }

    /// The name may lead elsewhere by now.
    fn forget_name(&self) {
        if let Address::Tcp { host, .. } = self.endpoint.address() {
            resolve::forget(host);
        }
    }

    /// A connection on which commands are answered: nothing owed, no channel listened to.
    pub(super) fn quiet_link(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        let mut link = self.quiet_or_leaving_link(wait)?;
        link.await_departure(&mut wait.share(2, Duration::ZERO))?;
        Ok(link)
    }

    /// A connection to subscribe on: nothing owed; leaving a channel is finished together with entering the next.
    pub(super) fn quiet_or_leaving_link(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Link, ClientError> {
        let mut link = self.link(wait)?;
        let settled = self.settle(&mut link, wait);
        self.unless_retired(link, settled, wait)
    }

    /// A connection after its answers were read: itself; if one of them was a reason to leave its server, a new one; none
    /// if they could not be read.
    pub(super) fn unless_retired(
        &mut self,
        link: Link,
        read: Result<(), ClientError>,
        wait: &mut Wait<'_>,
    ) -> Result<Link, ClientError> {
        match read {
            Ok(()) if link.is_retired() => {
                self.keep(link);
                self.link(wait)
            }
            Ok(()) => Ok(link),
            Err(error) => {
                self.abandon(link, || error.clone());
                Err(error)
            }
        }
    }

    /// One command that may be repeated, and its answer.
    pub(super) fn ask(
        &mut self,
        cmd: &Cmd,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Value, ClientError> {
        let mut backoff = Backoff::new();
        let mut lost_before = false;
        loop {
            let asked = self.quiet_link(wait).and_then(|mut link| {
                let answer = link.call(cmd, shape, wait, what)?;
                self.keep(link);
                answer.map_err(|answer| self.endpoint.refused(answer))
            });
            match asked {
                Err(ClientError::Disconnected { .. }) if !lost_before => lost_before = true,
                // Only the share of leaving a channel was over: nothing was asked yet.
                Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {}
                Err(ClientError::Server(answer)) if answer.is_transient() => {
                    if backoff.pause(wait).is_err() {
                        return Err(ClientError::Server(answer));
                    }
                }
                other => return other,
            }
        }
    }
}

fn lost(endpoint: &Endpoint) -> ClientError {
    ClientError::Disconnected {
        endpoint: endpoint.display_url(),
        reason: "the server closed it".to_owned(),
    }
}

/// Growing pauses with jitter, so that many clients do not come back in step.
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(20);
    /// `interval_max` of Celery's `task_publish_retry_policy`.
    const LONGEST: Duration = Duration::from_secs(1);

    pub(super) fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// Sleeps; an error if the deadline comes first, or an interrupt.
    pub(super) fn pause(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(Self::LONGEST);
        wait.pause(pause, "waiting for the server to recover")
    }
}
