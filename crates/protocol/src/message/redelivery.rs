//! Messages that a worker holds, and giving them back.
//!
//! kombu keeps a held message in the hash `unacked` as `[envelope, exchange, routing_key]`. Restoring one
//! marks it as redelivered and pushes it back. Both work on the text: everything else in the message stays
//! byte for byte, whether or not it is something this crate understands.

use super::DecodeError;

/// A message marked as redelivered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Redelivery {
    /// The envelope to push.
    pub raw: Vec<u8>,
    /// Its priority, 0 to 9: [`step`](crate::keys::step) names the list.
    pub priority: u8,
    /// The message's own delivery tag, if it has one.
    pub delivery_tag: Option<String>,
}

/// Sets `headers.redelivered` and `properties.delivery_info.redelivered` in an envelope.
///
/// Objects that are missing are added, as is the mark; the rest keeps its bytes. An envelope that is no
/// JSON object, or in which one of those three is something else than an object, is an error.
pub fn mark_redelivered(raw: &[u8]) -> Result<Redelivery, DecodeError> {
    let _ = raw;
    todo!()
}

/// An entry of the hash `unacked`, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unacked<'a> {
    /// The envelope's text.
    pub envelope: &'a [u8],
    /// The text of the exchange, a JSON string or null.
    exchange: &'a [u8],
    /// The text of the routing key, a JSON string or null.
    routing_key: &'a [u8],
}

impl<'a> Unacked<'a> {
    /// Takes an entry apart. It must be an array of an object and two strings (or nulls).
    pub fn parse(entry: &'a [u8]) -> Result<Self, DecodeError> {
        let _ = entry;
        todo!()
    }

    /// The exchange it was sent to.
    pub fn exchange(&self) -> String {
        todo!()
    }

    /// The routing key it was sent with: with an empty exchange, the queue.
    pub fn routing_key(&self) -> String {
        todo!()
    }
}

/// An entry of the hash `unacked`, as kombu writes it, from an envelope that is valid JSON.
pub fn unacked_entry(envelope: &[u8], exchange: &str, routing_key: &str) -> Vec<u8> {
    let _ = (envelope, exchange, routing_key);
    todo!()
}
