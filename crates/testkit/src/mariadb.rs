//! A private MariaDB server with one empty database and one user who owns it.
//!
//! Making the system tables takes seconds. It is therefore done once for each version of the server
//! and kept under `target/`; every start copies that folder. Commits survive if the server is
//! killed, but not a power cut.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::{find_program, on_a_free_port};
use crate::{Error, Process};

/// The Debian package that contains the server and the program that makes its tables.
const PACKAGE: &str = "mariadb-server";
/// Time for a start, which after a kill includes recovery.
const START: Duration = Duration::from_mins(1);
/// The database, its owner and the owner's password.
const NAME: &str = "celery";
/// The text that the server logs once its socket, database and user exist.
const READY: &str = "ready for connections";
/// Small files, because every start copies them.
const SMALL: [&str; 2] = [
    "--innodb-log-file-size=8M",
    "--innodb-data-file-path=ibdata1:4M:autoextend",
];

/// A private MariaDB server. Dropping it kills the server and removes its folder.
#[derive(Debug)]
pub struct MariaDb {
    process: Process,
    port: u16,
    extra: Vec<String>,
    folder: TempDir,
}

impl MariaDb {
    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Missing`] when `mariadbd` is not installed, [`Error::Ended`] when it cannot
    /// start.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// Like [`MariaDb::start`], with more options of the server, such as `--max-connections=5`.
    ///
    /// # Errors
    ///
    /// Fails like [`MariaDb::start`].
    pub fn start_with(options: &[&str]) -> Result<Self, Error> {
        Self::start_in(&std::env::temp_dir(), options)
    }

    /// Like [`MariaDb::start_with`], with the files in `place`, for example on a small disk. They
    /// need about 90 MB.
    ///
    /// # Errors
    ///
    /// Fails like [`MariaDb::start`].
    pub fn start_in(place: &Path, options: &[&str]) -> Result<Self, Error> {
        let extra: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let folder = tempfile::Builder::new()
            .prefix("mariadb-")
            .tempdir_in(place)
            .map_err(Error::io("making a temporary folder"))?;
        copy_folder(&template()?, &folder.path().join("data"))?;
        fs::write(folder.path().join("init.sql"), first_statements())
            .map_err(Error::io("writing init.sql"))?;
        let (port, process) = on_a_free_port(&["Bind on TCP/IP port"], |port| {
            Ok((port, spawn(&extra, port, folder.path())?))
        })?;
        Ok(Self {
            process,
            port,
            extra,
            folder,
        })
    }

    /// Returns `mysql://user:password@127.0.0.1:port/database`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mysql://{NAME}:{NAME}@127.0.0.1:{}/{NAME}", self.port)
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path of the unix socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("mariadb.sock")
    }

    /// Returns the user's name.
    #[must_use]
    pub fn username(&self) -> &'static str {
        NAME
    }

    /// Returns the user's password.
    #[must_use]
    pub fn password(&self) -> &'static str {
        NAME
    }

    /// Returns the database's name.
    #[must_use]
    pub fn database(&self) -> &'static str {
        NAME
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

    /// Runs statements as `root` in the database; returns the rows, tab-separated, without
    /// headings.
    ///
    /// # Errors
    ///
    /// Returns [`Error::Failed`] with the server's message.
    pub fn sql(&self, statements: &str) -> Result<String, Error> {
        let output = Command::new(find_program("mariadb", "mariadb-client")?)
            .args(["--no-defaults", "--batch", "--skip-column-names"])
            .args(["--default-character-set=utf8mb4", "--user=root"])
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--execute", statements, NAME])
            .output()
            .map_err(Error::io("running mariadb"))?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Error::Failed(format!("mariadb: {errors}")));
        }
        Ok(String::from_utf8_lossy(&output.stdout)
            .trim_end()
            .to_owned())
    }

    /// Kills the server with SIGKILL, as a crash would. [`MariaDb::restart`] starts it again.
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
    /// Fails like [`MariaDb::start`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.process.stop();
        self.process = spawn(&self.extra, self.port, self.folder.path())?;
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
}

