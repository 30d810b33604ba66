//! Redis Sentinel: finding the master of a group of servers.
//!
//! A Sentinel holds no queues. It watches a master and its replicas, makes a replica the master when
//! the master is away, and tells clients where the master is. So each connection begins with a
//! question to a Sentinel, and the server that it names must say that it is the master.
//!
//! This module knows what to ask, whom to ask first, and what an answer means; `inquiry` asks.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{Cmd, Value};

use crate::endpoint::address::Address;
use crate::endpoint::tls_options::TlsOptions;
use crate::secret::Secret;

/// The port of a Sentinel if none is given.
pub(crate) const DEFAULT_PORT: u16 = 26379;

/// The Sentinels that watch a master, and the login to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentinels {
    /// Their addresses, in the order in which they were given. There is at least one.
    pub(crate) nodes: Vec<Address>,
    /// The name of the group, `master_name` in kombu.
    pub(crate) master: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) first: First,
}

/// The place in the list of the Sentinel to ask first. All connections of an endpoint share it.
///
/// It says nothing about the endpoint, so two endpoints are equal whatever it is.
#[derive(Debug, Default)]
pub(crate) struct First(AtomicUsize);

impl Clone for First {
    fn clone(&self) -> Self {
        Self(AtomicUsize::new(self.0.load(Ordering::Relaxed)))
    }
}

impl PartialEq for First {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for First {}

impl Sentinels {
    /// Returns their addresses, in the order in which they were given.
    pub fn nodes(&self) -> &[Address] {
        &self.nodes
    }

    /// Returns the name of the group of servers that they watch.
    pub fn master(&self) -> Option<&str> {
        self.master.as_deref()
    }

    /// Returns their addresses in a fixed order, as one text.
    pub(crate) fn list_sorted(&self) -> String {
        let mut nodes: Vec<_> = self.nodes.iter().map(Address::to_string).collect();
        nodes.sort_unstable();
        nodes.join(";").to_ascii_lowercase()
    }

    /// Returns the places of all Sentinels in the order to ask them: first the one that answered
    /// last.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        let count = self.nodes.len();
        let first = self.first.0.load(Ordering::Relaxed);
        (0..count).map(move |index| (first % count + index) % count)
    }

    /// Notes that this Sentinel has named the master, so that it is asked first.
    pub(crate) fn answered(&self, node: &Address) {
        if let Some(place) = self.nodes.iter().position(|other| other == node) {
            self.first.0.store(place, Ordering::Relaxed);
        }
    }

    /// Notes that the server that this Sentinel named is not the master, so that another one is asked
    /// first. Several connections may find that out: the first of them counts.
    pub(crate) fn misled(&self, by: &Address) {
        let count = self.nodes.len();
        let is_by = |first: usize| self.nodes[first % count] == *by;
        let order = Ordering::Relaxed;
        let next = |first| is_by(first).then(|| (first + 1) % count);
        let _ = self.first.0.fetch_update(order, order, next);
    }

    /// Returns the question for the address of the master.
    pub(crate) fn question(master: &str) -> Cmd {
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        question
    }

    /// Returns the address that an answer names. `None` means that the Sentinel does not know the
    /// group, or the answer makes no sense.
    pub(crate) fn named(answer: &Value) -> Option<Address> {
        let Value::Array(parts) = answer else {
            return None;
        };
        let [Value::BulkString(host), Value::BulkString(port)] = parts.as_slice() else {
            return None;
        };
        let host = std::str::from_utf8(host).ok()?;
        Some(Address::Tcp {
            host: crate::endpoint::parts::host_name(host).ok()?,
            port: std::str::from_utf8(port).ok()?.parse().ok()?,
        })
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let master = self.master.as_deref().unwrap_or_default();
        write!(f, "{master} of the Sentinels {}", self.list_sorted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(count: u16) -> Sentinels {
        Sentinels {
            nodes: (0..count)
                .map(|port| Address::Tcp {
                    host: "h".to_owned(),
                    port,
                })
                .collect(),
            master: Some("m".to_owned()),
            username: None,
            password: None,
            tls: None,
            first: First::default(),
        }
    }

    #[test]
    fn the_one_that_answered_is_asked_first_until_it_misleads() {
        let sentinels = sentinels(3);
        let turn = || sentinels.in_turn().collect::<Vec<_>>();
        assert_eq!(turn(), [0, 1, 2]);
        sentinels.answered(&sentinels.nodes[1]);
        assert_eq!(turn(), [1, 2, 0]);
        sentinels.misled(&sentinels.nodes[1]);
        sentinels.misled(&sentinels.nodes[1]);
        assert_eq!(turn(), [2, 0, 1]);
        sentinels.misled(&sentinels.nodes[2]);
        assert_eq!(turn(), [0, 1, 2]);
        assert_eq!(sentinels.clone(), self::sentinels(3));
    }

    #[test]
    fn an_answer_names_an_address_or_none() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let address = |host: &str| Address::Tcp {
            host: host.to_owned(),
            port: 6380,
        };
        for host in ["10.0.0.1", "redis-1.local", "::1"] {
            let answer = Value::Array(vec![text(host), text("6380")]);
            assert_eq!(Sentinels::named(&answer), Some(address(host)));
        }
        for answer in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![text("h")]),
            Value::Array(vec![text("h"), text("0x1")]),
            Value::Array(vec![text("h"), text("70000")]),
            Value::Array(vec![text("a b"), text("1")]),
            Value::Array(vec![text(""), text("1")]),
            Value::SimpleString("OK".to_owned()),
        ] {
            assert_eq!(Sentinels::named(&answer), None, "{answer:?}");
        }
    }
}
