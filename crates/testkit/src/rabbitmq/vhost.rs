//! A virtual host of a node: its address, its users, its queues and its connections.

use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::node::{COOKIE, Ports, node_name};
use crate::Error;
use crate::ports::{find_program, through};

/// The password of the users of [`VirtualHost::add_user`].
const PASSWORD: &str = "secret";

/// The calls of this process.
static CALLS: AtomicU32 = AtomicU32::new(0);

/// What reaches a running node from any process: its ports, the folder with its cookie, and the
/// program that enters its network namespace, if it has one.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) ports: Ports,
    pub(super) folder: PathBuf,
    pub(super) starter: Vec<String>,
}

impl Reach {
    /// Runs an Erlang expression in the node and returns its value as Erlang writes it.
    pub(super) fn eval(&self, expression: &str) -> Result<String, Error> {
        let mut call = through(&self.starter, &find_program("erl_call", "erlang-base")?);
        // The node refuses a second program of the same name, which is fixed by default.
        let own = CALLS.fetch_add(1, Ordering::Relaxed);
        let own = format!("call{own}x{}", std::process::id());
        call.args([
            "-sname",
            &node_name(self.ports),
            "-h",
            &own,
            "-c",
            COOKIE,
            "-e",
        ])
        .env("ERL_EPMD_PORT", self.ports.epmd.to_string())
        .env("HOME", &self.folder)
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

    /// Makes a virtual host with a new name that the user `guest` may use.
    pub(super) fn add_vhost(&self, number: u32) -> Result<VirtualHost, Error> {
        // Tests of several processes, of which each counts from 0, share a node.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_nanos();
        let name = format!("v{number}-{}-{now:x}", std::process::id());
        self.eval(&format!("rabbit_vhost:add(<<\"{name}\">>, <<\"test\">>)"))?;
        let vhost = VirtualHost::new(self.clone(), &name);
        vhost.permit("guest", [".*"; 3])?;
        Ok(vhost)
    }
}

/// A virtual host of a node. Tests that share a node have one each, and so queues of their own.
#[derive(Debug)]
pub struct VirtualHost {
    reach: Reach,
    name: String,
    /// `true` if the virtual host is deleted when this value is dropped.
    pub(super) temporary: bool,
}

impl VirtualHost {
    /// Returns a virtual host that exists, or does not matter.
    pub(super) fn new(reach: Reach, name: &str) -> Self {
        Self {
            reach,
            name: name.to_owned(),
            temporary: false,
        }
    }

    /// Returns the name, which needs no percent-encoding.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `amqp://guest:guest@127.0.0.1:port/name`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_on(self.port())
    }

    /// Like [`VirtualHost::url`], with another port: that of a proxy.
    #[must_use]
    pub fn url_on(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/{}", self.name)
    }

