//! What the subcommand `check` has found.

use std::fmt;

/// The severity of a finding. The order is from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Everything is as it should be.
    Ok,
    /// The worker works, but may lose tasks or be slow.
    Warning,
    /// The worker cannot do all of its work until this changes.
    Error,
    /// A setting can never work; the worker does not start with it.
    Mistake,
}

impl Severity {
    pub(super) fn word(self) -> &'static str {
        match self {
            Severity::Ok => "OK",
            Severity::Warning => "WARNING",
            Severity::Error | Severity::Mistake => "ERROR",
        }
    }
}

/// The result of checking one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) text: String,
}

impl Finding {
    pub(super) fn ok(text: impl Into<String>) -> Self {
        Self::new(Severity::Ok, text)
    }

    pub(super) fn warning(text: impl Into<String>) -> Self {
        Self::new(Severity::Warning, text)
    }

    pub(super) fn error(text: impl Into<String>) -> Self {
        Self::new(Severity::Error, text)
    }

    pub(super) fn mistake(text: impl Into<String>) -> Self {
        Self::new(Severity::Mistake, text)
    }

    fn new(severity: Severity, text: impl Into<String>) -> Self {
        Finding {
            severity,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8} {}", self.severity.word(), self.text)
    }
}
