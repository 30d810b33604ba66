//! What a server says of itself: its kind and its role.
//!
//! A Sentinel cannot hold the key layout of kombu, and a node of a Redis Cluster only if all keys are
//! in one slot.
//!
//! The drivers send `HELLO` once on each connection. Redis allows it to every user, whatever the
//! user's permissions. A server that does not know the command counts as usable.

use redis::Value;

/// Describes a node of a cluster in an error message.
///
/// A cluster spreads its keys over several nodes, but the project's scripts and kombu's
/// transactions need all keys of a call on one node.
pub const CLUSTER: &str = "a node of a Redis Cluster, which is used by a URL of its own: \
                           redis+cluster://host:port?prefix={celery}:";
/// Describes a Sentinel in an error message.
pub const SENTINEL: &str =
    "a Redis Sentinel, which holds no queues: use sentinel://host:port?master_name=NAME";

/// Returns a description of the server if its answer to `HELLO` shows that it cannot be used. A node
/// of a cluster can be used if the cluster has named it.
pub fn unsupported(hello: &Value, is_named_by_cluster: bool) -> Option<&'static str> {
    match part(hello, "mode")? {
        "cluster" if !is_named_by_cluster => Some(CLUSTER),
        "sentinel" => Some(SENTINEL),
        _ => None,
    }
}

/// Returns the role of the server, `master` or `replica`, if its answer to `HELLO` has it.
#[cfg_attr(
    not(any(feature = "blocking", feature = "aio")),
    allow(dead_code, reason = "only the drivers hear answers")
)]
pub(crate) fn role(hello: &Value) -> Option<&str> {
    part(hello, "role")
}

/// Returns a named part of an answer to `HELLO`, in either protocol.
fn part<'v>(hello: &'v Value, wanted: &str) -> Option<&'v str> {
    let value = match hello {
        Value::Map(pairs) => pairs
            .iter()
            .find_map(|(name, value)| (text(name) == Some(wanted)).then_some(value)),
        Value::Array(items) => items
            .chunks_exact(2)
            .find_map(|pair| (text(&pair[0]) == Some(wanted)).then_some(&pair[1])),
        _ => None,
    }?;
    text(value)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text),
        _ => None,
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
                assert_eq!(role(&hello), Some("master"));
                assert_eq!(unsupported(&hello, false), expected, "{hello:?}");
                let in_cluster = expected.filter(|_| mode != "cluster");
                assert_eq!(unsupported(&hello, true), in_cluster, "{hello:?}");
            }
        }
        let odd = Value::Array(vec![Value::Int(1)]);
        for hello in [Value::Nil, Value::SimpleString("PONG".into()), odd] {
            assert_eq!(unsupported(&hello, false), None, "{hello:?}");
            assert_eq!(role(&hello), None, "{hello:?}");
        }
    }
}
