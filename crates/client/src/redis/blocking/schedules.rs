//! The entries of the schedules: reading and changing them.

use celery_protocol::schedule::NextDue;
use redis::Value;

use super::Client;
use super::reply::Shape;
use super::stored::text;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::script::{BEAT_LIST, BEAT_WRITE};

/// An entry of the schedules as Redis has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredEntry {
    /// The name; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The JSON of an [`Entry`](celery_protocol::schedule::Entry), or what another program wrote.
    pub entry: String,
    /// The next due time in Unix milliseconds; 0 or less: the leader has not computed it yet. `None`:
    /// it is not due.
    pub due: Option<i64>,
    /// How many messages were sent, and when the last one was, in Unix milliseconds.
    pub runs: Option<(u64, i64)>,
}

/// A change of an entry.
#[derive(Clone, Copy, Debug)]
pub struct EntryChange<'a> {
    /// The name of the entry.
    pub name: &'a str,
    /// The entry as it was read; empty if there was none.
    pub read: &'a str,
    /// The new entry; empty to remove it.
    pub entry: &'a str,
    /// What becomes of its due time.
    pub due: NextDue,
}

impl Client {
    /// Returns the entry of this name, or all entries.
    ///
    /// # Errors
    /// [`ClientError`] if they could not be read.
    pub fn schedules(
        &mut self,
        name: Option<&str>,
        wait: &mut Wait<'_>,
    ) -> Result<Vec<StoredEntry>, ClientError> {
        let names: Vec<&[u8]> = name.into_iter().map(str::as_bytes).collect();
        let keys = self.schedule_keys();
        let keys = keys.each_ref().map(String::as_str);
        let what = "reading the schedules";
        let answer = self.run_script(&BEAT_LIST, (&keys, &names), Shape::Text, wait, what)?;
        read(&text(answer)?.unwrap_or_default())
    }

    /// Changes an entry. Returns `false` if it is no longer as it was read.
    ///
    /// A call whose answer was lost is repeated, and then finds its own change. Read the entry again
    /// to tell that from a change by another program.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn change_schedule(
        &mut self,
        change: &EntryChange<'_>,
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let keys = self.schedule_keys();
        let keys = keys.each_ref().map(String::as_str);
        let arguments =
            [change.name, change.read, change.entry, change.due.as_str()].map(str::as_bytes);
        let what = "changing the schedule";
        match self.run_script(&BEAT_WRITE, (&keys, &arguments), Shape::Short, wait, what)? {
            Value::Int(done) => Ok(done == 1),
            _ => Err(unexpected("it was not answered with a number")),
        }
    }

    fn schedule_keys(&self) -> [String; 3] {
        let keys = self.keys();
        [keys.beat_due(), keys.beat(), keys.beat_runs()]
    }
}

fn unexpected(why: &str) -> ClientError {
    ClientError::Protocol(format!("a call about schedules: {why}"))
}

/// Reads the answer of the script.
fn read(json: &[u8]) -> Result<Vec<StoredEntry>, ClientError> {
    let json = String::from_utf8_lossy(json);
    let found: Vec<[String; 4]> =
        serde_json::from_str(&json).map_err(|error| unexpected(&error.to_string()))?;
    let entries = found
        .into_iter()
        .map(|[name, entry, due, runs]| StoredEntry {
            name,
            entry,
            due: moment(&due),
            runs: runs
                .split_once(' ')
                .and_then(|(count, last)| Some((count.parse().ok()?, last.parse().ok()?))),
        });
    Ok(entries.collect())
}

/// Reads a score.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates")]
fn moment(score: &str) -> Option<i64> {
    score.parse::<f64>().ok().map(|score| score as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_nonsense_is_refused() {
        let json = br#"[["a\/b","{\"v\":1}","1.7e12","3 1700000000000"],["b","\xff","",""],["c","","-inf","x"]]"#;
        let json = String::from_utf8_lossy(json).replace("\\xff", "\u{fffd}");
        let found = read(json.as_bytes()).unwrap();
        assert_eq!((&*found[0].name, &*found[0].entry), ("a/b", "{\"v\":1}"));
        assert_eq!(found[0].due, Some(1_700_000_000_000));
        assert_eq!(found[0].runs, Some((3, 1_700_000_000_000)));
        assert_eq!((found[1].due, found[1].runs), (None, None));
        assert_eq!((found[2].due, found[2].runs), (Some(i64::MIN), None));
        assert_eq!(read(b"[]").unwrap(), []);
        for wrong in ["", "{}", "[[1,2,3,4]]", "[[\"a\"]]"] {
            assert!(read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
