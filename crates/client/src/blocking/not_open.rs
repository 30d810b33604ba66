//! Why a connection could not be opened, and what that shows about the server.

use std::io;
use std::time::Duration;

use nix::libc;

use super::circuit::{Patience, Shown};
use crate::error::{ClientError, TlsProblem};

/// The reason why a connection could not be opened.
pub(crate) struct NotOpen {
    pub(crate) error: ClientError,
    /// Whether another attempt may succeed a moment later.
    pub(crate) again: bool,
    /// Whether the cause is in this process, such as no free file descriptor.
    ours: bool,
}

impl NotOpen {
    /// Returns a failure after which another attempt may succeed.
    pub(crate) fn for_now(error: ClientError) -> Self {
        Self {
            error,
            again: true,
            ours: false,
        }
    }

    /// Returns a failure that another attempt would meet again.
    pub(crate) fn for_good(error: ClientError) -> Self {
        Self {
            error,
            again: false,
            ours: false,
        }
    }

    /// Says that the cause is in this process if this error of the system means that.
    pub(crate) fn caused_by(mut self, error: &io::Error) -> Self {
        self.ours = matches!(
            error.raw_os_error(),
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EADDRNOTAVAIL)
        );
        self
    }

    /// Returns what the failure shows about the server. `patience` is how much time the caller left
    /// it to answer.
    pub(crate) fn shown(&self, patience: Patience) -> Shown {
        match &self.error {
            _ if self.ours => Shown::Nothing,
            ClientError::Connect { reason, .. } => Shown::Unreached(reason.clone()),
            ClientError::Timeout { what, after } => patience.ends(took_longer(what, *after)),
            ClientError::Tls {
                problem: TlsProblem::Silent,
                ..
            } => patience.ends(TlsProblem::Silent.to_string()),
            ClientError::Server(_)
            | ClientError::Broker(_)
            | ClientError::Auth { .. }
            | ClientError::Unsupported { .. }
            | ClientError::Tls { .. } => Shown::Reached,
            _ => Shown::Nothing,
        }
    }
}

/// Returns the reason of a failure by time.
pub(crate) fn took_longer(what: &str, after: Duration) -> String {
    format!("{what} took longer than {after:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ConfigError, ServerError};

    fn connect(reason: &str) -> ClientError {
        ClientError::Connect {
            endpoint: "redis://host".to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn tls(problem: TlsProblem) -> ClientError {
        ClientError::Tls {
            endpoint: "rediss://host".to_owned(),
            problem,
        }
    }

    fn timeout() -> ClientError {
        ClientError::Timeout {
            what: "connecting",
            after: Duration::from_secs(2),
        }
    }

    #[test]
    fn a_server_that_is_away_counts() {
        let shown = |error, patience| NotOpen::for_now(error).shown(patience);
        for patience in [Patience::Whole, Patience::Fair, Patience::Short] {
            let shown = shown(connect("refused"), patience);
            assert_eq!(shown, Shown::Unreached("refused".to_owned()));
        }
        for error in [timeout(), tls(TlsProblem::Silent)] {
            let silent = shown(error.clone(), Patience::Whole);
            assert!(matches!(silent, Shown::Silent(_)), "{silent:?}");
            let unreached = shown(error, Patience::Fair);
            assert!(matches!(unreached, Shown::Unreached(_)), "{unreached:?}");
        }
    }

    #[test]
    fn a_server_that_refuses_is_reached() {
        let answer = |code: &str| ServerError::new(code, "x");
        let auth = |code| ClientError::Auth {
            endpoint: String::new(),
            answer: answer(code),
        };
        let unsupported = ClientError::Unsupported {
            endpoint: String::new(),
            kind: "a cluster",
        };
        for error in [
            auth("NOAUTH"),
            auth("WRONGPASS"),
            ClientError::Server(answer("OOM")),
            ClientError::Server(answer("LOADING")),
            ClientError::Server(ServerError::new("ERR", "max number of clients reached")),
            tls(TlsProblem::OtherHost("a".to_owned())),
            tls(TlsProblem::NotSpoken),
            unsupported,
        ] {
            let shown = NotOpen::for_good(error.clone()).shown(Patience::Short);
            assert_eq!(shown, Shown::Reached, "{error}");
        }
    }

    #[test]
    fn a_cause_in_this_process_shows_nothing() {
        for error in [
            ClientError::Interrupted,
            ClientError::Forked,
            ClientError::Protocol("x".to_owned()),
            ClientError::Config(ConfigError::NotAUrl),
        ] {
            let shown = NotOpen::for_good(error.clone()).shown(Patience::Whole);
            assert_eq!(shown, Shown::Nothing, "{error}");
        }
        for error in [timeout(), tls(TlsProblem::Silent)] {
            let shown = NotOpen::for_now(error).shown(Patience::Short);
            assert_eq!(shown, Shown::Nothing);
        }
        for (code, ours) in [
            (libc::EMFILE, true),
            (libc::ENFILE, true),
            (libc::EADDRNOTAVAIL, true),
            (libc::ECONNREFUSED, false),
            (libc::EHOSTUNREACH, false),
        ] {
            let error = io::Error::from_raw_os_error(code);
            let not_open = NotOpen::for_now(connect(&error.to_string())).caused_by(&error);
            let shown = not_open.shown(Patience::Whole);
            assert_eq!(shown == Shown::Nothing, ours, "{error}");
        }
    }
}
