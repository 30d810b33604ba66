//! An entry of the schedules with the rules of its zone.

use std::ops::{Deref, DerefMut};
use std::str::FromStr;

use celery_protocol::schedule::{Entry, EntryError};
use jiff::tz::TimeZone;

use crate::database::Zone;

/// An entry whose zone is known here.
#[derive(Clone, Debug)]
pub(crate) struct Zoned {
    entry: Entry,
    zone: Zone,
}

impl Zoned {
    /// Looks up the zone of an entry.
    pub(crate) fn new(entry: Entry) -> Result<Self, EntryError> {
        let zone = Zone::from_str(&entry.zone);
        let zone = zone.map_err(|error| EntryError(format!("timezone: {error}")))?;
        Ok(Zoned { entry, zone })
    }

    /// Reads an entry as Redis has it.
    pub(crate) fn read(json: &[u8]) -> Result<Self, EntryError> {
        Zoned::new(Entry::read(json)?)
    }

    /// Returns the rules of the zone.
    pub(crate) fn rules(&self) -> &TimeZone {
        self.zone.rules()
    }
}

impl Deref for Zoned {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl DerefMut for Zoned {
    fn deref_mut(&mut self) -> &mut Entry {
        &mut self.entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_zone_is_named() {
        let read = |zone: &str| {
            let json = format!(r#"{{"v":1,"task":"t","schedule":1,"timezone":"{zone}"}}"#);
            Zoned::read(json.as_bytes())
        };
        assert!(read("Europe/Berlin").is_ok() && read("+02:00").is_ok());
        let error = read("CEST").unwrap_err().to_string();
        assert!(error.starts_with("timezone: \"CEST\""), "{error}");
    }
}
