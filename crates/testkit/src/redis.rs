//! A private Redis server.
//!
//! It listens on a free port of the loopback interface and on a socket in its folder. Without
//! options it keeps nothing on disk, so a kill loses all data; with [`RedisOptions::aof`] it loses
//! nothing.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::{find_program, on_a_free_port, through};
use crate::{Certificates, Error, Process, ServerName, free_port};

/// The Debian package that contains the server.
pub(crate) const PACKAGE: &str = "redis-server";
/// Time for a start, which on a busy machine includes reading an append-only file.
pub(crate) const START: Duration = Duration::from_secs(30);

/// The options of a private Redis. Default: a plain server.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RedisOptions {
    password: Option<String>,
    aof: bool,
    maxmemory: Option<String>,
    replica_of: Option<u16>,
    tls: Option<ServerName>,
    cluster: bool,
    extra: Vec<String>,
    starter: Vec<String>,
}

impl RedisOptions {
    /// Returns the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires this password from clients.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Writes every change to disk before the answer: `appendonly yes`, `appendfsync always`.
    #[must_use]
    pub fn aof(mut self) -> Self {
        self.aof = true;
        self
    }

    /// Refuses writes above this amount of memory: `maxmemory`, with the policy `noeviction`.
    #[must_use]
    pub fn maxmemory(mut self, bytes: &str) -> Self {
        self.maxmemory = Some(bytes.to_owned());
        self
    }

    /// Makes the server a replica of the private server on this port.
    #[must_use]
    pub fn replica_of(mut self, port: u16) -> Self {
        self.replica_of = Some(port);
        self
    }

    /// Accepts encrypted connections too, on a port of their own; see [`Redis::tls_url`].
    #[must_use]
    pub fn tls(mut self, name: ServerName) -> Self {
        self.tls = Some(name);
        self
    }

    /// Makes the server a node of a cluster, which has no other node and no slot yet; see
    /// [`RedisCluster`](crate::RedisCluster).
    #[must_use]
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Adds a setting of `redis.conf`, written as on the command line: `("maxclients", "20")`.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.extra.push(format!("--{name}"));
        self.extra.push(value.to_owned());
        self
    }

    /// Takes a command away, as if the server were older. Without `HELLO`, it speaks only RESP2.
    #[must_use]
    pub fn without_command(mut self, name: &str) -> Self {
        self.extra.push("--rename-command".to_owned());
        self.extra.push(name.to_owned());
        self.extra.push(format!("renamed-{name}"));
        self
    }

    /// Starts the server through another program, which runs the command in its last arguments:
    /// `ip netns exec NAME`.
    #[must_use]
    pub fn through<S: AsRef<str>>(mut self, starter: &[S]) -> Self {
        self.starter = starter
            .iter()
            .map(|word| word.as_ref().to_owned())
            .collect();
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    ///
    /// Fails like [`Redis::start`].
    pub fn start(self) -> Result<Redis, Error> {
        Redis::start(self)
    }
}

/// A private Redis server. Dropping it kills the server and removes its folder.
#[derive(Debug)]
pub struct Redis {
    process: Process,
    options: RedisOptions,
    port: u16,
    tls: Option<Tls>,
    /// The port for other nodes of its cluster.
    cluster_port: Option<u16>,
    folder: TempDir,
}

#[derive(Debug)]
struct Tls {
    port: u16,
    certificates: Certificates,
}

impl Redis {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when `redis-server` is not installed, [`Error::Ended`] when it
    /// refuses its settings.
    pub fn start(options: RedisOptions) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("redis-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        let ((port, tls, cluster_port), process) =
            on_a_free_port(&["Address already in use"], |port| {
                let tls = match options.tls {
                    Some(name) => Some(Tls {
                        port: free_port()?,
                        certificates: Certificates::generate(folder.path(), name)?,
                    }),
                    None => None,
                };
                let cluster_port = options.cluster.then(free_port).transpose()?;
                let process = spawn(&options, port, tls.as_ref(), cluster_port, &folder)?;
                Ok(((port, tls, cluster_port), process))
            })?;
        Ok(Self {
            process,
            options,
            port,
            tls,
            cluster_port,
            folder,
        })
    }

