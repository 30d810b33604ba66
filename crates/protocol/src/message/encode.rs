//! Writing a task message.

use super::{EncodeError, Protocol, Task};
use crate::compression::Compression;
use crate::serializer::Serializer;

/// How and where a task is written.
///
/// ```
/// use celery_protocol::message::EncodeOptions;
/// let options = EncodeOptions::new("celery", "7984eb8a-d938-486d-8d34-8897efb04d94")
///     .lang("php")
///     .origin("php42@web1")
///     .reply_to("34d9a836-b8f6-3946-a5fe-d67233090cc9");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EncodeOptions<'a> {
    /// The routing key: the queue, as long as `exchange` is empty.
    pub queue: &'a str,
    /// The exchange named in the message. Leave it empty: kombu drops a restored message whose named
    /// exchange has no binding.
    pub exchange: &'a str,
    /// A fresh UUID, the broker's name of this message. Never the task's id.
    pub delivery_tag: &'a str,
    /// Who sends, `php<pid>@<host>`.
    pub origin: &'a str,
    /// One UUID a process, written where the task has none of its own.
    pub reply_to: &'a str,
    /// The sender's language.
    pub lang: &'a str,
    /// The protocol to write.
    pub protocol: Protocol,
    /// The serializer of the body.
    pub serializer: Serializer,
    /// The compression of the body.
    pub compression: Option<Compression>,
}

impl<'a> EncodeOptions<'a> {
    /// Protocol 2 in uncompressed JSON to a queue.
    pub fn new(queue: &'a str, delivery_tag: &'a str) -> Self {
        Self {
            queue,
            exchange: "",
            delivery_tag,
            origin: "",
            reply_to: "",
            lang: "rust",
            protocol: Protocol::V2,
            serializer: Serializer::Json,
            compression: None,
        }
    }

    /// Sets the exchange.
    pub fn exchange(mut self, exchange: &'a str) -> Self {
        self.exchange = exchange;
        self
    }

    /// Sets who sends.
    pub fn origin(mut self, origin: &'a str) -> Self {
        self.origin = origin;
        self
    }

    /// Sets where replies would go.
    pub fn reply_to(mut self, reply_to: &'a str) -> Self {
        self.reply_to = reply_to;
        self
    }

    /// Sets the sender's language.
    pub fn lang(mut self, lang: &'a str) -> Self {
        self.lang = lang;
        self
    }

    /// Sets the protocol.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocol = protocol;
        self
    }

    /// Sets the serializer.
    pub fn serializer(mut self, serializer: Serializer) -> Self {
        self.serializer = serializer;
        self
    }

    /// Sets the compression.
    pub fn compression(mut self, compression: Option<Compression>) -> Self {
        self.compression = compression;
        self
    }
}

impl Task {
    /// Writes the task as one element of a Redis queue: kombu's envelope in compact JSON.
    ///
    /// It belongs into the list [`Keys::queue`](crate::keys::Keys::queue) of the task's
    /// [`priority`](Task::priority) step, pushed on the left.
    pub fn encode_redis(&self, options: &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError> {
        let _ = options;
        todo!()
    }
}
