//! Reads the settings of a file.

use super::declaration::Settings;
use super::value::ConfigError;

impl Settings {
    /// Reads the settings of a file.
    pub(crate) fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let mut settings: Settings = toml::from_str(text).map_err(|error| {
            // The cause is only the error's message, because the excerpt of the file that `Display`
            // prints could show a password.
            let cause = without_values(error.message());
            let cause = match error.span() {
                Some(span) => {
                    let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
                    format!("line {line}: {cause}")
                }
                None => cause,
            };
            ConfigError::new("--config", cause)
        })?;
        // A file without entries removes those of earlier files.
        settings.schedules.get_or_insert_default();
        Ok(settings)
    }
}

/// Returns a message about a file without quoting the file, which may hold a URL with its password.
/// The message keeps a quoted text only if it is the name of a setting.
fn without_values(message: &str) -> String {
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some(start) = rest.find(['"', '\'', '`']) {
        let quote = &rest[start..=start];
        // A value may itself contain quotes, so the last quote of its kind ends it. Backquotes
        // enclose names, so the next one ends a name.
        let end = match quote {
            "`" => rest[start + 1..].find(quote),
            _ => rest[start + 1..].rfind(quote),
        };
        let Some(end) = end.map(|end| start + 1 + end) else {
            break;
        };
        let quoted = &rest[start + 1..end];
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let quoted = if quoted.chars().all(is_name) && quote == "`" {
            quoted
        } else {
            "**"
        };
        shown.push_str(&rest[..=start]);
        shown.push_str(quoted);
        shown.push_str(quote);
        rest = &rest[end + 1..];
    }
    shown.push_str(rest);
    shown
}
