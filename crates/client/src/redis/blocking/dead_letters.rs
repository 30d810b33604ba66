//! Dead letters: counting, reading, putting back and deleting them.
//!
//! Each call may be repeated after a lost connection. A repetition of one that was carried out
//! finds no letter any more.

use redis::{Cmd, Value};

use super::Client;
use super::queues::number;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::dead_letters::{self, Letter, Replay, Replayed};
use crate::redis::script::REPLAY;

/// How many letters one command reads. A letter holds a whole message.
const PAGE: usize = 50;

impl Client {
    /// Returns the number of dead letters.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn count_dead_letters(&mut self, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let count = dead_letters::count(self.keys());
        number(&self.ask(&count, Shape::Short, wait, "counting the dead letters")?)
    }

    /// Calls `take` for up to `limit` dead letters, the newest first; with `before`, only for those
    /// older than the one at that place. Only a few are in memory at a time.
    ///
    /// # Errors
    /// [`ClientError`] if the letters could not be read.
    pub fn newest_dead_letters(
        &mut self,
        before: Option<&str>,
        limit: usize,
        wait: &mut Wait<'_>,
        mut take: impl FnMut(Letter),
    ) -> Result<(), ClientError> {
        let mut before = before.map_or_else(|| "+".to_owned(), |place| format!("({place}"));
        let mut left = limit;
        while left > 0 {
            let count = left.min(PAGE);
            let page = dead_letters::newest(self.keys(), &before, count);
            let letters = self.letters(&page, wait)?;
            let (found, last) = (letters.len(), letters.last());
            if let Some(last) = last {
                before = format!("({}", last.place);
            }
            letters.into_iter().for_each(&mut take);
            if found < count {
                break;
            }
            left -= found;
        }
        Ok(())
    }

    /// Returns the dead letter at a place.
    ///
    /// # Errors
    /// [`ClientError`] if the letter could not be read.
    pub fn dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Letter>, ClientError> {
        let at = dead_letters::at(self.keys(), place);
        Ok(self.letters(&at, wait)?.pop())
    }

    /// Puts the message of the dead letter at a place back into its queue.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn replay_dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Replayed, ClientError> {
        let Some(letter) = self.dead_letter(place, wait)? else {
            return Ok(Replayed::Gone);
        };
        let replay = match letter.replay(self.keys()) {
            Ok(replay) => replay,
            Err(why) => return Ok(Replayed::Impossible(why)),
        };
        let arguments = (&replay.keys()[..], &[replay.place().as_bytes()][..]);
        let answer = self.run_script(
            &REPLAY,
            arguments,
            Shape::Short,
            wait,
            "replaying the dead letter",
        )?;
        Ok(Replay::outcome(&answer))
    }

    /// Deletes the dead letter at a place. Returns `true` if there was one.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn delete_dead_letter(
        &mut self,
        place: &str,
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let deletion = dead_letters::deletion(self.keys(), place);
        let answer = self.ask(&deletion, Shape::Short, wait, "deleting the dead letter")?;
        Ok(answer == Value::Int(1))
    }

    fn letters(&mut self, read: &Cmd, wait: &mut Wait<'_>) -> Result<Vec<Letter>, ClientError> {
        let answer = self.ask(read, Shape::Listing, wait, "reading the dead letters")?;
        Ok(Letter::read_all(answer))
    }
}
