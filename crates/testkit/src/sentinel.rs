//! Three Sentinels that watch a private Redis and its replicas.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::ports::{find_program, on_a_free_port};
use crate::redis::{PACKAGE, START};
use crate::{Error, Process, Redis, wait_for};

/// The name under which the Sentinels know the master.
pub const MASTER: &str = "tasks";

/// The number of Sentinels, two of which must agree.
const SENTINELS: usize = 3;

/// Milliseconds of silence after which a server counts as down, while a fault is expected.
const SOON: &str = "1000";
/// Milliseconds that no test lasts.
const NEVER: &str = "36000000";

/// Three Sentinels. Dropping it kills them and removes their folders.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Sentinel>,
    password: Option<String>,
}

#[derive(Debug)]
struct Sentinel {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Sentinels {
    /// Starts three Sentinels that watch this server and its replicas, and waits until they know each
    /// other and that many replicas. They have the password of the server, if there is one.
    ///
    /// On a busy machine, any server may be silent for a second. So the Sentinels count no server as
    /// down until a test calls [`Sentinels::expect_fault`].
    ///
    /// # Errors
    ///
    /// Fails like [`Redis::start`], and with [`Error::Timeout`] when they do not find each other.
    pub fn watch(master: &Redis, replicas: usize) -> Result<Self, Error> {
        let password = master.password().map(str::to_owned);
        let settings = settings(master.port(), password.as_deref());
        let sentinels: Result<Vec<_>, _> =
            (0..SENTINELS).map(|_| Sentinel::start(&settings)).collect();
        let started = Self {
            sentinels: sentinels?,
            password,
        };
        started.wait_for_replicas(replicas)?;
        Ok(started)
    }

    /// Waits until all Sentinels know each other and that many replicas that follow the master.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Timeout`] if that takes too long.
    pub fn wait_for_replicas(&self, replicas: usize) -> Result<(), Error> {
        let others = (SENTINELS - 1).to_string();
        let replicas = replicas.to_string();
        // They find the replicas and each other over the master.
        wait_for(START, "the Sentinels to know each other", || {
            (0..SENTINELS).all(|sentinel| {
                let master = self.ask(sentinel, &["SENTINEL", "MASTER", MASTER]);
                let followers = self.ask(sentinel, &["SENTINEL", "REPLICAS", MASTER]);
                let (Ok(master), Ok(followers)) = (master, followers) else {
                    return false;
                };
                let pairs = followers.lines().zip(followers.lines().skip(1));
                let linked = pairs.filter(|pair| *pair == ("master-link-status", "ok"));
                field(&master, "num-slaves") == Some(&replicas)
                    && field(&master, "num-other-sentinels") == Some(&others)
                    && linked.count().to_string() == replicas
            })
        })
    }

    /// Returns `sentinel://…/0?master_name=tasks` with all Sentinels and the login, if there is one.
    #[must_use]
    pub fn url(&self) -> String {
        let login = self.password.as_deref().map(|word| format!(":{word}@"));
        let login = login.unwrap_or_default();
        let nodes: Vec<_> = self
            .ports()
            .iter()
            .map(|port| format!("sentinel://{login}127.0.0.1:{port}"))
            .collect();
        let nodes = nodes.join(";");
        let own = self.password.as_deref();
        let own = own.map(|word| format!("&sentinel_password={word}"));
        format!("{nodes}/0?master_name={MASTER}{}", own.unwrap_or_default())
    }

    /// Returns the ports of the Sentinels.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        self.sentinels
            .iter()
            .map(|sentinel| sentinel.port)
            .collect()
    }

    /// Returns the program of a Sentinel, to kill or to freeze it.
    pub fn sentinel(&mut self, index: usize) -> &mut Process {
        &mut self.sentinels[index].process
    }

    /// Starts a Sentinel again that was killed.
    ///
    /// # Errors
    ///
    /// Fails like [`Sentinels::watch`].
    pub fn restart(&mut self, index: usize) -> Result<(), Error> {
        let sentinel = &mut self.sentinels[index];
        sentinel.process.stop();
        sentinel.process = spawn(sentinel.folder.path())?;
        Ok(())
    }

