//! Computes the due times of a crontab in a time zone.
//!
//! As in Celery, a day counts only if its day of the month, its day of the week and its month all
//! match. Where the clock changes, two rules hold:
//!
//! * A time that the clock skips is due as long after the change as it would have been without it:
//!   02:30 becomes 03:30.
//! * A time that comes twice is due twice if the crontab has every hour, and otherwise at the first
//!   of the two. So `*/15 * * * *` is due each 15 minutes, and `30 2 * * *` once a day. Celery passes
//!   over the second hour in both cases.

use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::clock::{clock, moments, timestamp};
use super::fields::{Field, Range};

const MINUTE: Range = Range {
    name: "minute",
    least: 0,
    most: 59,
};
const HOUR: Range = Range {
    name: "hour",
    least: 0,
    most: 23,
};
const DAY_OF_MONTH: Range = Range {
    name: "day_of_month",
    least: 1,
    most: 31,
};
const MONTH_OF_YEAR: Range = Range {
    name: "month_of_year",
    least: 1,
    most: 12,
};
const DAY_OF_WEEK: Range = Range {
    name: "day_of_week",
    least: 0,
    most: 6,
};

/// The bits of all hours.
const EVERY_HOUR: u64 = (1 << 24) - 1;
/// How many days are searched. A weekday of 29 February comes after at most forty years, across a
/// year such as 2100 that has none.
const SEARCHED: usize = 41 * 366;

/// The texts of the five fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) minute: Field,
    pub(crate) hour: Field,
    pub(crate) day_of_month: Field,
    pub(crate) month_of_year: Field,
    pub(crate) day_of_week: Field,
}

/// The times of a clock. In each set, bit `n` stands for the value `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crontab {
    pub(super) fields: Fields,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

impl Crontab {
    /// Reads the fields.
    pub(crate) fn new(fields: Fields) -> Result<Self, String> {
        let crontab = Crontab {
            minutes: fields.minute.values(MINUTE)?,
            hours: fields.hour.values(HOUR)?,
            days: fields.day_of_month.values(DAY_OF_MONTH)?,
            months: fields.month_of_year.values(MONTH_OF_YEAR)?,
            weekdays: fields.day_of_week.values(DAY_OF_WEEK)?,
            fields,
        };
        // In the forty years from 2000 on, each day of each month has each weekday.
        let is_possible = crontab
            .days_from(Date::constant(2000, 1, 1))
            .next()
            .is_some();
        if is_possible {
            Ok(crontab)
        } else {
            Err("no such day exists".to_owned())
        }
    }

    /// Reads the five fields of a line: minute, hour, day of the month, month, day of the week.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let parts: Vec<&str> = line.split_ascii_whitespace().collect();
        let [minute, hour, day_of_month, month_of_year, day_of_week] = parts[..] else {
            return Err(format!("{} fields instead of five", parts.len()));
        };
        let text = |part: &str| Field::Text(part.to_owned());
        Crontab::new(Fields {
            minute: text(minute),
            hour: text(hour),
            day_of_month: text(day_of_month),
            month_of_year: text(month_of_year),
            day_of_week: text(day_of_week),
        })
    }

    /// Returns the first due time after a point in time.
    pub(super) fn after(&self, zone: &TimeZone, moment: i64) -> Option<i64> {
        let today = clock(zone, moment)?.date();
        // A time that the clock skips at the end of yesterday may come today.
        let first = today.checked_sub(1.day()).ok()?;
        let mut days = self.days_from(first);
        while let Some(day) = days.next() {
            let Some(found) = self.first_on(zone, day, moment) else {
                continue;
            };
            // The change of a clock can put a time of this day behind one of the next day.
            let next = day.checked_add(1.day()).ok();
            let next = next.filter(|next| days.next() == Some(*next));
            let next = next.and_then(|next| self.first_on(zone, next, moment));
            return Some(next.map_or(found, |next| found.min(next)));
        }
        None
    }

    /// Returns the days that match, beginning with `day`.
    fn days_from(&self, day: Date) -> impl Iterator<Item = Date> {
        let all = std::iter::successors(Some(day), |day| day.checked_add(1.day()).ok());
        all.take(SEARCHED).filter(|day| self.has_day(*day))
    }

    fn has_day(&self, day: Date) -> bool {
        let has = |bits: u64, value: i8| bits >> value & 1 == 1;
        has(self.months, day.month())
            && has(self.days, day.day())
            && has(self.weekdays, day.weekday().to_sunday_zero_offset())
    }

    /// Returns the first due time of a day that is after a point in time.
    fn first_on(&self, zone: &TimeZone, day: Date, moment: i64) -> Option<i64> {
        let mut first: Option<i64> = None;
        for hour in values(self.hours, 24) {
            for minute in values(self.minutes, 60) {
                let time = Time::new(hour, minute, 0, 0).ok()?;
                let [one, other] = moments(zone, day.to_datetime(time));
                let other = other.filter(|_| self.hours == EVERY_HOUR);
                let later = [one, other].into_iter().flatten().filter(|it| *it > moment);
                first = first.into_iter().chain(later).min();
            }
            // Within an hour that comes twice, the second half of the times may come first.
            if first.is_some_and(|first| is_settled(zone, first)) {
                break;
            }
        }
        first
    }
}

/// Returns `true` if the clock does not change within a day before or after a point in time, so that
/// a later time of the clock is a later point in time.
fn is_settled(zone: &TimeZone, moment: i64) -> bool {
    const DAY: i64 = 86_400_000;
    let offset = |moment: i64| Some(zone.to_offset(timestamp(moment)?));
    let offsets =
        [-DAY, -DAY / 2, 0, DAY / 2, DAY].map(|shift| offset(moment.saturating_add(shift)));
    offsets.iter().all(|offset| *offset == offsets[0])
}

/// Returns the values of a set, in their order.
fn values(bits: u64, count: i8) -> impl Iterator<Item = i8> {
    (0..count).filter(move |value| bits >> value & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_days_are_refused() {
        for (line, part) in [
            ("0 0 30 feb *", "no such day exists"),
            ("0 0 31 2,4,6,9,11 *", "no such day exists"),
            ("0 0 * *", "4 fields instead of five"),
            ("0 0 * * * *", "6 fields instead of five"),
            ("0 24 * * *", "hour: 24 is not between 0 and 23"),
            ("0 0 32 * *", "day_of_month: 32"),
            ("0 0 * 13 *", "month_of_year: 13"),
            ("0 0 * * 7", "day_of_week: 7"),
        ] {
            let error = Crontab::parse(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
        assert!(Crontab::parse("0 0 29 feb mon").is_ok());
        assert!(Crontab::parse("0 0 31 2,12 *").is_ok());
    }

    #[test]
    fn a_leap_day_is_found_across_2100() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let leap = Crontab::parse("0 12 29 feb *").unwrap();
        let found = leap.after(&TimeZone::UTC, at("2096-02-29T12:00:00Z"));
        assert_eq!(found, Some(at("2104-02-29T12:00:00Z")));
        let sunday = Crontab::parse("0 12 29 feb sun").unwrap();
        let found = sunday.after(&TimeZone::UTC, at("2088-03-01T00:00:00Z"));
        assert_eq!(found, Some(at("2128-02-29T12:00:00Z")));
    }
}