/// Returns the statements to run at every start; running them again changes nothing.
fn first_statements() -> String {
    let database = format!("CREATE DATABASE IF NOT EXISTS {NAME} CHARACTER SET utf8mb4;\n");
    let users = ["localhost", "127.0.0.1", "%"].map(|host| {
        format!(
            "CREATE USER IF NOT EXISTS {NAME}@'{host}' IDENTIFIED BY '{NAME}';\n\
             GRANT ALL PRIVILEGES ON {NAME}.* TO {NAME}@'{host}';\n"
        )
    });
    database + &users.concat()
}

fn spawn(extra: &[String], port: u16, folder: &Path) -> Result<Process, Error> {
    let mut command = server()?;
    let at = |name: &str| folder.join(name).display().to_string();
    command
        .arg(format!("--datadir={}", at("data")))
        .arg(format!("--tmpdir={}", folder.display()))
        .arg(format!("--socket={}", at("mariadb.sock")))
        .arg(format!("--pid-file={}", at("mariadb.pid")))
        .arg(format!("--init-file={}", at("init.sql")))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(["--character-set-server=utf8mb4", "--skip-log-bin"])
        // The log is written at commit and synced once a second: a killed server loses nothing.
        .arg("--innodb-flush-log-at-trx-commit=2")
        .args(["--innodb-buffer-pool-size=32M", "--performance-schema=OFF"])
        .args(extra);
    let log = folder.join("mariadb.log");
    let before = fs::metadata(&log).map_or(0, |file| file.len());
    let mut process = Process::spawn_logged("mariadbd", &mut command, &log, false)?;
    let offset = usize::try_from(before).unwrap_or_default();
    process.wait_for_line_after(START, READY, offset)?;
    Ok(process)
}

/// Returns the command `mariadbd` without the machine's own settings.
fn server() -> Result<Command, Error> {
    let mut command = Command::new(find_program("mariadbd", PACKAGE)?);
    command.arg("--no-defaults").args(SMALL);
    if rustix::process::geteuid().is_root() {
        command.arg("--user=root");
    }
    Ok(command)
}

/// Returns a data folder made by the installed version; the first call makes it.
fn template() -> Result<PathBuf, Error> {
    let version = Command::new(find_program("mariadbd", PACKAGE)?)
        .args(["--no-defaults", "--version"])
        .output()
        .map_err(Error::io("running mariadbd"))?;
    let name: String = String::from_utf8_lossy(&version.stdout)
        .split_whitespace()
        .nth(2)
        .unwrap_or("unknown")
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let cache = crate::target_folder().join("testkit");
    let ready = cache.join(format!("mariadb-{name}"));
    if ready.is_dir() {
        return Ok(ready);
    }
    fs::create_dir_all(&cache).map_err(Error::io(format!("making {}", cache.display())))?;
    let fresh = tempfile::tempdir_in(&cache).map_err(Error::io("making a temporary folder"))?;
    let data = fresh.path().join("data");
    let mut install = Command::new(find_program("mariadb-install-db", PACKAGE)?);
    install
        .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
        .arg("--auth-root-authentication-method=normal")
        .arg(format!("--datadir={}", data.display()))
        .args(SMALL)
        // A starting server deletes files in its `TMPDIR` that look like its own temporary tables.
        // In a shared folder it would delete those of another server.
        .env("TMPDIR", fresh.path());
    if rustix::process::geteuid().is_root() {
        install.arg("--user=root");
    }
    let output = install
        .output()
        .map_err(Error::io("running mariadb-install-db"))?;
    if !output.status.success() {
        return Err(Error::Failed(format!(
            "mariadb-install-db: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )));
    }
    // Another test may have made the folder meanwhile. Both are alike, so either will do.
    if let Err(error) = fs::rename(&data, &ready)
        && !ready.is_dir()
    {
        return Err(Error::io(format!("making {}", ready.display()))(error));
    }
    Ok(ready)
}

fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    let fail = || Error::io(format!("copying {} to {}", from.display(), to.display()));
    fs::create_dir(to).map_err(fail())?;
    for entry in fs::read_dir(from).map_err(fail())? {
        let entry = entry.map_err(fail())?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(fail())?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(fail())?;
        }
    }
    Ok(())
}
