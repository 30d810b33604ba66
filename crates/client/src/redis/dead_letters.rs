//! Dead letters: the messages that could not be run, in the stream `celery.dead`.
//!
//! Both drivers send these commands and read their answers. A letter's *place* is its id in the
//! stream, `<milliseconds>-<number>`. Its fields are `queue`, `id`, `task`, `cause`, `worker`, `time`
//! (Unix seconds) and `raw`, the message as it was received.

use std::borrow::Cow;

use celery_protocol::message::Task;
use celery_protocol::redis_keys::Keys;
use redis::{Cmd, Value};

use super::script::REPLAY;

/// The field with the message as it was received.
pub const RAW: &str = "raw";
/// The cause of a letter that is the signature of a task, not a message.
const FOLLOW_UP: &str = "follow-up";

/// A message that could not be run.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Letter {
    /// The id of its entry in the stream.
    pub place: String,
    /// Names and values, in the order of the stream.
    pub fields: Vec<(String, Value)>,
}

impl Letter {
    /// Reads the entries in an answer to `XRANGE` or `XREVRANGE`. What is not an entry is left out.
    pub fn read_all(answer: Value) -> Vec<Self> {
        items(answer).into_iter().filter_map(Self::read).collect()
    }

    /// Reads an entry of the stream.
    fn read(entry: Value) -> Option<Self> {
        let mut parts = items(entry).into_iter();
        let place = text(&parts.next()?).into_owned();
        let mut values = items(parts.next()?).into_iter();
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.push((text(&name).into_owned(), value));
        }
        Some(Self { place, fields })
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let found = self.fields.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value)
    }

    /// Returns a field as text; empty if the letter does not have it. Bytes that are not UTF-8 are
    /// replaced.
    pub fn field(&self, name: &str) -> Cow<'_, str> {
        self.value(name).map_or(Cow::Borrowed(""), text)
    }

    /// Returns the message as it was received; empty if the letter does not have it.
    pub fn raw(&self) -> &[u8] {
        match self.value(RAW) {
            Some(Value::BulkString(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Returns the step that puts the message back into its queue.
    ///
    /// # Errors
    /// The reason why the letter cannot be put back.
    pub fn replay(&self, keys: &Keys) -> Result<Replay, &'static str> {
        let queue = self.field("queue");
        if queue.is_empty() {
            return Err("its queue is unknown");
        }
        if self.field("cause") == FOLLOW_UP {
            return Err("it is the signature of a task, not a message");
        }
        let task = Task::decode_redis(self.raw()).ok();
        // The message goes back to the list of its priority, or of priority 0 if it cannot be read.
        let priority = task.as_ref().and_then(|task| task.properties.priority);
        let tag = task.as_ref().map_or("", Task::redelivery_name);
        Ok(Replay {
            keys: [
                keys.dead(),
                keys.queue(&queue, priority.unwrap_or(0)),
                keys.redelivered(tag),
            ],
            place: self.place.clone(),
        })
    }
}

/// The arguments of the script [`REPLAY`] for one letter.
#[derive(Clone, Debug)]
pub struct Replay {
    keys: [String; 3],
    place: String,
}

impl Replay {
    /// Returns the keys of the script.
    pub fn keys(&self) -> [&str; 3] {
        self.keys.each_ref().map(String::as_str)
    }

    /// Returns the letter's place, the script's only argument.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Returns the call of the script by its SHA-1.
    pub fn call(&self) -> Cmd {
        let mut call = REPLAY.evalsha(&self.keys());
        call.arg(&self.place);
        call
    }

    /// Reads the answer of the script. Without the letter, another program was faster.
    pub fn outcome(answer: &Value) -> Replayed {
        match answer {
            Value::Int(1) => Replayed::Done,
            _ => Replayed::Gone,
        }
    }
}

/// What became of a letter that was to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Its message is in its queue again.
    Done,
    /// Another program has put it back or deleted it.
    Gone,
    /// It cannot be put back, for this reason.
    Impossible(&'static str),
}

/// Returns `true` if a text is the whole id of an entry, such as `1700000000000-0`.
pub fn is_place(text: &str) -> bool {
    let is_number = |part: &str| part.parse::<u64>().is_ok() && !part.starts_with('+');
    matches!(text.split_once('-'), Some((time, number)) if is_number(time) && is_number(number))
}

/// Returns the command that counts the letters.
pub fn count(keys: &Keys) -> Cmd {
    command("XLEN", keys, &[])
}

/// Returns the command that reads up to `count` letters, the oldest first, between two places;
/// `(PLACE` leaves out the place itself, `-` and `+` are the ends of the stream.
pub fn oldest(keys: &Keys, after: &str, until: &str, count: usize) -> Cmd {
    command("XRANGE", keys, &[after, until, "COUNT", &count.to_string()])
}

/// Returns the command that reads up to `count` letters, the newest first, from a place on; it reads
/// places as [`oldest`] does.
pub fn newest(keys: &Keys, before: &str, count: usize) -> Cmd {
    command(
        "XREVRANGE",
        keys,
        &[before, "-", "COUNT", &count.to_string()],
    )
}

/// Returns the command that reads the letter at a place.
pub fn at(keys: &Keys, place: &str) -> Cmd {
    command("XRANGE", keys, &[place, place])
}

/// Returns the command that deletes the letter at a place. The answer is the number of deleted ones.
pub fn deletion(keys: &Keys, place: &str) -> Cmd {
    command("XDEL", keys, &[place])
}

fn command(name: &str, keys: &Keys, arguments: &[&str]) -> Cmd {
    let mut command = redis::cmd(name);
    command.arg(keys.dead()).arg(arguments);
    command
}

fn items(value: Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes),
        Value::SimpleString(text) => Cow::Borrowed(text),
        Value::Int(number) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(fields: &[(&str, &str)]) -> Letter {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let flat = fields
            .iter()
            .flat_map(|(name, value)| [bulk(name), bulk(value)]);
        let entry = Value::Array(vec![bulk("5-0"), Value::Array(flat.collect())]);
        let mut letters = Letter::read_all(Value::Array(vec![Value::Nil, entry]));
        assert_eq!(letters.len(), 1);
        letters.remove(0)
    }

    #[test]
    fn a_letter_goes_back_to_the_list_of_its_priority() {
        let keys = Keys::new("p:");
        let message = r#"{"body":"W1tdLHt9LHt9XQ==","content-type":"application/json",
            "content-encoding":"utf-8","headers":{"task":"t","id":"i"},"properties":{"priority":7,
            "body_encoding":"base64","delivery_tag":"tag","delivery_info":{}}}"#;
        let replay = letter(&[("queue", "q"), (RAW, message)]).replay(&keys);
        let replay = replay.unwrap();
        assert_eq!(
            replay.keys(),
            ["p:celery.dead", "p:q\u{6}\u{16}6", "p:rs.redelivered.tag"]
        );
        assert_eq!(replay.place(), "5-0");

        let replay = letter(&[("queue", "q"), (RAW, "no message")]).replay(&keys);
        assert_eq!(replay.unwrap().keys()[1], "p:q");
    }

    #[test]
    fn a_letter_without_a_queue_or_a_message_stays() {
        let refused = |fields: &[_]| letter(fields).replay(&Keys::default()).unwrap_err();
        assert_eq!(refused(&[("queue", "")]), "its queue is unknown");
        let signature = refused(&[("queue", "q"), ("cause", "follow-up")]);
        assert_eq!(signature, "it is the signature of a task, not a message");
    }

    #[test]
    fn places_are_whole_ids() {
        for place in ["0-0", "1700000000000-12", "18446744073709551615-1"] {
            assert!(is_place(place), "{place}");
        }
        for text in [
            "",
            "-",
            "+",
            "5",
            "5-",
            "-5",
            "5-x",
            "(5-0",
            "+5-0",
            "5-0-1",
            "99999999999999999999-0",
        ] {
            assert!(!is_place(text), "{text}");
        }
    }
}
