//! A connection of RESP2 that listens to channels, and one that is leaving them.
//!
//! In RESP2, a connection that listens answers no other command. (In RESP3, a [`Link`] does both.)
//! The client does not wait for the answer to UNSUBSCRIBE. The next user of the connection reads up
//! to that answer, possibly together with the answer to the next subscription.

use redis::Value;

use super::ready::Link;
use super::wire::Answer;
use crate::blocking::Wait;
use crate::error::{ClientError, ServerError};
use crate::redis::blocking::reply::Shape;

/// A connection between two calls.
pub(crate) enum Resting {
    /// It answers commands.
    Ready(Box<Link>),
    /// It may still send messages of channels, and owes no answers to posts.
    Leaving(Leaving),
}

/// A connection that receives the messages of channels, and answers no other commands.
pub(crate) struct Listening(Box<Link>);

/// A connection on which UNSUBSCRIBE was sent. Messages of the channels may still precede its
/// answers.
pub(crate) struct Leaving(Box<Link>);

/// The outcome of a subscription: the listening connection, or the connection and the refusal.
pub(crate) type Subscribed = Result<Listening, (Box<Link>, ServerError)>;

impl Resting {
    /// Returns the connection in any state.
    pub(crate) fn link(&self) -> &Link {
        match self {
            Self::Ready(link) | Self::Leaving(Leaving(link)) => link,
        }
    }

    /// Like [`link`](Self::link), but mutable.
    pub(crate) fn link_mut(&mut self) -> &mut Link {
        match self {
            Self::Ready(link) | Self::Leaving(Leaving(link)) => link,
        }
    }

    /// Waits until the connection has left its channel, so that commands are answered again.
    pub(crate) fn ready(self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        match self {
            Self::Ready(link) => Ok(link),
            Self::Leaving(leaving) => leaving.arrive(wait),
        }
    }

    /// Subscribes to channels. The connection must not owe any answer.
    ///
    /// Messages that arrive before the last confirmation are dropped.
    pub(crate) fn subscribe(
        self,
        channels: &[&str],
        wait: &mut Wait<'_>,
    ) -> Result<Subscribed, ClientError> {
        let mut link = match self {
            Self::Ready(mut link) => {
                link.wire.pack_subscribe(channels.iter().copied());
                link.wire.flush(wait)?;
                link
            }
            Self::Leaving(Leaving(mut link)) => {
                link.wire.pack_subscribe(channels.iter().copied());
                link.wire.flush_on_channel(wait)?;
                Leaving(link).arrive(wait)?
            }
        };
        let mut missing = channels.len();
        while missing > 0 {
            let what = "the answer to SUBSCRIBE";
            match link.wire.answer(Shape::Message, wait, what)? {
                Ok(Value::Array(parts)) if is_text(parts.first(), b"subscribe") => missing -= 1,
                Ok(Value::Array(parts)) if is_text(parts.first(), b"message") => {}
                Ok(_) => {
                    return Err(ClientError::Protocol(
                        "SUBSCRIBE was answered with something else".to_owned(),
                    ));
                }
                Err(refused) => return Ok(Err((link, refused))),
            }
        }
        Ok(Ok(Listening(link)))
    }
}

impl From<Box<Link>> for Resting {
    fn from(link: Box<Link>) -> Self {
        Self::Ready(link)
    }
}

impl From<Leaving> for Resting {
    fn from(leaving: Leaving) -> Self {
        Self::Leaving(leaving)
    }
}

impl Listening {
    /// Returns the next message: its channel and its payload. After a timeout, it can be called
    /// again: a partly received message is kept.
    pub(crate) fn message(
        &mut self,
        wait: &mut Wait<'_>,
    ) -> Result<(Vec<u8>, Vec<u8>), ClientError> {
        loop {
            let answer = self.0.wire.answer(Shape::Message, wait, "the result");
            if let Err(ClientError::Timeout { .. }) = answer {
                self.0.wire.recover();
            }
            let Ok(Value::Array(parts)) = answer? else {
                return Err(ClientError::Protocol(
                    "a channel sent something that is not a message".to_owned(),
                ));
            };
            if let Ok([kind, Value::BulkString(channel), Value::BulkString(payload)]) =
                <[Value; 3]>::try_from(parts)
                && is_text(Some(&kind), b"message")
            {
                return Ok((channel, payload));
            }
        }
    }

    /// Leaves all channels without waiting for the answers. Returns `None` if the connection cannot
    /// be used any longer.
    pub(crate) fn unsubscribe(self, wait: &mut Wait<'_>) -> Option<Leaving> {
        let Self(mut link) = self;
        if !link.wire.is_whole() {
            return None;
        }
        link.wire.pack(&redis::cmd("UNSUBSCRIBE"));
        link.wire.flush_on_channel(wait).ok()?;
        Some(Leaving(link))
    }
}

impl Leaving {
    /// Waits until the connection has left its channel.
    fn arrive(self, wait: &mut Wait<'_>) -> Result<Box<Link>, ClientError> {
        let Self(mut link) = self;
        loop {
            let what = "the answer to UNSUBSCRIBE";
            if has_left(&link.wire.answer(Shape::Message, wait, what)?) {
                return Ok(link);
            }
        }
    }

    /// Reads what has arrived, because the server may have closed the connection after its last
    /// answer. Returns `None` if the connection cannot be used.
    pub(crate) fn if_alive(self) -> Option<Resting> {
        let Self(mut link) = self;
        loop {
            match link.wire.answer_at_hand(Shape::Message).ok()? {
                Some(answer) if has_left(&answer) => {
                    return link.is_alive().then_some(Resting::Ready(link));
                }
                Some(_) => {}
                None if link.wire.read_at_hand().ok()? => {}
                None => {
                    return link
                        .wire
                        .is_alive(true)
                        .then_some(Resting::Leaving(Self(link)));
                }
            }
        }
    }
}

/// Returns `true` for the last answer to UNSUBSCRIBE: no channel is left. Messages before it belong
/// to the channels.
fn has_left(answer: &Answer) -> bool {
    matches!(answer, Ok(Value::Array(parts))
        if is_text(parts.first(), b"unsubscribe") && parts.last() == Some(&Value::Int(0)))
}

fn is_text(value: Option<&Value>, text: &[u8]) -> bool {
    matches!(value, Some(Value::BulkString(bytes)) if bytes == text)
}
