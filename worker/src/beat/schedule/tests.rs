//! Compares due times with those of Celery 5.7, for thousands of moments.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use celery_protocol::schedule::Form;

use super::after as due_after;

/// Written by `worker/tests/fixtures/schedules.py`, which says what the columns are.
const TABLE: &str = include_str!("../../../tests/fixtures/schedules.tsv");

fn moment(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_millisecond()
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn form(text: &str) -> Form {
    match text.strip_prefix('{') {
        Some(_) => serde_json::from_str(text).unwrap(),
        None => Form::Text(text.to_owned()),
    }
}

#[test]
fn due_times_are_those_of_celery_except_where_a_clock_changes() {
    let (mut lines, mut others) = (0, 0);
    for line in TABLE.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [text, name, after, celery, other] = columns[..] else {
            panic!("{line}");
        };
        let due = if other.is_empty() { celery } else { other };
        let schedule = form(text).read().unwrap();
        let found = due_after(&schedule, &zone(name), moment(after));
        assert_eq!(found, Some(moment(due)), "{line}");
        lines += 1;
        others += usize::from(!other.is_empty());
    }
    assert!(lines > 3_000 && others > 100, "{lines} {others}");
}

#[test]
fn due_times_ascend_through_changes_of_the_clock() {
    for (text, name, from, count, distances) in [
        // An hour comes twice, or is skipped: a crontab of every hour keeps its distance.
        (
            "*/15 * * * *",
            "Europe/Berlin",
            "2019-10-26T22:00:00Z",
            40,
            &[15][..],
        ),
        (
            "*/15 * * * *",
            "Europe/Berlin",
            "2019-03-30T22:00:00Z",
            40,
            &[15],
        ),
        (
            "*/20 * * * *",
            "Australia/Lord_Howe",
            "2019-04-06T12:00:00Z",
            30,
            &[20, 30],
        ),
        (
            "0 * * * *",
            "Pacific/Chatham",
            "2019-09-28T10:00:00Z",
            30,
            &[60],
        ),
        // Once a day, also on the days of the changes.
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2019-10-25T12:00:00Z",
            5,
            &[1440, 1500],
        ),
        (
            "30 2 * * *",
            "Europe/Berlin",
            "2019-03-29T12:00:00Z",
            5,
            &[1380, 1440],
        ),
        (
            "0 0 * * *",
            "Africa/Cairo",
            "2023-04-26T12:00:00Z",
            5,
            &[1380, 1440, 1500],
        ),
        (
            "*/30 2 * * *",
            "America/New_York",
            "2019-03-09T12:00:00Z",
            6,
            &[30, 1350, 1410],
        ),
    ] {
        let (schedule, zone) = (form(text).read().unwrap(), zone(name));
        let first = due_after(&schedule, &zone, moment(from)).unwrap();
        let all = std::iter::successors(Some(first), |due| due_after(&schedule, &zone, *due));
        let all: Vec<i64> = all.take(count).collect();
        for pair in all.windows(2) {
            let distance = (pair[1] - pair[0]) / 60_000;
            let at = Timestamp::from_millisecond(pair[0]).unwrap();
            assert!(
                distances.contains(&distance),
                "{text} {name} {at}: {distance}"
            );
        }
    }
}
