//! Entries in the file of settings, and how they come into the store.

use std::collections::{BTreeMap, HashMap};

use celery_protocol::RawValue;
use celery_protocol::schedule::{
    Entry, EntryError, Form, Missed, NextDue, Options, Schedule, check_name,
};
use serde::Deserialize;
use serde_json::Value;

use super::entry::Zoned;
use crate::broker::schedules::{Change, ScheduleStore};
use crate::database::Zone;
use crate::printable::one_line;

/// The key under which a date of TOML appears as JSON.
const TOML_DATE: &str = "$__toml_private_datetime";

/// A section `[schedules.NAME]` of the file. The names are those of Celery's `beat_schedule`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    task: String,
    schedule: Form,
    #[serde(default)]
    relative: bool,
    #[serde(default)]
    args: Option<Value>,
    #[serde(default)]
    kwargs: Option<Value>,
    #[serde(default)]
    options: Option<Value>,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    timezone: Option<String>,
    #[serde(default)]
    enabled: Option<bool>,
}

/// An entry of the file that was checked.
#[derive(Clone, Debug)]
pub(crate) struct FileEntry {
    entry: Zoned,
    /// What the file says about it. Without it, the last `beat enable` or `beat disable` counts.
    enabled: Option<bool>,
}

/// Checks the sections of a file. `default` is the zone of sections that name none.
pub(crate) fn check(
    sections: &BTreeMap<String, Section>,
    default: &Zone,
) -> Result<Vec<(String, FileEntry)>, EntryError> {
    let entries = sections.iter().map(|(name, section)| {
        let named = |error: EntryError| EntryError(format!("{}: {error}", one_line(name)));
        check_name(name).map_err(named)?;
        Ok((name.clone(), section.check(default).map_err(named)?))
    });
    entries.collect()
}

impl Section {
    fn check(&self, default: &Zone) -> Result<FileEntry, EntryError> {
        let wrong = |cause: String| EntryError(format!("schedule: {cause}"));
        let mut schedule = self.schedule.read().map_err(wrong)?;
        if self.relative {
            let Schedule::Interval(interval) = schedule else {
                return Err(wrong("relative is for intervals".to_owned()));
            };
            schedule = Schedule::Interval(interval.relative());
        }
        let options = match &self.options {
            None => Options::default(),
            Some(options) => {
                let options = serde_json::from_str(&json("options", options)?);
                options.map_err(|error| EntryError(format!("options: {error}")))?
            }
        };
        let text = |name: &str, value: &Option<Value>, none: &str| match value {
            None => Ok(raw(none.to_owned())),
            Some(value) => json(name, value).map(raw),
        };
        let entry = Entry {
            task: self.task.clone(),
            schedule,
            zone: match &self.timezone {
                Some(name) => name.clone(),
                None => default.to_string(),
            },
            args: text("args", &self.args, "[]")?,
            kwargs: text("kwargs", &self.kwargs, "{}")?,
            options,
            missed: self.missed,
            enabled: self.enabled.unwrap_or(true),
            is_of_file: true,
        };
        entry.check()?;
        Ok(FileEntry {
            entry: Zoned::new(entry)?,
            enabled: self.enabled,
        })
    }
}

/// Returns a value of the file as JSON.
fn json(name: &str, value: &Value) -> Result<String, EntryError> {
    if has_date(value) {
        let cause = format!("{name}: a date of TOML has no form in JSON; write it as text");
        return Err(EntryError(cause));
    }
    Ok(value.to_string())
}

fn has_date(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_date),
        Value::Object(members) => members.contains_key(TOML_DATE) || members.values().any(has_date),
        _ => false,
    }
}

/// Writes the entries of the file into the store, and removes those of earlier files. An entry that
/// is there already keeps its due time, unless its schedule, its zone or its state has changed.
pub(super) async fn synchronize(store: &mut dyn ScheduleStore, file: &[(String, FileEntry)]) {
    loop {
        let stored: HashMap<Vec<u8>, Vec<u8>> = store.entries().await.into_iter().collect();
        let changes = changes(&stored, file);
        let mut is_done = true;
        for change in &changes {
            let written = store.write(&change.as_change()).await;
            if written {
                let name = String::from_utf8_lossy(&change.name).into_owned();
                let what = if change.entry.is_empty() {
                    "removed"
                } else {
                    "written"
                };
                tracing::info!("beat: the entry {} of the file was {what}", one_line(&name));
            }
            is_done &= written;
        }
        // Otherwise another process has changed an entry meanwhile.
        if is_done {
            return;
        }
    }
}

/// A change that the file needs.
#[derive(Debug, PartialEq, Eq)]
struct Needed {
    name: Vec<u8>,
    read: Vec<u8>,
    entry: Vec<u8>,
    due: NextDue,
}

impl Needed {
    fn as_change(&self) -> Change<'_> {
        Change {
            name: &self.name,
            read: &self.read,
            entry: &self.entry,
            due: self.due,
        }
    }
}

fn changes(stored: &HashMap<Vec<u8>, Vec<u8>>, file: &[(String, FileEntry)]) -> Vec<Needed> {
    let mut needed = Vec::new();
    for (name, FileEntry { entry, enabled }) in file {
        let read = stored.get(name.as_bytes()).cloned().unwrap_or_default();
        let old = Entry::read(&read).ok();
        let mut entry = entry.clone();
        if let (None, Some(old)) = (enabled, &old) {
            entry.enabled = old.enabled;
        }
        let json = entry.json();
        if json != read {
            needed.push(Needed {
                name: name.as_bytes().to_vec(),
                read,
                entry: json,
                due: NextDue::of(old.as_ref(), &entry),
            });
        }
    }
    for (name, read) in stored {
        let is_in_file = file.iter().any(|(known, _)| known.as_bytes() == name);
        if !is_in_file && Entry::read(read).is_ok_and(|entry| entry.is_of_file) {
            needed.push(Needed {
                name: name.clone(),
                read: read.clone(),
                entry: Vec::new(),
                due: NextDue::Stop,
            });
        }
    }
    needed
}

