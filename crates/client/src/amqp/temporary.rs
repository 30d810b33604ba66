//! The exchanges of remote control and events, and the queues that belong to one connection.
//!
//! Names and arguments are those of kombu. A queue is exclusive, so it ends with its connection, and
//! it is deleted with its last consumer.

use celery_protocol::amqp::AmqpError;
use celery_protocol::names::{CONTROL_EXCHANGE, CONTROL_REPLY_EXCHANGE, EVENT_EXCHANGE};

use super::queue::Queue;

/// The milliseconds of Celery's `control_queue_expires` and `control_queue_ttl`.
const CONTROL_EXPIRES: u32 = 10_000;
const CONTROL_TTL: u32 = 300_000;
/// The milliseconds of Celery's `event_queue_expires` and `event_queue_ttl`.
const EVENT_EXPIRES: u32 = 60_000;
const EVENT_TTL: u32 = 5000;

/// An exchange that all programs declare alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exchange {
    /// The name.
    pub name: &'static str,
    /// The kind, such as `fanout`.
    pub kind: &'static str,
    /// Whether it outlives a restart of the server.
    pub durable: bool,
}

impl Exchange {
    /// The exchange of commands for workers.
    pub const COMMANDS: Exchange = Exchange {
        name: CONTROL_EXCHANGE,
        kind: "fanout",
        durable: false,
    };
    /// The exchange of the workers' replies.
    pub const REPLIES: Exchange = Exchange {
        name: CONTROL_REPLY_EXCHANGE,
        kind: "direct",
        durable: false,
    };
    /// The exchange of events.
    pub const EVENTS: Exchange = Exchange {
        name: EVENT_EXCHANGE,
        kind: "topic",
        durable: true,
    };
}

/// A queue of one connection, and its binding.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Temporary<'n> {
    /// The exchange that it is bound to.
    pub exchange: Exchange,
    /// Its name.
    pub queue: &'n str,
    /// The routing key of its messages.
    pub routing_key: &'n str,
    /// The milliseconds after which it ends if it is not used.
    pub expires: u32,
    /// The milliseconds for which it keeps a message.
    pub message_ttl: u32,
}

impl<'n> Temporary<'n> {
    /// Returns the queue of a worker for commands.
    pub fn commands(queue: &'n str) -> Self {
        Temporary {
            exchange: Exchange::COMMANDS,
            queue,
            routing_key: "",
            expires: CONTROL_EXPIRES,
            message_ttl: CONTROL_TTL,
        }
    }

    /// Returns a queue for the replies of workers.
    pub fn replies(queue: &'n str, routing_key: &'n str) -> Self {
        Temporary {
            exchange: Exchange::REPLIES,
            queue,
            routing_key,
            expires: CONTROL_EXPIRES,
            message_ttl: CONTROL_TTL,
        }
    }

    /// Returns a queue for events.
    pub fn events(queue: &'n str, routing_key: &'n str) -> Self {
        Temporary {
            exchange: Exchange::EVENTS,
            queue,
            routing_key,
            expires: EVENT_EXPIRES,
            message_ttl: EVENT_TTL,
        }
    }

    /// Returns the queue with kombu's arguments.
    ///
    /// # Errors
    /// [`AmqpError`] never comes for numbers.
    pub(super) fn declaration(&self) -> Result<Queue<'n>, AmqpError> {
        let mut queue = Queue::durable(self.queue);
        (queue.durable, queue.exclusive, queue.auto_delete) = (false, true, true);
        for (name, value) in [
            ("x-expires", self.expires),
            ("x-message-ttl", self.message_ttl),
        ] {
            let set = queue.arguments.set(name, &value);
            set.map_err(|error| AmqpError::Json(error.to_string()))?;
        }
        Ok(queue)
    }
}