    /// Returns the port of the server that a Sentinel names as the master.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] if no Sentinel answers.
    pub fn master_port(&self) -> Result<u16, Error> {
        let mut last = Error::Failed("there are no Sentinels".to_owned());
        for sentinel in 0..SENTINELS {
            match self.ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER]) {
                Ok(named) => {
                    let port = named.lines().nth(1).and_then(|port| port.parse().ok());
                    return port.ok_or_else(|| Error::Failed(format!("no port: {named}")));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Lets the Sentinels count the master as down after a second of silence, or no longer.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the reason of a Sentinel.
    pub fn expect_fault(&self, expected: bool) -> Result<(), Error> {
        let after = if expected { SOON } else { NEVER };
        let set = ["SENTINEL", "SET", MASTER, "down-after-milliseconds", after];
        for sentinel in 0..SENTINELS {
            self.ask(sentinel, &set)?;
        }
        Ok(())
    }

    /// Makes a replica the master, as an operator does before maintenance. Returns at once.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the Sentinel's reason.
    pub fn fail_over(&self) -> Result<(), Error> {
        self.ask(0, &["SENTINEL", "FAILOVER", MASTER]).map(drop)
    }

    /// Asks a Sentinel with `redis-cli`; returns its answer.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the Sentinel's message.
    pub fn ask(&self, sentinel: usize, command: &[&str]) -> Result<String, Error> {
        let mut cli = Command::new(find_program("redis-cli", "redis-tools")?);
        cli.args(["-e", "-p", &self.sentinels[sentinel].port.to_string()]);
        if let Some(password) = &self.password {
            cli.env("REDISCLI_AUTH", password);
        }
        let output = cli.args(command).output();
        let output = output.map_err(Error::io("running redis-cli"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            Ok(text)
        } else {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(Error::Failed(format!("redis-cli: {text}{errors}")))
        }
    }
}

impl Sentinel {
    fn start(settings: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("sentinel-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        let (port, process) = on_a_free_port(&["Address already in use"], |port| {
            // A Sentinel writes what it learns into this file.
            let file = folder.path().join("sentinel.conf");
            fs::write(&file, format!("port {port}\n{settings}"))
                .map_err(Error::io("writing the settings of a Sentinel"))?;
            Ok((port, spawn(folder.path())?))
        })?;
        Ok(Self {
            process,
            port,
            folder,
        })
    }
}

fn spawn(folder: &Path) -> Result<Process, Error> {
    let mut command = Command::new(find_program("redis-server", PACKAGE)?);
    command
        .current_dir(folder)
        .args(["sentinel.conf", "--sentinel"]);
    let log = folder.join("sentinel.log");
    let before = fs::metadata(&log).map_or(0, |file| file.len());
    let mut process = Process::spawn_logged("redis-sentinel", &mut command, &log, false)?;
    let offset = usize::try_from(before).unwrap_or_default();
    process.wait_for_line_after(START, "+monitor master", offset)?;
    Ok(process)
}

/// Returns the settings of a Sentinel, except for its port.
fn settings(port: u16, password: Option<&str>) -> String {
    let login = password.map(|password| {
        format!(
            "requirepass {password}\n\
             sentinel sentinel-pass {password}\n\
             sentinel auth-pass {MASTER} {password}\n"
        )
    });
    let login = login.unwrap_or_default();
    format!(
        "bind 127.0.0.1\n\
         daemonize no\n\
         dir .\n\
         sentinel monitor {MASTER} 127.0.0.1 {port} 2\n\
         sentinel down-after-milliseconds {MASTER} {NEVER}\n\
         sentinel failover-timeout {MASTER} 10000\n\
         {login}"
    )
}

/// Returns a field of an answer that has a name and its value on alternate lines.
fn field<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.lines();
    while let Some(line) = lines.next() {
        let value = lines.next()?;
        if line == name {
            return Some(value);
        }
    }
    None
}
