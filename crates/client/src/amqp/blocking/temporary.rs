//! Declares the exchanges and queues of remote control and events.

use celery_protocol::amqp::{Method, Reply, TableBuf};
use celery_protocol::message::DecodeOptions;
use celery_protocol::serializer::Serializer;

use super::link::{Link, unexpected_reply};
use crate::amqp::declaration::{self, PRECONDITION_FAILED};
use crate::amqp::{Exchange, Temporary};
use crate::blocking::Wait;
use crate::error::ClientError;

/// What a declaration waits for.
const DECLARED: &str = "the answer to the declaration of a queue";

/// Declares an exchange, once on each connection. One that exists with other properties stays as it
/// is.
pub(super) fn declare_exchange(
    link: &mut Link,
    exchange: Exchange,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    if link.exchanges.contains(exchange.name) {
        return Ok(());
    }
    let declare = declaration::known_exchange(exchange, false);
    match ask(link, declare.map_err(ClientError::Unsendable)?, wait) {
        Ok(()) => {}
        Err(ClientError::Broker(close)) if close.code == PRECONDITION_FAILED => {}
        Err(error) => return Err(error),
    }
    link.exchanges.insert(exchange.name.to_owned());
    Ok(())
}

/// Declares a queue of this connection with its exchange, and binds it.
pub(super) fn declare(
    link: &mut Link,
    temporary: Temporary<'_>,
    wait: &mut Wait<'_>,
) -> Result<(), ClientError> {
    declare_exchange(link, temporary.exchange, wait)?;
    let queue = temporary.declaration().map_err(ClientError::Unsendable)?;
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
