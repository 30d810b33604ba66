//! An entry of the schedules, as Redis has it: JSON of version 1.
//!
//! Readers accept members that they do not know, except among the options: an option that is not
//! honoured would change what the task means.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::form::{Form, Table};
use super::options::Options;
use super::when::Schedule;
use crate::names::check_task_name;

/// The version of the JSON that this program writes and reads.
const VERSION: u32 = 1;
/// The longest name in bytes.
const LONGEST_NAME: usize = 255;
/// The largest entry in bytes. Its arguments are copied into each message.
const LARGEST: usize = 1 << 20;

/// What happens to due times that passed while no process led.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// The task is sent once for all of them.
    #[default]
    Once,
    /// The task is sent for each of the last day.
    All,
    /// The task is not sent.
    None,
}

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name of the task.
    pub task: String,
    /// When it is due.
    pub schedule: Schedule,
    /// The name of the zone, which is not checked here: an IANA name or `±hh:mm`.
    pub zone: String,
    /// A JSON array.
    pub args: Box<RawValue>,
    /// A JSON object.
    pub kwargs: Box<RawValue>,
    /// The options of the messages.
    pub options: Options,
    /// What happens to due times that were missed.
    pub missed: Missed,
    /// `false` if it is not due.
    pub enabled: bool,
    /// `true` if it comes from the file of settings of a process, and goes with it.
    pub is_of_file: bool,
}

/// What becomes of the due time of an entry that is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextDue {
    /// It stays.
    Keep,
    /// The leader computes it anew.
    Compute,
    /// The entry is not due any more.
    Stop,
}

impl NextDue {
    /// Returns what becomes of the due time if `new` replaces `old`.
    pub fn of(old: Option<&Entry>, new: &Entry) -> Self {
        match old {
            _ if !new.enabled => NextDue::Stop,
            Some(old) if old.enabled && old.has_times_of(new) => NextDue::Keep,
            _ => NextDue::Compute,
        }
    }

    /// Returns the word of the script `beat_write`.
    pub fn as_str(self) -> &'static str {
        match self {
            NextDue::Keep => "keep",
            NextDue::Compute => "compute",
            NextDue::Stop => "stop",
        }
    }
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EntryError(pub String);

/// The version of the JSON of an entry.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The JSON of an entry.
#[derive(Deserialize)]
struct Stored {
    task: String,
    schedule: Form,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    args: Option<Box<RawValue>>,
    #[serde(default)]
    kwargs: Option<Box<RawValue>>,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    missed: Missed,
    #[serde(default = "yes")]
    enabled: bool,
    #[serde(default)]
    origin: Option<String>,
}

fn yes() -> bool {
    true
}

/// The value of `origin` of entries that come from a file.
const FILE: &str = "file";

#[derive(Serialize)]
struct Written<'a> {
    v: u32,
    task: &'a str,
    schedule: Table,
    timezone: &'a str,
    args: &'a RawValue,
    kwargs: &'a RawValue,
    options: &'a Options,
    missed: Missed,
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<&'static str>,
}

impl Entry {
    /// Reads an entry as Redis has it.
    ///
    /// # Errors
    /// [`EntryError`] that names the part which cannot be used.
    pub fn read(json: &[u8]) -> Result<Self, EntryError> {
        if json.len() > LARGEST {
            return Err(EntryError("it is larger than 1 MiB".to_owned()));
        }
        let wrong = |error: serde_json::Error| EntryError(error.to_string());
        // Another version may have other members.
        let Version { v } = serde_json::from_slice(json).map_err(wrong)?;
        if v != VERSION {
            let cause = format!("its version is {v}, and this program knows {VERSION}");
            return Err(EntryError(cause));
        }
        let stored: Stored = serde_json::from_slice(json).map_err(wrong)?;
        let schedule = stored.schedule.read();
        let entry = Entry {
            task: stored.task,
            schedule: schedule.map_err(|cause| EntryError(format!("schedule: {cause}")))?,
            zone: stored.timezone.unwrap_or_else(|| "UTC".to_owned()),
            args: stored.args.unwrap_or_else(|| raw("[]")),
            kwargs: stored.kwargs.unwrap_or_else(|| raw("{}")),
            options: stored.options,
            missed: stored.missed,
            enabled: stored.enabled,
            is_of_file: stored.origin.as_deref() == Some(FILE),
        };
        entry.check()?;
        Ok(entry)
    }

