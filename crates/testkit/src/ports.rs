//! Free ports, and how programs are found and started.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Error;

/// The folders where Debian puts servers; the `PATH` of an ordinary user often lacks them.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// The number of free ports to try: another program can take a port before the server binds it.
const TRIES: usize = 5;

/// Returns a port of the loopback interface that is free at this moment.
///
/// Another program may take it first: code that starts a server on it must be ready to try another.
///
/// # Errors
///
/// Returns [`Error::Io`] when the system has no port to give.
pub fn free_port() -> Result<u16, Error> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("finding a free port"))?;
    let address = listener
        .local_addr()
        .map_err(Error::io("finding a free port"))?;
    Ok(address.port())
}

/// Starts a server on a free port; retries on another port while its error has one of the texts that
/// say that the port is `taken`.
pub(crate) fn on_a_free_port<T>(
    taken: &[&str],
    mut start: impl FnMut(u16) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match start(free_port()?) {
            Err(Error::Ended { log, .. })
                if tries < TRIES && taken.iter().any(|text| log.contains(text)) =>
            {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// Returns the path of `program`, which the Debian package `package` contains.
pub(crate) fn find_program(program: &str, package: &'static str) -> Result<PathBuf, Error> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Error::Missing {
            program: program.to_owned(),
            package,
        })
}

/// Returns a command that runs `program` by another one, such as `ip netns exec NAME`, if there is
/// one.
pub(crate) fn through(starter: &[String], program: &Path) -> Command {
    match starter.split_first() {
        Some((starter, words)) => {
            let mut command = Command::new(starter);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}
