//! What a session reports to its driver.

use crate::amqp::error::AmqpError;
use crate::amqp::properties::Properties;

/// A message that has arrived completely.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The payload of the header frame.
    pub(super) header: Vec<u8>,
    /// The body.
    pub body: Vec<u8>,
}

impl Content {
    /// Returns the number of bytes of header and body.
    pub fn size(&self) -> usize {
        self.header.len() + self.body.len()
    }

    /// Returns `true` if the body was larger than the session accepts, and was left out.
    pub fn is_left_out(&self) -> bool {
        self.body.is_empty() && Properties::body_size(&self.header).is_ok_and(|size| size > 0)
    }

    /// Returns the properties.
    ///
    /// # Errors
    /// [`AmqpError`] if they cannot be read, which concerns this message only.
    pub fn properties(&self) -> Result<Properties<'_>, AmqpError> {
        Properties::read(&self.header).map(|(properties, _)| properties)
    }
}

/// A message that the broker hands over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The number for the acknowledgement, which only this channel knows.
    pub tag: u64,
    /// `true` if it was delivered before.
    pub redelivered: bool,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The message.
    pub content: Content,
}

/// A message that the broker gives back, because it could not be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Returned {
    /// The reason: 312 means that no queue is bound.
    pub code: u16,
    /// The reason in words.
    pub text: String,
    /// The exchange it was published to.
    pub exchange: String,
    /// The routing key it was published with.
    pub routing_key: String,
    /// The message.
    pub content: Content,
}

/// Why the server ended a channel or the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code} {text}")]
pub struct Close {
    /// The reason: 404 means that something does not exist.
    pub code: u16,
    /// The reason in words.
    pub text: String,
    /// The numbers of the method that caused it, or zeros.
    pub method: (u16, u16),
}

/// The answer to a request on a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Done: an exchange, a binding, a limit, confirms.
    Done,
    /// The queue exists.
    Queue {
        /// Its name, which the server may have chosen.
        name: String,
        /// The number of ready messages.
        messages: u32,
        /// The number of consumers.
        consumers: u32,
    },
    /// The queue was purged or deleted with this number of messages.
    Removed(u32),
    /// The consumer of this tag is started.
    Consuming(String),
    /// The consumer of this tag is ended.
    Cancelled(String),
    /// The queue has no ready message.
    Empty,
    /// A message, and the number of those that are left.
    Got(Delivery, u32),
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The login was accepted and limits are agreed on. From now on, channels can be opened; the
    /// virtual host may still be refused.
    Tuned,
    /// The virtual host was accepted.
    Opened,
    /// The server reads from no publisher, for the reason it gives.
    Blocked(String),
    /// The server reads again.
    Unblocked,
    /// The connection has ended: the server wished it. Nothing more will come.
    Closed(Close),
    /// The connection has ended as the driver wished.
    Ended,
    /// A channel is open.
    ChannelOpened(u16),
    /// The server ended a channel. Its publications without an answer were not made, except those
    /// before the one at fault.
    ChannelClosed(u16, Close),
    /// A channel has ended as the driver wished.
    ChannelEnded(u16),
    /// The broker has taken these publications of a channel, or it has refused them.
    Confirmed {
        /// The channel.
        channel: u16,
        /// The numbers that [`Session::publish`](super::Session::publish) returned.
        numbers: Vec<u64>,
        /// `true` if the broker has taken them.
        accepted: bool,
    },
    /// A publication could not be routed. Its confirm follows.
    Returned(u16, Box<Returned>),
    /// The answer to the oldest open request of a channel.
    Replied(u16, Reply),
    /// A message for a consumer.
    Delivered {
        /// The channel.
        channel: u16,
        /// The tag of the consumer.
        consumer: String,
        /// The message.
        delivery: Box<Delivery>,
    },
    /// The server ended a consumer, mostly because its queue was deleted.
    ConsumerCancelled(u16, String),
}
