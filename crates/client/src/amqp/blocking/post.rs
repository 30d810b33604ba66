//! A message on its way to the broker.

use celery_protocol::message::{AmqpMessage, Carried as _};

/// A message to post, and where it goes.
///
/// What is missing on its way is created as far as the post names it: a queue by the routing key if
/// the exchange is empty, otherwise exchange, queue and binding by [`queue`](Self::queue).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Post {
    /// The exchange; empty if the routing key is the name of a queue.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// The queue that gets the messages of a named exchange if that exchange or the binding is
    /// missing. Its name is also the binding's key. `None`: nothing is created for the exchange.
    pub queue: Option<String>,
    /// The task's id, for errors.
    pub task_id: String,
    /// The message that `Task::encode_amqp` returned.
    pub message: AmqpMessage,
}

impl Post {
    /// Returns about the number of bytes of the message.
    pub(super) fn size(&self) -> usize {
        self.message.size()
    }

    /// Returns the exchange and the queue to create if they are missing.
    pub(super) fn home(&self) -> Option<Home<'_>> {
        if self.exchange.is_empty() {
            return Some(Home {
                exchange: &self.routing_key,
                queue: &self.routing_key,
            });
        }
        self.queue.as_deref().map(|queue| Home {
            exchange: &self.exchange,
            queue,
        })
    }
}

/// A direct exchange, and the queue that is bound to it by its own name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Home<'p> {
    pub(super) exchange: &'p str,
    pub(super) queue: &'p str,
}
