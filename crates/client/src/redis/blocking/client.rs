//! A client of one Redis: it connects when needed and repeats what may be repeated.
//!
//! Commands that do not change a queue (a read, a deletion, a broadcast to workers) are repeated
//! once after a lost connection. If the answer means "not now", they are repeated until the
//! deadline. Posts follow the rules in `publish`.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::redis_keys::Keys;
use redis::{Cmd, Value};

use super::link::Link;
use super::reply::Shape;
use super::stream::NotOpen;
use crate::backoff::{Backoff, random};
use crate::blocking::{Wait, resolve};
use crate::endpoint::Address;
use crate::error::{ClientError, PublishError};
use crate::redis::RedisEndpoint;

/// Pauses between attempts to connect, as in Celery's `task_publish_retry_policy` (start 0, step
/// 0.2 s, 3 attempts).
///
/// They outlast the restart of a server, and an absent server is reported in well under a second.
/// Each pause varies by up to a quarter. The processes of a pool lose their server at the same
/// moment, but should not reconnect in step.
const CONNECT_PAUSES: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(200),
    Duration::from_millis(400),
];

/// The longest gap between the pipelined posts of a loop.
///
/// Within a loop, the connection is not checked before each post. A check makes the system send the
/// small writes that it gathers, and the answers show a broken connection anyway.
const LOOP: Duration = Duration::from_millis(1);

/// The limits and timeouts of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Limit for everything up to an accepted connection: name, TCP, TLS, AUTH, SELECT. The
    /// deadline of the call applies as well.
    pub connect_timeout: Duration,
    /// Limit for one step of a wait for a result: subscribing, or reading the key.
    ///
    /// A connection that takes longer is dropped as dead. The wait continues on a new one, whose
    /// limit is twice as long.
    pub command_timeout: Duration,
    /// Number of replicas that must confirm a post (`WAIT`); 0: no replica is asked.
    pub replicas: u32,
    /// Idle time after which a connection is checked by a PING before it is used.
    pub idle_check: Duration,
    /// The largest result to accept, in bytes. Answers to other commands have a small limit of
    /// their own.
    pub max_reply: usize,
    /// Limit for open pipelined posts: not answered yet, or answered but not confirmed by the
    /// replicas.
    pub window_posts: usize,
    /// Limit for the bytes of pipelined posts whose answers are outstanding.
    pub window_bytes: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            command_timeout: Duration::from_secs(5),
            replicas: 0,
            idle_check: Duration::from_secs(30),
            // Redis' limit for one value, plus room for the length and the line ends around it.
            max_reply: (512 << 20) + 1024,
            window_posts: 1000,
            window_bytes: 4 << 20,
        }
    }
}

/// A client of one server, with at most one connection. Its calls are in `publish`, `results` and
/// `control`.
pub struct Client {
    endpoint: Arc<RedisEndpoint>,
    keys: Keys,
    pub(super) options: ClientOptions,
    link: Option<Link>,
    /// Failures of pipelined posts that other calls have found.
    pub(super) late: Vec<PublishError>,
}

impl Client {
    /// Creates a client that has not connected yet.
    pub fn new(endpoint: Arc<RedisEndpoint>, options: ClientOptions) -> Self {
        let keys = endpoint.keys();
        Self {
            endpoint,
            keys,
            options,
            link: None,
            late: Vec::new(),
        }
    }

    /// Returns the endpoint that the client connects to.
    pub fn endpoint(&self) -> &Arc<RedisEndpoint> {
        &self.endpoint
    }

    /// Sets the options of all later calls.
    pub fn set_options(&mut self, options: ClientOptions) {
        self.options = options;
    }

    /// Returns the names of the keys and channels that the client uses.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents the answer `PONG`.
    pub fn ping(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.ask(
            &redis::cmd("PING"),
            Shape::Short,
            wait,
            "the answer to PING",
        )
        .map(drop)
    }

    /// Returns `true` if no answer is outstanding and no failure remains to be reported.
    pub(super) fn is_settled(&self) -> bool {
        self.late.is_empty() && self.outstanding() == 0
    }

    /// Returns `true` if the client has a connection that can be used again.
    pub(super) fn is_whole(&self) -> bool {
        self.link.as_ref().is_some_and(Link::is_whole)
    }

    /// Returns the number of pipelined posts that are not confirmed yet.
    pub fn outstanding(&self) -> usize {
        self.link.as_ref().map_or(0, Link::open_posts)
    }

