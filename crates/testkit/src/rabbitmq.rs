//! A private RabbitMQ: a node, or a cluster of nodes.
//!
//! Erlang nodes find each other through a name server, epmd. A private epmd on a free port of the
//! loopback interface serves the private node, so that no other node of the machine is involved.
//! Erlang code can be run in the node by `erl_call`, which answers within milliseconds;
//! `rabbitmqctl` would start an Erlang system for each command.
//!
//! Tests that do not harm a node share one, each with a [virtual host](VirtualHost) of its own.
//!
//! A node may run in a network namespace of its own. Two programs then join its port with the same
//! port of this machine by a file, because a socket that has a path belongs to no namespace.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use self::node::{
    DISK_FREE, DISK_TOO_MUCH, Ports, START, configure, join, name_server, names, node, node_name,
};
use self::vhost::Reach;
pub use self::vhost::VirtualHost;
use crate::ports::on_a_free_port;
use crate::{Certificates, Error, Process, ServerName, free_port, wait_for};

mod node;
mod shared;
mod vhost;

/// What the server says of a port that is taken: of its own ports, and of the one for other nodes.
const TAKEN: [&str; 2] = ["already in use", "dist_port_already_used"];

/// The options of a private RabbitMQ. Default: a plain node.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RabbitMqOptions {
    tls: Option<ServerName>,
    client_certificates: bool,
    extra: Vec<String>,
    starter: Vec<String>,
}

impl RabbitMqOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts encrypted connections too, on a port of their own; see [`RabbitMq::tls_url`].
    #[must_use]
    pub fn tls(mut self, name: ServerName) -> Self {
        self.tls = Some(name);
        self
    }

    /// Accepts encrypted connections only of clients with a certificate of the authority.
    #[must_use]
    pub fn client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self
    }

    /// Adds a setting of `rabbitmq.conf`: `("heartbeat", "2")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.extra.push(format!("{name} = {value}"));
        self
    }

    /// Starts the node in a network namespace, by a program that runs the command in its last
    /// arguments: `ip netns exec NAME`. The node accepts connections on all addresses there, and on
    /// its port of this machine.
    #[must_use]
    pub fn through(mut self, starter: &[String]) -> Self {
        self.starter = starter.to_vec();
        // By default, only a client on the same address may be the user `guest`.
        self.set("loopback_users", "none")
    }

    /// Starts the node.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::start`].
    pub fn start(self) -> Result<RabbitMq, Error> {
        RabbitMq::start(self)
    }

    /// Starts a cluster of `nodes` nodes with these options, each of which may be killed and
    /// started again while the others run. They share a name server.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::start`], and with [`Error::Timeout`] when the nodes do not find each
    /// other.
    pub fn start_cluster(self, nodes: usize) -> Result<Vec<RabbitMq>, Error> {
        let mut cluster: Vec<RabbitMq> = Vec::with_capacity(nodes);
        for number in 1..=nodes {
            let node = RabbitMq::start_beside(self.clone(), cluster.first())?;
            let members = "length(rabbit_nodes:all_running())";
            wait_for(START, "the node to join the cluster", || {
                let known = node.eval(members);
                known.is_ok_and(|known| known == number.to_string())
            })?;
            cluster.push(node);
        }
        Ok(cluster)
    }
}

/// A private RabbitMQ node. Dropping it kills the node and removes its folder.
///
/// It is its own virtual host `/`, too.
#[derive(Debug)]
pub struct RabbitMq {
    // The node ends before its name server, which the nodes of a cluster share.
    process: Process,
    epmd: Arc<Process>,
    // The programs that join the port of a namespace with the port of this machine.
    _joints: Vec<Process>,
    reach: Reach,
    root: VirtualHost,
    certificates: Option<Certificates>,
    vhosts: AtomicU32,
    folder: TempDir,
}

impl Deref for RabbitMq {
    type Target = VirtualHost;

    fn deref(&self) -> &VirtualHost {
        &self.root
    }
}

impl RabbitMq {
    /// Starts a node and waits until it accepts connections. Its user `guest` may do everything.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when RabbitMQ is not installed, [`Error::Ended`] when it refuses
    /// its settings.
    pub fn start(options: RabbitMqOptions) -> Result<Self, Error> {
        Self::start_beside(options, None)
    }

    /// Makes a virtual host on a node that all tests of this run share, which is started if it does
    /// not run yet. It is for tests that do not harm the node: it cannot be ended, frozen or alarmed.
    /// Dropping the value deletes the virtual host.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::start`] and [`RabbitMq::add_vhost`].
    pub fn shared() -> Result<VirtualHost, Error> {
        shared::vhost()
    }

    /// Starts a node that joins the cluster of another one, if there is one.
    fn start_beside(options: RabbitMqOptions, first: Option<&RabbitMq>) -> Result<Self, Error> {
        Self::start_in(&std::env::temp_dir(), options, first)
    }

