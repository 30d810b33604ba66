//! A private Redis Cluster whose first node owns nothing but the slot under test.
//!
//! So a key without the hash tag belongs to another node, and the first node refuses it.

use crate::redis::START;
use crate::{Error, Redis, RedisOptions, wait_for};

/// The number of nodes that own slots. Two of them must agree about the failure of the third.
const MASTERS: usize = 3;
/// The slots of a cluster.
const SLOTS: u16 = 16_384;

/// Milliseconds of silence after which a node counts as down, while a fault is expected.
const SOON: &str = "1000";
/// Milliseconds that no test lasts.
const NEVER: &str = "36000000";

/// A cluster of three masters, and replicas of the first. Dropping it kills all nodes.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    prefix: String,
    slot: u16,
}

impl RedisCluster {
    /// Starts three masters with these options, and replicas of the first one. The first master owns
    /// only the slot of the keys with this prefix.
    ///
    /// On a busy machine, any node may be silent for a second. So no node counts as down until a
    /// test calls [`RedisCluster::expect_fault`].
    ///
    /// # Errors
    ///
    /// Fails like [`Redis::start`], and with [`Error::Timeout`] when the nodes do not find each
    /// other.
    pub fn start(options: &RedisOptions, prefix: &str, replicas: usize) -> Result<Self, Error> {
        let options = options
            .clone()
            .cluster()
            .set("cluster-node-timeout", NEVER)
            // A replica is elected however old its data is.
            .set("cluster-replica-validity-factor", "0")
            // Otherwise the first node becomes a replica when its only slot moves away.
            .set("cluster-allow-replica-migration", "no");
        let nodes: Result<Vec<_>, _> = (0..MASTERS + replicas)
            .map(|_| options.clone().start())
            .collect();
        let mut cluster = Self {
            nodes: nodes?,
            prefix: prefix.to_owned(),
            slot: 0,
        };
        cluster.slot = number(&cluster.nodes[0].cli(&["CLUSTER", "KEYSLOT", prefix])?)?;
        cluster.share_slots()?;
        cluster.meet()?;
        let id = cluster.id(0)?;
        for replica in &cluster.nodes[MASTERS..] {
            // The command is refused until the node knows its master.
            wait_for(START, "a replica to know its master", || {
                replica.cli(&["CLUSTER", "REPLICATE", &id]).is_ok()
            })?;
        }
        cluster.wait_for_replicas(0, replicas)?;
        Ok(cluster)
    }

