//! Redis Cluster: finding the node that owns the slot of the keys.
//!
//! A cluster divides its keys over 16,384 slots, and each slot is on one node. A *hash tag* decides
//! the slot in place of the whole key: the text between the first `{` and the next `}`. The prefix
//! of all keys has one, so all keys are in one slot. Scripts and transactions then work as on a
//! single Redis ([Redis cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)).
//!
//! This module knows what to ask and what an answer means; `place` decides whom to ask.

use std::fmt;
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use redis::{Cmd, Value};

use crate::endpoint::address::Address;
use crate::endpoint::parts::host_name;

/// The scheme of the URL of a cluster.
pub(crate) const SCHEME: &str = "redis+cluster";
/// The scheme of the URL of a cluster with TLS.
pub(crate) const TLS_SCHEME: &str = "rediss+cluster";

/// The number of slots of every cluster.
const SLOTS: u16 = 16_384;

/// Limit for the replicas of the owner that are remembered, to be asked later.
const MOST_REPLICAS: usize = 15;

/// The nodes of a cluster that were given, and those that own or copy the slot.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The addresses that were given, in their order. There is at least one.
    nodes: Vec<Address>,
    /// The nodes to ask first: the owner of the slot and its replicas, as the cluster named them.
    /// All connections of an endpoint share it.
    ///
    /// The last owner is asked first, because it knows where the slot went. Its replicas are next,
    /// because one of them takes over if it fails.
    named: Mutex<Vec<Address>>,
}

impl Cluster {
    pub(crate) fn new(nodes: Vec<Address>) -> Self {
        Self {
            nodes,
            named: Mutex::default(),
        }
    }

    /// Returns the addresses that were given, in their order.
    pub fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// Returns all known nodes in the order to ask them.
    pub(crate) fn in_turn(&self) -> Vec<Address> {
        let mut order = self.named().clone();
        let others = self.nodes.iter().filter(|node| !order.contains(node));
        let others: Vec<Address> = others.cloned().collect();
        order.extend(others);
        order
    }

    /// Notes the owner of the slot and its replicas, so that they are asked first.
    pub(crate) fn named_as(&self, owner_and_replicas: &[Address]) {
        *self.named() = owner_and_replicas.to_vec();
    }

    /// Notes that the node that was named could not be used, so that it is asked last.
    pub(crate) fn misled(&self) {
        let mut order = self.in_turn();
        order.rotate_left(1);
        *self.named() = order;
    }

    fn named(&self) -> MutexGuard<'_, Vec<Address>> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the question for the owners of all slots.
    ///
    /// `CLUSTER SLOTS` is older than `CLUSTER SHARDS`, and every version has it. Its answer has the
    /// address that the cluster announces to clients, with the port for TLS if it was asked over
    /// TLS.
    pub(crate) fn question() -> Cmd {
        let mut question = redis::cmd("CLUSTER");
        question.arg("SLOTS");
        question
    }

    /// Returns the owner of a slot and its replicas from an answer of the node `asked`. `None` means
    /// that no node owns the slot, or the answer makes no sense.
    pub(crate) fn owner_and_replicas(
        slot: u16,
        answer: &Value,
        asked: &Address,
    ) -> Option<Vec<Address>> {
        let Value::Array(ranges) = answer else {
            return None;
        };
        let nodes = ranges.iter().find_map(|range| {
            let Value::Array(parts) = range else {
                return None;
            };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
                return None;
            };
            (*first..=*last).contains(&i64::from(slot)).then_some(nodes)
        })?;
        let (owner, replicas) = nodes.split_first()?;
        let owner = address(owner, asked)?;
        let replicas = replicas.iter().take(MOST_REPLICAS);
        let replicas = replicas.filter_map(|node| address(node, asked));
        Some(iter::once(owner).chain(replicas).collect())
    }

    /// Returns the given addresses in a fixed order, as one text.
    pub(crate) fn list_sorted(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().map(Address::to_string).collect();
        nodes.sort_unstable();
        nodes.join(";").to_ascii_lowercase()
    }
}

impl Clone for Cluster {
    fn clone(&self) -> Self {
        Self {
            nodes: self.nodes.clone(),
            named: Mutex::new(self.named().clone()),
        }
    }
}

/// What the cluster has named says nothing about the endpoint, so it does not count.
impl PartialEq for Cluster {
    fn eq(&self, other: &Self) -> bool {
        self.nodes == other.nodes
    }
}

impl Eq for Cluster {}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the cluster {}", self.list_sorted())
    }
}

/// Returns the address of a node. A node that does not know its own address is where it was asked.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = parts.as_slice() else {
        return None;
    };
    let host = match (host, asked) {
        (Value::BulkString(host), _) if !host.is_empty() => {
            host_name(std::str::from_utf8(host).ok()?).ok()?
        }
        (Value::BulkString(_) | Value::Nil, Address::Tcp { host, .. }) => host.clone(),
        _ => return None,
    };
    let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
    Some(Address::Tcp { host, port })
}

