//! The queues of remote control and events, which belong to one connection.
//!
//! Names and arguments are those of kombu. A queue is exclusive, so it ends with its connection, and
//! it is deleted with its consumer.

use celery_protocol::amqp::{Method, Reply, TableBuf};
use celery_protocol::message::DecodeOptions;
use celery_protocol::serializer::Serializer;

use super::link::{Link, unexpected_reply};
use crate::amqp::Queue;
use crate::amqp::declaration::{self, PRECONDITION_FAILED};
use crate::blocking::Wait;
use crate::error::ClientError;

/// What a declaration waits for.
const DECLARED: &str = "the answer to the declaration of a queue";

/// An exchange that all programs declare alike.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) durable: bool,
}

/// A queue of one connection, and its binding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Temporary<'a> {
    pub(super) exchange: Exchange,
    pub(super) queue: &'a str,
    pub(super) routing_key: &'a str,
    /// The milliseconds after which it ends if it is not used.
    pub(super) expires: u32,
    /// The milliseconds for which it keeps a message.
    pub(super) message_ttl: u32,
}

/// Declares an exchange, once on each connection. One that exists with other properties stays as it
/// is.
pub(super) fn declare_exchange(
    link: &mut Link,
    exchange: Exchange,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    let Exchange {
        name,
        kind,
        durable,
    } = exchange;
    if link.exchanges.contains(name) {
        return Ok(());
    }
    let declare = declaration::exchange_of(name, kind, durable, false);
    match ask(link, declare.map_err(ClientError::Unsendable)?, wait) {
        Ok(()) => {}
        Err(ClientError::Broker(close)) if close.code == PRECONDITION_FAILED => {}
        Err(error) => return Err(error),
    }
    link.exchanges.insert(name.to_owned());
    Ok(())
}

/// Declares a queue of this connection with its exchange, and binds it.
pub(super) fn declare(
    link: &mut Link,
    temporary: Temporary<'_>,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    declare_exchange(link, temporary.exchange, wait)?;
    let mut queue = Queue::durable(temporary.queue);
    (queue.durable, queue.exclusive, queue.auto_delete) = (false, true, true);
    for (name, value) in [
        ("x-expires", temporary.expires),
        ("x-message-ttl", temporary.message_ttl),
    ] {
        let set = queue.arguments.set(name, &value);
        set.map_err(|error| ClientError::Protocol(error.to_string()))?;
    }
    let arguments = TableBuf::from_fields(&queue.arguments).map_err(ClientError::Unsendable)?;
    let (exchange, key) = (temporary.exchange.name, temporary.routing_key);
    for request in [
        declaration::queue(&queue, &arguments),
        declaration::binding(temporary.queue, exchange, key),
    ] {
        ask(link, request.map_err(ClientError::Unsendable)?, wait)?;
    }
    Ok(())
}

fn ask(link: &mut Link, request: Method<'_>, wait: &mut Wait<'_>) -> Result<(), ClientError> {
    match link.ask(&request, wait, DECLARED)? {
        Ok(Reply::Done | Reply::Queue { .. }) => Ok(()),
        Ok(other) => Err(unexpected_reply(&other)),
        Err(close) => Err(ClientError::Broker(close)),
    }
}

/// Workers write replies and events in the serializer of their settings.
pub(super) fn decoding() -> DecodeOptions<'static> {
    DecodeOptions::default().accept(&[Serializer::Json, Serializer::Msgpack, Serializer::Yaml])
}
