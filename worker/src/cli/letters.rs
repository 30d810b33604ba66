//! Dead letters, as the commands `dead` and `top` read them and put them back.

use celery_client::aio::{Connection, Failure, scripts};
use celery_client::redis::dead_letters::{self, Letter, Replay, Replayed};
use celery_protocol::redis_keys::Keys;

use crate::printable::one_line;

/// How many letters are read at a time.
pub(super) const PAGE: usize = 500;

/// Returns a letter as one line. A message cannot break the line with the texts in it.
pub(super) fn line(letter: &Letter) -> String {
    let fields = ["queue", "id", "task", "cause"].map(|name| letter.field(name));
    line_of(&letter.place, fields.each_ref().map(|field| &**field))
}

/// Returns the line of a letter with this place, queue, id, task and cause.
pub(super) fn line_of(place: &str, fields: [&str; 4]) -> String {
    let parts = fields.map(one_line);
    format!("{place}  {}", parts.join("  "))
}

/// Puts a letter's message back into its queue.
pub(super) async fn replay(
    connection: &mut Connection,
    keys: &Keys,
    letter: &Letter,
) -> Result<Replayed, Failure> {
    let replay = match letter.replay(keys) {
        Ok(replay) => replay,
        Err(why) => return Ok(Replayed::Impossible(why)),
    };
    let moved = connection.run(&scripts::REPLAY, &replay.call()).await?;
    Ok(Replay::outcome(&moved))
}

/// Reads up to `count` letters between two places, the oldest first.
pub(super) async fn page(
    connection: &mut Connection,
    keys: &Keys,
    after: &str,
    until: &str,
    count: usize,
) -> Result<Vec<Letter>, Failure> {
    let page = dead_letters::oldest(keys, after, until, count);
    Ok(Letter::read_all(connection.query(&page).await?))
}

/// Reads the letter at a place.
pub(super) async fn letter(
    connection: &mut Connection,
    keys: &Keys,
    place: &str,
) -> Result<Option<Letter>, Failure> {
    let answer = connection.query(&dead_letters::at(keys, place)).await?;
    Ok(Letter::read_all(answer).pop())
}
