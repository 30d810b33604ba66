//! Computes the due times of an interval.
//!
//! The due times of an interval follow each other at that distance: a late start does not shift the
//! later ones. A *relative* interval is rounded down to the clock of the zone, to the unit that it
//! reaches (days, hours, minutes or seconds), as Celery's `schedule(relative=True)` is; see
//! `remaining` in `celery/utils/time.py` of 5.7.

use celery_protocol::schedule::Interval;
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::clock::{clock, moments, plus};

const SECOND: i64 = 1_000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Returns the first due time after a point in time.
pub(super) fn after(interval: Interval, zone: &TimeZone, moment: i64) -> Option<i64> {
    if !interval.is_relative() {
        return moment.checked_add(interval.every());
    }
    let found = if interval.every() >= DAY {
        midnight_after(interval, zone, moment)
    } else {
        boundary_after(interval, zone, moment)
    };
    found.filter(|found| *found > moment)
}

/// Returns the first due time after `now` of an interval that was due at `due`.
pub(super) fn resume(interval: Interval, zone: &TimeZone, due: i64, now: i64) -> Option<i64> {
    if interval.is_relative() {
        return after(interval, zone, now);
    }
    let passed = now.checked_sub(due)?.div_euclid(interval.every());
    due.checked_add(interval.every().checked_mul(passed + 1)?)
}

/// Returns the midnight at or before the end of the interval, which is measured in days of the
/// calendar. If it comes twice, the first one after the moment counts.
fn midnight_after(interval: Interval, zone: &TimeZone, moment: i64) -> Option<i64> {
    let end = plus(clock(zone, moment)?, interval.every())?;
    let midnight = end.date().to_datetime(Time::midnight());
    let first = later_than(moments(zone, midnight), moment).min();
    first.or_else(|| moments(zone, end)[0])
}

/// Returns the last full second, minute or hour at or before the end of the interval.
fn boundary_after(interval: Interval, zone: &TimeZone, moment: i64) -> Option<i64> {
    let start = clock(zone, moment)?;
    let end = moment.checked_add(interval.every())?;
    let wall = clock(zone, end)?;
    let mut found = rounded(interval, zone, wall);
    let before = found.iter().copied().filter(|it| *it <= end).max();
    let nearest = before.or_else(|| found.iter().copied().min())?;
    if nearest > moment {
        return Some(nearest);
    }
    if interval.every() < MINUTE {
        return Some(end);
    }
    // Where the clock is set back by a part of an hour, the boundary can lie before the moment.
    let unit = if interval.every() >= HOUR {
        HOUR
    } else {
        MINUTE
    };
    found.extend(rounded(interval, zone, plus(wall, unit)?));
    found.extend(rounded(interval, zone, plus(start, interval.every())?));
    found.retain(|it| *it > moment);
    let before = found.iter().copied().filter(|it| *it <= end).max();
    before.or_else(|| found.into_iter().min()).or(Some(end))
}

/// Returns the points in time of a time of the clock that is rounded down to the unit of the
/// interval.
fn rounded(interval: Interval, zone: &TimeZone, wall: DateTime) -> Vec<i64> {
    let minute = if interval.every() >= HOUR {
        0
    } else {
        wall.minute()
    };
    let second = if interval.every() >= MINUTE {
        0
    } else {
        wall.second()
    };
    let time = Time::new(wall.hour(), minute, second, 0);
    let wall = time.map(|time| wall.date().to_datetime(time));
    let found = wall.map(|wall| moments(zone, wall)).unwrap_or_default();
    found.into_iter().flatten().collect()
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
        assert_eq!(after(interval, &zone, 1_000), Some(31_000));
        for (now, next) in [
            (1_000, 31_000),
            (30_999, 31_000),
            (31_000, 61_000),
            (99_000, 121_000),
        ] {
            assert_eq!(resume(interval, &zone, 1_000, now), Some(next), "{now}");
        }
        assert_eq!(after(interval, &zone, i64::MAX), None);
        assert_eq!(resume(interval, &zone, i64::MIN, i64::MAX), None);
    }
}