    /// Returns the entry as Redis has it.
    pub fn json(&self) -> Vec<u8> {
        let written = Written {
            v: VERSION,
            task: &self.task,
            schedule: self.schedule.table(),
            timezone: &self.zone,
            args: &self.args,
            kwargs: &self.kwargs,
            options: &self.options,
            missed: self.missed,
            enabled: self.enabled,
            origin: self.is_of_file.then_some(FILE),
        };
        // Texts, numbers and valid JSON can be written.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// Checks what is only checked when a message is made.
    ///
    /// # Errors
    /// [`EntryError`] that names the part which no message can have.
    pub fn check(&self) -> Result<(), EntryError> {
        let wrong = |part: &str, cause: String| EntryError(format!("{part}: {cause}"));
        check_task_name(&self.task).map_err(|error| wrong("task", error.to_string()))?;
        if !self.args.get().starts_with('[') {
            return Err(wrong("args", "not a list".to_owned()));
        }
        if !self.kwargs.get().starts_with('{') {
            return Err(wrong("kwargs", "not an object".to_owned()));
        }
        let checked = self.options.check();
        checked.map_err(|cause| wrong("options", cause))
    }

    /// Returns `true` if the entry is due at the same times as another one.
    pub fn has_times_of(&self, other: &Entry) -> bool {
        self.schedule == other.schedule && self.zone == other.zone
    }
}

/// Checks the name of an entry.
///
/// # Errors
/// [`EntryError`] if no entry can have this name.
pub fn check_name(name: &str) -> Result<(), EntryError> {
    if name.is_empty() || name.len() > LONGEST_NAME || name.chars().any(char::is_control) {
        let cause = format!("a name has 1 to {LONGEST_NAME} bytes and no control character");
        return Err(EntryError(cause));
    }
    Ok(())
}

/// Returns this text, which is valid JSON.
fn raw(text: &str) -> Box<RawValue> {
    RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: &Value) -> Result<Entry, EntryError> {
        Entry::read(value.to_string().as_bytes())
    }

    #[test]
    fn an_entry_needs_version_task_and_schedule_alone() {
        let entry = read(&json!({ "v": 1, "task": "proj.add", "schedule": 30 })).unwrap();
        assert!(entry.enabled && !entry.is_of_file);
        assert_eq!(entry.missed, Missed::Once);
        let written: Value = serde_json::from_slice(&entry.json()).unwrap();
        assert_eq!(
            written,
            json!({
                "v": 1, "task": "proj.add", "schedule": { "every": 30.0, "relative": false },
                "timezone": "UTC", "args": [], "kwargs": {}, "options": {}, "missed": "once",
                "enabled": true,
            })
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let all = json!({
            "v": 1, "task": "proj.add",
            "schedule": {
                "minute": "0", "hour": "4", "day_of_month": "*", "month_of_year": "*",
                "day_of_week": "mon",
            },
            "timezone": "Europe/Berlin", "args": [1, "a"], "kwargs": { "x": null },
            "options": { "queue": "mails", "priority": 3, "expires": 60.0 },
            "missed": "none", "enabled": false, "origin": "file",
        });
        let entry = read(&all).unwrap();
        let written: Value = serde_json::from_slice(&entry.json()).unwrap();
        assert_eq!(written, all);
        // A number that no float can hold stays as it is.
        let text = br#"{"v":1,"task":"t","schedule":1,"args":[123456789012345678901234567890]}"#;
        let again = String::from_utf8(Entry::read(text).unwrap().json()).unwrap();
        assert!(again.contains("123456789012345678901234567890"), "{again}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (value, part) in [
            (json!({ "v": 2, "call": "t" }), "its version is 2"),
            (json!({ "task": "t", "schedule": 1 }), "missing field `v`"),
            (json!({ "v": 1, "schedule": 1 }), "missing field `task`"),
            (json!({ "v": 1, "task": "", "schedule": 1 }), "task: "),
            (json!({ "v": 1, "task": "t", "schedule": 0 }), "schedule: "),
            (
                json!({ "v": 1, "task": "t", "schedule": 1, "args": {} }),
                "args: not a list",
            ),
            (
                json!({ "v": 1, "task": "t", "schedule": 1, "kwargs": [] }),
                "kwargs: not an",
            ),
            (
                json!({ "v": 1, "task": "t", "schedule": 1, "missed": "twice" }),
                "twice",
            ),
            (
                json!({ "v": 1, "task": "t", "schedule": 1, "options": { "queu": "a" } }),
                "unknown field `queu`",
            ),
            (json!([1]), "expected a string"),
            (json!([]), "invalid length 0"),
        ] {
            let error = read(&value).unwrap_err().to_string();
            assert!(error.contains(part), "{value}: {error}");
        }
        assert!(Entry::read(b"{\"v\":1").is_err());
        assert!(Entry::read(&vec![b' '; LARGEST + 1]).is_err());
    }

    #[test]
    fn names_have_limits() {
        for right in ["a", "every morning, 4:00", &"x".repeat(255)] {
            assert!(check_name(right).is_ok());
        }
        for wrong in ["", "a\nb", "\u{7f}", &"x".repeat(256)] {
            assert!(check_name(wrong).is_err());
        }
    }
}
