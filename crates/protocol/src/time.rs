//! The date formats that Celery's versions have written. No clock or time zone database is needed.
//!
//! A [`Timestamp`] keeps its wall clock and its offset, so that writing it again gives the text of
//! Python's `isoformat()`. Microseconds are written only if they are not 0. UTC is written as
//! `+00:00`, not as `Z`. A time without an offset is written without one. A time without an offset
//! counts as UTC, whatever the reader's time zone, as in Celery.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// A point in time as Celery writes it: to the microsecond, with its original offset, if any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp {
    /// The seconds of the written wall clock since 1970-01-01T00:00:00.
    wall_seconds: i64,
    microseconds: u32,
    /// The seconds east of UTC; `None` if the text named no offset.
    offset: Option<i32>,
}

/// A time before 1970 counts as its beginning.
impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The error for a text that Celery would not accept as a date.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an ISO 8601 date")]
pub struct TimeError {
    text: String,
}

const DAY: i64 = 86_400;
/// The last year of Python's dates.
const MAX_YEAR: i64 = 9_999;

impl Timestamp {
    /// Returns a time in UTC from Unix seconds and microseconds (which may be a million or more).
    pub fn from_unix(seconds: i64, microseconds: u32) -> Self {
        let wall_seconds = seconds.saturating_add(i64::from(microseconds / 1_000_000));
        Self {
            wall_seconds,
            microseconds: microseconds % 1_000_000,
            offset: Some(0),
        }
    }

    /// Returns a time in UTC from Unix microseconds.
    pub fn from_unix_micros(micros: i64) -> Self {
        Self {
            wall_seconds: micros.div_euclid(1_000_000),
            microseconds: u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0),
            offset: Some(0),
        }
    }

    /// Returns the offset that was written, in seconds east of UTC.
    pub fn offset(&self) -> Option<i32> {
        self.offset
    }

    /// Returns the Unix microseconds; a time without an offset counts as UTC. Saturates at the ends
    /// of `i64`.
    pub fn unix_micros(&self) -> i64 {
        self.wall_seconds
            .saturating_sub(i64::from(self.offset.unwrap_or(0)))
            .saturating_mul(1_000_000)
            .saturating_add(i64::from(self.microseconds))
    }

    /// Returns this time plus `micros` microseconds.
    #[must_use]
    pub fn plus_micros(self, micros: i64) -> Self {
        let total = i64::from(self.microseconds).saturating_add(micros);
        Self {
            wall_seconds: self
                .wall_seconds
                .saturating_add(total.div_euclid(1_000_000)),
            microseconds: u32::try_from(total.rem_euclid(1_000_000)).unwrap_or(0),
            ..self
        }
    }

    /// Reads what Celery accepts: `2026-11-22T07:40:20.996002+00:00` with or without fraction,
    /// seconds and offset, `Z`, `+0200`, `+02`, a space for the `T`, the compact form without
    /// separators, a date alone.
    ///
    /// # Errors
    ///
    /// Returns [`TimeError`] with the beginning of the text.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        parse(text.as_bytes()).ok_or_else(|| TimeError {
            text: text.chars().take(64).collect(),
        })
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (days, rest) = parse_date(text)?;
    let midnight = days.checked_mul(DAY)?;
    let Some((_separator, clock)) = rest.split_first() else {
        return Some(Timestamp {
            wall_seconds: midnight,
            microseconds: 0,
            offset: None,
        });
    };
    let (seconds, microseconds, zone) = parse_clock(clock)?;
    let offset = parse_zone(zone)?;
    Some(Timestamp {
        wall_seconds: midnight + seconds,
        microseconds,
        offset,
    })
}

/// Returns the days since the epoch, and the text after the date.
fn parse_date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = digits(text, 4)?;
    let dashed = rest.first() == Some(&b'-');
    let rest = if dashed { &rest[1..] } else { rest };
    let (month, rest) = digits(rest, 2)?;
    let rest = if dashed {
        rest.strip_prefix(b"-")?
    } else {
        rest
    };
    let (day, rest) = digits(rest, 2)?;
    if year < 1 || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    match rest.first() {
        None | Some(b'T' | b't' | b' ') => Some((days_from_civil(year, month, day), rest)),
        Some(_) => None,
    }
}

/// Returns the seconds since midnight, the microseconds, and the text after the clock.
fn parse_clock(text: &[u8]) -> Option<(i64, u32, &[u8])> {
    let (hour, mut rest) = digits(text, 2)?;
    let (mut minute, mut second, mut micros) = (0, 0, 0);
    let colon = rest.first() == Some(&b':');
    if colon || rest.first().is_some_and(u8::is_ascii_digit) {
        (minute, rest) = digits(if colon { &rest[1..] } else { rest }, 2)?;
        let more = if colon {
            rest.first() == Some(&b':')
        } else {
            rest.first().is_some_and(u8::is_ascii_digit)
        };
        if more {
            (second, rest) = digits(if colon { &rest[1..] } else { rest }, 2)?;
            if let Some(b'.' | b',') = rest.first() {
                (micros, rest) = parse_fraction(&rest[1..])?;
            }
        }
    }
    let midnight_after = hour == 24 && minute == 0 && second == 0 && micros == 0;
    if (hour > 23 && !midnight_after) || minute > 59 || second > 59 {
        return None;
    }
    Some((hour * 3600 + minute * 60 + second, micros, rest))
}

/// Returns the microseconds of a decimal fraction; digits beyond the sixth are dropped.
fn parse_fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        return None;
    }
    let mut micros = 0;
    for place in 0..6 {
        micros = micros * 10
            + text[..length]
                .get(place)
                .map_or(0, |digit| u32::from(digit - b'0'));
    }
    Some((micros, &text[length..]))
}

