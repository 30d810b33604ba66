//! Finding a Redis that has no fixed address: each new connection asks where it is.
//!
//! Sentinels name the master of a group, and the nodes of a cluster name the owner of a slot. This
//! module decides whom to ask, what to ask, and what an answer means. Both drivers ask.

use std::fmt;
use std::time::{Duration, Instant};

use redis::{Cmd, Value};

use crate::endpoint::address::Address;
use crate::error::{ConfigError, ServerError};
use crate::redis::cluster::Cluster;
use crate::redis::sentinel::Sentinels;
use crate::redis::{Place, RedisEndpoint, mode};

/// The longest time for one node to answer. A node that is away leaves time for the others.
const ANSWER: Duration = Duration::from_millis(500);

/// The question where a Redis is.
pub(crate) struct Inquiry<'e> {
    endpoint: &'e RedisEndpoint,
    about: About<'e>,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum About<'e> {
    /// The master of this name.
    Master(&'e Sentinels, &'e str),
    /// The owner of this slot.
    Owner(&'e Cluster, u16),
}

/// How a connection came to its server.
#[derive(Clone, Debug)]
pub(crate) struct Lead {
    /// The node that named the server.
    by: Address,
    /// The server.
    to: Address,
}

impl RedisEndpoint {
    /// Returns the question where the server is, unless its address is fixed.
    ///
    /// # Errors
    /// [`ConfigError`] if the endpoint does not say which master or which slot.
    pub(crate) fn inquiry(&self) -> Result<Option<Inquiry<'_>>, ConfigError> {
        let about = match &self.place {
            Place::Fixed(_) => return Ok(None),
            Place::Watched(sentinels) => {
                let name = sentinels.master().ok_or(ConfigError::NoMasterName)?;
                About::Master(sentinels, name)
            }
            Place::Slot(cluster) => About::Owner(cluster, self.slot()?),
        };
        let endpoint = self;
        Ok(Some(Inquiry { endpoint, about }))
    }

    /// Notes that the server that was named could not be used, so that other nodes are asked first.
    pub(crate) fn misled(&self, lead: &Lead) {
        match &self.place {
            Place::Fixed(_) => {}
            Place::Watched(sentinels) => sentinels.misled(&lead.by),
            Place::Slot(cluster) => {
                let now = Instant::now();
                cluster.doubt(&lead.by, now);
                cluster.doubt(&lead.to, now);
            }
        }
    }

    /// Notes what an answer says about the server that was named: another one may be the right one
    /// now.
    pub(crate) fn refused_by(&self, lead: &Lead, answer: &ServerError) {
        if !answer.wants_new_connection() {
            return;
        }
        self.misled(lead);
        if let Place::Slot(cluster) = &self.place
            && let Some(owner) = Cluster::new_owner(answer, &lead.to)
        {
            cluster.moved_to(owner);
        }
    }

    /// Returns a description of a server that cannot be used for this endpoint, from its answer to
    /// `HELLO`.
    pub(crate) fn unsupported_kind(&self, hello: &Value) -> Option<&'static str> {
        mode::unsupported(hello, matches!(self.place, Place::Slot(_)))
    }
}

