//! Calls to workers by remote control.

use std::time::Duration;

use celery_client::ClientError;
use celery_client::blocking::Deadline;
use celery_client::redis::blocking::Client;
use celery_protocol::control::{Reply, Request};
use ext_php_rs::types::Zval;

use crate::client::Config;
use crate::errors;
use crate::ffi::json::Objects;
use crate::ffi::throw::{self, Thrown};
use crate::ffi::value;
use crate::{pool, values};

/// What needs a Redis, for errors.
pub(crate) const REMOTE_CONTROL: &str = "Remote control, such as revoke(),";

/// Sends a command without waiting for replies.
pub(crate) fn broadcast(config: &Config, request: &Request) -> Result<(), Thrown> {
    nothing_pending()?;
    let deadline = Deadline::after(config.command_timeout());
    let endpoint = config.broker.redis(REMOTE_CONTROL)?;
    pool::with_limits(endpoint, config.limits(), deadline, |client, wait| {
        client.broadcast(request, wait)
    })
    .map(drop)
    .map_err(|error| failed(config, request, error))
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
    let endpoint = config.broker.redis(REMOTE_CONTROL)?;
    let asked = pool::with_limits(endpoint, config.limits(), deadline, |client, wait| {
        client.ask_workers(request, limit, timeout, wait)
    });
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

/// Returns a connection that no other call uses.
pub(crate) fn connection(config: &Config) -> Result<Client, Thrown> {
    let endpoint = config.broker.redis("Celery\\Events")?;
    Ok(pool::take_with(endpoint, config.limits()))
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
