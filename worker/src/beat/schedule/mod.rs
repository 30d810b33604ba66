//! Computes when entries are due: schedules as plain values, without a clock.
//!
//! A point in time is a number of Unix milliseconds. A [`Schedule`] says, for a zone, which point
//! follows another one.
//!
//! * `fields` – the syntax of Celery's crontab;
//! * `crontab` – the days and the times of a crontab;
//! * `interval` – intervals, also relative ones;
//! * `clock` – what the clock of a zone shows, and when;
//! * `form` – how a schedule is written in the settings and in Redis.

mod clock;
mod crontab;
mod fields;
mod form;
mod interval;

use jiff::tz::TimeZone;

pub(crate) use self::crontab::Crontab;
pub(crate) use self::form::{Form, Table};
pub(crate) use self::interval::Interval;

/// When an entry is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// At the times of a clock.
    Crontab(Crontab),
    /// Each time that some time has passed.
    Interval(Interval),
}

impl Schedule {
    /// Returns the first due time after this one, in a zone. Returns `None` if there is none within
    /// the years that can be computed.
    pub(crate) fn after(&self, zone: &TimeZone, moment: i64) -> Option<i64> {
        match self {
            Schedule::Crontab(crontab) => crontab.after(zone, moment),
            Schedule::Interval(interval) => interval.after(zone, moment),
        }
    }

    /// Returns the first due time after `now` of a schedule that was due at `due`, which is not
    /// later than `now`.
    pub(crate) fn resume(&self, zone: &TimeZone, due: i64, now: i64) -> Option<i64> {
        match self {
            Schedule::Crontab(crontab) => crontab.after(zone, now),
            Schedule::Interval(interval) => interval.resume(zone, due, now),
        }
    }
}

#[cfg(test)]
mod tests;