    /// Returns the port of the node on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.reach.ports.amqp
    }

    /// Makes a user who may configure, write and read what fits these patterns, and returns the
    /// address with its name and password.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn add_user(&self, name: &str, rights: [&str; 3]) -> Result<String, Error> {
        let user = self.user(name);
        self.eval(&format!(
            "rabbit_auth_backend_internal:add_user(<<\"{user}\">>, <<\"{PASSWORD}\">>, \
             <<\"test\">>)"
        ))?;
        self.permit(name, rights)?;
        let login = format!("{user}:{PASSWORD}");
        Ok(self.url().replace("guest:guest", &login))
    }

    /// Changes what a user of [`VirtualHost::add_user`], or `guest`, may configure, write and read.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn permit(&self, name: &str, [configure, write, read]: [&str; 3]) -> Result<(), Error> {
        let (vhost, user) = (&self.name, self.user(name));
        self.eval(&format!(
            "rabbit_auth_backend_internal:set_permissions(<<\"{user}\">>, <<\"{vhost}\">>, \
             <<\"{configure}\">>, <<\"{write}\">>, <<\"{read}\">>, <<\"test\">>)"
        ))
        .map(drop)
    }

    /// Returns the name under which the node knows a user. Users belong to no virtual host, so two
    /// tests would have the same one.
    fn user(&self, name: &str) -> String {
        if name == "guest" {
            name.to_owned()
        } else {
            format!("{name}-{}", self.name.replace('/', ""))
        }
    }

    /// Returns the Erlang term that names a queue or an exchange of this virtual host.
    #[must_use]
    pub fn resource(&self, kind: &str, name: &str) -> String {
        format!(
            "rabbit_misc:r(<<\"{}\">>, {kind}, <<\"{name}\">>)",
            self.name
        )
    }

    /// Returns the number of messages that are ready in a queue, or `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn ready_messages(&self, queue: &str) -> Result<Option<u64>, Error> {
        let answer = self.eval(&format!(
            "case rabbit_amqqueue:lookup({}) of \
             {{ok, Q}} -> {{ok, N, _}} = rabbit_amqqueue:stat(Q), N; _ -> none end",
            self.resource("queue", queue)
        ))?;
        if answer == "none" {
            return Ok(None);
        }
        let count = answer.parse().map(Some);
        count.map_err(|_| Error::Failed(format!("the length of {queue}: {answer}")))
    }

    /// Returns how many messages of these queues together are ready, and how many are delivered and
    /// not acknowledged. A queue that does not exist has none.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`], also while a quorum queue has no leader.
    pub fn depth(&self, queues: &[&str]) -> Result<(usize, usize), Error> {
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
             {{lists:sum([R || {{R, _}} <- All]), lists:sum([H || {{_, H}} <- All])}}",
            vhost = self.name
        ))?;
        let words = answer.split(|c: char| !c.is_ascii_digit());
        let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
        match numbers[..] {
            [ready, held] => Ok((ready, held)),
            _ => Err(Error::Failed(format!("the depth of {queues:?}: {answer}"))),
        }
    }

    /// Returns the Erlang expression of the open connections of clients to this virtual host.
    fn open(&self) -> String {
        format!(
            "[P || P <- rabbit_networking:local_connections(), [{{vhost, <<\"{}\">>}}] =:= \
             (catch rabbit_networking:connection_info(P, [vhost]))]",
            self.name
        )
    }

    /// Closes all connections of clients by `connection.close` with the code 320.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn close_connections(&self) -> Result<(), Error> {
        self.eval(&format!(
            "[rabbit_networking:close_connection(P, \"closed by a test\") || P <- {}]",
            self.open()
        ))
        .map(drop)
    }

    /// Returns the number of open connections of clients.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`].
    pub fn connections(&self) -> Result<usize, Error> {
        self.count(&format!("length({})", self.open()))
    }

    /// Returns the number of connections from which the node reads nothing because of an alarm.
    ///
    /// # Errors
    ///
    /// Fails like [`VirtualHost::eval`], also when a connection ends meanwhile.
    pub fn blocked_connections(&self) -> Result<usize, Error> {
        self.count(&format!(
            "length([P || P <- {}, \
             [{{state, blocked}}] =:= rabbit_networking:connection_info(P, [state])])",
            self.open()
        ))
    }

    fn count(&self, expression: &str) -> Result<usize, Error> {
        let answer = self.eval(expression)?;
        let count = answer.parse();
        count.map_err(|_| Error::Failed(format!("a number of connections: {answer}")))
    }

    /// Runs an Erlang expression in the node and returns its value as Erlang writes it.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] when the expression fails or the node does not answer.
    pub fn eval(&self, expression: &str) -> Result<String, Error> {
        self.reach.eval(expression)
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        if self.temporary {
            // A node that does not answer ends with the run.
            let _gone = self.eval(&format!(
                "rabbit_vhost:delete(<<\"{}\">>, <<\"test\">>)",
                self.name
            ));
        }
    }
}
