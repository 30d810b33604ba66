//! Defines the settings of the log: its level and its format.

use std::fmt;

use super::checked::{Checked, quoted};

impl Checked for tracing::Level {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.to_ascii_uppercase().as_str() {
            "DEBUG" => Ok(tracing::Level::DEBUG),
            "INFO" => Ok(tracing::Level::INFO),
            "WARNING" | "WARN" => Ok(tracing::Level::WARN),
            "ERROR" | "CRITICAL" | "FATAL" => Ok(tracing::Level::ERROR),
            _ => Err(format!(
                "{given:?} is not one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
            )),
        }
    }

    fn written(&self) -> Option<String> {
        Some(quoted(level_name(*self)))
    }
}

/// Returns Celery's word for a level.
pub(crate) fn level_name(level: tracing::Level) -> &'static str {
    match level {
        tracing::Level::ERROR => "ERROR",
        tracing::Level::WARN => "WARNING",
        tracing::Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Like Celery's log lines.
    Text,
    /// One JSON object per line.
    Json,
}

impl Checked for LogFormat {
    type Given = String;

    fn check(given: String) -> Result<Self, String> {
        match given.as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            other => Err(format!("{other:?} is neither text nor json")),
        }
    }

    fn written(&self) -> Option<String> {
        Some(quoted(&self.to_string()))
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}