    /// Like [`RabbitMq::start_beside`], with its files in a folder of this one.
    fn start_in(
        parent: &Path,
        mut options: RabbitMqOptions,
        first: Option<&RabbitMq>,
    ) -> Result<Self, Error> {
        if let Some(first) = first {
            let peers = "cluster_formation.peer_discovery_backend";
            options = options.set(peers, "classic_config").set(
                "cluster_formation.classic_config.nodes.1",
                &node_name(first.reach.ports),
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("rabbitmq-")
            .tempdir_in(parent)
            .map_err(Error::io("making a temporary folder"))?;
        let certificates = match options.tls {
            Some(name) => Some(Certificates::generate(folder.path(), name)?),
            None => None,
        };
        let starter = options.starter.clone();
        let (ports, epmd, process, joints) = on_a_free_port(&TAKEN, |amqp| {
            let ports = Ports {
                amqp,
                tls: free_port()?,
                nodes: free_port()?,
                epmd: match first {
                    Some(first) => first.reach.ports.epmd,
                    None => free_port()?,
                },
            };
            configure(folder.path(), &options, certificates.as_ref(), ports)?;
            let epmd = match first {
                Some(first) => Arc::clone(&first.epmd),
                None => Arc::new(name_server(&starter, folder.path(), ports.epmd)?),
            };
            let process = node(&starter, folder.path(), ports)?;
            let joints = if starter.is_empty() {
                Vec::new()
            } else {
                join(&starter, folder.path(), amqp)?
            };
            Ok((ports, epmd, process, joints))
        })?;
        let reach = Reach {
            ports,
            folder: folder.path().to_owned(),
            starter,
        };
        Ok(Self {
            process,
            epmd,
            _joints: joints,
            root: VirtualHost::new(reach.clone(), "/"),
            reach,
            certificates,
            vhosts: AtomicU32::new(0),
            folder,
        })
    }

    /// Returns the process groups of the node and of its name server.
    fn groups(&self) -> [u32; 2] {
        [self.process.pid(), self.epmd.pid()]
    }

    /// Leaves the node and its files as they are, for other processes. Returns how they reach it.
    fn leave(self) -> Reach {
        self.process.leave();
        if let Some(epmd) = Arc::into_inner(self.epmd) {
            epmd.leave();
        }
        let _path = self.folder.keep();
        self.reach
    }

    /// Returns `amqps://guest:guest@localhost:port//`, or `None` without [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        self.certificates.as_ref()?;
        Some(format!(
            "amqps://guest:guest@localhost:{}//",
            self.reach.ports.tls
        ))
    }

    /// Returns the files of the authority, the server and a client, or `None` without
    /// [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Returns the port for encrypted connections, which is in use with [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.reach.ports.tls
    }

    /// Returns the process id of the script that runs the node.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns the node's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Makes a virtual host that the user `guest` may use.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn add_vhost(&self) -> Result<VirtualHost, Error> {
        let number = self.vhosts.fetch_add(1, Ordering::Relaxed);
        self.reach.add_vhost(number)
    }

    /// Returns a virtual host of this name, which may have been made on another node of a cluster.
    #[must_use]
    pub fn vhost(&self, name: &str) -> VirtualHost {
        VirtualHost::new(self.reach.clone(), name)
    }

    /// Returns `true` if each quorum queue with a member on this node has a member more than it
    /// needs, so that a node may fail.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn can_lose_a_node(&self) -> Result<bool, Error> {
        let critical = self.eval("length(rabbit_quorum_queue:list_with_minimum_quorum())")?;
        Ok(critical == "0")
    }

    /// Raises or ends the alarm that the disk is full, by the amount that must be free: RabbitMQ then
    /// reads from no publisher.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn disk_alarm(&self, raised: bool) -> Result<(), Error> {
        let limit = if raised { DISK_TOO_MUCH } else { DISK_FREE };
        self.eval(&format!(
            "rabbit_disk_monitor:set_disk_free_limit(\"{limit}\")"
        ))
        .map(drop)
    }

    /// Raises or ends the alarm that memory is short: RabbitMQ then reads from no publisher.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn alarm(&self, raised: bool) -> Result<(), Error> {
        let alarm = "{resource_limit, memory, node()}";
        self.eval(&if raised {
            format!("rabbit_alarm:set_alarm({{{alarm}, []}})")
        } else {
            format!("rabbit_alarm:clear_alarm({alarm})")
        })
        .map(drop)
    }

    /// Kills the node with SIGKILL, as a crash would. [`RabbitMq::restart`] starts it again.
    pub fn kill9(&mut self) {
        self.process.kill9();
        self.wait_until_gone();
    }

    /// Ends the node with SIGTERM, as its operator would.
    pub fn stop(&mut self) {
        self.process.stop();
        self.wait_until_gone();
    }

    /// Starts the node again with its old ports and files; ends it first if it runs.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop();
        self.process = node(&self.reach.starter, self.folder.path(), self.reach.ports)?;
        Ok(())
    }

    /// Waits until the name server no longer knows the node. It is a grandchild of this process, and
    /// may end a moment after the script that runs it.
    fn wait_until_gone(&self) {
        let name = format!("name testkit{} at", self.reach.ports.amqp);
        let gone = || {
            names(&self.reach.starter, self.reach.ports.epmd).is_none_or(|all| !all.contains(&name))
        };
        // A node that stays shows in the next start, which cannot have the port.
        let _gone = wait_for(START, "the end of the node", gone);
    }

    /// Freezes the node: connections stay open but get no answer.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets a frozen node continue.
    pub fn resume(&self) {
        self.process.resume();
    }
}
