//! Redis Cluster: finding the node that owns the slot of the keys.
//!
//! A cluster divides its keys over 16,384 slots, and each slot is on one node. A *hash tag* decides
//! the slot in place of the whole key: the text between the first `{` and the next `}`. The prefix
//! of all keys has one, so all keys are in one slot. Scripts and transactions then work as on a
//! single Redis ([Redis cluster specification](https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/)).
//!
//! This module knows what to ask, whom to ask first, and what an answer means; `inquiry` asks.

use std::fmt;
use std::iter;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use redis::{Cmd, Value};

use crate::endpoint::address::Address;
use crate::endpoint::parts::host_name;
use crate::error::ServerError;

/// The scheme of the URL of a cluster.
pub(crate) const SCHEME: &str = "redis+cluster";
/// The scheme of the URL of a cluster with TLS.
pub(crate) const TLS_SCHEME: &str = "rediss+cluster";

/// The number of slots of every cluster.
const SLOTS: u16 = 16_384;

/// Limit for the replicas of the owner that are remembered, to be asked later.
const MOST_REPLICAS: usize = 15;

/// The time for which a node that misled is asked after the others. It is longer than a failover
/// with the default of `cluster-node-timeout`, 15 s.
const DOUBTED: Duration = Duration::from_secs(30);

/// The nodes of a cluster that were given, and what is known about all of them.
#[derive(Debug, Default)]
pub struct Cluster {
    /// The addresses that were given, in their order. There is at least one.
    nodes: Vec<Address>,
    /// What the nodes have shown. All connections of an endpoint share it.
    known: Mutex<Known>,
}

/// What the nodes of a cluster have shown.
#[derive(Clone, Debug, Default)]
struct Known {
    /// The owner of the slot and its replicas, as the cluster named them last.
    ///
    /// The last owner is asked first, because it knows where the slot went. Its replicas are next,
    /// because one of them takes over if it fails.
    named: Vec<Address>,
    /// The nodes that misled or did not answer, and when, the oldest first. They are asked last.
    ///
    /// An owner that is cut off from its cluster names itself, and a node beside it agrees. So each
    /// node is asked before one of them is asked again.
    doubted: Vec<(Address, Instant)>,
}

impl Known {
    fn doubt(&mut self, node: &Address, now: Instant) {
        self.trust(node);
        self.doubted.push((node.clone(), now));
        self.doubted
            .retain(|(_, at)| now.saturating_duration_since(*at) < DOUBTED);
    }

    fn trust(&mut self, node: &Address) {
        self.doubted.retain(|(doubted, _)| doubted != node);
    }
}

impl Cluster {
    pub(crate) fn new(nodes: Vec<Address>) -> Self {
        Self {
            nodes,
            known: Mutex::default(),
        }
    }

    /// Returns the addresses that were given, in their order.
    pub fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// Returns all known nodes in the order to ask them.
    pub(crate) fn in_turn(&self, now: Instant) -> Vec<Address> {
        let known = self.known();
        let mut order: Vec<Address> = Vec::new();
        for node in known.named.iter().chain(&self.nodes) {
            if !order.contains(node) {
                order.push(node.clone());
            }
        }
        for (node, at) in &known.doubted {
            let is_doubted = now.saturating_duration_since(*at) < DOUBTED;
            if let Some(place) = order
                .iter()
                .position(|other| other == node)
                .filter(|_| is_doubted)
            {
                let node = order.remove(place);
                order.push(node);
            }
        }
        order
    }

    /// Notes the owner of the slot and its replicas, so that they are asked first.
    pub(crate) fn named_as(&self, owner_and_replicas: &[Address]) {
        self.known().named = owner_and_replicas.to_vec();
    }

    /// Notes that a node misled or did not answer, so that it is asked last.
    pub(crate) fn doubt(&self, node: &Address, now: Instant) {
        self.known().doubt(node, now);
    }

    /// Notes that the slot was moved to this node, so that it is asked first.
    pub(crate) fn moved_to(&self, node: Address) {
        let mut known = self.known();
        known.trust(&node);
        known.named.retain(|other| *other != node);
        known.named.insert(0, node);
        known.named.truncate(MOST_REPLICAS + 1);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the new owner of the slot from the refusal `MOVED slot host:port` of the node
    /// `asked`.
    pub(crate) fn new_owner(refusal: &ServerError, asked: &Address) -> Option<Address> {
        if refusal.code() != "MOVED" {
            return None;
        }
        let (host, port) = refusal.message().split(' ').nth(1)?.rsplit_once(':')?;
        tcp(host.as_bytes(), port.parse().ok()?, asked)
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

    /// Returns the owner of a slot and its replicas from an answer of the node `asked`.
    ///
    /// # Errors
    /// The reason why it names none: no node owns the slot, the owner announces no address, or the
    /// answer makes no sense.
    pub(crate) fn owner_and_replicas(
        slot: u16,
        answer: &Value,
        asked: &Address,
    ) -> Result<Vec<Address>, &'static str> {
        let nodes = nodes_of(slot, answer).ok_or("it knows no owner of this slot")?;
        let (owner, replicas) = nodes
            .split_first()
            .ok_or("it knows no owner of this slot")?;
        let owner = address(owner, asked).ok_or(
            "the owner announces no usable host: set cluster-announce-hostname there, or \
             cluster-preferred-endpoint-type ip",
        )?;
        let replicas = replicas.iter().take(MOST_REPLICAS);
        let replicas = replicas.filter_map(|node| address(node, asked));
        Ok(iter::once(owner).chain(replicas).collect())
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
            known: Mutex::new(self.known().clone()),
        }
    }
}

