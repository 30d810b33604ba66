//! Reads and writes a schedule as the settings and Redis have it.
//!
//! The settings have a number of seconds, a text, or a table. Redis has the table as a JSON object,
//! and a reader accepts the other forms there, too.

use serde::{Deserialize, Serialize};

use super::crontab::{Crontab, Fields};
use super::fields::Field;
use super::interval::Interval;
use super::when::Schedule;
use crate::duration;

/// A schedule as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Form {
    /// An interval in whole seconds.
    Whole(u64),
    /// An interval in seconds.
    Real(f64),
    /// The five fields of a crontab, or a time with its unit.
    Text(String),
    /// The parts by their names.
    Table(Box<Table>),
}

/// The parts of a schedule, with the names of Celery's arguments.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<Every>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relative: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    minute: Option<Field>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hour: Option<Field>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day_of_month: Option<Field>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    month_of_year: Option<Field>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    day_of_week: Option<Field>,
    /// The event of a solar schedule, which is refused by name.
    #[serde(default, skip_serializing)]
    event: Option<String>,
    #[serde(default, skip_serializing)]
    lat: Option<f64>,
    #[serde(default, skip_serializing)]
    lon: Option<f64>,
}

/// A length of time: seconds, or text with a unit.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Every {
    Seconds(f64),
    Text(String),
}

impl Form {
    /// Checks the schedule.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn read(&self) -> Result<Schedule, String> {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "longer than any interval")]
            Form::Whole(seconds) => interval(*seconds as f64, false),
            Form::Real(seconds) => interval(*seconds, false),
            Form::Text(text) => read_text(text),
            Form::Table(table) => table.read(),
        }
    }
}

impl Schedule {
    /// Returns the schedule as Redis has it.
    pub fn table(&self) -> Table {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "an interval is below 2^53 ms")]
            Schedule::Interval(interval) => Table {
                every: Some(Every::Seconds(interval.every() as f64 / 1_000.0)),
                relative: Some(interval.is_relative()),
                ..Table::default()
            },
            Schedule::Crontab(crontab) => {
                let fields = crontab.fields().clone();
                Table {
                    minute: Some(fields.minute),
                    hour: Some(fields.hour),
                    day_of_month: Some(fields.day_of_month),
                    month_of_year: Some(fields.month_of_year),
                    day_of_week: Some(fields.day_of_week),
                    ..Table::default()
                }
            }
        }
    }
}

impl Table {
    fn read(&self) -> Result<Schedule, String> {
        if self.event.is_some() || self.lat.is_some() || self.lon.is_some() {
            return Err("solar schedules are not supported".to_owned());
        }
        let fields = [
            &self.minute,
            &self.hour,
            &self.day_of_month,
            &self.month_of_year,
            &self.day_of_week,
        ];
        let is_crontab = fields.iter().any(|field| field.is_some());
        match &self.every {
            Some(_) if is_crontab => {
                Err("every and the fields of a crontab exclude each other".to_owned())
            }
            Some(every) => {
                let relative = self.relative.unwrap_or(false);
                match every {
                    Every::Seconds(seconds) => interval(*seconds, relative),
                    Every::Text(text) => interval(seconds_of(text)?, relative),
                }
            }
            None if !is_crontab => Err("neither every nor a field of a crontab".to_owned()),
            None if self.relative.is_some() => Err("relative is for intervals".to_owned()),
            None => {
                let [minute, hour, day_of_month, month_of_year, day_of_week] =
                    fields.map(|field| field.clone().unwrap_or_default());
                let fields = Fields {
                    minute,
                    hour,
                    day_of_month,
                    month_of_year,
                    day_of_week,
                };
                Crontab::new(fields).map(Schedule::Crontab)
            }
        }
    }
}

fn read_text(text: &str) -> Result<Schedule, String> {
    match text.split_ascii_whitespace().count() {
        0 => Err("it is empty".to_owned()),
        1 => interval(seconds_of(text)?, false),
        _ => Crontab::parse(text).map(Schedule::Crontab),
    }
}

fn seconds_of(text: &str) -> Result<f64, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    Ok(time.as_secs_f64())
}

fn interval(seconds: f64, relative: bool) -> Result<Schedule, String> {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
    let every = (seconds * 1_000.0).round() as i64;
    Interval::new(every, relative).map(Schedule::Interval)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value) -> Result<Value, String> {
        let form: Form = serde_json::from_value(value).map_err(|error| error.to_string())?;
        let schedule = form.read()?;
        Ok(serde_json::to_value(schedule.table()).unwrap())
    }

    #[test]
    fn all_forms_become_the_form_of_redis() {
        let crontab = |minute: Value, hour: &str, weekday: &str| {
            json!({
                "minute": minute, "hour": hour, "day_of_month": "*", "month_of_year": "*",
                "day_of_week": weekday,
            })
        };
        for (given, stored) in [
            (json!(30), json!({ "every": 30.0, "relative": false })),
            (json!(0.5), json!({ "every": 0.5, "relative": false })),
            (json!("2m"), json!({ "every": 120.0, "relative": false })),
            (json!("1500ms"), json!({ "every": 1.5, "relative": false })),
            (
                json!({ "every": "1h", "relative": true }),
                json!({ "every": 3600.0, "relative": true }),
            ),
            (json!("*/5 4 * * mon"), crontab(json!("*/5"), "4", "mon")),
            (json!({ "minute": 5 }), crontab(json!(5), "*", "*")),
            (
                json!({ "minute": [0, 30], "day_of_week": "sat,sun" }),
                crontab(json!([0, 30]), "*", "sat,sun"),
            ),
        ] {
            assert_eq!(read(given.clone()), Ok(stored.clone()), "{given}");
            assert_eq!(read(stored.clone()), Ok(stored));
        }
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (given, part) in [
            (json!(0), "between 0.1 s and"),
            (json!(-5), "between 0.1 s and"),
            (json!("soon"), "\"soon\" is not a time"),
            (json!(""), "it is empty"),
            (json!("* * *"), "3 fields instead of five"),
            (json!("* * * * * *"), "6 fields instead of five"),
            (json!({}), "neither every nor"),
            (json!({ "every": 5, "hour": 4 }), "exclude each other"),
            (
                json!({ "hour": 4, "relative": true }),
                "relative is for intervals",
            ),
            (json!({ "hour": "noon" }), "hour: \"noon\""),
            (
                json!({ "event": "sunset", "lat": 52.5, "lon": 13.4 }),
                "solar",
            ),
            (json!({ "minutes": 5 }), "did not match"),
            (json!(null), "did not match"),
            (json!({ "every": 1e300 }), "between 0.1 s and"),
        ] {
            let error = read(given.clone()).unwrap_err();
            assert!(error.contains(part), "{given}: {error}");
        }
    }
}
