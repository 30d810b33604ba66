//! A queue to declare, and what the server says of one.

use celery_protocol::fields::Fields;

/// The type of a queue that this client creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueueType {
    /// A queue without any argument, as Celery declares it.
    Classic,
    /// A replicated queue.
    Quorum,
}

/// A queue to declare.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Queue<'n> {
    /// The name; if it is empty, the server chooses one.
    pub name: &'n str,
    /// Whether it outlives a restart of the server.
    pub durable: bool,
    /// Whether it is deleted after its last consumer.
    pub auto_delete: bool,
    /// Whether only the connection that declared it may use it. It is deleted with its connection.
    pub exclusive: bool,
    /// Arguments, such as `x-expires`.
    pub arguments: Fields,
}

impl<'n> Queue<'n> {
    /// Returns a durable queue without arguments.
    pub fn durable(name: &'n str) -> Self {
        Self {
            name,
            durable: true,
            auto_delete: false,
            exclusive: false,
            arguments: Fields::new(),
        }
    }

    /// Sets the type. A classic queue gets no argument, like Celery's.
    pub fn set_type(&mut self, kind: QueueType) {
        if kind == QueueType::Quorum {
            // A text always has a JSON form.
            let _ = self.arguments.set("x-queue-type", "quorum");
        }
    }
}

/// What the server says of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueState {
    /// Its name.
    pub name: String,
    /// The number of messages that are ready.
    pub messages: u32,
    /// The number of consumers.
    pub consumers: u32,
}
