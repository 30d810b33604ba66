//! Computes when entries are due.
//!
//! A point in time is a number of Unix milliseconds. These functions say, for a zone, which due time
//! of a schedule follows another one.
//!
//! * `crontab` – the days and the times of a crontab;
//! * `interval` – intervals, also relative ones;
//! * `clock` – what the clock of a zone shows, and when.

mod clock;
mod crontab;
mod interval;

use celery_protocol::schedule::Schedule;
use jiff::tz::TimeZone;

/// Returns the first due time after this one, in a zone. Returns `None` if there is none within the
/// years that can be computed.
pub(crate) fn after(schedule: &Schedule, zone: &TimeZone, moment: i64) -> Option<i64> {
    match schedule {
        Schedule::Crontab(crontab) => crontab::after(crontab, zone, moment),
        Schedule::Interval(interval) => interval::after(*interval, zone, moment),
    }
}

/// Returns the first due time after `now` of a schedule that was due at `due`, which is not later
/// than `now`.
pub(crate) fn resume(schedule: &Schedule, zone: &TimeZone, due: i64, now: i64) -> Option<i64> {
    match schedule {
        Schedule::Crontab(crontab) => crontab::after(crontab, zone, now),
        Schedule::Interval(interval) => interval::resume(*interval, zone, due, now),
    }
}

#[cfg(test)]
mod tests;
