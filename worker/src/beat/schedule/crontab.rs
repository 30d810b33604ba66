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

use celery_protocol::schedule::Crontab;
use jiff::ToSpan;
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;

use super::clock::{clock, moments, timestamp};

/// The bits of all hours.
const EVERY_HOUR: u64 = (1 << 24) - 1;
/// How many days are searched. A weekday of 29 February comes after at most forty years, across a
/// year such as 2100 that has none.
const SEARCHED: usize = 41 * 366;

/// Returns the first due time after a point in time.
pub(super) fn after(crontab: &Crontab, zone: &TimeZone, moment: i64) -> Option<i64> {
    let today = clock(zone, moment)?.date();
    // A time that the clock skips at the end of yesterday may come today.
    let first = today.checked_sub(1.day()).ok()?;
    let mut days = days_from(crontab, first);
    while let Some(day) = days.next() {
        let Some(found) = first_on(crontab, zone, day, moment) else {
            continue;
        };
        // The change of a clock can put a time of this day behind one of the next day.
        let next = day.checked_add(1.day()).ok();
        let next = next.filter(|next| days.next() == Some(*next));
        let next = next.and_then(|next| first_on(crontab, zone, next, moment));
        return Some(next.map_or(found, |next| found.min(next)));
    }
    None
}

/// Returns the days that match, beginning with `day`.
fn days_from(crontab: &Crontab, day: Date) -> impl Iterator<Item = Date> {
    let all = std::iter::successors(Some(day), |day| day.checked_add(1.day()).ok());
    all.take(SEARCHED).filter(|day| has_day(crontab, *day))
}

fn has_day(crontab: &Crontab, day: Date) -> bool {
    let has = |bits: u64, value: i8| bits >> value & 1 == 1;
    has(crontab.months(), day.month())
        && has(crontab.days(), day.day())
        && has(crontab.weekdays(), day.weekday().to_sunday_zero_offset())
}

/// Returns the first due time of a day that is after a point in time.
fn first_on(crontab: &Crontab, zone: &TimeZone, day: Date, moment: i64) -> Option<i64> {
    let mut first: Option<i64> = None;
    for hour in values(crontab.hours(), 24) {
        for minute in values(crontab.minutes(), 60) {
            let time = Time::new(hour, minute, 0, 0).ok()?;
            let [one, other] = moments(zone, day.to_datetime(time));
            let other = other.filter(|_| crontab.hours() == EVERY_HOUR);
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
    fn a_leap_day_is_found_across_2100() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        let leap = Crontab::parse("0 12 29 feb *").unwrap();
        let found = after(&leap, &TimeZone::UTC, at("2096-02-29T12:00:00Z"));
        assert_eq!(found, Some(at("2104-02-29T12:00:00Z")));
        let sunday = Crontab::parse("0 12 29 feb sun").unwrap();
        let found = after(&sunday, &TimeZone::UTC, at("2088-03-01T00:00:00Z"));
        assert_eq!(found, Some(at("2128-02-29T12:00:00Z")));
    }
}
