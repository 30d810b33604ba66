//! Dead letters: the messages that could not be run, in the stream `celery.dead`.

use celery_client::aio::{Connection, Failure, Value, scripts};
use celery_protocol::message::Task;
use celery_protocol::redis_keys::Keys;

use super::redis::{command, items, text};
use crate::delivery::redelivery_name;
use crate::printable::one_line;

/// How many letters are read at a time.
pub(super) const PAGE: usize = 500;
/// The field with the message as it was received.
pub(super) const RAW: &str = "raw";

/// A message that could not be run.
pub(super) struct Letter {
    pub(super) place: String,
    pub(super) fields: Vec<(String, Value)>,
}

impl Letter {
    /// Reads an entry of the stream.
    pub(super) fn read(entry: Value) -> Option<Self> {
        let mut parts = items(entry).into_iter();
        let place = text(&parts.next()?);
        let mut values = items(parts.next()?).into_iter();
        let mut fields = Vec::new();
        while let (Some(name), Some(value)) = (values.next(), values.next()) {
            fields.push((text(&name), value));
        }
        Some(Letter { place, fields })
    }

    /// Returns a field as text; empty if the letter does not have it.
    pub(super) fn field(&self, name: &str) -> String {
        let value = self.fields.iter().find(|(given, _)| given == name);
        value.map(|(_, value)| text(value)).unwrap_or_default()
    }

    /// Returns the letter as one line. A message cannot break the line with the texts in it.
    pub(super) fn line(&self) -> String {
        let parts =
            ["queue", "id", "task", "cause"].map(|name| one_line(&self.field(name)).into_owned());
        format!("{}  {}", self.place, parts.join("  "))
    }
}

/// What became of a letter that was to be put back.
pub(super) enum Replayed {
    /// Its message is in its queue again.
    Done,
    /// Another program has put it back or deleted it.
    Gone,
    /// It cannot be put back, for this reason.
    Impossible(&'static str),
}

/// Puts a letter's message back into its queue.
pub(super) async fn replay(
    connection: &mut Connection,
    keys: &Keys,
    letter: &Letter,
) -> Result<Replayed, Failure> {
    let queue = letter.field("queue");
    if queue.is_empty() {
        return Ok(Replayed::Impossible("its queue is unknown"));
    }
    if letter.field("cause") == "follow-up" {
        let why = "it is the signature of a task, not a message";
        return Ok(Replayed::Impossible(why));
    }
    let raw = letter.field(RAW);
    let task = Task::decode_redis(raw.as_bytes()).ok();
    // The message goes back to the list of its priority, or of priority 0 if it cannot be read.
    let priority = task
        .as_ref()
        .and_then(|task| task.properties.priority)
        .unwrap_or(0);
    let queue = keys.queue(&queue, priority);
    let tag = task.map(|task| redelivery_name(&task).to_owned());
    let tag = tag.unwrap_or_default();
    let mut call = scripts::call(&scripts::REPLAY, 3, 4, 256);
    call.arg(keys.dead())
        .arg(queue)
        .arg(keys.redelivered(&tag))
        .arg(&letter.place);
    let moved = connection.run(&scripts::REPLAY, &call).await?;
    Ok(match moved {
        Value::Int(1) => Replayed::Done,
        _ => Replayed::Gone,
    })
}

/// Reads up to `count` letters, beginning with the one at a place; `(PLACE` begins with the letter
/// after that place.
pub(super) async fn page(
    connection: &mut Connection,
    keys: &Keys,
    after: &str,
    count: usize,
) -> Result<Vec<Letter>, Failure> {
    page_until(connection, keys, after, "+", count).await
}

/// Like [`page`], up to a last place.
pub(super) async fn page_until(
    connection: &mut Connection,
    keys: &Keys,
    after: &str,
    until: &str,
    count: usize,
) -> Result<Vec<Letter>, Failure> {
    let count = count.to_string();
    let words = ["XRANGE", &keys.dead(), after, until, "COUNT", &count];
    let answer = connection.query(&command(&words)).await?;
    Ok(items(answer).into_iter().filter_map(Letter::read).collect())
}

/// Reads the letter at a place.
pub(super) async fn letter(
    connection: &mut Connection,
    keys: &Keys,
    place: &str,
) -> Result<Option<Letter>, Failure> {
    let answer = connection
        .query(&command(&["XRANGE", &keys.dead(), place, place]))
        .await?;
    Ok(items(answer).into_iter().find_map(Letter::read))
}
