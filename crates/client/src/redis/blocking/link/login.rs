//! Opening a connection and logging in: AUTH, SELECT and HELLO in one round trip.
//!
//! HELLO asks for RESP3. An old server, a renamed command or a proxy refuses it; the connection then
//! speaks RESP2.

use std::sync::Arc;

use redis::Value;

use super::auth::{auth, refused};
use super::locate::locate;
use super::ready::Link;
use super::wire::Wire;
use crate::blocking::not_open::NotOpen;
use crate::blocking::{Wait, resolve};
use crate::error::{ClientError, ConfigError, ServerError};
use crate::redis::blocking::reply::Shape;
use crate::redis::{RedisEndpoint, mode};

impl Link {
    /// Opens a connection and logs in.
    ///
    /// So a server that accepts connections but does not answer is noticed before any call depends
    /// on it. The answer to HELLO shows which kind of server it is. A server that was
    /// named by Sentinels or by a cluster must also be a master.
    pub(crate) fn open(
        endpoint: &Arc<RedisEndpoint>,
        max_reply: usize,
        wait: &mut Wait<'_>,
    ) -> Result<Box<Self>, NotOpen> {
        let (located, lead) = locate(endpoint, wait)?;
        let opened = log_in(&located, endpoint, max_reply, wait);
        if let (Err(_), Some(lead)) = (&opened, &lead) {
            endpoint.misled(lead);
            resolve::forget_address(located.address());
        }
        let lead = lead.map(|lead| (Arc::clone(endpoint), lead));
        opened.map(|wire| Box::new(Link::new(wire.led_by(lead))))
    }
}

/// Opens a stream to a server and logs in. `sought` is the endpoint as the caller has it.
fn log_in(
    endpoint: &Arc<RedisEndpoint>,
    sought: &RedisEndpoint,
    max_reply: usize,
    wait: &mut Wait<'_>,
) -> Result<Wire, NotOpen> {
    let mut wire = Wire::open(endpoint, max_reply, wait)?;
    let entered = enter(&mut wire, endpoint, sought, wait);
    entered.map_err(|error| match (error, wire.tls_problem()) {
        (ClientError::Disconnected { endpoint, .. }, Some(problem)) => {
            NotOpen::for_good(ClientError::Tls { endpoint, problem })
        }
        // The server may speak TLS: its alert can be lost with the connection.
        (ClientError::Disconnected { endpoint, reason }, None) if wire.may_be_tls() => {
            NotOpen::for_now(ClientError::Connect {
                endpoint,
                reason: format!("{reason}; if the server speaks TLS on this port, use rediss://"),
            })
        }
        // No command was sent yet, so only the connection failed.
        (ClientError::Disconnected { endpoint, reason }, None) => {
            NotOpen::for_now(ClientError::Connect { endpoint, reason })
        }
        (error @ ClientError::Connect { .. }, _) => NotOpen::for_now(error),
        // The time is over, or the server has answered. The caller decides about an answer.
        (error, _) => NotOpen::for_good(error),
    })?;
    Ok(wire)
}

/// Logs in on a new connection.
fn enter(
    wire: &mut Wire,
    endpoint: &RedisEndpoint,
    sought: &RedisEndpoint,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    let auth = auth(endpoint);
    let select = (endpoint.database() > 0).then(|| {
        let mut select = redis::cmd("SELECT");
        select.arg(endpoint.database());
        select
    });
    let mut hello = redis::cmd("HELLO");
    hello.arg("3");
    for cmd in [auth.as_ref(), select.as_ref(), Some(&hello)]
        .into_iter()
        .flatten()
    {
        wire.pack(cmd);
    }
    wire.flush(wait)?;
    if auth.is_some() {
        let answer = wire.answer(Shape::Short, wait, "the answer to AUTH")?;
        answer.map_err(|answer| refused(endpoint, answer))?;
    }
    let selected = match select {
        Some(_) => wire
            .answer(Shape::Short, wait, "the answer to SELECT")?
            .map(drop),
        None => Ok(()),
    };
    let hello = wire.answer(Shape::Hello, wait, "the answer to HELLO")?;
    // A node of a cluster refuses SELECT, too; its kind says more than that.
    let kind = hello.as_ref().ok();
    if let Some(kind) = kind.and_then(|hello| sought.unsupported_kind(hello)) {
        return Err(endpoint.unsupported(kind));
    }
    match selected {
        Err(answer) if answer.code() == "ERR" && !answer.is_auth() && !answer.is_transient() => {
            return Err(ClientError::Config(ConfigError::Value {
                name: "database",
                reason: "the server has no database with this number",
            }));
        }
        Err(answer) => return Err(endpoint.refused(answer)),
        Ok(()) => {}
    }
    if let Some(inquiry) = sought.inquiry()? {
        let role = hello.as_ref().ok().and_then(mode::role);
        if role != Some("master") && !matches!(&hello, Err(answer) if is_reason(answer)) {
            return Err(ClientError::Connect {
                endpoint: endpoint.display_url(),
                reason: inquiry.not_the_master(endpoint.address(), role),
            });
        }
    }
    match hello {
        // An old server does not know HELLO. Its error still shows that it answers.
        Err(answer) if is_reason(&answer) => Err(endpoint.refused(answer)),
        Ok(Value::Map(_)) => {
            wire.agree_on_resp3();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns `true` if a refusal of HELLO is the reason why the connection cannot be used.
fn is_reason(answer: &ServerError) -> bool {
    answer.is_auth() || answer.is_transient()
}
