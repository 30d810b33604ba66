//! Names arguments of a call, and makes digests of their values, by which calls are told apart.

use std::collections::HashMap;
use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use celery_protocol::message::Task;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// How many hexadecimal digits of a digest name a key.
pub(crate) const DIGITS: usize = 32;

/// An argument of a call, or a value inside it, such as `tenant`, `0` or `order.customer.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArgumentPath {
    /// Its name among the keyword arguments.
    pub(crate) name: Option<String>,
    /// Its place among the positional arguments, from 0.
    pub(crate) position: Option<usize>,
    /// The members of objects and the places in lists that lead to the value.
    pub(crate) inside: Vec<String>,
}

impl ArgumentPath {
    /// Reads the place of an argument, or its name, and what is inside it.
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = text.split('.').map(str::to_owned);
        let argument = parts.next().unwrap_or_default();
        let position = argument.parse().ok();
        ArgumentPath {
            name: position.is_none().then_some(argument),
            position,
            inside: parts.collect(),
        }
    }

    /// Reads the name of an argument that callers may also pass at this position.
    pub(crate) fn of_parameter(text: &str, position: usize) -> Self {
        ArgumentPath {
            position: Some(position),
            ..ArgumentPath::parse(text)
        }
    }

    /// Returns the value of a call, or null if the call does not have it.
    pub(crate) fn value(&self, task: &Task) -> Value {
        let named = self.name.as_deref().and_then(|name| {
            let all: HashMap<String, &RawValue> = serde_json::from_str(task.kwargs.get()).ok()?;
            serde_json::from_str(all.get(name)?.get()).ok()
        });
        let placed = || {
            let all: Vec<&RawValue> = serde_json::from_str(task.args.get()).ok()?;
            serde_json::from_str(all.get(self.position?)?.get()).ok()
        };
        let mut value: Value = named.or_else(placed).unwrap_or_default();
        for part in &self.inside {
            let inner = match &mut value {
                Value::Object(members) => members.get_mut(part),
                Value::Array(items) => part.parse().ok().and_then(|at: usize| items.get_mut(at)),
                _ => None,
            };
            value = inner.map(Value::take).unwrap_or_default();
        }
        value
    }
}

impl fmt::Display for ArgumentPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.name, self.position) {
            (Some(name), _) => f.write_str(name)?,
            (None, position) => write!(f, "{}", position.unwrap_or_default())?,
        }
        self.inside.iter().try_for_each(|part| write!(f, ".{part}"))
    }
}

/// Returns the digest of a value.
///
/// It is the digest of the value as JSON. So `7` and `"7"` are two keys, and callers cannot choose
/// the name of a key in the broker.
pub(crate) fn digest(value: &Value) -> Arc<str> {
    let mut digest = String::with_capacity(2 * DIGITS);
    for byte in Sha256::digest(value.to_string().as_bytes()) {
        // Writing to a string does not fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest.truncate(DIGITS);
    digest.into()
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// Returns a call of a task with these arguments.
    pub(crate) fn called(args: &str, kwargs: &str) -> Task {
        let mut task = crate::task::testing::task("t", args);
        task.kwargs = RawValue::from_string(kwargs.to_owned()).unwrap();
        task
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::testing::called;
    use super::*;

    #[test]
    fn a_path_leads_into_an_argument() {
        let task = called(
            r#"[{"lines": [{"id": 7}]}, "x"]"#,
            r#"{"order": {"id": 8}}"#,
        );
        for (path, value) in [
            ("0.lines.0.id", json!(7)),
            ("0.lines.1.id", json!(null)),
            ("0.lines.id", json!(null)),
            ("1", json!("x")),
            ("1.id", json!(null)),
            ("2", json!(null)),
            ("order.id", json!(8)),
            ("order", json!({"id": 8})),
            ("other.id", json!(null)),
        ] {
            let parsed = ArgumentPath::parse(path);
            assert_eq!(parsed.value(&task), value, "{path}");
            assert_eq!(parsed.to_string(), path);
        }
    }

    #[test]
    fn an_argument_with_name_and_position_is_found_by_either() {
        let path = ArgumentPath::of_parameter("order.id", 1);
        assert_eq!(path.value(&called(r#"[1, {"id": 2}]"#, "{}")), json!(2));
        assert_eq!(
            path.value(&called("[1]", r#"{"order": {"id": 3}}"#)),
            json!(3)
        );
    }
}