/// Returns the offset from UTC in `text`: `Some(None)` if `text` is empty, and `None` if `text` is
/// not an offset.
#[expect(
    clippy::option_option,
    reason = "an invalid offset and a missing offset are different answers"
)]
fn parse_zone(text: &[u8]) -> Option<Option<i32>> {
    let (sign, rest) = match text.split_first() {
        None => return Some(None),
        Some((b'Z' | b'z', [])) => return Some(Some(0)),
        Some((b'+', rest)) => (1, rest),
        Some((b'-', rest)) => (-1, rest),
        Some(_) => return None,
    };
    let (hours, mut rest) = digits(rest, 2)?;
    let mut parts = [0, 0];
    for part in &mut parts {
        if rest.is_empty() {
            break;
        }
        (*part, rest) = digits(rest.strip_prefix(b":").unwrap_or(rest), 2)?;
    }
    let [minutes, seconds] = parts;
    if !rest.is_empty() || hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    i32::try_from(sign * (hours * 3600 + minutes * 60 + seconds))
        .ok()
        .map(Some)
}

fn digits(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (head, rest) = text.split_at_checked(count)?;
    let mut number = 0;
    for byte in head {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Some((number, rest))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(is_leap(year)),
        _ => 31,
    }
}

/// Returns the days since 1970-01-01 in the Gregorian calendar. Years count from March, so that the
/// leap day is last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Returns year, month and day for a number of days since 1970-01-01.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// Writes the text of Python's `isoformat()`. Python's years are 1 to 9999; an earlier time is
/// written as their first second, a later one as their last.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = days_from_civil(1, 1, 1) * DAY;
        let last = days_from_civil(MAX_YEAR + 1, 1, 1) * DAY - 1;
        let wall = self.wall_seconds.clamp(first, last);
        let (year, month, day) = civil_from_days(wall.div_euclid(DAY));
        let second = wall.rem_euclid(DAY);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
            second / 3600,
            second / 60 % 60,
            second % 60
        )?;
        if self.microseconds != 0 && wall == self.wall_seconds {
            write!(f, ".{:06}", self.microseconds)?;
        }
        if let Some(offset) = self.offset {
            let sign = if offset < 0 { '-' } else { '+' };
            let offset = offset.unsigned_abs();
            write!(f, "{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60)?;
            if offset % 60 != 0 {
                write!(f, ":{:02}", offset % 60)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form_and_writes_pythons() {
        for (text, written, unix_micros) in [
            (
                "2026-11-22T07:40:20.996002+00:00",
                "2026-11-22T07:40:20.996002+00:00",
                1_795_333_220_996_002,
            ),
            (
                "2020-01-01T00:00:00Z",
                "2020-01-01T00:00:00+00:00",
                1_577_836_800_000_000,
            ),
            (
                "2030-01-02T03:04:05+02:00",
                "2030-01-02T03:04:05+02:00",
                1_893_546_245_000_000,
            ),
            (
                "2030-01-02T03:04:05+0200",
                "2030-01-02T03:04:05+02:00",
                1_893_546_245_000_000,
            ),
            (
                "2030-01-02 03:04:05-02",
                "2030-01-02T03:04:05-02:00",
                1_893_560_645_000_000,
            ),
            (
                "2030-01-02T03:04:05",
                "2030-01-02T03:04:05",
                1_893_553_445_000_000,
            ),
            (
                "2030-01-02T03:04",
                "2030-01-02T03:04:00",
                1_893_553_440_000_000,
            ),
            (
                "20300102T030405,5",
                "2030-01-02T03:04:05.500000",
                1_893_553_445_500_000,
            ),
            ("2030-01-02", "2030-01-02T00:00:00", 1_893_542_400_000_000),
            (
                "1969-12-31T23:59:59.999999Z",
                "1969-12-31T23:59:59.999999+00:00",
                -1,
            ),
            (
                "2024-02-29T24:00:00Z",
                "2024-03-01T00:00:00+00:00",
                1_709_251_200_000_000,
            ),
            (
                "9999-12-31T23:59:59.123456789Z",
                "9999-12-31T23:59:59.123456+00:00",
                253_402_300_799_123_456,
            ),
            (
                "0001-01-01T00:00:00",
                "0001-01-01T00:00:00",
                -62_135_596_800_000_000,
            ),
            (
                "2030-01-02T03:04:05+05:53:28",
                "2030-01-02T03:04:05+05:53:28",
                1_893_532_237_000_000,
            ),
        ] {
            let time = Timestamp::parse(text).unwrap();
            assert_eq!(time.to_string(), written, "{text}");
            assert_eq!(time.unix_micros(), unix_micros, "{text}");
            assert_eq!(Timestamp::parse(written).unwrap(), time);
        }
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "not a date",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01X00:00",
            "0000-01-01",
            "2026-01-01T",
            "2026-01-01T25:00:00",
            "2026-01-01T24:00:01",
            "2026-01-01T00:60",
            "2026-01-01T00:00:00+",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00Zx",
            "2026-01-01T00:00:00.",
            "１２３４-01-01",
            "2026-01-0\u{e9}",
        ] {
            assert!(Timestamp::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(
            Timestamp::from_unix(10, 1_500_000).to_string(),
            "1970-01-01T00:00:11.500000+00:00"
        );
        assert_eq!(
            Timestamp::from_unix_micros(-1).plus_micros(2),
            Timestamp::from_unix_micros(1)
        );
        let end = Timestamp::from_unix(i64::MAX, 0);
        assert_eq!(
            end.plus_micros(i64::MAX).to_string(),
            "9999-12-31T23:59:59+00:00"
        );
        assert_eq!(end.unix_micros(), i64::MAX);
    }
}