/// What the nodes have shown says nothing about the endpoint, so it does not count.
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

/// Returns the nodes of the range that has this slot.
fn nodes_of(slot: u16, answer: &Value) -> Option<&[Value]> {
    let Value::Array(ranges) = answer else {
        return None;
    };
    ranges.iter().find_map(|range| {
        let Value::Array(parts) = range else {
            return None;
        };
        let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
            return None;
        };
        (*first..=*last).contains(&i64::from(slot)).then_some(nodes)
    })
}

/// Returns the address of a node. A node that does not know its own address is where it was asked.
fn address(node: &Value, asked: &Address) -> Option<Address> {
    let Value::Array(parts) = node else {
        return None;
    };
    let [host, Value::Int(port), ..] = parts.as_slice() else {
        return None;
    };
    let host: &[u8] = match host {
        Value::BulkString(host) => host,
        Value::Nil => b"",
        _ => return None,
    };
    tcp(host, u16::try_from(*port).ok()?, asked)
}

/// Returns the address of a node that announces this host and port. Without a host, it is that of
/// the node `asked`.
fn tcp(host: &[u8], port: u16, asked: &Address) -> Option<Address> {
    let host = match asked {
        _ if !host.is_empty() => host_name(std::str::from_utf8(host).ok()?).ok()?,
        Address::Tcp { host, .. } => host.clone(),
        Address::Unix(_) => return None,
    };
    (port > 0).then_some(Address::Tcp { host, port })
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
            assert_eq!(owners(&answer), Ok(found), "{answer:?}");
        }
        for answer in [
            Value::Nil,
            Value::SimpleString("OK".to_owned()),
            Value::Array(vec![others]),
            Value::Array(vec![range(0, 16_383, vec![])]),
            Value::Array(vec![Value::Array(vec![Value::Int(0)])]),
        ] {
            let unknown = owners(&answer).unwrap_err();
            assert!(unknown.contains("no owner"), "{answer:?}: {unknown}");
        }
        for owner in [
            // No host name is set, although the cluster prefers names.
            node(text("?"), 1),
            node(text("a b"), 1),
            node(text("h"), 0),
            node(text("h"), 70_000),
            node(Value::Int(1), 1),
        ] {
            let answer = Value::Array(vec![range(0, 16_383, vec![owner])]);
            let unusable = owners(&answer).unwrap_err();
            assert!(unusable.contains("announces"), "{answer:?}: {unusable}");
        }
    }

    #[test]
    fn the_owner_is_asked_first_until_it_misleads() {
        let [a, b, owner, replica] = [1, 2, 3, 4].map(|port| at("h", port));
        let cluster = Cluster::new(vec![a.clone(), b.clone()]);
        let now = Instant::now();
        assert_eq!(cluster.in_turn(now), [a.clone(), b.clone()]);
        let named = [owner.clone(), replica.clone()];
        cluster.named_as(&named);
        let order = [owner.clone(), replica.clone(), a.clone(), b.clone()];
        assert_eq!(cluster.in_turn(now), order);
        // Whatever a node that misled says about the owner, the others are asked before.
        cluster.doubt(&owner, now);
        cluster.named_as(&named);
        let later = [replica.clone(), a.clone(), b.clone(), owner.clone()];
        assert_eq!(cluster.in_turn(now), later);
        cluster.doubt(&replica, now);
        cluster.doubt(&owner, now);
        cluster.named_as(&named);
        let later = [a.clone(), b.clone(), replica.clone(), owner.clone()];
        assert_eq!(cluster.in_turn(now), later);
        // Where all have misled, each is asked before one is asked again.
        cluster.doubt(&a, now);
        cluster.doubt(&b, now);
        assert_eq!(cluster.in_turn(now)[..2], [replica.clone(), owner.clone()]);
        assert_eq!(cluster.in_turn(now + DOUBTED), order);
        cluster.moved_to(b.clone());
        let moved = [b.clone(), replica, owner, a.clone()];
        assert_eq!(cluster.in_turn(now), moved);
        assert_eq!(cluster.clone(), Cluster::new(vec![a, b]));
    }

    #[test]
    fn a_refusal_names_the_new_owner() {
        let asked = at("seed", 7000);
        let owner = |code: &str, message: &str| {
            let refusal = ServerError::new(code, message);
            Cluster::new_owner(&refusal, &asked)
        };
        for (message, owner_of_it) in [
            ("3213 10.0.0.1:7001", Some(at("10.0.0.1", 7001))),
            ("3213 redis-1.local:7001", Some(at("redis-1.local", 7001))),
            ("3213 ::1:7001", Some(at("::1", 7001))),
            ("3213 :7001", Some(at("seed", 7001))),
            ("3213 ?:7001", None),
            ("3213 h:0", None),
            ("3213 h:x", None),
            ("3213 h", None),
            ("3213", None),
            ("", None),
        ] {
            assert_eq!(owner("MOVED", message), owner_of_it, "{message}");
        }
        assert_eq!(owner("ASK", "3213 10.0.0.1:7001"), None);
    }
}
