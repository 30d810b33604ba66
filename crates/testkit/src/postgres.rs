//! A private PostgreSQL server with one empty database and one user who owns it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::{find_program, on_a_free_port};
use crate::{Error, Process};

/// The Debian package that contains the server.
const PACKAGE: &str = "postgresql";
/// The folder where Debian keeps the versions, each with a folder `bin`.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Time for a start, which after a kill includes recovery.
const START: Duration = Duration::from_mins(1);
/// The name of the owner and also the password. The database is the one that every server has.
const NAME: &str = "celery";
const DATABASE: &str = "postgres";
/// The text that the server logs once it is ready.
const READY: &str = "database system is ready to accept connections";
/// The id of the unprivileged user on every system; the server refuses to run as root.
const UNPRIVILEGED: u32 = 65_534;

/// A private PostgreSQL server. Dropping it kills the server and removes its folder.
#[derive(Debug)]
pub struct Postgres {
    process: Process,
    port: u16,
    folder: TempDir,
}

impl Postgres {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when PostgreSQL is not installed, [`Error::Ended`] when it cannot
    /// start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with("")
    }

    /// Like [`Postgres::start`], with more lines for `postgresql.conf`.
    ///
    /// # Errors
    ///
    /// Fails like [`Postgres::start`].
    pub fn start_with(settings: &str) -> Result<Self, Error> {
        let folder = tempfile::Builder::new()
            .prefix("postgres-")
            .tempdir()
            .map_err(Error::io("making a temporary folder"))?;
        let path = folder.path();
        let password = path.join("password");
        fs::write(&password, NAME).map_err(Error::io("writing the password"))?;
        if is_root() {
            for owned in [path, &password] {
                chown(owned, Some(UNPRIVILEGED), Some(UNPRIVILEGED))
                    .map_err(Error::io("giving the folder to the unprivileged user"))?;
            }
        }
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("closing the folder"))?;
        let output = program("initdb")?
            .args(["--no-sync", "--locale=C", "--encoding=UTF8"])
            .args(["--auth=scram-sha-256", &format!("--username={NAME}")])
            .arg(format!("--pwfile={}", password.display()))
            .arg(path.join("data"))
            .current_dir(path)
            .output()
            .map_err(Error::io("running initdb"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Failed(format!("initdb: {errors}")));
        }
        let file = path.join("data/postgresql.conf");
        fs::OpenOptions::new()
            .append(true)
            .open(file)
            .and_then(|mut file| writeln!(file, "{settings}"))
            .map_err(Error::io("writing the settings"))?;
        let (port, process) =
            on_a_free_port(&["could not bind"], |port| Ok((port, spawn(port, path)?)))?;
        Ok(Self {
            process,
            port,
            folder,
        })
    }

    /// Returns `postgres://user:password@127.0.0.1:port/database`.
    #[must_use]
    pub fn url(&self) -> String {
        format!(
            "postgres://{NAME}:{NAME}@127.0.0.1:{}/{DATABASE}",
            self.port
        )
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's log.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Runs statements with `psql`; returns the rows without headings, with `|` between columns.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the server's message.
    pub fn sql(&self, statements: &str) -> Result<String, Error> {
        let output = program("psql")?
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args([
                "--set=ON_ERROR_STOP=1",
                "--command",
                statements,
                &self.url(),
            ])
            .current_dir(self.folder.path())
            .output()
            .map_err(Error::io("running psql"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Failed(format!("psql: {errors}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// Kills the server with SIGKILL, as a crash would. [`Postgres::restart`] starts it again.
    pub fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts the server again with its old port and files; ends it first if it runs.
    ///
    /// # Errors
    ///
    /// Fails like [`Postgres::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop();
        // A killed server leaves this file behind. The process id in it may belong to another
        // program now.
        let _ = fs::remove_file(self.folder.path().join("data/postmaster.pid"));
        self.process = spawn(self.port, self.folder.path())?;
        Ok(())
    }
}

fn spawn(port: u16, folder: &Path) -> Result<Process, Error> {
    let mut command = program("postgres")?;
    command
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string()])
        .args(["-c", "listen_addresses=127.0.0.1"])
        .arg("-c")
        .arg(format!("unix_socket_directories={}", folder.display()))
        // A killed server loses nothing. Only a power cut would lose data.
        .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
        .current_dir(folder);
    let log = folder.join("postgres.log");
    let before = fs::metadata(&log).map_or(0, |file| file.len());
    let mut process = Process::spawn_logged("postgres", &mut command, &log, false)?;
    let offset = usize::try_from(before).unwrap_or_default();
    process.wait_for_line_after(START, READY, offset)?;
    Ok(process)
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns a program of the newest installed version, to be run as an unprivileged user.
fn program(name: &str) -> Result<Command, Error> {
    let path = newest().map_or_else(|| find_program(name, PACKAGE), |bin| Ok(bin.join(name)))?;
    if !is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new(find_program("setpriv", "util-linux")?);
    command
        .arg(format!("--reuid={UNPRIVILEGED}"))
        .arg(format!("--regid={UNPRIVILEGED}"))
        .args(["--clear-groups", "--"])
        .arg(path);
    Ok(command)
}

fn newest() -> Option<PathBuf> {
    let versions = fs::read_dir(VERSIONS).ok()?.filter_map(Result::ok);
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    versions
        .map(|version| version.path())
        .filter(|path| path.join("bin/postgres").is_file())
        .max_by_key(number)
        .map(|path| path.join("bin"))
}
