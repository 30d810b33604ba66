//! Reads the fields of a crontab: the syntax of `crontab_parser` in `celery/schedules.py` of 5.7.
//!
//! A field is a list of parts with commas between them. A part is `*`, a number, a name, or a range,
//! and `*` and a range may have a step: `*/15`, `mon-fri`, `22-4/2`. A range whose end is smaller
//! than its beginning goes on at the least value. Of a name only the first three letters count.

use serde::{Deserialize, Serialize};

/// A field as it is written: text, a number, or a list of numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Field {
    /// One number.
    Number(i64),
    /// Parts with commas between them.
    Text(String),
    /// Several numbers.
    Listed(Vec<i64>),
}

/// The values that a field can have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) name: &'static str,
    pub(super) least: u32,
    pub(super) most: u32,
}

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
/// Sunday is 0, as in Celery.
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The longest text of a field. The longest useful one lists sixty numbers.
const LONGEST: usize = 1_000;

impl Default for Field {
    fn default() -> Self {
        Field::Text("*".to_owned())
    }
}

impl Field {
    /// Returns the values that the field stands for: bit `n` is set if the value `n` is among them.
    pub(super) fn values(&self, range: Range) -> Result<u64, String> {
        let found = match self {
            Field::Number(number) => range.value(*number),
            Field::Listed(numbers) => numbers
                .iter()
                .try_fold(0, |bits, number| Ok(bits | range.value(*number)?)),
            Field::Text(text) if text.len() > LONGEST => Err("the text is too long".to_owned()),
            Field::Text(text) => text
                .split(',')
                .try_fold(0, |bits, part| Ok(bits | range.part(part.trim())?)),
        };
        match found {
            Ok(0) => Err(format!("{}: no value", range.name)),
            Ok(bits) => Ok(bits),
            Err(cause) => Err(format!("{}: {cause}", range.name)),
        }
    }
}

impl Range {
    /// Returns the bit of a value.
    fn value(self, number: i64) -> Result<u64, String> {
        let (least, most) = (self.least, self.most);
        match u32::try_from(number) {
            Ok(number) if (least..=most).contains(&number) => Ok(1 << number),
            _ => Err(format!("{number} is not between {least} and {most}")),
        }
    }

    /// Returns the bits of a part.
    fn part(self, part: &str) -> Result<u64, String> {
        if part.is_empty() {
            return Err("a part is empty".to_owned());
        }
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => {
                let number = step.parse().ok().filter(|step| *step > 0);
                let step: usize = number.ok_or_else(|| format!("{step:?} is not a step"))?;
                (span, Some(step))
            }
            None => (part, None),
        };
        let values: Vec<u32> = if span == "*" {
            (self.least..=self.most).collect()
        } else if let Some((from, to)) = span.split_once('-') {
            let (from, to) = (self.number(from)?, self.number(to)?);
            if from <= to {
                (from..=to).collect()
            } else {
                (from..=self.most).chain(self.least..=to).collect()
            }
        } else if step.is_some() {
            return Err(format!("{part:?} has a step without * or a range"));
        } else {
            vec![self.number(span)?]
        };
        let values = values.into_iter().step_by(step.unwrap_or(1));
        Ok(values.fold(0, |bits, value| bits | 1 << value))
    }

    /// Returns the value of a number or of a name. As in Celery, each field accepts the names of
    /// months and of weekdays.
    fn number(self, text: &str) -> Result<u32, String> {
        let number = if text.bytes().all(|byte| byte.is_ascii_digit()) && !text.is_empty() {
            text.parse().ok()
        } else {
            let short = text.get(..3).map(str::to_ascii_lowercase);
            let place =
                |names: &[&str]| names.iter().position(|name| short.as_deref() == Some(name));
            let month = place(&MONTHS).map(|place| place + 1);
            month
                .or_else(|| place(&WEEKDAYS))
                .and_then(|place| i64::try_from(place).ok())
        };
        let number = number.ok_or_else(|| format!("{text:?} is not a number or a name"))?;
        self.value(number).map(u64::trailing_zeros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Range = Range {
        name: "minute",
        least: 0,
        most: 59,
    };
    const DAY: Range = Range {
        name: "day_of_month",
        least: 1,
        most: 31,
    };
    const MONTH: Range = Range {
        name: "month_of_year",
        least: 1,
        most: 12,
    };
    const WEEKDAY: Range = Range {
        name: "day_of_week",
        least: 0,
        most: 6,
    };

    fn read(text: &str, range: Range) -> Result<Vec<u32>, String> {
        let bits = Field::Text(text.to_owned()).values(range)?;
        Ok((0..64).filter(|value| bits >> value & 1 == 1).collect())
    }

    #[test]
    fn parts_are_numbers_names_ranges_and_steps() {
        for (text, range, values) in [
            ("7", MINUTE, &[7][..]),
            ("*/15", MINUTE, &[0, 15, 30, 45]),
            ("*/90", MINUTE, &[0]),
            ("1,3-5, 50-59/4", MINUTE, &[1, 3, 4, 5, 50, 54, 58]),
            ("58-1", MINUTE, &[0, 1, 58, 59]),
            ("55-5/5", MINUTE, &[0, 5, 55]),
            ("*/10", DAY, &[1, 11, 21, 31]),
            ("30-2", DAY, &[1, 2, 30, 31]),
            ("jan,June-aug", MONTH, &[1, 6, 7, 8]),
            ("11-feb", MONTH, &[1, 2, 11, 12]),
            ("mon-fri", WEEKDAY, &[1, 2, 3, 4, 5]),
            ("SATURDAY-mon", WEEKDAY, &[0, 1, 6]),
            ("sunnyday", WEEKDAY, &[0]),
            ("fri-tue/2", WEEKDAY, &[0, 2, 5]),
            ("may", WEEKDAY, &[5]),
        ] {
            assert_eq!(read(text, range).as_deref(), Ok(values), "{text}");
        }
    }

    #[test]
    fn wrong_fields_say_what_is_wrong() {
        for (text, range, part) in [
            ("", MINUTE, "minute: a part is empty"),
            ("1,,2", MINUTE, "a part is empty"),
            ("60", MINUTE, "60 is not between 0 and 59"),
            ("0", DAY, "0 is not between 1 and 31"),
            ("7", WEEKDAY, "day_of_week: 7 is not between 0 and 6"),
            ("*/0", MINUTE, "\"0\" is not a step"),
            ("*/", MINUTE, "\"\" is not a step"),
            ("*/x", MINUTE, "\"x\" is not a step"),
            ("5/10", MINUTE, "without * or a range"),
            ("-5", MINUTE, "\"\" is not a number"),
            ("mo", WEEKDAY, "\"mo\" is not a number or a name"),
            ("1-2-3", MINUTE, "\"2-3\" is not a number"),
            ("½½½", WEEKDAY, "is not a number or a name"),
            ("99999999999999999999", MINUTE, "is not a number"),
        ] {
            let error = read(text, range).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(Field::Listed(Vec::new()).values(MINUTE).is_err());
        assert!(Field::Listed(vec![5, -1]).values(MINUTE).is_err());
        assert!(Field::Number(60).values(MINUTE).is_err());
        assert_eq!(Field::Listed(vec![0, 3]).values(MINUTE), Ok(0b1001));
    }
}
