//! The answers of commands, as Python's commands make them.

use celery_protocol::repr;
use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

/// The largest answer. `inspect active` of 4,000 tasks has about two megabytes.
const MOST_BYTES: usize = 8 << 20;

/// A command's answer as JSON, or the `repr` of an exception that Python would have raised.
pub(crate) type Answer = Result<Box<RawValue>, String>;

/// Returns a value as an answer.
pub(crate) fn answer(value: &impl Serialize) -> Answer {
    to_raw_value(value).map_err(|error| raised("EncodeError", &error.to_string()))
}

/// Returns the answer of a command that did what was asked.
pub(crate) fn ok(text: &str) -> Answer {
    answer(&json!({"ok": text}))
}

/// Returns the answer of a command that refuses, without an exception.
pub(crate) fn nok(text: &str) -> Answer {
    answer(&json!({"error": text}))
}

/// Returns the answer of a command that failed.
pub(crate) fn error(text: &str) -> Box<RawValue> {
    // A JSON object of one text can always be written.
    to_raw_value(&json!({"error": text})).unwrap_or_default()
}

/// Returns the `repr` of an exception with this message.
pub(crate) fn raised(exception: &str, message: &str) -> String {
    format!("{exception}({})", quoted(message))
}

/// Returns a text as Python's `repr` shows it.
pub(crate) fn quoted(text: &str) -> String {
    repr::value(&json!(text).to_string(), repr::MAX_CHARS)
}

/// Returns the answer, or an error in its place if it is too large to be sent.
pub(crate) fn limited(answer: Box<RawValue>) -> Box<RawValue> {
    if answer.get().len() > MOST_BYTES {
        return error(&too_large());
    }
    answer
}

fn too_large() -> String {
    let message = format!("the answer has more than {MOST_BYTES} bytes");
    raised("ValueError", &message)
}

/// What is left of an answer's size while its parts are made, so that no more is made than can be
/// sent.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    spent: usize,
}

impl Budget {
    /// Takes the size of a part. Returns an error once the answer is too large.
    pub(crate) fn spend(&mut self, part: Box<RawValue>) -> Answer {
        self.spent += part.get().len();
        if self.spent > MOST_BYTES {
            return Err(too_large());
        }
        Ok(part)
    }

    /// Returns `true` if half of the size is spent: later parts should be short.
    pub(crate) fn is_tight(&self) -> bool {
        self.spent > MOST_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_ends_where_it_becomes_too_large() {
        let part = answer(&"x".repeat(1 << 20)).unwrap();
        let mut budget = Budget::default();
        let fits = (0..100).take_while(|_| budget.spend(part.clone()).is_ok());
        assert_eq!(fits.count(), 7);
        assert!(budget.is_tight() && !Budget::default().is_tight());
        let large = answer(&"x".repeat(MOST_BYTES)).unwrap();
        assert!(limited(large).get().contains("more than 8388608 bytes"));
        assert_eq!(limited(part.clone()).get(), part.get());
    }
}