    /// Gives the slot under test to the first node, and half of the others to each of the others.
    fn share_slots(&self) -> Result<(), Error> {
        let half = SLOTS / 2;
        self.nodes[0].cli(&["CLUSTER", "ADDSLOTS", &self.slot.to_string()])?;
        for (node, first, last) in [(1, 0, half - 1), (2, half, SLOTS - 1)] {
            let mut ranges = Vec::new();
            if (first..=last).contains(&self.slot) {
                if first < self.slot {
                    ranges.push((first, self.slot - 1));
                }
                if self.slot < last {
                    ranges.push((self.slot + 1, last));
                }
            } else {
                ranges.push((first, last));
            }
            for (first, last) in ranges {
                let [first, last] = [first.to_string(), last.to_string()];
                self.nodes[node].cli(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            }
        }
        Ok(())
    }

    /// Introduces the nodes to each other.
    fn meet(&self) -> Result<(), Error> {
        for (index, node) in self.nodes.iter().enumerate() {
            let epoch = (index + 1).to_string();
            node.cli(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
        }
        for node in &self.nodes[1..] {
            let (port, bus) = (node.port().to_string(), node.cluster_port().to_string());
            self.nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let known = format!("cluster_known_nodes:{}", self.nodes.len());
        wait_for(START, "the nodes of a cluster to know each other", || {
            self.nodes.iter().all(|node| {
                let info = node.cli(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains(&known) && info.contains("cluster_state:ok")
            })
        })
    }

    /// Waits until this node has that many replicas that follow it, and all nodes know them.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Timeout`] if that takes too long.
    pub fn wait_for_replicas(&self, master: usize, replicas: usize) -> Result<(), Error> {
        let id = self.id(master)?;
        wait_for(START, "replicas to follow", || {
            let info = self.nodes[master].cli(&["INFO", "replication"]);
            let online = info.is_ok_and(|info| info.matches("state=online").count() == replicas);
            online
                && self.nodes.iter().all(|node| {
                    let known = node.cli(&["CLUSTER", "NODES"]).unwrap_or_default();
                    let follows = |line: &&str| line.split(' ').nth(3) == Some(id.as_str());
                    known.lines().filter(follows).count() == replicas
                })
        })
    }

    /// Returns `redis+cluster://…?prefix=…` with all masters of the start. The owner of the slot is
    /// the last.
    #[must_use]
    pub fn url(&self) -> String {
        let login = self.nodes[0].password();
        let login = login.map(|word| format!(":{word}@")).unwrap_or_default();
        let nodes: Vec<_> = [1, 2, 0]
            .map(|node| {
                format!(
                    "redis+cluster://{login}127.0.0.1:{}",
                    self.nodes[node].port()
                )
            })
            .to_vec();
        format!("{}?prefix={}", nodes.join(";"), self.prefix)
    }

    /// Returns all nodes: the masters of the start, then the replicas.
    #[must_use]
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// Returns a node, to kill or to freeze it.
    pub fn node(&mut self, index: usize) -> &mut Redis {
        &mut self.nodes[index]
    }

    /// Returns the prefix of the keys.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns `true` if this node says that it owns the slot.
    #[must_use]
    pub fn owns(&self, node: usize) -> bool {
        let known = self.nodes[node].cli(&["CLUSTER", "NODES"]);
        let known = known.unwrap_or_default();
        let own = known.lines().find(|line| line.contains("myself,master"));
        own.is_some_and(|line| {
            // Eight fields come before the slots; a slot that moves is in brackets.
            line.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                match (first.parse::<u16>(), last.parse::<u16>()) {
                    (Ok(first), Ok(last)) => (first..=last).contains(&self.slot),
                    _ => false,
                }
            })
        })
    }

    /// Waits until this node says that it owns the slot.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Timeout`] if that takes too long.
    pub fn wait_for_owner(&self, node: usize) -> Result<(), Error> {
        wait_for(START * 2, "another owner of the slot", || self.owns(node))
    }

    /// Lets the nodes count another one as down after a second of silence, or no longer.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the reason of a node.
    pub fn expect_fault(&self, expected: bool) -> Result<(), Error> {
        let after = if expected { SOON } else { NEVER };
        for node in &self.nodes {
            // A node that was killed keeps what it was started with.
            match node.cli(&["CONFIG", "SET", "cluster-node-timeout", after]) {
                Err(error) if expected => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes a replica the owner of the slot, as an operator does before maintenance. Returns at
    /// once.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the replica's reason.
    pub fn fail_over(&self, replica: usize) -> Result<(), Error> {
        self.nodes[replica].cli(&["CLUSTER", "FAILOVER"]).map(drop)
    }

    /// Cuts the first node off from all others, and gives its slot to another master of the start. The
    /// first node still counts as the owner in its own eyes, and answers `CLUSTERDOWN`.
    ///
    /// It lasts a minute, for which nodes do not listen to a node that they have forgotten.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the reason of a node, for example of a replica of the first.
    pub fn cut_off_owner(&self, new: usize) -> Result<(), Error> {
        let cut_off = self.id(0)?;
        for node in 1..self.nodes.len() {
            let id = self.id(node)?;
            self.nodes[0].cli(&["CLUSTER", "FORGET", &id])?;
            self.nodes[node].cli(&["CLUSTER", "FORGET", &cut_off])?;
        }
        self.nodes[new].cli(&["CLUSTER", "ADDSLOTS", &self.slot.to_string()])?;
        wait_for(START, "the other nodes to know the new owner", || {
            let others = &self.nodes[1..];
            others.iter().all(|node| {
                let info = node.cli(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok")
            })
        })
    }

    /// Begins to move the slot: keys that the old node does not have any more are asked of the new
    /// one.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the reason of a node.
    pub fn begin_move(&self, from: usize, to: usize) -> Result<(), Error> {
        let slot = self.slot.to_string();
        let (old, new) = (self.id(from)?, self.id(to)?);
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old])?;
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new])?;
        Ok(())
    }

    /// Moves all keys of the slot, and makes the new node its owner.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the reason of a node.
    pub fn end_move(&self, from: usize, to: usize) -> Result<(), Error> {
        let slot = self.slot.to_string();
        let port = self.nodes[to].port().to_string();
        loop {
            let keys = self.nodes[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"])?;
            let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
            if keys.is_empty() {
                break;
            }
            let mut migrate = vec!["MIGRATE", "127.0.0.1", &port, "", "0", "20000", "KEYS"];
            migrate.extend(keys);
            self.nodes[from].cli(&migrate)?;
        }
        let id = self.id(to)?;
        // The new owner first: otherwise no node would own the slot for a moment.
        let others = (0..MASTERS).filter(|node| ![from, to].contains(node));
        for node in [to, from].into_iter().chain(others) {
            self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &id])?;
        }
        Ok(())
    }

    fn id(&self, node: usize) -> Result<String, Error> {
        let id = self.nodes[node].cli(&["CLUSTER", "MYID"])?;
        Ok(id.trim().to_owned())
    }
}

fn number(text: &str) -> Result<u16, Error> {
    let number = text.trim().parse();
    number.map_err(|_| Error::Failed(format!("not a slot: {text}")))
}
