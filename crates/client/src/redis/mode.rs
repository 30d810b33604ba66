//! Detects Redis Cluster and Redis Sentinel, neither of which can hold the key layout of kombu.
//!
//! The drivers send `HELLO` once on each connection. Redis allows it to every user, whatever the
//! user's permissions. A server that does not know the command counts as usable.

use redis::Value;

/// Describes a node of a cluster in an error message.
///
/// A cluster spreads its keys over several nodes, but the project's scripts and kombu's
/// transactions need all keys of a call on one node.
pub const CLUSTER: &str =
    "a node of a Redis Cluster, which is not supported: use a Redis without cluster mode";
/// Describes a Sentinel in an error message.
pub const SENTINEL: &str =
    "a Redis Sentinel, which holds no queues: use the address of the Redis that it watches";

/// Returns a description of the server if its answer to `HELLO` shows that it cannot be used.
pub fn unsupported(hello: &Value) -> Option<&'static str> {
    let mode = match hello {
        Value::Map(pairs) => pairs
            .iter()
            .find_map(|(name, value)| is_text(name, "mode").then_some(value)),
        Value::Array(items) => items
            .chunks_exact(2)
            .find_map(|pair| is_text(&pair[0], "mode").then_some(&pair[1])),
        _ => None,
    }?;
    if is_text(mode, "cluster") {
        return Some(CLUSTER);
    }
    is_text(mode, "sentinel").then_some(SENTINEL)
}

fn is_text(value: &Value, wanted: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == wanted.as_bytes(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => text == wanted,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(mode: &str) -> [Value; 2] {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let pairs = [("server", "redis"), ("mode", mode), ("role", "master")];
        let map = pairs
            .map(|(name, value)| (text(name), text(value)))
            .to_vec();
        let list = pairs
            .iter()
            .flat_map(|(name, value)| [text(name), text(value)]);
        [Value::Array(list.collect()), Value::Map(map)]
    }

    #[test]
    fn the_mode_decides_in_both_protocols() {
        for (mode, expected) in [
            ("standalone", None),
            ("cluster", Some(CLUSTER)),
            ("sentinel", Some(SENTINEL)),
            ("", None),
        ] {
            for hello in answer(mode) {
                assert_eq!(unsupported(&hello), expected, "{hello:?}");
            }
        }
        let odd = Value::Array(vec![Value::Int(1)]);
        for hello in [Value::Nil, Value::SimpleString("PONG".into()), odd] {
            assert_eq!(unsupported(&hello), None, "{hello:?}");
        }
    }
}
