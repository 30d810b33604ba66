//! Many results in one call, and the results of groups as Celery saves them.

use std::time::Duration;

use redis::Value;

use super::Client;
use super::reply::Shape;
use super::stored::text;
use super::watch::WINDOW;
use crate::blocking::Wait;
use crate::error::ClientError;

impl Client {
    /// Reads the stored results of tasks and hands over each with its index, `None` where nothing
    /// is stored. A few are read at a time, so the memory needed is that of a few results.
    ///
    /// # Errors
    /// [`ClientError`] if a result could not be read; those before it were handed over.
    pub fn get_results(
        &mut self,
        task_ids: &[String],
        mut each: impl FnMut(usize, Option<Vec<u8>>),
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        for (nth, some) in task_ids.chunks(WINDOW).enumerate() {
            let stored = self.repeated(wait, |client, wait| client.read_some(some, wait))?;
            for (index, document) in stored.into_iter().enumerate() {
                each(nth * WINDOW + index, document);
            }
        }
        Ok(())
    }

    fn read_some(
        &mut self,
        task_ids: &[String],
        wait: &mut Wait<'_>,
    ) -> Result<Vec<Option<Vec<u8>>>, ClientError> {
        let mut link = self.acquire_quiet(wait)?;
        for id in task_ids {
            let mut get = redis::cmd("GET");
            link.wire.pack(get.arg(self.keys().result(id)));
        }
        link.wire.flush(wait)?;
        let mut stored = Vec::with_capacity(task_ids.len());
        for _ in task_ids {
            stored.push(link.wire.answer(Shape::Text, wait, "reading the results")?);
        }
        self.keep(link);
        let endpoint = self.endpoint();
        let read = stored.into_iter().map(|answer| match answer {
            Ok(value) => text(value),
            Err(refused) => Err(endpoint.refused(refused)),
        });
        read.collect()
    }

    /// Deletes the results of tasks, final or not, in one command.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn forget_all(
        &mut self,
        task_ids: &[String],
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        if task_ids.is_empty() {
            return Ok(());
        }
        let mut del = redis::cmd("DEL");
        for id in task_ids {
            del.arg(self.keys().result(id));
        }
        self.ask(&del, Shape::Short, wait, "forgetting the results")
            .map(drop)
    }

    /// Stores the results of a group for this time, as Python's `GroupResult.save()`.
    ///
    /// # Errors
    /// [`ClientError`] if it was not stored.
    pub fn save_group(
        &mut self,
        group_id: &str,
        document: &[u8],
        expires: Duration,
        wait: &mut Wait<'_>,
    ) -> Result<(), ClientError> {
        let mut set = redis::cmd("SET");
        set.arg(self.keys().group(group_id))
            .arg(document)
            .arg("EX")
            .arg(expires.as_secs().max(1));
        self.ask(&set, Shape::Short, wait, "saving the group")
            .map(drop)
    }

    /// Returns the saved results of a group as they were written, or `None` if there are none.
    ///
    /// # Errors
    /// [`ClientError`] if they could not be read.
    pub fn get_group(
        &mut self,
        group_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let mut get = redis::cmd("GET");
        get.arg(self.keys().group(group_id));
        text(self.ask(&get, Shape::Text, wait, "reading the group")?)
    }

    /// Deletes the saved results of a group. Returns `true` if there were some. The results of its
    /// tasks stay.
    ///
    /// # Errors
    /// [`ClientError`] if the server could not be asked.
    pub fn delete_group(
        &mut self,
        group_id: &str,
        wait: &mut Wait<'_>,
    ) -> Result<bool, ClientError> {
        let mut del = redis::cmd("DEL");
        del.arg(self.keys().group(group_id));
        let deleted = self.ask(&del, Shape::Short, wait, "deleting the group")?;
        Ok(matches!(deleted, Value::Int(1..)))
    }
}
