//! Opening a connection and logging in.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use celery_protocol::amqp::{Event, Heartbeats, Session, SessionOptions};

use super::{Link, OTHERS, POSTS, odd, unexpected};
use crate::amqp::{ACCESS_REFUSED, AmqpEndpoint, SPEAKS_TLS, tls_words};
use crate::blocking::Wait;
use crate::blocking::not_open::NotOpen;
use crate::blocking::stream::Stream;
use crate::error::{ClientError, ServerError};
use crate::tls;

impl Link {
    /// Opens a connection and logs in: two round trips after TCP and TLS.
    pub(in crate::amqp::blocking) fn open(
        endpoint: &AmqpEndpoint,
        max_body: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Self, NotOpen> {
        let stream = Stream::open(endpoint, wait).map_err(named_for_amqp)?;
        let mut options = SessionOptions::new(endpoint.login(), endpoint.vhost());
        options.heartbeat = endpoint.heartbeat();
        options.channel_max = OTHERS;
        options.max_body = max_body;
        let mut link = Self {
            shown: endpoint.display_url(),
            stream,
            session: Session::new(options),
            sent: 0,
            blocked: None,
            broken: false,
            exchanges: BTreeSet::new(),
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
            let reason = SPEAKS_TLS.to_owned();
            return NotOpen::for_good(ClientError::Connect { endpoint, reason });
        }
        match error {
            ClientError::Broker(close) if close.code == ACCESS_REFUSED => {
                let answer = ServerError::new(close.code.to_string(), close.text);
                NotOpen::for_good(ClientError::Auth { endpoint, answer })
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

/// Names the schemes of RabbitMQ in an error about TLS.
fn named_for_amqp(mut not_open: NotOpen) -> NotOpen {
    let ClientError::Tls { endpoint, problem } = &not_open.error else {
        return not_open;
    };
    let Some(reason) = tls_words(problem) else {
        return not_open;
    };
    not_open.error = ClientError::Connect {
        endpoint: endpoint.clone(),
        reason: reason.to_owned(),
    };
    not_open
}
