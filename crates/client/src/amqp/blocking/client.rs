//! A client of one RabbitMQ: its connection, checked before each use and opened when needed.

use std::sync::Arc;
use std::time::Duration;

use celery_protocol::amqp::limits::MAX_BODY;
use celery_protocol::amqp::{Method, Reply};
use celery_protocol::events::Sender;

use super::link::{Link, unexpected_reply};
use super::owing::Owing;
use crate::amqp::AmqpEndpoint;
use crate::amqp::QueueType;
use crate::blocking::connect::Connect;
use crate::blocking::not_open::{NotOpen, took_longer};
use crate::blocking::resolve;
use crate::blocking::{CircuitOptions, Process, Wait};
use crate::error::{ClientError, PublishError};

/// The limits and timeouts of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClientOptions {
    /// Limit for everything up to an open channel: name, TCP, TLS, login. The deadline of the call
    /// applies as well.
    pub connect_timeout: Duration,
    /// When a server that cannot be reached is not asked for a while.
    pub circuit: CircuitOptions,
    /// Idle time after which a connection is checked by a round trip before it is used. A device on
    /// the way may have dropped it without a sign.
    pub idle_check: Duration,
    /// Whether a wait for an answer first looks for the answer without sleeping, for up to 50 µs.
    pub spin: bool,
    /// The largest body of a message to accept.
    pub max_body: usize,
    /// The type of queue that is created if a post by a queue's name finds none, or `None` to
    /// report such a post as an error.
    pub create_missing: Option<QueueType>,
    /// Limit for pipelined posts whose outcomes were not collected.
    pub window_posts: usize,
    /// Limit for the bytes of these posts, which the client keeps.
    pub window_bytes: usize,
    /// The sender of the `task-sent` event that follows each confirmed post, or `None` for no
    /// events.
    pub sent_events: Option<Arc<Sender>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(2),
            circuit: CircuitOptions::default(),
            idle_check: Duration::from_secs(30),
            spin: true,
            max_body: MAX_BODY,
            create_missing: Some(QueueType::Classic),
            window_posts: 1000,
            window_bytes: 4 << 20,
            sent_events: None,
        }
    }
}

/// A client of one server, with at most one connection. Its calls are in `publish`, `declare` and
/// `receive`.
pub struct Client {
    endpoint: Arc<AmqpEndpoint>,
    pub(super) options: ClientOptions,
    /// The connection, between two calls.
    kept: Option<Box<Link>>,
    /// The connection of pipelined posts whose outcomes were not collected.
    pub(super) owing: Option<Owing>,
    /// Failures of pipelined posts.
    pub(super) late: Vec<PublishError>,
    /// The index of the server that was reached last, if the endpoint is a list.
    preferred: usize,
    /// The process that made the connection. In a fork of it, the connection belongs to the parent.
    owner: Process,
}

impl Client {
    /// Creates a client that has not connected yet.
    pub fn new(endpoint: Arc<AmqpEndpoint>, options: ClientOptions) -> Self {
        Self {
            endpoint,
            options,
            kept: None,
            owing: None,
            late: Vec::new(),
            preferred: 0,
            owner: Process::current(),
        }
    }

    /// Returns the endpoint that the client connects to.
    pub fn endpoint(&self) -> &Arc<AmqpEndpoint> {
        &self.endpoint
    }

    /// Sets the options of all later calls.
    pub fn set_options(&mut self, options: ClientOptions) {
        self.options = options;
    }

    /// Returns `true` if the client has a connection that the next call can use.
    pub fn is_connected(&mut self) -> bool {
        self.check_owner();
        self.kept.as_mut().is_some_and(|link| link.is_alive())
    }

    /// Returns `true` if this process made a connection that is kept, and no outcome of a pipelined
    /// post remains to be collected.
    pub(super) fn may_rest(&self) -> bool {
        let is_settled = self.owing.is_none() && self.late.is_empty();
        self.kept.is_some() && is_settled && self.owner == Process::current()
    }

    /// Checks that the server answers.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents the answer.
    pub fn ping(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.call(wait, ping)
    }

    /// Ends the connection in order, if there is one. Dropping the client ends it, too, but then
    /// RabbitMQ logs a warning.
    ///
    /// # Errors
    /// Any [`ClientError`] that prevents the server's answer. The connection has ended in any case.
    pub fn close(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        if !self.is_connected() {
            self.kept = None;
            return Ok(());
        }
        self.kept.take().map_or(Ok(()), |link| link.close(wait))
    }