/// Returns this text, which is valid JSON.
fn raw(text: String) -> Box<RawValue> {
    RawValue::from_string(text).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(toml: &str) -> Result<Vec<(String, FileEntry)>, EntryError> {
        let sections = toml::from_str(toml).map_err(|error| EntryError(error.to_string()))?;
        check(&sections, &Zone::utc())
    }

    /// Makes the changes in a store, and returns what became of the due times.
    fn apply(stored: &mut HashMap<Vec<u8>, Vec<u8>>, toml: &str) -> Vec<(String, NextDue)> {
        let changes = changes(stored, &file(toml).unwrap());
        let mut made = Vec::new();
        for change in changes {
            let name = String::from_utf8(change.name.clone()).unwrap();
            made.push((name, change.due));
            if change.entry.is_empty() {
                stored.remove(&change.name);
            } else {
                stored.insert(change.name, change.entry);
            }
        }
        made
    }

    #[test]
    fn sections_have_the_members_of_celery() {
        let toml = "
            [nightly]
            task = 'proj.clean'
            schedule = '0 4 * * *'
            timezone = 'Europe/Berlin'
            args = [1, 'a', { b = 2.5 }]
            kwargs = { deep = [true] }
            options = { queue = 'night', expires = 3600, headers = { x = 'y' } }
            missed = 'none'
            [often]
            task = 'proj.look'
            schedule = 30
            relative = true
        ";
        let entries = file(toml).unwrap();
        let json = |place: usize| -> Value {
            serde_json::from_slice(&entries[place].1.entry.json()).unwrap()
        };
        let nightly = json(0);
        assert_eq!(nightly["args"].to_string(), r#"[1,"a",{"b":2.5}]"#);
        assert_eq!(nightly["options"]["headers"]["x"], "y");
        assert_eq!(
            (&nightly["timezone"], &nightly["missed"]),
            (&"Europe/Berlin".into(), &"none".into())
        );
        assert_eq!(nightly["origin"], "file");
        assert_eq!(
            json(1)["schedule"].to_string(),
            r#"{"every":30.0,"relative":true}"#
        );
    }

    #[test]
    fn wrong_sections_are_named() {
        for (toml, part) in [
            ("[x]\nschedule = 1", "missing field `task`"),
            ("[x]\ntask = 't'", "missing field `schedule`"),
            (
                "[x]\ntask = 't'\nschedule = '* * *'",
                "x: schedule: 3 fields",
            ),
            ("[x]\ntask = ''\nschedule = 1", "x: task: "),
            (
                "[x]\ntask = 't'\nschedule = 1\nargs = { a = 1 }",
                "x: args: not a list",
            ),
            (
                "[x]\ntask = 't'\nschedule = 1\nkwargs = []",
                "x: kwargs: not an object",
            ),
            (
                "[x]\ntask = 't'\nschedule = 1\nargs = [2026-01-01]",
                "x: args: a date of TOML",
            ),
            (
                "[x]\ntask = 't'\nschedule = 1\noptions = { retry = true }",
                "`retry`",
            ),
            (
                "[x]\ntask = 't'\nschedule = '0 4 * * *'\nrelative = true",
                "relative is for",
            ),
            (
                "[x]\ntask = 't'\nschedule = 1\ntimezone = 'Mars'",
                "x: timezone: \"Mars\"",
            ),
            (
                "[x]\ntask = 't'\nschedule = 1\ncolour = 1",
                "unknown field `colour`",
            ),
            ("['']\ntask = 't'\nschedule = 1", "a name has 1 to 255"),
        ] {
            let error = file(toml).unwrap_err().to_string();
            assert!(error.contains(part), "{toml}: {error}");
        }
    }

    #[test]
    fn entries_follow_the_file() {
        let mut stored = HashMap::new();
        let own = br#"{"v":1,"task":"t","schedule":60}"#.to_vec();
        stored.insert(b"own".to_vec(), own);
        let one =
            |schedule: &str, more: &str| format!("[a]\ntask = 't'\nschedule = {schedule}\n{more}");
        let changed = |due| vec![("a".to_owned(), due)];
        assert_eq!(
            apply(&mut stored, &one("30", "")),
            changed(NextDue::Compute)
        );
        assert_eq!(apply(&mut stored, &one("30", "")), []);
        // Only another time, another zone or another state changes the due time.
        assert_eq!(
            apply(&mut stored, &one("'30s'", "args = [1]")),
            changed(NextDue::Keep)
        );
        assert_eq!(
            apply(&mut stored, &one("31", "")),
            changed(NextDue::Compute)
        );
        let zone = "timezone = 'Asia/Tokyo'";
        assert_eq!(
            apply(&mut stored, &one("31", zone)),
            changed(NextDue::Compute)
        );
        assert_eq!(
            apply(&mut stored, &one("31", "enabled = false")),
            changed(NextDue::Stop)
        );
        // Without a word in the file, an entry stays disabled.
        assert_eq!(apply(&mut stored, &one("31", "")), []);
        assert_eq!(apply(&mut stored, &one("32", "")), changed(NextDue::Stop));
        assert_eq!(
            apply(&mut stored, &one("32", "enabled = true")),
            changed(NextDue::Compute)
        );
        // Entries of the file go with it, and others stay.
        assert_eq!(apply(&mut stored, ""), changed(NextDue::Stop));
        assert_eq!(stored.len(), 1);
    }
}