/// Characters that a prefix in a URL need not encode, so that people can read it.
const IN_PREFIX: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'{')
    .remove(b'}')
    .remove(b':');

/// Returns the parameter of a URL with this prefix, or nothing for an empty one.
pub(crate) fn prefix_parameter(prefix: &str) -> String {
    if prefix.is_empty() {
        return String::new();
    }
    format!("?prefix={}", utf8_percent_encode(prefix, IN_PREFIX))
}

/// Returns the slot of all keys with this prefix, or `None` if it has no hash tag, so that each key
/// has a slot of its own.
///
/// ```
/// use celery_client::redis::slot;
/// assert_eq!(slot("{celery}:"), Some(3213));
/// assert_eq!(slot("celery:"), None);
/// ```
pub fn slot(prefix: &str) -> Option<u16> {
    let (_, behind) = prefix.split_once('{')?;
    let (tag, _) = behind.split_once('}')?;
    (!tag.is_empty()).then(|| crc16(tag.as_bytes()) % SLOTS)
}

/// Returns the checksum CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    const POLYNOMIAL: u16 = 0x1021;
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            let shifted = crc << 1;
            if crc & 0x8000 == 0 {
                shifted
            } else {
                shifted ^ POLYNOMIAL
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16) -> Address {
        Address::Tcp {
            host: host.to_owned(),
            port,
        }
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn node(host: Value, port: i64) -> Value {
        let metadata = Value::Array(vec![text("hostname"), text("other")]);
        Value::Array(vec![host, Value::Int(port), text("id"), metadata])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        let mut parts = vec![Value::Int(first), Value::Int(last)];
        parts.extend(nodes);
        Value::Array(parts)
    }

    #[test]
    fn the_slot_is_that_of_the_tag() {
        // The value in the specification of the cluster.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        for (prefix, slot_of_it) in [
            ("{celery}:", Some(3213)),
            ("shop.{celery}.", Some(3213)),
            ("{celery}{other}", Some(3213)),
            ("{{celery}:", Some(crc16(b"{celery") % SLOTS)),
            ("", None),
            ("celery:", None),
            ("{}:", None),
            ("{}{celery}", None),
            ("{celery", None),
            ("}celery{", None),
        ] {
            assert_eq!(slot(prefix), slot_of_it, "{prefix}");
        }
    }

    #[test]
    fn the_owner_and_its_replicas_are_those_of_the_range() {
        let asked = at("seed", 7000);
        let owners = |answer: &Value| Cluster::owner_and_replicas(3213, answer, &asked);
        let others = range(0, 3212, vec![node(text("10.0.0.9"), 1)]);
        for (host, shown) in [
            (text("10.0.0.1"), "10.0.0.1"),
            (text("redis-1.local"), "redis-1.local"),
            (text("::1"), "::1"),
            // The node does not know its address, or may not tell it.
            (text(""), "seed"),
            (Value::Nil, "seed"),
        ] {
            let nodes = vec![node(host, 7001), node(text("10.0.0.2"), 7002)];
            let answer = Value::Array(vec![others.clone(), range(3213, 16_383, nodes)]);
            let found = vec![at(shown, 7001), at("10.0.0.2", 7002)];
            assert_eq!(owners(&answer), Some(found), "{answer:?}");
        }
        for answer in [
            Value::Nil,
            Value::SimpleString("OK".to_owned()),
            Value::Array(vec![others]),
            Value::Array(vec![range(0, 16_383, vec![])]),
            Value::Array(vec![range(0, 16_383, vec![node(text("a b"), 1)])]),
            // No host name is set, although the cluster prefers names.
            Value::Array(vec![range(0, 16_383, vec![node(text("?"), 1)])]),
            Value::Array(vec![range(0, 16_383, vec![node(text("h"), 0)])]),
            Value::Array(vec![range(0, 16_383, vec![node(text("h"), 70_000)])]),
            Value::Array(vec![range(0, 16_383, vec![node(Value::Int(1), 1)])]),
            Value::Array(vec![Value::Array(vec![Value::Int(0)])]),
        ] {
            assert_eq!(owners(&answer), None, "{answer:?}");
        }
    }

    #[test]
    fn the_owner_is_asked_first_until_it_misleads() {
        let [a, b, owner, replica] = [1, 2, 3, 4].map(|port| at("h", port));
        let cluster = Cluster::new(vec![a.clone(), b.clone()]);
        assert_eq!(cluster.in_turn(), [a.clone(), b.clone()]);
        cluster.named_as(&[owner.clone(), replica.clone()]);
        let order = [owner.clone(), replica.clone(), a.clone(), b.clone()];
        assert_eq!(cluster.in_turn(), order);
        cluster.misled();
        let order = [replica.clone(), a.clone(), b.clone(), owner];
        assert_eq!(cluster.in_turn(), order);
        cluster.named_as(&[b.clone(), replica.clone()]);
        assert_eq!(cluster.in_turn(), [b.clone(), replica, a.clone()]);
        assert_eq!(cluster.clone(), Cluster::new(vec![a, b]));
    }
}
