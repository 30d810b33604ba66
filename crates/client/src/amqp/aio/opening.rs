//! Opening a connection and logging in, all before one deadline.

use std::time::Duration;

use celery_protocol::amqp::{Event, Heartbeats, Session, SessionOptions};
use tokio::time::{Instant, timeout_at};

use super::connection::{ConnectOptions, Connection};
use super::failure::{Failure, in_words};
use crate::amqp::{ACCESS_REFUSED, AmqpEndpoint};
use crate::error::TlsProblem;
use crate::tls;
use crate::transport::Transport;

/// RabbitMQ's code for a virtual host that does not exist.
const NOT_ALLOWED: u16 = 530;

impl Connection {
    /// Connects, logs in and chooses the virtual host, all before one deadline. The servers of a
    /// list are tried in turn, each for an equal part of the time left.
    ///
    /// # Errors
    ///
    /// [`Failure::Denied`] if the server rejects the login or has no such virtual host;
    /// [`Failure::Connect`] for everything else, including the deadline.
    pub async fn open(endpoint: &AmqpEndpoint, options: &ConnectOptions) -> Result<Self, Failure> {
        let end = Instant::now() + options.connect_timeout;
        if !endpoint.is_list() {
            return Self::open_before(endpoint, options, end).await;
        }
        let hosts: Vec<&AmqpEndpoint> = endpoint.hosts().collect();
        let (mut reasons, mut denied) = (Vec::new(), 0);
        for (host, left) in hosts.iter().zip((1..=hosts.len()).rev()) {
            let now = Instant::now();
            let part = end.saturating_duration_since(now) / u32::try_from(left).unwrap_or(1);
            match Self::open_before(host, options, now + part).await {
                Ok(opened) => return Ok(opened),
                Err(failure) => {
                    denied += usize::from(matches!(failure, Failure::Denied(_)));
                    reasons.push(format!("{}: {failure}", host.host_and_port()));
                }
            }
        }
        let reason = reasons.join("; ");
        Err(if denied == hosts.len() {
            Failure::Denied(reason)
        } else {
            Failure::Connect(reason)
        })
    }

    async fn open_before(
        endpoint: &AmqpEndpoint,
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let opening = Self::try_open(endpoint, options, deadline);
        match timeout_at(deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(Failure::Connect("timed out while connecting".to_owned())),
        }
    }

    async fn try_open(
        endpoint: &AmqpEndpoint,
        options: &ConnectOptions,
        deadline: Instant,
    ) -> Result<Self, Failure> {
        let stream = Transport::open(endpoint.address(), endpoint.tls(), deadline).await;
        let stream = stream.map_err(|error| Failure::Connect(in_words(&error)))?;
        let mut session = SessionOptions::new(endpoint.login(), endpoint.vhost());
        session.name.clone_from(&options.name);
        session.heartbeat = match (options.heartbeat, endpoint.heartbeat()) {
            // The owner sends none while the connection is idle, and the server would close it.
            (0, _) => 0,
            (interval, 0) => interval,
            (_, of_url) => of_url,
        };
        session.channel_max = options.channel_max;
        session.max_body = options.max_body;
        let session = Session::new(session);
        let mut connection = Connection::new(stream, session, options);
        match connection.log_in().await {
            Ok(()) => Ok(connection),
            Err(failure) => Err(connection.not_entered(failure)),
        }
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        while !self.session.is_open() {
            match self.new_event().await? {
                Event::Tuned => {
                    let interval = self.session.tuned().heartbeat;
                    let start = Instant::now();
                    self.beats = (interval > 0).then(|| {
                        let interval = Duration::from_secs(interval.into());
                        (Heartbeats::new(interval, start.elapsed()), start)
                    });
                }
                Event::Opened => {}
                other => self.put_off(other),
            }
        }
        Ok(())
    }

    /// Returns the failure of a login. Nothing was executed.
    fn not_entered(&self, failure: Failure) -> Failure {
        if tls::is_alert(self.session.rest()) {
            return Failure::Connect(TlsProblem::Spoken.named_for("amqp://"));
        }
        match failure {
            Failure::Closed(close) if matches!(close.code, ACCESS_REFUSED | NOT_ALLOWED) => {
                Failure::Denied(close.to_string())
            }
            Failure::Lost(reason) if reason == TlsProblem::Spoken.to_string() => {
                Failure::Connect(TlsProblem::Spoken.named_for("amqp://"))
            }
            failure => Failure::Connect(failure.to_string()),
        }
    }
}
