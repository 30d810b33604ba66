//! Computes the due times of an interval.
//!
//! The due times of an interval follow each other at that distance: a late start does not shift the
//! later ones. A *relative* interval is rounded down to the clock of the zone, to the unit that it
//! reaches (days, hours, minutes or seconds), as Celery's `schedule(relative=True)` is; see
//! `remaining` in `celery/utils/time.py` of 5.7.

use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::clock::{clock, moments, plus};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The shortest interval. Each due time is a call to the broker.
const SHORTEST: i64 = 100;
/// The longest interval: a hundred years.
const LONGEST: i64 = 36_525 * DAY;

/// A time that passes between two due times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    /// Milliseconds.
    pub(super) every: i64,
    pub(super) relative: bool,
}

impl Interval {
    /// Makes an interval of milliseconds.
    pub(crate) fn new(every: i64, relative: bool) -> Result<Self, String> {
        if (SHORTEST..=LONGEST).contains(&every) {
            Ok(Interval { every, relative })
        } else {
            Err("an interval is between 0.1 s and 36525 days".to_owned())
        }
    }

    /// Returns the interval rounded to the clock.
    pub(crate) fn relative(self) -> Self {
        Interval {
            relative: true,
            ..self
        }
    }

    pub(super) fn after(self, zone: &TimeZone, moment: i64) -> Option<i64> {
        if !self.relative {
            return moment.checked_add(self.every);
        }
        let found = if self.every >= DAY {
            self.midnight_after(zone, moment)
        } else {
            self.boundary_after(zone, moment)
        };
        found.filter(|found| *found > moment)
    }

    pub(super) fn resume(self, zone: &TimeZone, due: i64, now: i64) -> Option<i64> {
        if self.relative {
            return self.after(zone, now);
        }
        let passed = now.checked_sub(due)?.div_euclid(self.every);
        due.checked_add(self.every.checked_mul(passed + 1)?)
    }

    /// Returns the midnight at or before the end of the interval, which is measured in days of the
    /// calendar. If it comes twice, the first one after the moment counts.
    fn midnight_after(self, zone: &TimeZone, moment: i64) -> Option<i64> {
        let end = plus(clock(zone, moment)?, self.every)?;
        let midnight = end.date().to_datetime(Time::midnight());
        let first = later_than(moments(zone, midnight), moment).min();
        first.or_else(|| moments(zone, end)[0])
    }

    /// Returns the last full second, minute or hour at or before the end of the interval.
    fn boundary_after(self, zone: &TimeZone, moment: i64) -> Option<i64> {
        let start = clock(zone, moment)?;
        let end = moment.checked_add(self.every)?;
        let wall = clock(zone, end)?;
        let mut found = self.rounded(zone, wall);
        let before = found.iter().copied().filter(|it| *it <= end).max();
        let rounded = before.or_else(|| found.iter().copied().min())?;
        if rounded > moment {
            return Some(rounded);
        }
        if self.every < MINUTE {
            return Some(end);
        }
        // Where the clock is set back by a part of an hour, the boundary can lie before the moment.
        let unit = if self.every >= HOUR { HOUR } else { MINUTE };
        found.extend(self.rounded(zone, plus(wall, unit)?));
        found.extend(self.rounded(zone, plus(start, self.every)?));
        found.retain(|it| *it > moment);
        let before = found.iter().copied().filter(|it| *it <= end).max();
        before.or_else(|| found.into_iter().min()).or(Some(end))
    }

    /// Returns the points in time of a time of the clock that is rounded down to the unit of the
    /// interval.
    fn rounded(self, zone: &TimeZone, wall: DateTime) -> Vec<i64> {
        let minute = if self.every >= HOUR { 0 } else { wall.minute() };
        let second = if self.every >= MINUTE {
            0
        } else {
            wall.second()
        };
        let time = Time::new(wall.hour(), minute, second, 0);
        let wall = time.map(|time| wall.date().to_datetime(time));
        let found = wall.map(|wall| moments(zone, wall)).unwrap_or_default();
        found.into_iter().flatten().collect()
    }
}

/// Returns the points in time after this one.
fn later_than(found: [Option<i64>; 2], moment: i64) -> impl Iterator<Item = i64> {
    found.into_iter().flatten().filter(move |it| *it > moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_start_does_not_shift_the_later_ones() {
        let interval = Interval::new(30_000, false).unwrap();
        let zone = TimeZone::UTC;
        assert_eq!(interval.after(&zone, 1_000), Some(31_000));
        for (now, next) in [
            (1_000, 31_000),
            (30_999, 31_000),
            (31_000, 61_000),
            (99_000, 121_000),
        ] {
            assert_eq!(interval.resume(&zone, 1_000, now), Some(next), "{now}");
        }
        assert_eq!(interval.after(&zone, i64::MAX), None);
        assert_eq!(interval.resume(&zone, i64::MIN, i64::MAX), None);
    }

    #[test]
    fn lengths_have_limits() {
        for wrong in [i64::MIN, -1, 0, 99, LONGEST + 1, i64::MAX] {
            assert!(Interval::new(wrong, false).is_err(), "{wrong}");
        }
        for right in [100, LONGEST] {
            assert!(Interval::new(right, true).is_ok());
        }
    }
}
