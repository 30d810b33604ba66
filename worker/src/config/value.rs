//! Defines the text of a time in a source, and the error about a setting that cannot be used.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A value that may also be written as a number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Written(String),
    Whole(u64),
    Real(f64),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Text::Written(text) => f.write_str(text),
            Text::Whole(number) => number.fmt(f),
            Text::Real(number) => number.fmt(f),
        }
    }
}

impl From<Duration> for Text {
    fn from(time: Duration) -> Self {
        Text::Real(time.as_secs_f64())
    }
}

impl From<f64> for Text {
    fn from(number: f64) -> Self {
        Text::Real(number)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Text::Written(text)
    }
}

/// The key of SQL tasks, as an error names it.
pub(crate) const TASKS: &str = "tasks (in the file of --config)";

/// A setting that cannot be used. The text contains no password.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{setting}: {cause}")]
pub struct ConfigError {
    /// The setting, as it can be written in each source.
    pub(crate) setting: String,
    /// What is wrong with it.
    pub(crate) cause: String,
}

impl ConfigError {
    pub(crate) fn new(setting: impl fmt::Display, cause: impl fmt::Display) -> Self {
        ConfigError {
            setting: setting.to_string(),
            cause: cause.to_string(),
        }
    }
}