impl Inquiry<'_> {
    /// Returns the endpoints to ask, in this order.
    pub(crate) fn nodes(&self) -> Vec<RedisEndpoint> {
        match self.about {
            About::Master(sentinels, _) => {
                let places = sentinels.in_turn();
                places
                    .map(|place| RedisEndpoint::of_sentinel(sentinels, place))
                    .collect()
            }
            About::Owner(cluster, _) => {
                let nodes = cluster.in_turn(Instant::now()).into_iter();
                nodes.map(|node| self.endpoint.at(node)).collect()
            }
        }
    }

    /// Returns the time for the next node to answer, if `left` have not been asked yet. A share
    /// remains for the connection to the server.
    pub(crate) fn share(remaining: Duration, left: usize) -> Duration {
        let shares = u32::try_from(left.max(1).saturating_add(1)).unwrap_or(u32::MAX);
        ANSWER.min(remaining / shares)
    }

    /// Returns the question.
    pub(crate) fn question(&self) -> Cmd {
        match self.about {
            About::Master(_, name) => Sentinels::question(name),
            About::Owner(..) => Cluster::question(),
        }
    }

    /// Notes that a node did not answer.
    pub(crate) fn unanswered(&self, node: &RedisEndpoint) {
        if let About::Owner(cluster, _) = self.about {
            cluster.doubt(node.address(), Instant::now());
        }
    }

    /// Returns the endpoint of the server that the answer of a node names, or the reason why it
    /// names none. The next inquiry begins with a node that knows more.
    pub(crate) fn named(
        &self,
        node: &RedisEndpoint,
        answer: &Value,
    ) -> Result<(RedisEndpoint, Lead), String> {
        let address = match self.about {
            About::Master(sentinels, _) => {
                let address =
                    Sentinels::named(answer).ok_or("it watches no master of this name")?;
                sentinels.answered(node.address());
                address
            }
            About::Owner(cluster, slot) => {
                let found = Cluster::owner_and_replicas(slot, answer, node.address())?;
                cluster.named_as(&found);
                found[0].clone()
            }
        };
        let lead = Lead {
            by: node.address().clone(),
            to: address.clone(),
        };
        Ok((self.endpoint.at(address), lead))
    }

    /// Returns the reason why a server that was named is not used: it says that it has this role.
    pub(crate) fn not_the_master(&self, address: &Address, role: Option<&str>) -> String {
        let Some(role) = role else {
            return format!(
                "{address} does not say whether it is the master: use Redis 6 or newer"
            );
        };
        let named = match self.about {
            About::Master(..) => format!("the Sentinels name {address} as the master"),
            About::Owner(_, slot) => format!("the cluster names {address} as the owner of {slot}"),
        };
        format!("{named}, and it is a {role}: a failover is under way")
    }

    /// Returns the reason why the server was not found.
    pub(crate) fn reason(&self, answers: &Answers) -> String {
        let said = answers.0.join("; ");
        let said = said.trim_end_matches('.');
        match self.about {
            About::Master(_, name) => {
                format!("no Sentinel knows where the master `{name}` is: {said}")
            }
            About::Owner(_, slot) => {
                format!("no node of the cluster knows where the slot {slot} is: {said}")
            }
        }
    }
}

/// What all nodes had to say when none of them named the server.
#[derive(Default)]
pub(crate) struct Answers(Vec<String>);

impl Answers {
    /// Adds the reason why a node did not name the server.
    pub(crate) fn add(&mut self, node: &Address, reason: impl fmt::Display) {
        self.0.push(format!("{node}: {reason}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_leaves_time_for_the_others() {
        let second = Duration::from_secs(1);
        assert_eq!(Inquiry::share(second, 4), second / 5);
        assert_eq!(Inquiry::share(second, 1), ANSWER);
        assert_eq!(Inquiry::share(second, 0), ANSWER);
        assert_eq!(Inquiry::share(second, usize::MAX), second / u32::MAX);
    }

    #[test]
    fn what_the_endpoint_lacks_is_an_error() {
        let inquiry = |url| {
            RedisEndpoint::from_url(url)
                .unwrap()
                .inquiry()
                .map(|it| it.is_some())
        };
        assert_eq!(inquiry("redis://h"), Ok(false));
        assert_eq!(inquiry("sentinel://h"), Err(ConfigError::NoMasterName));
        assert_eq!(inquiry("sentinel://h?master_name=m"), Ok(true));
        assert_eq!(inquiry("redis+cluster://h"), Err(ConfigError::NoHashTag));
        assert_eq!(inquiry("redis+cluster://h?prefix={a}"), Ok(true));
    }
}
