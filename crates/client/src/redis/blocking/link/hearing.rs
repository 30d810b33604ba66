//! A connection that hears all channels of a pattern, in RESP2 and RESP3 alike. No other call uses
//! it: it is dropped at its end.

use redis::Value;

use super::ready::Link;
use super::wire::{Arrival, Push};
use crate::blocking::Wait;
use crate::error::{ClientError, ServerError};
use crate::redis::blocking::reply::Shape;

/// A connection that receives the messages of a pattern's channels.
pub(crate) struct Hearing(Box<Link>);

/// The outcome of a subscription: the connection, or the refusal with the connection.
pub(crate) type Heard = Result<Hearing, (Box<Link>, ServerError)>;

impl Hearing {
    /// Subscribes to all channels whose names match a pattern of Redis. The connection must not owe
    /// any answer.
    pub(crate) fn begin(
        mut link: Box<Link>,
        pattern: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Heard, ClientError> {
        const WHAT: &str = "the answer to PSUBSCRIBE";
        link.wire.pack_subscribe_to_pattern(pattern);
        link.wire.flush_on_channel(wait)?;
        loop {
            match link.wire.arrival(Shape::Message, wait, WHAT)? {
                Arrival::Push(Push::Subscribed) => return Ok(Ok(Self(link))),
                Arrival::Push(_) => {}
                Arrival::Answer(Ok(Value::Array(parts))) if is_kind(&parts, b"psubscribe") => {
                    return Ok(Ok(Self(link)));
                }
                Arrival::Answer(Ok(_)) => {
                    return Err(ClientError::Protocol(
                        "PSUBSCRIBE was answered with something else".to_owned(),
                    ));
                }
                Arrival::Answer(Err(refused)) => return Ok(Err((link, refused))),
            }
        }
    }

    /// Returns the next message, or `None` if something else has come: the answer to
    /// [`ask_for_life`](Self::ask_for_life). `what` names the message in the error of a timeout.
    /// After a timeout, it can be called again: a partly received message is kept.
    pub(crate) fn next(
        &mut self,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let arrival = self.0.wire.arrival(Shape::Message, wait, what);
        if let Err(ClientError::Timeout { .. }) = arrival {
            self.0.wire.recover();
        }
        match arrival? {
            Arrival::Push(Push::Message { payload, .. }) => Ok(Some(payload)),
            Arrival::Answer(Ok(Value::Array(mut parts))) if is_kind(&parts, b"pmessage") => {
                match parts.pop() {
                    Some(Value::BulkString(payload)) => Ok(Some(payload)),
                    _ => Ok(None),
                }
            }
            Arrival::Push(_) | Arrival::Answer(_) => Ok(None),
        }
    }

    /// Asks the server to send something, so that a dead connection is noticed.
    pub(crate) fn ask_for_life(&mut self, wait: &mut Wait<'_>) -> Result<(), ClientError> {
        self.0.wire.pack(&redis::cmd("PING"));
        self.0.wire.flush_on_channel(wait)
    }
}

fn is_kind(parts: &[Value], kind: &[u8]) -> bool {
    matches!(parts.first(), Some(Value::BulkString(bytes)) if bytes == kind)
}
