//! The options of an entry: those of `apply_async` that a scheduled task can have, with Celery's
//! names.

use crate::compression::Compression;
use crate::fields::Fields;
use crate::message::{Task, is_known_header};
use crate::names::check_queue_name;
use crate::serializer::Serializer;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The longest time in an option: a hundred years, in seconds.
const LONGEST: f64 = 36_525.0 * 86_400.0;

/// The options of an entry. Times are in seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The queue. Default: by the routes of the process that sends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
    /// The time from sending on after which the task is not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<f64>,
    /// The time from sending on before which the task is not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    countdown: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<Fields>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serializer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    soft_time_limit: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignore_result: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow: Option<String>,
}

impl Options {
    /// The names of all options.
    pub const NAMES: [&'static str; 11] = [
        "queue",
        "priority",
        "expires",
        "countdown",
        "headers",
        "serializer",
        "compression",
        "time_limit",
        "soft_time_limit",
        "ignore_result",
        "shadow",
    ];

    /// Refuses values that no message can have.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(queue) = &self.queue {
            check_queue_name(queue).map_err(|error| format!("queue: {error}"))?;
        }
        if let Some(priority) = self.priority.filter(|priority| *priority > 9) {
            return Err(format!("priority: {priority} is not between 0 and 9"));
        }
        for (name, time) in [
            ("expires", self.expires),
            ("countdown", self.countdown),
            ("time_limit", self.time_limit),
            ("soft_time_limit", self.soft_time_limit),
        ] {
            if time.is_some_and(|time| !(0.0..=LONGEST).contains(&time)) {
                return Err(format!("{name}: not a time in seconds"));
            }
        }
        let mut headers = self.headers.iter().flat_map(Fields::iter);
        if let Some((name, _)) = headers.find(|(name, _)| is_known_header(name)) {
            return Err(format!("headers: {name:?} belongs to the protocol"));
        }
        self.serializer()?;
        self.compression()?;
        Ok(())
    }

    fn serializer(&self) -> Result<Serializer, String> {
        match &self.serializer {
            None => Ok(Serializer::Json),
            Some(name) => {
                Serializer::from_name(name).ok_or_else(|| format!("serializer: {name:?}"))
            }
        }
    }

    fn compression(&self) -> Result<Option<Compression>, String> {
        match &self.compression {
            None => Ok(None),
            Some(name) => match Compression::from_name(name) {
                Some(compression) => Ok(Some(compression)),
                None => Err(format!("compression: {name:?}")),
            },
        }
    }

    /// Sets the options of a task that is sent now, except the queue.
    ///
    /// # Errors
    /// A sentence that names an option which no message can have.
    pub fn apply(&self, task: &mut Task, now: Timestamp) -> Result<(), String> {
        #[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
        let after = |seconds: f64| now.plus_micros((seconds * 1e6) as i64);
        task.properties.priority = self.priority;
        if let Some(expires) = self.expires {
            task.set_expires(after(expires), now);
        }
        task.eta = self.countdown.filter(|it| *it > 0.0).map(after);
        for (name, value) in self.headers.iter().flat_map(Fields::iter) {
            task.headers.insert(name, value.to_owned());
        }
        task.serializer = self.serializer()?;
        task.compression = self.compression()?;
        task.time_limit.hard = self.time_limit;
        task.time_limit.soft = self.soft_time_limit;
        task.ignore_result = self.ignore_result;
        task.shadow.clone_from(&self.shadow);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(value: Value) -> Result<(), String> {
        let options: Options = serde_json::from_value(value).map_err(|error| error.to_string())?;
        options.check()
    }

    #[test]
    fn exactly_these_options_are_accepted() {
        for name in Options::NAMES {
            assert_eq!(check(json!({ name: null })), Ok(()), "{name}");
        }
        let error = check(json!({ "link": null })).unwrap_err();
        let expected = Options::NAMES.map(|name| format!("`{name}`")).join(", ");
        assert!(error.contains(&expected), "{error}");
    }

    #[test]
    fn values_that_no_message_can_have_are_named() {
        assert_eq!(check(json!({})), Ok(()));
        for (value, part) in [
            (json!({ "queue": "" }), "queue: "),
            (json!({ "priority": 10 }), "priority: 10"),
            (json!({ "priority": -1 }), "invalid value"),
            (json!({ "expires": -1 }), "expires: not a time"),
            (json!({ "countdown": 1e300 }), "countdown: not a time"),
            (json!({ "time_limit": "5" }), "invalid type"),
            (json!({ "headers": { "id": 1 } }), "headers: \"id\""),
            (json!({ "serializer": "pickle" }), "serializer: \"pickle\""),
            (json!({ "compression": "gz" }), "compression: \"gz\""),
            (json!({ "retry": true }), "unknown field `retry`"),
        ] {
            let error = check(value.clone()).unwrap_err();
            assert!(error.contains(part), "{value}: {error}");
        }
    }
}
