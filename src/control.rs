//! Calls to workers by remote control.

use std::time::Duration;

use celery_client::blocking::{Deadline, Wait};
use celery_client::{ClientError, Endpoint, amqp, redis};
use celery_protocol::control::{Reply, Request};
use celery_protocol::events::Received;
use celery_protocol::glob::Glob;
use ext_php_rs::types::Zval;

use crate::client::Config;
use crate::connection::Connection;
use crate::errors;
use crate::ffi::json::Objects;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value;
use crate::pool::{self, Limits};
use crate::values;

/// Sends a command without waiting for replies.
pub(crate) fn broadcast(config: &Config, request: &Request) -> Result<(), Thrown> {
    nothing_pending()?;
    let deadline = Deadline::after(config.command_timeout());
    broadcast_over(&config.broker, config.limits(), request, deadline)
        .map_err(|error| failed(config, request, error))
}

/// Sends a command over a broker.
fn broadcast_over(
    broker: &Connection,
    limits: Limits,
    request: &Request,
    deadline: Deadline,
) -> Result<(), ClientError> {
    match &broker.endpoint {
        Endpoint::Redis(endpoint) => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                client.broadcast(request, wait).map(drop)
            })
        }
        Endpoint::Amqp(endpoint) => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                client.broadcast(request, wait).map(drop)
            })
        }
    }
}

/// Sends a command and returns the replies by node name: an array, which is empty if no worker has
/// replied in time.
pub(crate) fn ask(
    config: &Config,
    request: Request,
    limit: Option<usize>,
    timeout: Duration,
) -> Result<Zval, Thrown> {
    nothing_pending()?;
    // The time for replies begins when the command was sent.
    let deadline = Deadline::after(config.command_timeout().saturating_add(timeout));
    let command = request.clone();
    let limits = config.limits();
    let asked = match &config.broker.endpoint {
        Endpoint::Redis(endpoint) => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                client.ask_workers(request, limit, timeout, wait)
            })
        }
        Endpoint::Amqp(endpoint) => {
            pool::with_limits(endpoint, limits, deadline, |client, wait| {
                client.ask_workers(request, limit, timeout, wait)
            })
        }
    };
    let mut replies = asked.map_err(|error| failed(config, &command, error))?;
    nothing_pending()?;
    // The order in which they came is chance.
    replies.sort_by(|one, other| one.node.cmp(&other.node));
    let by_node = |reply: &Reply| {
        let answer = values::decode_as(reply.answer.get(), Objects::AsArrays)?;
        Ok((value::string(reply.node.as_bytes()), answer))
    };
    let entries: Result<Vec<_>, Thrown> = replies.iter().map(by_node).collect();
    Ok(value::map(entries?)?)
}

/// A subscription to events, with a connection of its own.
pub(crate) enum Subscription {
    Redis(Box<redis::blocking::Events>),
    Amqp(Box<amqp::blocking::Events>),
}

impl Subscription {
    /// Subscribes to events of these types.
    pub(crate) fn open(
        config: &Config,
        types: Vec<Glob>,
        wait: &mut Wait<'_>,
    ) -> Result<Self, ClientError> {
        let limits = config.limits();
        Ok(match &config.broker.endpoint {
            Endpoint::Redis(endpoint) => {
                let client = pool::take_with(endpoint, limits);
                let events = redis::blocking::Events::open(*client, types, wait)?;
                Subscription::Redis(Box::new(events))
            }
            Endpoint::Amqp(endpoint) => {
                let client = pool::take_with(endpoint, limits);
                let events = amqp::blocking::Events::open(*client, types, wait)?;
                Subscription::Amqp(Box::new(events))
            }
        })
    }

    /// Returns the next event, or `None` if none has come before the deadline.
    pub(crate) fn next(&mut self, wait: &mut Wait<'_>) -> Result<Option<Received>, ClientError> {
        match self {
            Subscription::Redis(events) => events.next(wait),
            Subscription::Amqp(events) => events.next(wait),
        }
    }
}

fn failed(config: &Config, request: &Request, error: ClientError) -> Thrown {
    let what = format!("send the command {} to the workers", request.method);
    errors::command(&what, &config.broker, error)
}

fn nothing_pending() -> Result<(), Thrown> {
    if throw::is_pending() {
        Err(Thrown::Pending)
    } else {
        Ok(())
    }
}
