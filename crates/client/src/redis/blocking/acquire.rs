//! The connection of a client: taken out for a call, checked, opened if it must be, and kept.
//!
//! A call takes its connection out by [`acquire`](Client::acquire) and puts it back by
//! [`keep`](Client::keep). A connection that failed is not put back:
//! [`abandon`](Client::abandon) reports the posts that were still open on it.

use std::time::Duration;

use super::client::Client;
use super::link::{Link, Resting};
use super::reply::Shape;
use super::stream::NotOpen;
use crate::backoff::random;
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

/// What the next call needs of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It owes no answers to posts.
    Quiet,
    /// The window has room for another pipelined post.
    Room,
}

impl Client {
    /// Returns a connection for the next call: the one that was kept, if it can be used, or a new
    /// one. Put it back with [`keep`](Self::keep) if it is still good.
    pub(super) fn acquire(
        &mut self,
        need: Need,
        wait: &mut Wait<'_>,
    ) -> Result<Resting, ClientError> {
        loop {
            let mut link = match self.take_kept(wait)? {
                Some(Resting::Ready(link)) => link,
                // It owes no answers to posts, so there is nothing to prepare.
                Some(leaving) => return Ok(leaving),
                None => return self.open(wait).map(Resting::Ready),
            };
            if link.debts.open_posts() == 0 && !link.debts.is_empty() {
                // No post depends on these answers, so the next call need not wait for them on a
                // connection that may have died. Half of the time is left for a new one.
                let mut part = wait.share(2, Duration::ZERO);
                let mut part = part.within(self.options.connect_timeout);
                match self.settle(&mut link, &mut part) {
                    Ok(()) => {}
                    Err(error) if error.ends_call() => return Err(error),
                    Err(_) => continue,
                }
            }
            let prepared = match need {
                Need::Quiet => self.settle(&mut link, wait),
                Need::Room => self.make_room(&mut link, wait),
            };
            match prepared {
                // An answer made no sense, or it says that another connection may do better.
                Ok(()) if !link.wire.is_whole() => self.keep(link),
                Ok(()) => return Ok(Resting::Ready(link)),
                Err(error) => {
                    self.abandon(link, &error);
                    return Err(error);
                }
            }
        }
    }

    /// Returns a connection whose next answer is that of the next command.
    pub(super) fn acquire_quiet(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        match self.acquire(Need::Quiet, wait)? {
            Resting::Ready(link) => Ok(link),
            // A channel that cannot be left must leave time for a new connection.
            leaving @ Resting::Leaving(_) => leaving.ready(&mut wait.share(2, Duration::ZERO)),
        }
    }

    /// Takes the kept connection, checked, or returns `None` if a new one is needed. An error (the
    /// deadline or an interrupt) ends the call.
    fn take_kept(&mut self, wait: &mut Wait<'_>) -> Result<Option<Resting>, ClientError> {
        let Some(mut resting) = self.kept.take() else {
            return Ok(None);
        };
        let rested = resting.link().last_used().elapsed();
        // The connection may have been opened for a caller with another limit.
        let wire = &mut resting.link_mut().wire;
        wire.accept_up_to(self.options.max_reply);
        wire.spin(self.options.spin);
        let alive = match resting {
            Resting::Ready(link) => self.if_alive(link, rested, wait)?,
            Resting::Leaving(leaving) => leaving.if_alive(),
        };
        let Some(resting) = alive else {
            return Ok(None);
        };
        if rested <= self.options.idle_check || !resting.link().debts.is_empty() {
            return Ok(Some(resting));
        }
        // The check takes at most half of the time left, so that a dead connection leaves time for
        // a new one.
        let mut wait = wait.share(2, Duration::ZERO);
        let mut wait = wait.within(self.options.connect_timeout);
        let mut link = match resting.ready(&mut wait) {
            Ok(link) => link,
            Err(error) if error.ends_call() => return Err(error),
            Err(_) => return Ok(None),
        };
        let ping = redis::cmd("PING");
        match link.call(&ping, Shape::Short, &mut wait, "the answer to PING") {
            Ok(_) => Ok(Some(Resting::Ready(link))),
            Err(error) if error.ends_call() => {
                self.abandon(link, &error);
                Err(error)
            }
            Err(_) => {
                let lost = lost(&self.endpoint);
                self.abandon(link, &lost);
                Ok(None)
            }
        }
    }

    /// Returns the link if it can be used, as far as it shows without waiting. A retired link
    /// cannot; its answers are awaited before it is dropped.
    fn if_alive(
        &mut self,
        mut link: Box<Link>,
        rested: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Resting>, ClientError> {
        let usable = if link.wire.is_retired() {
            match self.settle(&mut link, wait) {
                Err(error) if error.ends_call() => {
                    self.abandon(link, &error);
                    return Err(error);
                }
                _ => false,
            }
        } else {
            let in_a_loop = !link.debts.is_empty() && rested < LOOP;
            // The server may have closed the connection after its last answers. The client reads
            // these answers first, because they still count and hide the end of the stream.
            link.wire.is_whole()
                && (in_a_loop || (self.settle_at_hand(&mut link).is_ok() && link.is_alive()))
        };
        if usable {
            return Ok(Some(Resting::Ready(link)));
        }
        if link.debts.open_posts() > 0 {
            let lost = lost(&self.endpoint);
            self.abandon(link, &lost);
        }
        Ok(None)
    }

    /// Keeps the connection for the next call. A retired connection is dropped as soon as it owes
    /// no answer.
    pub(super) fn keep(&mut self, connection: impl Into<Resting>) {
        let mut resting = connection.into();
        let link = resting.link_mut();
        if link.wire.is_retired() {
            self.forget_name();
            if link.debts.open_posts() == 0 {
                return;
            }
        }
        link.touch();
        self.kept = Some(resting);
    }

    /// Takes out the connection that owes answers, without a check.
    pub(super) fn take_owing(&mut self) -> Option<Box<Link>> {
        match self
            .kept
            .take_if(|kept| kept.link().debts.open_posts() > 0)?
        {
            Resting::Ready(link) => Some(link),
            Resting::Leaving(_) => None,
        }
    }

    /// Drops a connection. The posts still open on it have an unknown outcome.
    pub(super) fn abandon(&mut self, link: Box<Link>, cause: &ClientError) {
        let open = link.debts.into_open_posts();
        self.late
            .extend(open.map(|task_id| PublishError::new(task_id, true, cause.clone())));
    }

    /// Drops an idle connection that may have died unnoticed. A connection that owes answers is
    /// kept: reading them will show whether it is alive.
    pub(super) fn doubt(&mut self) {
        self.kept
            .take_if(|kept| kept.link().debts.open_posts() == 0);
    }

    fn open(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        let mut wait = wait.within(self.options.connect_timeout);
        let mut pauses = CONNECT_PAUSES.iter();
        loop {
            match Link::open(&self.endpoint, self.options.max_reply, &mut wait) {
                Ok(mut link) => {
                    link.wire.spin(self.options.spin);
                    return Ok(link);
                }
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
}

fn lost(endpoint: &RedisEndpoint) -> ClientError {
    ClientError::Disconnected {
        endpoint: endpoint.display_url(),
        reason: "the server closed it".to_owned(),
    }
}
