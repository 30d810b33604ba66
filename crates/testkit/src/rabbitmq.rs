//! A private RabbitMQ: a node, or a cluster of nodes.
//!
//! Erlang nodes find each other through a name server, epmd. A private epmd on a free port of the
//! loopback interface serves the private node, so that no other node of the machine is involved.
//! Erlang code can be run in the node by `erl_call`, which answers within milliseconds;
//! `rabbitmqctl` would start an Erlang system for each command.
//!
//! A node may run in a network namespace of its own. Two programs then join its port with the same
//! port of this machine by a file, because a socket that has a path belongs to no namespace.

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use self::node::{
    COOKIE, DISK_FREE, DISK_TOO_MUCH, Ports, START, configure, join, name_server, names, node,
    node_name,
};
use crate::ports::{find_program, on_a_free_port, through};
use crate::{Certificates, Error, Process, ServerName, free_port, wait_for};

mod node;

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
#[derive(Debug)]
pub struct RabbitMq {
    // The node ends before its name server, which the nodes of a cluster share.
    process: Process,
    epmd: Arc<Process>,
    // The programs that join the port of a namespace with the port of this machine.
    _joints: Vec<Process>,
    ports: Ports,
    certificates: Option<Certificates>,
    vhosts: AtomicU32,
    starter: Vec<String>,
    folder: TempDir,
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

