//! What can go wrong while a private server is started or waited for.
//!
//! Most people meet [`Error::Missing`] first: a server that is not installed.

use std::io;
use std::time::Duration;

/// A failure of the kit itself, never of the program under test.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is neither on the `PATH` nor where Debian puts it.
    #[error("{program} is not installed: apt-get install {package} (or: make setup)")]
    Missing {
        /// The program that was looked for.
        program: String,
        /// The Debian package that brings it.
        package: &'static str,
    },
    /// A program started and ended at once.
    #[error("{name} ended with {status}; its output:\n{log}")]
    Ended {
        /// What was started.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        log: String,
    },
    /// A condition was not met before its deadline.
    #[error("{what}: not within {after:?}{log}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// The deadline.
        after: Duration,
        /// The end of the output of the program concerned, or nothing.
        log: String,
    },
    /// A call to the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A helper program answered with an error.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Names what was tried when `source` came up.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
