//! What can be told of a message before its body is read.
//!
//! Reading a body can end a worker: it may be compressed, or large. A message that was delivered before and may be of that
//! kind is therefore counted before it is read, and the count taken back after it. What stays is the number of
//! workers that ended just then; what only waits in workers that end is not counted.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Deserialize;
use serde_json::Value;

/// A message that is smaller, and not compressed, takes no more than a few times as much memory when it is read.
const LARGE: usize = 1 << 20;

/// What a message says outside of its body.
#[derive(Debug, Default)]
pub(super) struct Peek {
    pub(super) id: String,
    pub(super) task: String,
    /// What the tries to read it are counted by.
    pub(super) count: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Envelope {
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
    /// Looks at a message that is marked as redelivered and could be more than it seems. None for all others.
    pub(super) fn at(raw: &[u8]) -> Option<Peek> {
        // Whoever restores a message writes the mark like this.
        let marked = std::str::from_utf8(raw).is_ok_and(|text| text.contains("\"redelivered\""));
        if !marked {
            return None;
        }
        // What is no strict JSON is looked at no further, and counted.
        let envelope = serde_json::from_slice::<Envelope>(raw).ok();
        let strict = envelope.is_some();
        let Envelope {
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
    fn what_is_delivered_again_and_compressed_or_large_is_counted() {
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
