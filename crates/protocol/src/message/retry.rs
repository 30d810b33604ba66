//! The message of a task's next try.

use super::Task;
use crate::time::Timestamp;

impl Task {
    /// The task to publish again, as Celery's `Task.retry` does.
    ///
    /// It has the same id and everything the caller gave – limits, priority, what follows, group, stamps,
    /// custom headers, `reply_to` – with one retry more and a new `eta`. `parent_id` becomes the task's own
    /// id if it had no parent, and `origin` is written as a property as well. Write it to the queue that
    /// the message came from.
    pub fn retry(&self, eta: Option<Timestamp>, now: Timestamp, origin: &str) -> Task {
        let _ = (eta, now, origin);
        todo!()
    }
}
