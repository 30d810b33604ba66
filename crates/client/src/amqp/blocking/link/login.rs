//! Opening a connection and logging in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use celery_protocol::amqp::{Event, Heartbeats, Session, SessionOptions};

use super::{Announcing, EVENTS, Link, POSTS, odd, unexpected};
use crate::amqp::{ACCESS_REFUSED, AmqpEndpoint};
use crate::blocking::Wait;
use crate::blocking::not_open::NotOpen;
use crate::blocking::stream::Stream;
use crate::error::{ClientError, ServerError, TlsProblem};
use crate::tls;

impl Link {
    /// Opens a connection and logs in: two round trips after TCP and TLS.
    pub(in crate::amqp::blocking) fn open(
        endpoint: &AmqpEndpoint,
        max_body: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Self, NotOpen> {
        let stream = Stream::open(endpoint, wait)?;
        let mut options = SessionOptions::new(endpoint.login(), endpoint.vhost());
        options.heartbeat = endpoint.heartbeat();
        options.channel_max = EVENTS;
        options.max_body = max_body;
        // One message that is too large must not keep the others of its queue from being read.
        options.leaves_out = true;
        let mut link = Self {
            shown: endpoint.display_url_of_one(),
            stream,
            session: Session::new(options),
            sent: 0,
            blocked: None,
            broken: false,
            tls_problem: None,
            is_plain: endpoint.tls().is_none(),
            heard: false,
            exchanges: BTreeSet::new(),
            announcing: Announcing::default(),
            beats: None,
            last_used: Instant::now(),
        };
        let entered = link.enter(wait);
        entered.map_err(|error| link.not_entered(error))?;
        Ok(link)
    }

    /// Logs in and opens the channel for posts.
    fn enter(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        const WHAT: &str = "the answer to the login";
        self.flush(wait)?;
        while !(self.session.is_open() && self.session.is_channel_open(POSTS)) {
            match self.event(wait, WHAT)? {
                Event::Tuned => {
                    // What follows needs no answer before it is sent.
                    self.session.open_channel(POSTS).map_err(odd)?;
                    self.session.confirm(POSTS).map_err(odd)?;
                    let interval = self.session.tuned().heartbeat;
                    let start = Instant::now();
                    self.beats = (interval > 0).then(|| {
                        let interval = Duration::from_secs(interval.into());
                        (Heartbeats::new(interval, start.elapsed()), start)
                    });
                }
                Event::Opened | Event::ChannelOpened(_) => {}
                Event::ChannelClosed(_, close) => return Err(ClientError::Broker(close)),
                other => return Err(unexpected(&other)),
            }
        }
        let confirming = self.wait_for_reply(POSTS, wait, WHAT)?;
        confirming.map(drop).map_err(ClientError::Broker)
    }

    /// Returns the error of a login that failed. Nothing was sent that could do harm, so the
    /// connection alone failed.
    fn not_entered(&self, error: ClientError) -> NotOpen {
        let endpoint = self.shown.clone();
        if tls::is_alert(self.session.rest()) {
            let problem = TlsProblem::Spoken;
            return NotOpen::for_good(ClientError::Tls { endpoint, problem });
        }
        if let Some(problem) = self.tls_problem.clone() {
            return NotOpen::for_good(ClientError::Tls { endpoint, problem });
        }
        match error {
            ClientError::Broker(close) if close.code == ACCESS_REFUSED => {
                let answer = ServerError::new(close.code.to_string(), close.text);
                NotOpen::for_good(ClientError::Auth { endpoint, answer })
            }
            // The server may speak TLS: its alert can be lost with the connection.
            ClientError::Disconnected { reason, .. } if self.is_plain && !self.heard => {
                let reason =
                    format!("{reason}; if the server speaks TLS on this port, use amqps://");
                NotOpen::for_now(ClientError::Connect { endpoint, reason })
            }
            ClientError::Disconnected { reason, .. } => {
                NotOpen::for_now(ClientError::Connect { endpoint, reason })
            }
            error if error.is_retryable() && !matches!(error, ClientError::Timeout { .. }) => {
                NotOpen::for_now(error)
            }
            error => NotOpen::for_good(error),
        }
    }
}