    /// Starts a node that joins the cluster of another one, if there is one.
    fn start_beside(mut options: RabbitMqOptions, first: Option<&RabbitMq>) -> Result<Self, Error> {
        if let Some(first) = first {
            let peers = "cluster_formation.peer_discovery_backend";
            options = options.set(peers, "classic_config").set(
                "cluster_formation.classic_config.nodes.1",
                &node_name(first.ports),
            );
        }
        let folder = tempfile::Builder::new()
            .prefix("rabbitmq-")
            .tempdir()
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
                    Some(first) => first.ports.epmd,
                    None => free_port()?,
                },
            };
            configure(folder.path(), &options, certificates.as_ref(), ports)?;
            let epmd = match first {
                Some(first) => Arc::clone(&first.epmd),
                None => Arc::new(name_server(&starter, ports.epmd)?),
            };
            let process = node(&starter, folder.path(), ports)?;
            let joints = if starter.is_empty() {
                Vec::new()
            } else {
                join(&starter, folder.path(), amqp)?
            };
            Ok((ports, epmd, process, joints))
        })?;
        Ok(Self {
            process,
            epmd,
            _joints: joints,
            ports,
            certificates,
            vhosts: AtomicU32::new(0),
            starter,
            folder,
        })
    }

    /// Returns `amqp://guest:guest@127.0.0.1:port//`, the address of the virtual host `/`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("/")
    }

    /// Returns the address of a virtual host, whose name must not need percent-encoding.
    #[must_use]
    pub fn url_of(&self, vhost: &str) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/{vhost}", self.ports.amqp)
    }

    /// Returns `amqps://guest:guest@localhost:port//`, or `None` without [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        self.certificates.as_ref()?;
        Some(format!(
            "amqps://guest:guest@localhost:{}//",
            self.ports.tls
        ))
    }

    /// Returns the files of the authority, the server and a client, or `None` without
    /// [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.certificates.as_ref()
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    /// Returns the port for encrypted connections, which is in use with [`RabbitMqOptions::tls`].
    #[must_use]
    pub fn tls_port(&self) -> u16 {
        self.ports.tls
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

    /// Makes a virtual host that the user `guest` may use, and returns its name. So tests that
    /// share a node have queues of their own.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
    pub fn add_vhost(&self) -> Result<String, Error> {
        let name = format!("v{}", self.vhosts.fetch_add(1, Ordering::Relaxed));
        self.eval(&format!(
            "rabbit_vhost:add(<<\"{name}\">>, <<\"test\">>), \
             rabbit_auth_backend_internal:set_permissions(<<\"guest\">>, <<\"{name}\">>, \
             <<\".*\">>, <<\".*\">>, <<\".*\">>, <<\"test\">>)"
        ))?;
        Ok(name)
    }

    /// Returns the number of messages that are ready in a queue of the virtual host, or `None` if
    /// the queue does not exist.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
    pub fn ready_messages(&self, vhost: &str, queue: &str) -> Result<Option<u64>, Error> {
        let answer = self.eval(&format!(
            "case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)) of \
             {{ok, Q}} -> {{ok, N, _}} = rabbit_amqqueue:stat(Q), N; _ -> none end"
        ))?;
        if answer == "none" {
            return Ok(None);
        }
        let count = answer.parse().map(Some);
        count.map_err(|_| Error::Failed(format!("the length of {queue}: {answer}")))
    }

    /// Returns how many messages of these queues of the virtual host together are ready, and how
    /// many are delivered and not acknowledged. A queue that does not exist has none.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`], also while a quorum queue has no leader.
    pub fn depth(&self, vhost: &str, queues: &[&str]) -> Result<(usize, usize), Error> {
        let names: Vec<String> = queues.iter().map(|it| format!("<<\"{it}\">>")).collect();
        let names = names.join(", ");
        // The counts of a quorum queue elsewhere are renewed only now and then. `overview` is a callback
        // of all state machines, so it is there in all versions.
        let answer = self.eval(&format!(
            "Of = fun(Q) -> case amqqueue:get_type(Q) of \
                 rabbit_quorum_queue -> \
                   {{ok, #{{num_ready_messages := Ready, num_checked_out := Held}}, _}} = \
                     ra:consistent_query(amqqueue:get_pid(Q), fun rabbit_fifo:overview/1), \
                   {{Ready, Held}}; \
                 _ -> [{{_, Ready}}, {{_, Held}}] = rabbit_amqqueue:info(Q, \
                   [messages_ready, messages_unacknowledged]), {{Ready, Held}} end end, \
             All = [case rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, Name)) of \
                 {{ok, Q}} -> Of(Q); _ -> {{0, 0}} end || Name <- [{names}]], \
             {{lists:sum([R || {{R, _}} <- All]), lists:sum([H || {{_, H}} <- All])}}"
        ))?;
        let words = answer.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [ready, held] => Ok((ready, held)),
            _ => Err(Error::Failed(format!("the depth of {queues:?}: {answer}"))),
        }
    }

    /// Returns `true` if each quorum queue with a member on this node has a member more than it
    /// needs, so that a node may fail.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
    pub fn can_lose_a_node(&self) -> Result<bool, Error> {
        let critical = self.eval("length(rabbit_quorum_queue:list_with_minimum_quorum())")?;
        Ok(critical == "0")
    }

    /// Raises or ends the alarm that the disk is full, by the amount that must be free: RabbitMQ then
    /// reads from no publisher.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
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
    /// Fails like [`RabbitMq::eval`].
    pub fn alarm(&self, raised: bool) -> Result<(), Error> {
        let alarm = "{resource_limit, memory, node()}";
        self.eval(&if raised {
            format!("rabbit_alarm:set_alarm({{{alarm}, []}})")
        } else {
            format!("rabbit_alarm:clear_alarm({alarm})")
        })
        .map(drop)
    }

    /// Closes all connections of clients by `connection.close` with the code 320.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
    pub fn close_connections(&self) -> Result<(), Error> {
        self.eval(
            "[rabbit_networking:close_connection(P, \"closed by a test\") \
             || P <- rabbit_networking:local_connections()]",
        )
        .map(drop)
    }

    /// Returns the number of open connections of clients.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`].
    pub fn connections(&self) -> Result<usize, Error> {
        let answer = self.eval("length(rabbit_networking:local_connections())")?;
        let count = answer.parse();
        count.map_err(|_| Error::Failed(format!("the number of connections: {answer}")))
    }

    /// Returns the number of connections from which the node reads nothing because of an alarm.
    ///
    /// # Errors
    ///
    /// Fails like [`RabbitMq::eval`], also when a connection ends meanwhile.
    pub fn blocked_connections(&self) -> Result<usize, Error> {
        let answer = self.eval(
            "length([P || P <- rabbit_networking:local_connections(), \
             [{state, blocked}] =:= rabbit_networking:connection_info(P, [state])])",
        )?;
        let count = answer.parse();
        count.map_err(|_| Error::Failed(format!("the blocked connections: {answer}")))
    }

    /// Runs an Erlang expression in the node and returns its value as Erlang writes it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] when the expression fails or the node does not answer.
    pub fn eval(&self, expression: &str) -> Result<String, Error> {
        let mut call = through(&self.starter, &find_program("erl_call", "erlang-base")?);
        call.args(["-sname", &node_name(self.ports), "-c", COOKIE, "-e"])
            .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
            .env("HOME", self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let running = Error::io("running erl_call");
        let output = call.spawn().and_then(|mut child| {
            if let Some(mut input) = child.stdin.take() {
                writeln!(input, "{expression}.")?;
            }
            child.wait_with_output()
        });
        let output = output.map_err(running)?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let value = text
            .strip_prefix("{ok, ")
            .and_then(|text| text.strip_suffix('}'));
        value.map(str::to_owned).ok_or_else(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            Error::Failed(format!("erl_call: {text}{errors}"))
        })
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
        self.process = node(&self.starter, self.folder.path(), self.ports)?;
        Ok(())
    }

    /// Waits until the name server no longer knows the node. It is a grandchild of this process, and
    /// may end a moment after the script that runs it.
    fn wait_until_gone(&self) {
        let name = format!("name testkit{} at", self.ports.amqp);
        let gone = || names(&self.starter, self.ports.epmd).is_none_or(|all| !all.contains(&name));
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
