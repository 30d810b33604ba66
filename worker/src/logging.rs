//! Writes log lines as Celery does, or as JSON, to standard error or a file.
//!
//! * Text: `[2026-11-22 11:00:00,123: INFO/MainProcess] Task proj.add[…] received`, in local time.
//!   Text from messages, tasks and servers is escaped (see [`crate::printable`]). Lines after the
//!   first, as of a traceback, are indented. A line that a task's code writes names the task first.
//! * JSON: one object per line, with `timestamp` (ISO 8601, UTC), `level` (Celery's word),
//!   `message` and `target`. A line about a task, or from a task's code, has `task_id`, `task_name`,
//!   `queue` and, if its task belongs to a trace, `trace_id`. Other fields follow. `--log-fields`
//!   chooses fields, their names and their order.
//!
//! The program's own lines follow the configured level; lines of libraries appear from `WARNING`
//! on.

use std::fmt;
use std::fs::OpenOptions;
use std::io::IsTerminal;
use std::sync::Arc;

use jiff::Zoned;
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::value::ConfigError;
use crate::config::{Config, LogFields, LogFormat, OTHERS, SETTINGS, level_name};
use crate::lifecycle::ALWAYS;
use crate::printable::{indented, json, one_line};
use crate::task_log;

/// Starts logging for the whole process. A logger that exists already stays.
pub(crate) fn start(config: &Config) -> Result<(), ConfigError> {
    let level = config.loglevel;
    let filter = filter_fn(move |line: &Metadata<'_>| wanted(line, level));
    let output = match &config.logfile {
        None => Output::Stderr,
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            Output::File(Arc::new(file.map_err(|error| {
                ConfigError::new(&SETTINGS.logfile, format!("{}: {error}", path.display()))
            })?))
        }
    };
    let colours = matches!(output, Output::Stderr) && std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(move || output.clone());
    let layer = match config.log_format {
        LogFormat::Text => layer
            .event_format(AsCelery { colours })
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => layer
            .event_format(AsJson::new(config))
            .with_filter(filter)
            .boxed(),
    };
    // Fails only if a program that uses the library has set up its own logger, which then stays.
    let _ = tracing_subscriber::registry().with(layer).try_init();
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

fn wanted(line: &Metadata<'_>, level: Level) -> bool {
    let target = line.target();
    if target == ALWAYS {
        return true;
    }
    // Rust orders levels by verbosity: ERROR is the least verbose.
    let library = !target.starts_with("celery") && !target.starts_with("playground");
    let most = if library {
        level.min(Level::WARN)
    } else {
        level
    };
    *line.level() <= most
}

#[derive(Clone)]
enum Output {
    Stderr,
    File(Arc<std::fs::File>),
}

impl std::io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Output::Stderr => std::io::stderr().write(bytes),
            Output::File(file) => (&**file).write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct AsCelery {
    colours: bool,
}

impl<S, N> FormatEvent<S, N> for AsCelery
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = Zoned::now();
        let (time, millis) = (now.strftime("%Y-%m-%d %H:%M:%S"), now.millisecond());
        let level = *event.metadata().level();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let colour = match level {
            Level::ERROR => "\x1b[1;31m",
            Level::WARN => "\x1b[1;33m",
            _ => "",
        };
        let (colour, end) = if self.colours && !colour.is_empty() {
            (colour, "\x1b[0m")
        } else {
            ("", "")
        };
        let (level, message) = (level_name(level), indented(&fields.message));
        write!(out, "{colour}[{time},{millis:03}: {level}/MainProcess] ")?;
        // The line names the task first, as in Celery's `worker_task_log_format`.
        if let Some((name, id)) = task_log::running() {
            write!(out, "{}[{}]: ", one_line(&name), one_line(&id))?;
        }
        write!(out, "{message}")?;
        for (name, value) in &fields.others {
            // The message already names the task, as Celery's does.
            if task_log::FIELDS.contains(name) {
                continue;
            }
            match value {
                Value::String(text) => write!(out, " {name}={}", indented(text))?,
                other => write!(out, " {name}={}", one_line(&other.to_string()))?,
            }
        }
        writeln!(out, "{end}")
    }
}

/// Writes a line as one JSON object.
struct AsJson {
    chosen: Option<LogFields>,
    hostname: String,
}

impl AsJson {
    fn new(config: &Config) -> Self {
        AsJson {
            chosen: config.log_fields.clone(),
            hostname: config.hostname.clone(),
        }
    }

