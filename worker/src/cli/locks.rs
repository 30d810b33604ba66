//! Finds the locks of unique tasks that no held message owns, for `check`.
//!
//! Such a lock is usual for a while: its call has ended and its time has not, or its retry waits in
//! a queue. If the retry was purged, the lock keeps other calls away until its time.

use std::time::{Duration, Instant};

use celery_client::aio::{Connection, Failure, Value};
use celery_protocol::redis_keys::Keys;

use super::redis::{command, escaped, items, text};
use crate::printable::one_line;

/// The keys that one call of `SCAN` looks at.
const COUNT: &str = "1000";
/// How long the locks are looked for. A database with many keys is looked at in part.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most locks that are named.
const NAMED: usize = 10;

/// The locks that were found.
#[derive(Debug, Default)]
struct Found {
    all: usize,
    without_owner: usize,
    /// What the first ones without an owner are.
    named: Vec<String>,
    /// `true` if the time was over before all keys had been looked at.
    is_part: bool,
}

/// Says which locks there are, if there are any. Returns nothing if Redis refuses to answer.
pub(super) async fn described(connection: &mut Connection, keys: &Keys) -> Option<String> {
    let found = find(connection, keys).await.ok()?;
    (found.all > 0).then(|| found.text())
}

async fn find(connection: &mut Connection, keys: &Keys) -> Result<Found, Failure> {
    let pattern = format!("{}*", escaped(&keys.unique_prefix()));
    let (mut cursor, mut found) = ("0".to_owned(), Found::default());
    let deadline = Instant::now() + PATIENCE;
    loop {
        let scan = command(&["SCAN", &cursor, "MATCH", &pattern, "COUNT", COUNT]);
        let mut answer = items(connection.query(&scan).await?).into_iter();
        cursor = answer.next().as_ref().map(text).unwrap_or_default();
        for key in answer.next().map(items).unwrap_or_default() {
            if Instant::now() >= deadline {
                found.is_part = true;
                return Ok(found);
            }
            look(connection, keys, &text(&key), &mut found).await?;
        }
        if cursor == "0" || cursor.is_empty() {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            found.is_part = true;
            return Ok(found);
        }
    }
}

/// Counts a lock, and names it if no held message owns it.
async fn look(
    connection: &mut Connection,
    keys: &Keys,
    key: &str,
    found: &mut Found,
) -> Result<(), Failure> {
    // A key of another type is not a lock.
    let Ok(value) = connection.query(&command(&["GET", key])).await else {
        return Ok(());
    };
    let value = text(&value);
    let Some((owner, ends, id)) = lock(&value) else {
        return Ok(());
    };
    found.all += 1;
    let score = command(&["ZSCORE", &keys.unacked_index(), owner]);
    if connection.query(&score).await? != Value::Nil {
        return Ok(());
    }
    let left = ends.saturating_sub(micros(connection.query(&command(&["TIME"])).await?));
    if left == 0 {
        // It counts no more: the next call takes it.
        return Ok(());
    }
    found.without_owner += 1;
    if found.named.len() < NAMED {
        let (key, id) = (one_line(key), one_line(id));
        let seconds = left.div_ceil(1_000_000);
        found
            .named
            .push(format!("{key} of task {id}, for {seconds} s"));
    }
    Ok(())
}

/// Returns the tag, the time in Unix microseconds and the id of a lock.
fn lock(value: &str) -> Option<(&str, u64, &str)> {
    let mut parts = value.splitn(3, ' ');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?))
}

fn micros(time: Value) -> u64 {
    let parts = items(time);
    let part = |at: usize| {
        parts
            .get(at)
            .and_then(|part| text(part).parse::<u64>().ok())
    };
    part(0).unwrap_or(0) * 1_000_000 + part(1).unwrap_or(0)
}

impl Found {
    fn text(&self) -> String {
        let part = if self.is_part {
            " in a part of the keys"
        } else {
            ""
        };
        let counted = format!("locks of unique tasks: {}{part}", self.all);
        if self.without_owner == 0 {
            return counted;
        }
        format!(
            "{counted}, {} without a held message. Each keeps calls with its arguments away, which \
             is usual after a call with a time or while its retry waits in a queue. Otherwise \
             delete its key: {}",
            self.without_owner,
            self.named.join("; ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lock_is_read_as_one() {
        assert_eq!(
            lock("rs:a:1:0001 0 an id"),
            Some(("rs:a:1:0001", 0, "an id"))
        );
        assert_eq!(lock("- 17 id"), Some(("-", 17, "id")));
        for other in ["", "text", "a b c", "a 1"] {
            assert_eq!(lock(other), None, "{other}");
        }
    }
}
