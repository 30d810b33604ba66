//! Free ports, and finding programs.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::Error;

/// Where Debian puts servers; a plain user's `PATH` often lacks it.
const SYSTEM_FOLDERS: [&str; 4] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// How many free ports are tried before giving up: each can be lost to somebody faster.
const TRIES: usize = 5;

/// A port of the loopback interface that nobody listens on at this moment.
///
/// Somebody else may take it before it is used: whoever starts a server on it must be ready to try another.
///
/// # Errors
///
/// [`Error::Io`] when the system has no port to give.
pub fn free_port() -> Result<u16, Error> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("finding a free port"))?;
    let address = listener
        .local_addr()
        .map_err(Error::io("finding a free port"))?;
    Ok(address.port())
}

/// Starts a server on a free port; on another one while its last words are that the port is `taken`.
pub(crate) fn on_a_free_port<T>(
    taken: &str,
    mut start: impl FnMut(u16) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut tries = 1;
    loop {
        match start(free_port()?) {
            Err(Error::Ended { log, .. }) if tries < TRIES && log.contains(taken) => tries += 1,
            outcome => return outcome,
        }
    }
}

/// The path of `program`, which Debian's `package` brings.
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