    /// Returns `redis://[:password@]127.0.0.1:port/0`.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of_db(0)
    }

    /// Returns the address of another database of this server.
    #[must_use]
    pub fn url_of_db(&self, db: u8) -> String {
        format!("redis://{}127.0.0.1:{}/{db}", self.login(), self.port)
    }

    fn login(&self) -> String {
        self.options
            .password
            .as_deref()
            .map(|password| format!(":{password}@"))
            .unwrap_or_default()
    }

    /// Returns `rediss://localhost:port/0`, or `None` without [`RedisOptions::tls`].
    #[must_use]
    pub fn tls_url(&self) -> Option<String> {
        let tls = self.tls.as_ref()?;
        Some(format!("rediss://{}localhost:{}/0", self.login(), tls.port))
    }

    /// Returns the files of the authority, the server and a client, or `None` without
    /// [`RedisOptions::tls`].
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.tls.as_ref().map(|tls| &tls.certificates)
    }

    /// Returns the port for encrypted connections.
    #[must_use]
    pub fn tls_port(&self) -> Option<u16> {
        self.tls.as_ref().map(|tls| tls.port)
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the port for other nodes of its cluster; 0 without [`RedisOptions::cluster`].
    #[must_use]
    pub fn cluster_port(&self) -> u16 {
        self.cluster_port.unwrap_or_default()
    }

    /// Returns the password, if it has one.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.options.password.as_deref()
    }

    /// Returns the path of the unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    /// Returns the process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills the server with SIGKILL, as a crash would. [`Redis::restart`] starts it again.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Ends the server with SIGTERM, as its operator would.
    pub fn stop(&mut self) {
        self.process.stop();
    }

    /// Starts the server again with its old port and files; ends it first if it runs.
    ///
    /// # Errors
    ///
    /// Fails like [`Redis::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop();
        let (options, tls) = (&self.options, self.tls.as_ref());
        self.process = spawn(options, self.port, tls, self.cluster_port, &self.folder)?;
        Ok(())
    }

    /// Freezes the server: connections stay open but get no answer.
    pub fn pause(&self) {
        self.process.pause();
    }

    /// Lets a frozen server continue.
    pub fn resume(&self) {
        self.process.resume();
    }

    /// Runs one command with `redis-cli`; returns its answer without the final line break.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the server's message.
    pub fn cli<S: AsRef<str>>(&self, command: &[S]) -> Result<String, Error> {
        let mut cli = Command::new(find_program("redis-cli", "redis-tools")?);
        cli.args(["-e", "-s"]).arg(self.socket());
        if let Some(password) = &self.options.password {
            cli.env("REDISCLI_AUTH", password);
        }
        let output = cli
            .args(command.iter().map(AsRef::as_ref))
            .output()
            .map_err(Error::io("running redis-cli"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Failed(format!("redis-cli: {text}{errors}")));
        }
        Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }
}

fn spawn(
    options: &RedisOptions,
    port: u16,
    tls: Option<&Tls>,
    cluster_port: Option<u16>,
    folder: &TempDir,
) -> Result<Process, Error> {
    let mut command = through(&options.starter, &find_program("redis-server", PACKAGE)?);
    let port = port.to_string();
    command
        .current_dir(folder.path())
        .args(["--port", &port, "--bind", "127.0.0.1"])
        .args(["--unixsocket", "redis.sock", "--unixsocketperm", "777"])
        .args(["--daemonize", "no", "--save", "", "--dir", "."]);
    if options.aof {
        command.args(["--appendonly", "yes", "--appendfsync", "always"]);
    }
    if let Some(password) = &options.password {
        command.args(["--requirepass", password, "--masterauth", password]);
    }
    if let Some(bytes) = &options.maxmemory {
        command.args(["--maxmemory", bytes, "--maxmemory-policy", "noeviction"]);
    }
    if let Some(primary) = options.replica_of {
        command.args(["--replicaof", "127.0.0.1", &primary.to_string()]);
    }
    if let Some(cluster_port) = cluster_port {
        command
            .args([
                "--cluster-enabled",
                "yes",
                "--cluster-config-file",
                "nodes.conf",
            ])
            .args(["--cluster-port", &cluster_port.to_string()]);
    }
    if let Some(tls) = tls {
        let (certificate, key) = tls.certificates.server();
        command
            .args(["--tls-port", &tls.port.to_string()])
            .args(["--tls-auth-clients", "optional"])
            .arg("--tls-ca-cert-file")
            .arg(tls.certificates.ca())
            .arg("--tls-cert-file")
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key);
    }
    command.args(&options.extra);
    let log = folder.path().join("redis.log");
    let before = std::fs::metadata(&log).map_or(0, |file| file.len());
    let mut process = Process::spawn_logged("redis-server", &mut command, &log, false)?;
    let offset = usize::try_from(before).unwrap_or_default();
    process.wait_for_line_after(START, "Ready to accept connections", offset)?;
    Ok(process)
}