    /// Runs requests that may be repeated: once more after a lost connection. The connection is
    /// kept if they succeed.
    pub(super) fn call<T>(
        &mut self,
        wait: &mut Wait<'_>,
        mut requests: impl FnMut(&mut Link, &mut Wait<'_>) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let mut lost_before = false;
        loop {
            let mut link = self.acquire(wait)?;
            match requests(&mut link, wait) {
                Ok(done) => {
                    self.keep(link);
                    return Ok(done);
                }
                Err(ClientError::Disconnected { .. }) if !lost_before => lost_before = true,
                Err(error) => {
                    // A refusal closes a channel, not the connection.
                    if matches!(error, ClientError::Broker(_)) && link.is_alive() {
                        self.keep(link);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Returns a connection for the next call. Put it back with [`keep`](Self::keep) if it is still
    /// good.
    pub(super) fn acquire(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        self.check_owner();
        let Some(mut link) = self.kept.take() else {
            return self.open(wait);
        };
        if !link.is_alive() {
            return self.open(wait);
        }
        if link.last_used.elapsed() > self.options.idle_check {
            // The check takes at most half of the time left, so that a dead connection leaves time
            // for a new one.
            let mut part = wait.share(2, Duration::ZERO);
            match ping(&mut link, &mut part.within(self.options.connect_timeout)) {
                Ok(()) => {}
                Err(error) if error.ends_call() => return Err(error),
                Err(_) => return self.open(wait),
            }
        }
        Ok(link)
    }

    /// Keeps the connection for the next call.
    pub(super) fn keep(&mut self, mut link: Box<Link>) {
        link.touch();
        self.kept = Some(link);
    }

    fn open(&mut self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        let options = &self.options;
        let connect = Connect {
            server: &*self.endpoint,
            timeout: options.connect_timeout,
            circuit: options.circuit,
        };
        let preferred = &mut self.preferred;
        let mut link = connect.run(wait, |wait| {
            open_one_of(&self.endpoint, preferred, options.max_body, wait)
        })?;
        link.spin(options.spin);
        Ok(Box::new(link))
    }

    /// Drops the connection of the parent in a process that has just found out that it is a fork.
    /// Returns `true` in that case.
    pub(super) fn check_owner(&mut self) -> bool {
        let process = Process::current();
        let is_fork = self.owner != process;
        if is_fork {
            self.owner = process;
            self.kept = None;
            self.owing = None;
            self.late.clear();
        }
        is_fork
    }

    /// Makes the client look like one that the parent of this process made.
    #[cfg(test)]
    pub(super) fn pretend_fork(&mut self) {
        self.owner = Process::another();
    }
}

/// Opens a connection to one of the servers of an endpoint. They are tried in turn, first the one
/// that was reached last. Each gets an equal part of the time left.
fn open_one_of(
    endpoint: &AmqpEndpoint,
    preferred: &mut usize,
    max_body: usize,
    wait: &mut Wait<'_>,
) -> Result<Link, NotOpen> {
    if !endpoint.is_list() {
        return Link::open(endpoint, max_body, wait);
    }
    let hosts: Vec<&AmqpEndpoint> = endpoint.hosts().collect();
    let (mut reasons, mut again) = (Vec::new(), false);
    let mut refusals = Vec::new();
    let turns = (0..hosts.len()).map(|turn| (*preferred + turn) % hosts.len());
    for (index, left) in turns.zip((1..=hosts.len()).rev()) {
        let nth = u32::try_from(left).unwrap_or(u32::MAX);
        let host = hosts[index];
        let not_open = match Link::open(host, max_body, &mut wait.share(nth, Duration::ZERO)) {
            Ok(link) => {
                *preferred = index;
                return Ok(link);
            }
            Err(not_open) => not_open,
        };
        if not_open.error.ends_call() {
            return Err(not_open);
        }
        // The name may lead to another server now.
        resolve::forget_address(host.address());
        again |= not_open.again;
        let reason = match &not_open.error {
            ClientError::Connect { reason, .. } => reason.clone(),
            ClientError::Timeout { what, after } => took_longer(what, *after),
            ClientError::Tls { endpoint, problem } => problem.named_for(endpoint),
            ClientError::Auth { answer, .. } => {
                let reason = format!("it refused the credentials ({answer})");
                refusals.push(answer.clone());
                reason
            }
            other => other.to_string(),
        };
        reasons.push(format!("{}: {reason}", host.host_and_port()));
    }
    let shown = endpoint.display_url();
    if refusals.len() == hosts.len()
        && let Some(answer) = refusals.pop()
    {
        let endpoint = shown;
        return Err(NotOpen::for_good(ClientError::Auth { endpoint, answer }));
    }
    let error = ClientError::Connect {
        endpoint: shown,
        reason: reasons.join("; "),
    };
    Err(if again {
        NotOpen::for_now(error)
    } else {
        NotOpen::for_good(error)
    })
}

/// Asks for an answer that changes nothing: the limit of deliveries, which this client sets before
/// each of its consumers.
pub(super) fn ping(link: &mut Link, wait: &mut Wait<'_>) -> Result<(), ClientError> {
    let limit = Method::BasicQos {
        prefetch_size: 0,
        prefetch_count: 1,
        global: false,
    };
    match link.ask(&limit, wait, "the answer to a check")? {
        Ok(Reply::Done) => Ok(()),
        Ok(other) => Err(unexpected_reply(&other)),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

#[cfg(test)]
mod tests {
    use celery_testkit::RabbitMq;

    use super::*;
    use crate::blocking::NeverInterrupt;

    #[test]
    fn a_fork_leaves_its_parents_connection_alone() {
        let node = RabbitMq::shared().unwrap();
        let endpoint = Arc::new(AmqpEndpoint::from_url(&node.url()).unwrap());
        let options = ClientOptions {
            connect_timeout: Duration::from_secs(20),
            idle_check: Duration::ZERO,
            ..ClientOptions::default()
        };
        let mut client = Client::new(endpoint, options);
        let ping = |client: &mut Client| {
            let mut never = NeverInterrupt;
            client
                .ping(&mut Wait::new(Duration::from_secs(20), &mut never))
                .unwrap();
        };
        // The second call checks the connection first.
        ping(&mut client);
        ping(&mut client);
        assert!(client.is_connected());
        client.pretend_fork();
        assert!(!client.is_connected());
        ping(&mut client);
        assert!(client.is_connected());
    }
}
