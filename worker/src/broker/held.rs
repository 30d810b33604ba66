//! The held message as it arrived: the facts that are known before its body is read, and its task.
//!
//! Reading a body that is compressed or large can end a worker. A redelivered message of that kind
//! is therefore counted before it is read, and the count is taken back afterwards. The count that
//! stays is the number of workers that ended while they read it. A message that only waited in
//! workers that ended is not counted.

use std::hash::{DefaultHasher, Hash, Hasher};

use celery_protocol::message::{
    DecodeError, DecodeOptions, Redelivery as Marked, Task, mark_redelivered, may_be_redelivered,
};
use serde::Deserialize;
use serde_json::Value;

/// A message in the form in which a broker carries it.
pub(crate) trait Held: Send + 'static {
    /// Returns its size in bytes.
    fn size(&self) -> usize;

    /// Returns the id and the task's name of a redelivered message, if the message is large or may
    /// become large when its body is read. Returns `None` for all other messages.
    fn peek(&self) -> Option<Peek>;

    /// Reads its task.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] if it is malformed, or has a content type that is not accepted.
    fn decode(&self, options: &DecodeOptions<'_>) -> Result<Task, DecodeError>;

    /// Returns its priority, without reading its body.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] if it has no readable envelope.
    fn priority(&self) -> Result<u8, DecodeError>;
}

/// A message in kombu's JSON envelope, as Redis stores it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Envelope(pub(crate) Vec<u8>);

impl Envelope {
    /// Returns the envelope with the mark of a redelivered message.
    ///
    /// # Errors
    ///
    /// Returns [`DecodeError`] if it has no readable envelope.
    pub(crate) fn marked(&self) -> Result<Marked, DecodeError> {
        mark_redelivered(&self.0)
    }
}

impl Held for Envelope {
    fn size(&self) -> usize {
        self.0.len()
    }

    fn peek(&self) -> Option<Peek> {
        Peek::at(&self.0)
    }

    fn decode(&self, options: &DecodeOptions<'_>) -> Result<Task, DecodeError> {
        Task::decode_redis_with(&self.0, options)
    }

    fn priority(&self) -> Result<u8, DecodeError> {
        Ok(self.marked()?.priority)
    }
}

/// A message that is smaller than this, and not compressed, needs only a few times its size in
/// memory when it is read.
pub(crate) const LARGE: usize = 1 << 20;

/// What is known about a message before its body is read.
#[derive(Debug, Default)]
pub(crate) struct Peek {
    pub(crate) id: String,
    pub(crate) task: String,
    /// The name under which the attempts to read the message are counted.
    pub(crate) count: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parts {
    headers: Option<Headers>,
    properties: Option<Properties>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Headers {
    id: Value,
    task: Value,
    compression: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Properties {
    delivery_tag: Value,
}

impl Peek {
    fn at(raw: &[u8]) -> Option<Peek> {
        if !may_be_redelivered(raw) {
            return None;
        }
        // A message that is not strict JSON is not examined further, and is counted.
        let envelope = serde_json::from_slice::<Parts>(raw).ok();
        let strict = envelope.is_some();
        let Parts {
            headers,
            properties,
        } = envelope.unwrap_or_default();
        let headers = headers.unwrap_or_default();
        if strict && headers.compression.is_null() && raw.len() < LARGE {
            return None;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tag = properties.and_then(|it| it.delivery_tag.as_str().map(str::to_owned));
        let tag = tag.unwrap_or_else(|| {
            let mut hasher = DefaultHasher::new();
            raw.hash(&mut hasher);
            format!("{:016x}", hasher.finish())
        });
        Some(Peek {
            id: text(&headers.id),
            task: text(&headers.task),
            count: format!("{tag}:read"),
        })
    }
}

#[cfg(test)]
mod tests {
    use celery_protocol::compression::Compression;
    use celery_protocol::message::{EncodeOptions, mark_redelivered};

    use super::*;
    use crate::task::testing;

    #[test]
    fn redelivered_messages_that_are_compressed_or_large_are_counted() {
        let message = |args: &str, compression| {
            let task = testing::task("proj.add", args);
            let options = EncodeOptions::new("celery", "tag").compression(compression);
            task.encode_redis(&options).unwrap()
        };
        let again = |raw: &[u8]| mark_redelivered(raw).unwrap().raw;
        let large = format!("[{:?}]", "x".repeat(LARGE));
        for raw in [
            message("[1]", Some(Compression::Zlib)),
            message(&large, None),
        ] {
            assert!(Peek::at(&raw).is_none());
            let peek = Peek::at(&again(&raw)).unwrap();
            assert_eq!((&*peek.task, &*peek.count), ("proj.add", "tag:read"));
        }
        assert!(Peek::at(&again(&message("[1]", None))).is_none());
        let strange = Peek::at(br#"{"redelivered": NaN}"#).unwrap();
        assert_eq!((&*strange.id, strange.count.len()), ("", 21));
    }
}
