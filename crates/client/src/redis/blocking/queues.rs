//! The waiting tasks of queues: how many there are, and their deletion.

use redis::Value;

use super::Client;
use super::reply::Shape;
use crate::blocking::Wait;
use crate::error::ClientError;
use crate::redis::script::{PURGE, QUEUE_LISTS};
use crate::redis::waiting::{lists_arguments, purge_arguments, read_lists};

/// How many messages one command reads.
const PAGE: usize = 50;

impl Client {
    /// Returns the number of waiting tasks of a queue, in all its lists together. The groups of a fair
    /// queue count with it.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn queue_length(&mut self, queue: &str, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let lists = self.lists_with_tasks(queue, wait, "counting the tasks")?;
        Ok(lists.iter().map(|(_, length)| length).sum())
    }

    /// Returns the lists of a queue and its groups that have tasks, the most urgent first, and the
    /// lengths. A user who may not call scripts sees the queue's own lists alone.
    fn lists_with_tasks(
        &mut self,
        queue: &str,
        wait: &mut Wait<'_>,
        what: &'static str,
    ) -> Result<Vec<(Vec<u8>, u64)>, ClientError> {
        let lists = self.keys().queue_lists(queue);
        let names: Vec<&str> = lists.iter().map(String::as_str).collect();
        let arguments = lists_arguments(self.keys(), queue);
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let call = (&*names, &*arguments);
        match self.run_script(&QUEUE_LISTS, call, Shape::Listing, wait, what) {
            Ok(answer) => {
                let wrong = || {
                    let text = "the lists of a queue were answered with something else";
                    ClientError::Protocol(text.to_owned())
                };
                read_lists(&answer).ok_or_else(wrong)
            }
            Err(ClientError::Server(refused)) if refused.code() == "NOPERM" => {
                let mut found = Vec::new();
                for list in lists {
                    let mut llen = redis::cmd("LLEN");
                    let answer = self.ask(llen.arg(&list), Shape::Short, wait, what)?;
                    found.push((list.into_bytes(), number(&answer)?));
                }
                Ok(found)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the number of tasks that workers hold and have not acknowledged, of all queues.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn held_tasks(&mut self, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let mut zcard = redis::cmd("ZCARD");
        zcard.arg(self.keys().unacked_index());
        number(&self.ask(&zcard, Shape::Short, wait, "counting the tasks")?)
    }

    /// Calls `take` for the messages of up to `limit` waiting tasks of a queue: the most urgent list
    /// first, and of each list the oldest message first. They stay where they are. If workers take
    /// messages meanwhile, some may be left out or appear twice. The groups of a fair queue follow its
    /// own list of the same priority.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn waiting_messages(
        &mut self,
        queue: &str,
        limit: usize,
        wait: &mut Wait<'_>,
        mut take: impl FnMut(Vec<u8>),
    ) -> Result<(), ClientError> {
        let mut left = limit;
        if left == 0 {
            return Ok(());
        }
        for (list, _) in self.lists_with_tasks(queue, wait, "reading the queue")? {
            let mut seen = 0;
            while left > 0 {
                let count = left.min(PAGE);
                let mut lrange = redis::cmd("LRANGE");
                // A message is pushed at the head, and taken from the tail.
                let (from, to) = (-signed(seen + count), -signed(seen + 1));
                lrange.arg(&list).arg(from).arg(to);
                let answer = self.ask(&lrange, Shape::Listing, wait, "reading the queue")?;
                let Value::Array(messages) = answer else {
                    return Err(ClientError::Protocol(
                        "LRANGE was answered with something that is not a list".to_owned(),
                    ));
                };
                let found = messages.len();
                for message in messages.into_iter().rev() {
                    if let Value::BulkString(message) = message {
                        take(message);
                    }
                }
                left -= found.min(left);
                seen += found;
                if found < count {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Deletes the waiting tasks of a queue and returns their number. Tasks that a worker holds
    /// stay. The groups of a fair queue are deleted with it.
    ///
    /// All lists are deleted in one step. It may be repeated after a lost connection, and then
    /// counts only what the repetition deletes.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn purge(&mut self, queue: &str, wait: &mut Wait<'_>) -> Result<u64, ClientError> {
        let lists = self.keys().queue_lists(queue);
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        let arguments = purge_arguments(self.keys(), queue);
        let arguments: Vec<&[u8]> = arguments.iter().map(String::as_bytes).collect();
        let answer = self.run_script(
            &PURGE,
            (&lists, &arguments),
            Shape::Short,
            wait,
            "purging the queue",
        )?;
        number(&answer)
    }
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(answer: &Value) -> Result<u64, ClientError> {
    match answer {
        Value::Int(number) => Ok(u64::try_from(*number).unwrap_or(0)),
        _ => Err(ClientError::Protocol(
            "a number of tasks was answered with something that is not a number".to_owned(),
        )),
    }
}
