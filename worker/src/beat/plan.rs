//! Decides what an entry that is due means: which due times are sent, and which one is next.

use celery_protocol::schedule::{Missed, Schedule};
use jiff::tz::TimeZone;

use super::schedule;
use crate::broker::schedules::MOST_MESSAGES;

/// How late a due time may be to count as kept, in milliseconds. It is longer than the time in which
/// another process takes the place of a leader that has died.
const PUNCTUAL: i64 = 60_000;
/// The oldest due time that is sent with the policy `all`, in milliseconds: a day.
const OLDEST: i64 = 86_400_000;

/// What is done about an entry that is due.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// The due times for which a message is sent.
    pub(super) send: Vec<i64>,
    /// The next due time, if there is one.
    pub(super) next: Option<i64>,
    /// `true` if due times are passed over for which the task is not sent.
    pub(super) skips: bool,
}

/// Decides about an entry that was due at `due` and is handled at `now`. A due time of zero or less
/// means that the entry is new or was changed: it is first due after `now`.
pub(super) fn plan(
    schedule: &Schedule,
    zone: &TimeZone,
    missed: Missed,
    due: i64,
    now: i64,
) -> Plan {
    if due <= 0 {
        return Plan {
            next: schedule::after(schedule, zone, now),
            ..Plan::default()
        };
    }
    match missed {
        Missed::None if now.saturating_sub(due) > PUNCTUAL => Plan {
            next: schedule::resume(schedule, zone, due, now),
            skips: true,
            ..Plan::default()
        },
        Missed::Once | Missed::None => Plan {
            send: vec![due],
            next: schedule::resume(schedule, zone, due, now),
            skips: false,
        },
        Missed::All => {
            let oldest = now.saturating_sub(OLDEST);
            let skips = due < oldest;
            let first = if skips {
                schedule::resume(schedule, zone, due, oldest)
            } else {
                Some(due)
            };
            let following = |due: &i64| schedule::after(schedule, zone, *due);
            let mut all = std::iter::successors(first, following).peekable();
            let mut send = Vec::new();
            while send.len() < MOST_MESSAGES
                && let Some(due) = all.next_if(|due| *due <= now)
            {
                send.push(due);
            }
            Plan {
                send,
                next: all.next(),
                skips,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use celery_protocol::schedule::Form;

    use super::*;

    const DAY: i64 = 86_400_000;

    fn schedule(text: &str) -> Schedule {
        Form::Text(text.to_owned()).read().unwrap()
    }

    fn planned(text: &str, missed: Missed, due: i64, now: i64) -> Plan {
        plan(&schedule(text), &TimeZone::UTC, missed, due, now)
    }

    #[test]
    fn a_new_entry_is_first_due_later() {
        for missed in [Missed::Once, Missed::All, Missed::None] {
            for due in [0, -1, i64::MIN] {
                let plan = planned("* * * * *", missed, due, 90_000);
                assert_eq!(plan.next, Some(120_000));
                assert!(plan.send.is_empty() && !plan.skips);
            }
        }
    }

    #[test]
    fn a_due_time_that_is_kept_is_sent_once_by_every_policy() {
        for missed in [Missed::Once, Missed::All, Missed::None] {
            for late in [0, 1, 59_999] {
                let plan = planned("* * * * *", missed, 60_000, 60_000 + late);
                assert_eq!(plan.send, [60_000], "{missed:?} {late}");
                assert_eq!(plan.next, Some(120_000));
                assert!(!plan.skips);
            }
        }
    }

    #[test]
    fn missed_due_times_are_sent_once_or_all_or_not() {
        let (due, now) = (60_000, 250_000);
        let once = planned("* * * * *", Missed::Once, due, now);
        assert_eq!((once.send, once.next), (vec![60_000], Some(300_000)));
        let all = planned("* * * * *", Missed::All, due, now);
        assert_eq!(all.send, [60_000, 120_000, 180_000, 240_000]);
        assert_eq!(all.next, Some(300_000));
        let none = planned("* * * * *", Missed::None, due, now);
        assert_eq!(
            (none.send, none.next, none.skips),
            (vec![], Some(300_000), true)
        );
    }

    #[test]
    fn an_interval_keeps_its_distance_from_its_first_due_time() {
        for missed in [Missed::Once, Missed::All, Missed::None] {
            let plan = planned("7s", missed, 1_000, 90_000);
            assert_eq!(plan.next, Some(92_000), "{missed:?}");
        }
    }

    #[test]
    fn all_sends_the_last_day_in_parts() {
        let now = 10 * DAY;
        let mut due = DAY;
        let mut sent = Vec::new();
        while due <= now {
            let plan = planned("*/10 * * * *", Missed::All, due, now);
            assert!(plan.send.len() <= MOST_MESSAGES);
            sent.extend(plan.send);
            due = plan.next.unwrap();
        }
        // Those of more than a day ago are passed over.
        assert_eq!(sent.len(), 144);
        assert_eq!((sent[0], sent[143]), (9 * DAY + 600_000, now));
        assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == 600_000));
    }
}
