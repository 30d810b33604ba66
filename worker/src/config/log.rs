//! Defines the settings of the log: its level and its format.

use std::fmt;

use super::checked::{Checked, listed, quoted};

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

/// The fields of a JSON line that are not chosen.
pub(crate) const OTHERS: &str = "*";

/// The fields of a JSON line, in their order: the name in the line, and that of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogFields(pub(crate) Vec<(String, String)>);

impl Checked for LogFields {
    type Given = Vec<String>;

    fn check(given: Vec<String>) -> Result<Self, String> {
        let mut fields: Vec<(String, String)> = Vec::with_capacity(given.len());
        for text in &given {
            let (name, value) = text.split_once('=').unwrap_or((text, text));
            if name.is_empty() || value.is_empty() {
                return Err(format!("{text:?} is neither a field nor name=field"));
            }
            if (name == OTHERS) != (value == OTHERS) {
                return Err("* has no other name".to_owned());
            }
            if fields.iter().any(|(other, _)| other == name) {
                return Err(format!("{name:?} is there twice"));
            }
            fields.push((name.to_owned(), value.to_owned()));
        }
        if fields.is_empty() {
            return Err("at least one field is needed".to_owned());
        }
        Ok(LogFields(fields))
    }

    fn written(&self) -> Option<String> {
        let fields = self.0.iter().map(|(name, value)| {
            if name == value {
                name.clone()
            } else {
                format!("{name}={value}")
            }
        });
        Some(listed(fields.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(texts: &[&str]) -> Result<LogFields, String> {
        LogFields::check(texts.iter().map(|text| (*text).to_owned()).collect())
    }

    #[test]
    fn fields_can_have_other_names() {
        let chosen = fields(&["time=timestamp", "message", "*"]).unwrap();
        let written = chosen.written().unwrap();
        assert_eq!(written, r#"["time=timestamp", "message", "*"]"#);
        for (wrong, part) in [
            (&[][..], "at least one"),
            (&["a", "a=b"], "twice"),
            (&["=a"], "neither a field"),
            (&["a="], "neither a field"),
            (&["all=*"], "no other name"),
        ] {
            let error = fields(wrong).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