    /// Returns the chosen fields of a line in their order. A field that the line does not have is left
    /// out, as is a field that is not chosen if another one has its name.
    fn choose(&self, chosen: &LogFields, mut line: serde_json::Map<String, Value>) -> String {
        line.insert("hostname".to_owned(), self.hostname.as_str().into());
        line.insert("process".to_owned(), std::process::id().into());
        // Of two members with one name, readers would take either.
        let listed = |field: &str| {
            let mut chosen = chosen.0.iter();
            chosen.any(|(name, value)| value == field || name == field)
        };
        // These two are in a line only if they are asked for.
        let others = line
            .iter()
            .filter(|(name, _)| !listed(name) && !["hostname", "process"].contains(&name.as_str()));
        let mut members = Vec::with_capacity(line.len());
        for (name, value) in &chosen.0 {
            if name == OTHERS {
                members.extend(others.clone().map(|(name, value)| member(name, value)));
            } else if let Some(value) = line.get(value) {
                members.push(member(name, value));
            }
        }
        format!("{{{}}}", members.join(","))
    }
}

/// Returns a member of a JSON object.
fn member(name: &str, value: &Value) -> String {
    format!("{}:{value}", Value::from(name))
}

impl<S, N> FormatEvent<S, N> for AsJson
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut line = serde_json::Map::new();
        for (name, value) in task_log::fields() {
            line.insert(name.to_owned(), Value::String(value));
        }
        for (name, value) in fields.others {
            line.insert(name.to_owned(), value);
        }
        let metadata = event.metadata();
        let now = jiff::Timestamp::now();
        for (name, value) in [
            ("timestamp", format!("{now:.6}")),
            ("level", level_name(*metadata.level()).to_owned()),
            ("message", fields.message),
            ("target", metadata.target().to_owned()),
        ] {
            line.insert(name.to_owned(), Value::String(value));
        }
        let line = match &self.chosen {
            Some(chosen) => self.choose(chosen, line),
            None => Value::Object(line).to_string(),
        };
        writeln!(out, "{}", json(&line))
    }
}

/// The message of a line, and its other fields.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            // The crate `log` adds these fields: file and line.
            (name, _) if name.starts_with("log.") => {}
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns everything that is logged while `speak` runs.
    fn written(speak: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
        impl std::io::Write for Lines {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(AsCelery { colours: false });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), speak);
        let bytes = lines.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn text_of_a_message_cannot_forge_a_line_or_command_a_terminal() {
        let hostile = "x\r\n[2026-11-22: INFO] forged\u{1b}[2J\u{9b}1m\0\u{7f}";
        let text = written(|| {
            tracing::warn!(header = %hostile, quoted = hostile, "Task {hostile} für später\tgut");
        });
        assert!(!text.contains(|char: char| char.is_control() && char != '\n' && char != '\t'));
        assert_eq!(text.lines().filter(|line| line.starts_with('[')).count(), 1);
        let shown = "x\\r\n  [2026-11-22: INFO] forged\\u{1b}[2J\\u{9b}1m\\u{0}\\u{7f}";
        assert!(text.contains(&format!(
            "Task {shown} für später\tgut header={shown} quoted="
        )));
    }

    #[test]
    fn no_member_of_a_line_is_there_twice() {
        let written = |chosen: &[(&str, &str)]| {
            let chosen = chosen
                .iter()
                .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()));
            let chosen = LogFields(chosen.collect());
            let json = AsJson {
                chosen: None,
                hostname: "w@h".to_owned(),
            };
            let mut line = serde_json::Map::new();
            for name in ["level", "message", "target"] {
                line.insert(name.to_owned(), name.into());
            }
            json.choose(&chosen, line)
        };
        let all = (OTHERS, OTHERS);
        assert_eq!(
            written(&[("message", "target"), all]),
            r#"{"message":"target","level":"level"}"#
        );
        assert_eq!(
            written(&[all, ("hostname", "level"), ("text", "message")]),
            r#"{"target":"target","hostname":"level","text":"message"}"#
        );
    }

    #[test]
    fn a_traceback_keeps_its_lines() {
        let text = written(|| tracing::error!("raised\nTraceback:\n  File\nValueError: boom"));
        let (_, message) = text.split_once("ERROR/MainProcess] ").unwrap();
        assert_eq!(
            message,
            "raised\n  Traceback:\n    File\n  ValueError: boom\n"
        );
    }
}
