//! Time zones: the setting `--database-time-zone`, the zone of a session, and points in time in
//! them.
//!
//! A name is looked up in the time zone database of the machine and then in the worker's own. So a
//! machine without one, such as a small container, knows all names, too.

use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};

/// The widest offsets that MySQL accepts, in minutes.
const WIDEST: std::ops::RangeInclusive<i32> = -(13 * 60 + 59)..=14 * 60;

/// A time zone by its IANA name, or a fixed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    name: String,
    rules: TimeZone,
}

/// An error about a text that does not name a time zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ZoneError(String);

impl ZoneError {
    fn unknown(text: &str) -> Self {
        ZoneError(format!(
            "{text:?} is neither an IANA time zone name, such as Europe/Berlin, nor an offset, such \
            as +02:00"
        ))
    }

    /// Makes the error for a server whose machine names its zone by an abbreviation that does not
    /// identify a zone.
    pub(super) fn of_a_machine(abbreviation: &str) -> Self {
        ZoneError(format!(
            "the database's clock runs in the zone of its machine, {abbreviation:?}, whose rules are \
            unknown; set --database-time-zone"
        ))
    }
}

impl Zone {
    /// Returns the zone UTC.
    pub(crate) fn utc() -> Self {
        Zone {
            name: "UTC".to_owned(),
            rules: TimeZone::UTC,
        }
    }

    /// Reads an IANA name.
    pub(super) fn named(name: &str) -> Result<Self, ZoneError> {
        let known = TimeZone::get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
        match known {
            // "Etc/Unknown" is the name of a zone without rules.
            Ok(rules) if !rules.is_unknown() => Ok(Zone {
                name: name.to_owned(),
                rules,
            }),
            _ => Err(ZoneError::unknown(name)),
        }
    }

    /// Returns `true` if the zone is an offset from UTC rather than a name.
    pub(super) fn is_offset(&self) -> bool {
        self.name.starts_with(['+', '-'])
    }

    /// Returns the rules of the zone.
    pub(crate) fn rules(&self) -> &TimeZone {
        &self.rules
    }

    /// Returns `true` if the clock always shows UTC.
    pub(super) fn is_utc(&self) -> bool {
        self.rules == TimeZone::UTC
    }

    /// Returns the clock of this zone at a point in time, and its offset from UTC in seconds.
    ///
    /// `None` if the point in time is beyond the years that can be computed.
    pub(super) fn clock(&self, unix_micros: i64) -> Option<(DateTime, i32)> {
        let at = jiff::Timestamp::from_microsecond(unix_micros).ok()?;
        let offset = self.rules.to_offset(at);
        Some((offset.to_datetime(at), offset.seconds()))
    }

    /// Returns the point in time at which the clock of this zone shows `clock`, in Unix
    /// microseconds.
    ///
    /// `None` if the clock skips it. If the hour comes twice, it returns the first one, as PHP
    /// does.
    pub(super) fn moment(&self, clock: DateTime) -> Option<i64> {
        let offset = match self.rules.to_ambiguous_timestamp(clock).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset,
            AmbiguousOffset::Fold { before, .. } => before,
            AmbiguousOffset::Gap { .. } => return None,
        };
        offset
            .to_timestamp(clock)
            .ok()
            .map(jiff::Timestamp::as_microsecond)
    }
}

/// Reads an IANA name or `±hh:mm`.
impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        if !text.starts_with(['+', '-']) {
            return Zone::named(text);
        }
        let seconds = minutes(text).map(|minutes| minutes * 60);
        let offset = seconds.and_then(|seconds| Offset::from_seconds(seconds).ok());
        offset.map_or_else(
            || Err(ZoneError::unknown(text)),
            |offset| {
                Ok(Zone {
                    name: text.to_owned(),
                    rules: TimeZone::fixed(offset),
                })
            },
        )
    }
}

/// Returns the minutes of `±hh:mm`.
fn minutes(text: &str) -> Option<i32> {
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = *text.as_bytes() else {
        return None;
    };
    let number = |tens: u8, ones: u8| {
        let digits = [tens, ones].map(|digit| char::from(digit).to_digit(10));
        let [Some(tens), Some(ones)] = digits else {
            return None;
        };
        i32::try_from(tens * 10 + ones).ok()
    };
    let minute = number(m1, m2).filter(|minute| *minute < 60)?;
    let minutes = number(h1, h2)? * 60 + minute;
    let minutes = if sign == b'-' { -minutes } else { minutes };
    WIDEST.contains(&minutes).then_some(minutes)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets_are_read() {
        for text in [
            "UTC",
            "Europe/Berlin",
            "Asia/Kolkata",
            "US/Eastern",
            "+00:00",
            "-13:59",
            "+14:00",
            "+05:30",
        ] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "CEST",
            "Europe/Berlinn",
            "Etc/Unknown",
            "SYSTEM",
            "+2",
            "+02",
            "+0200",
            "+14:01",
            "-14:00",
            "+02:60",
            "+0a:00",
            "../Europe/Berlin",
            "+２:00",
        ] {
            let error = text.parse::<Zone>().unwrap_err().to_string();
            assert!(error.contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_clock_shows_each_moment_and_skips_an_hour_in_spring() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        // 2026-03-29 01:00 UTC: the clock goes from 02:00 to 03:00.
        let spring = 1_774_746_000_000_000;
        let (clock, offset) = berlin.clock(spring).unwrap();
        assert_eq!(
            (clock.to_string().as_str(), offset),
            ("2026-03-29T03:00:00", 7_200)
        );
        assert_eq!(berlin.moment(clock), Some(spring));
        assert_eq!(berlin.moment("2026-03-29T02:30:00".parse().unwrap()), None);
        // This hour comes twice.
        let twice = "2026-10-25T02:30:00".parse().unwrap();
        assert_eq!(berlin.moment(twice), Some(1_792_888_200_000_000));
        assert_eq!(Zone::utc().clock(i64::MAX), None);
    }
}
