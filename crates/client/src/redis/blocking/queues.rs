//! The waiting tasks of queues: how many there are, and their deletion.

use redis::Value;

use super::Client;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::script::PURGE;

impl Client {
    /// Returns the number of waiting tasks of a queue, in all its lists together.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn queue_length(&mut self, queue: &str, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let mut length = 0;
        for list in self.keys().queue_lists(queue) {
            let mut llen = redis::cmd("LLEN");
            let answer = self.ask(llen.arg(list), Shape::Short, wait, "counting the tasks")?;
            length += number(&answer)?;
        }
        Ok(length)
    }

    /// Deletes the waiting tasks of a queue and returns their number. Tasks that a worker holds
    /// stay.
    ///
    /// All lists are deleted in one step. It may be repeated after a lost connection, and then
    /// counts only what the repetition deletes.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn purge(&mut self, queue: &str, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let lists = self.keys().queue_lists(queue);
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        let answer = self.run_script(&PURGE, (&lists, &[]), wait, "purging the queue")?;
        number(&answer)
    }
}

fn number(answer: &Value) -> Result<u64, ClientError> {
    match answer {
        Value::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        _ => Err(ClientError::Protocol(
            "a number of tasks was answered with something that is not a number".to_owned(),
        )),
    }
}
