//! The connection of a client: taken out for a call, checked, opened if it must be, and kept.
//!
//! A call takes its connection out by [`acquire`](Client::acquire) and puts it back by
//! [`keep`](Client::keep). A connection that failed is not put back:
//! [`abandon`](Client::abandon) reports the posts that were still open on it.

use std::time::Duration;

use super::client::Client;
use super::link::{Link, Resting};
use super::reply::Shape;
use crate::blocking::Wait;
use crate::blocking::connect::Connect;
use crate::error::{ClientError, PublishError};
use crate::redis::RedisEndpoint;

/// The longest gap between the pipelined posts of a loop, and the time for which a connection counts
/// as alive after something has arrived on it.
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
            // Nothing depends on these answers. If the connection has just shown that it is alive,
            // they are read together with those of the next call. Otherwise it may have died, and
            // half of the time is left for a new one.
            if link.wire.lacks_unawaited() && !link.wire.heard_within(LOOP) {
                let mut part = wait.share(2, Duration::ZERO);
                let mut part = part.within(self.options.connect_timeout);
                match link.wire.skip_unawaited(&mut part) {
                    Ok(()) => {}
                    Err(error) if error.ends_call() => {
                        self.abandon(link, &error);
                        return Err(error);
                    }
                    Err(error) => {
                        self.abandon(link, &error);
                        continue;
                    }
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
        // Until the start of this call, or zero after another try of it.
        let rested = wait
            .deadline()
            .since()
            .saturating_duration_since(resting.link().last_used());
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
        if link.wire.is_retired() && link.debts.open_posts() == 0 {
            return;
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

    /// Opens a connection, unless the circuit of the server is open.
    fn open(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        let options = &self.options;
        let connect = Connect {
            server: &*self.endpoint,
            timeout: options.connect_timeout,
            circuit: options.circuit,
        };
        let mut link = connect.run(wait, |wait| {
            Link::open(&self.endpoint, options.max_reply, wait)
        })?;
        link.wire.spin(options.spin);
        Ok(link)
    }
}

fn lost(endpoint: &RedisEndpoint) -> ClientError {
    ClientError::Disconnected {
        endpoint: endpoint.display_url(),
        reason: "the server closed it".to_owned(),
    }
}
