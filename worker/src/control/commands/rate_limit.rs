//! `rate_limit`: changes how often this worker may begin a task.

use std::time::Instant;

use serde_json::Value;

use crate::control::answer::{Answer, nok, ok, raised};
use crate::control::arguments::Arguments;
use crate::control::node::Node;
use crate::printable::one_line;
use crate::task::Rate;

pub(super) fn run(node: &Node, arguments: Arguments<'_>) -> Answer {
    let name = arguments.required("task_name")?;
    let given = arguments.required("rate_limit")?;
    let rate = match read(given) {
        Ok(rate) => rate,
        Err(why) => return nok(&format!("Invalid rate limit string: {why}")),
    };
    let task = name.as_str().and_then(|name| node.registry.get(name));
    let Some(task) = task else {
        let name = one_line(name.as_str().unwrap_or_default());
        tracing::error!("Rate limit attempt for unknown task {name}");
        return nok("unknown task");
    };
    if !node.config.disable_rate_limits {
        task.live.rate.set(rate, Instant::now());
    }
    let name = &task.name;
    // A text such as "0/s" sets no limit either, but Celery answers as if it did.
    if matches!(given, Value::Null | Value::Bool(false)) || *given == 0 || *given == "" {
        tracing::info!("Rate limits disabled for tasks of type {name}");
        return ok("rate limit disabled successfully");
    }
    tracing::info!(
        "New rate limit for tasks of type {name}: {}.",
        one_line(&given.to_string())
    );
    ok("new rate limit set successfully")
}

/// Reads a rate: a text, or a number of tasks a second.
fn read(given: &Value) -> Result<Option<Rate>, String> {
    let text = match given {
        Value::Null => return Ok(None),
        Value::String(text) if text.is_empty() => return Ok(None),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(limited) => u8::from(*limited).to_string(),
        Value::Array(_) | Value::Object(_) => {
            return Err(raised("TypeError", "a rate is a text or a number"));
        }
    };
    Rate::parse(&text).map_err(|error| raised("ValueError", &error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn rates_are_texts_and_numbers() {
        for (given, wanted) in [
            (json!("10/m"), Some("10/m")),
            (json!(5), Some("5")),
            (json!(0.5), Some("0.5")),
            (json!(true), Some("1")),
            (json!(false), None),
            (json!(0), None),
            (json!(""), None),
            (json!(null), None),
            (json!("0/h"), None),
        ] {
            let rate = read(&given).unwrap().map(|rate| rate.to_string());
            assert_eq!(rate.as_deref(), wanted, "{given}");
        }
        for wrong in [
            json!("x"),
            json!(-1),
            json!([]),
            json!({"a": 1}),
            json!("1/y"),
        ] {
            assert!(read(&wrong).is_err(), "{wrong}");
        }
    }
}
