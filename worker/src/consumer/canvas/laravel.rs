//! Carries what Laravel adds to a job on to the tasks that follow from it.

use celery_protocol::message::Task;

/// The header with Laravel's Context and what callbacks of `Queue::createPayloadUsing()` add.
const LARAVEL: &str = "laravel";

/// The most bytes of this header that are carried on. The Laravel package sends no more.
const MOST: usize = 64 << 10;

/// Gives a message the header of the task that causes it, unless it has one of its own.
pub(super) fn carry(from: &Task, message: &mut Task) {
    let Some(header) = from.headers.get(LARAVEL) else {
        return;
    };
    if message.headers.get(LARAVEL).is_none() && header.get().len() <= MOST {
        message.headers.insert(LARAVEL, header.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::task::testing;

    fn task(header: Option<&str>) -> Task {
        let mut task = testing::task("t", "[]");
        if let Some(text) = header {
            let value = RawValue::from_string(text.to_owned()).unwrap();
            task.headers.insert(LARAVEL, value);
        }
        task
    }

    #[test]
    fn a_message_gets_the_header_unless_it_has_one_or_the_header_is_too_large() {
        let [fits, too_large] =
            [MOST, MOST + 1].map(|size| format!("\"{}\"", "x".repeat(size - 2)));
        for (from, own, expected) in [
            (None, None, None),
            (Some("{\"a\":1}"), None, Some("{\"a\":1}")),
            (Some("{\"a\":1}"), Some("{}"), Some("{}")),
            (None, Some("{}"), Some("{}")),
            (Some(&*fits), None, Some(&*fits)),
            (Some(&*too_large), None, None),
        ] {
            let mut message = task(own);
            carry(&task(from), &mut message);
            let header = message.headers.get(LARAVEL).map(RawValue::get);
            assert!(header == expected, "{own:?}: {header:?}");
        }
    }
}