    /// Takes the connection out of the client; return it with [`keep`](Self::keep) if it is still
    /// good.
    ///
    /// An idle connection is checked first. A new one is opened if none is usable.
    pub(super) fn link(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        if let Some(mut link) = self.link.take() {
            // The connection may have been opened for a caller with another limit.
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

    /// Keeps the connection for the next call. A retired connection is dropped as soon as it owes
    /// no answer.
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

    /// Takes the connection out, if there is one, without a check.
    pub(super) fn take_link(&mut self) -> Option<Link> {
        self.link.take()
    }

    /// Drops a connection. The posts still open on it have an unknown outcome.
    pub(super) fn abandon(&mut self, mut link: Link, cause: impl Fn() -> ClientError) {
        let open = link.take_open_posts();
        self.late
            .extend(open.map(|task_id| PublishError::new(task_id, true, cause())));
    }

    /// Drops an idle connection that may have died unnoticed. A connection that owes answers is
    /// kept: reading them will show whether it is alive.
    pub(super) fn doubt(&mut self) {
        self.link.take_if(|link| link.open_posts() == 0);
    }

    /// Returns `true` if the connection can be used. An error (the deadline or an interrupt) ends
    /// the call.
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
        // The server may have closed the connection after its last answers. The client reads these
        // answers first, because they still count and hide the end of the stream.
        if !in_a_loop && (self.settle_at_hand(link).is_err() || !link.is_alive()) {
            return Ok(false);
        }
        if rested <= self.options.idle_check || !link.owed().is_empty() {
            return Ok(true);
        }
        // The check takes at most half of the time left, so that a dead connection leaves time for
        // a new one.
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
            match Link::open(&self.endpoint, self.options.max_reply, &mut wait) {
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
                    let reason = format!("{what} took longer than {after:?}");
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
                        let pause = pause.mul_f64(0.75 + random() / 2.0);
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

    /// Forgets the addresses of the host, because the name may now lead to another server.
    fn forget_name(&self) {
        if let Address::Tcp { host, .. } = self.endpoint.address() {
            resolve::forget(host);
        }
    }

    /// Returns a connection that owes no answers and listens to no channel.
    pub(super) fn quiet_link(&mut self, wait: &mut Wait<'_>) -> Result<Link, ClientError> {
        let mut link = self.quiet_or_leaving_link(wait)?;
        link.await_departure(&mut wait.share(2, Duration::ZERO))?;
        Ok(link)
    }

    /// Returns a connection that owes no answers, for a subscription. It may still be leaving a
    /// channel: that ends together with the next subscription.
    pub(super) fn quiet_or_leaving_link(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<Link, ClientError> {
        let mut link = self.link(wait)?;
        let settled = self.settle(&mut link, wait);
        self.unless_retired(link, settled, wait)
    }

    /// Returns the connection after its owed answers were `read`, or a new one if an answer made it
    /// retire. If the answers could not be read, the connection is dropped.
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

    /// Sends a command that may be repeated, and returns its answer.
    pub(super) fn ask(
        &mut self,
        cmd: &Cmd,
        shape: Shape,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Value, ClientError> {
        let mut backoff = backoff();
        let mut lost_before = false;
        loop {
            let asked = self.quiet_link(wait).and_then(|mut link| {
                let answer = link.call(cmd, shape, wait, what)?;
                self.keep(link);
                answer.map_err(|answer| self.endpoint.refused(answer))
            });
            match asked {
                Err(ClientError::Disconnected { .. }) if !lost_before => lost_before = true,
                // The wait for leaving a channel has used its share of the time. The command was
                // not sent yet.
                Err(ClientError::Timeout { .. }) if !wait.deadline().has_passed() => {}
                Err(ClientError::Server(answer)) if answer.is_transient() => {
                    if wait.back_off(&mut backoff).is_err() {
                        return Err(ClientError::Server(answer));
                    }
                }
                other => return other,
            }
        }
    }
}

fn lost(endpoint: &RedisEndpoint) -> ClientError {
    ClientError::Disconnected {
        endpoint: endpoint.display_url(),
        reason: "the server closed it".to_owned(),
    }
}

/// The first pause before a server that cannot answer yet is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest pause before a server that cannot answer yet is asked again: `interval_max` of
/// Celery's `task_publish_retry_policy`.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Returns the pauses before a server that cannot answer yet is asked again.
pub(super) fn backoff() -> Backoff {
    Backoff::between(FIRST_PAUSE, LONGEST_PAUSE)
}
