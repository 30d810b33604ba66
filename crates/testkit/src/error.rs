//! The errors of starting a private server or of waiting for it.
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
        /// The missing program.
        program: String,
        /// The Debian package that contains it.
        package: &'static str,
    },
    /// A program ended right after its start.
    #[error("{name} ended with {status}; its output:\n{log}")]
    Ended {
        /// The program.
        name: String,
        /// How it ended.
        status: String,
        /// The end of its output.
        log: String,
    },
    /// A condition was not met before its deadline.
    #[error("{what}: not within {after:?}{log}")]
    Timeout {
        /// The condition.
        what: String,
        /// The deadline.
        after: Duration,
        /// The end of the output of the program concerned, or nothing.
        log: String,
    },
    /// A call to the operating system failed.
    #[error("{what}: {source}")]
    Io {
        /// The action that failed.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A helper program answered with an error.
    #[error("{0}")]
    Failed(String),
}

impl Error {
    /// Returns a function that turns an I/O error into an error that also names the failed action,
    /// `what`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Io { what, source }
    }
}
