//! The times of a clock: the fields of Celery's `crontab` as sets of numbers.

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

/// The most days that each month has, in a leap year.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// The texts of the five fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    /// The minutes, 0 to 59.
    pub minute: Field,
    /// The hours, 0 to 23.
    pub hour: Field,
    /// The days of the month, 1 to 31.
    pub day_of_month: Field,
    /// The months, 1 to 12.
    pub month_of_year: Field,
    /// The days of the week, 0 to 6 from Sunday on.
    pub day_of_week: Field,
}

/// The times of a clock. In each set, bit `n` stands for the value `n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crontab {
    fields: Fields,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
}

impl Crontab {
    /// Reads the fields.
    ///
    /// # Errors
    /// A sentence that names the field, if one cannot be read or no day matches.
    pub fn new(fields: Fields) -> Result<Self, String> {
        let crontab = Crontab {
            minutes: fields.minute.values(MINUTE)?,
            hours: fields.hour.values(HOUR)?,
            days: fields.day_of_month.values(DAY_OF_MONTH)?,
            months: fields.month_of_year.values(MONTH_OF_YEAR)?,
            weekdays: fields.day_of_week.values(DAY_OF_WEEK)?,
            fields,
        };
        if crontab.is_possible() {
            Ok(crontab)
        } else {
            Err("no such day exists".to_owned())
        }
    }

    /// Returns `true` if a day matches. Each day of each month has each weekday in some year.
    fn is_possible(&self) -> bool {
        let mut months = (1..).zip(LENGTHS);
        months.any(|(month, length)| {
            self.months >> month & 1 == 1 && (1..=length).any(|day| self.days >> day & 1 == 1)
        })
    }

    /// Reads the five fields of a line: minute, hour, day of the month, month, day of the week.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(line: &str) -> Result<Self, String> {
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

    /// Returns the fields as they were written.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Returns the set of the minutes.
    pub fn minutes(&self) -> u64 {
        self.minutes
    }

    /// Returns the set of the hours.
    pub fn hours(&self) -> u64 {
        self.hours
    }

    /// Returns the set of the days of the month.
    pub fn days(&self) -> u64 {
        self.days
    }

    /// Returns the set of the months.
    pub fn months(&self) -> u64 {
        self.months
    }

    /// Returns the set of the days of the week.
    pub fn weekdays(&self) -> u64 {
        self.weekdays
    }
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
}
