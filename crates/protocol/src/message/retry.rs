//! Builds the message of a task's next try.

use serde_json::value::to_raw_value;

use super::{DeliveryInfo, Task};
use crate::time::Timestamp;

impl Task {
    /// Returns the task to publish again, as Celery's `Task.retry` does.
    ///
    /// It keeps the id and all that the caller set: limits, priority, embedded signatures, group,
    /// stamps, custom headers, `reply_to`. It has one retry more and a new `eta`. `parent_id`
    /// becomes the task's own id if it had no parent, and `origin` is written as a property too. A
    /// time without an offset counts as UTC in `expiration`. Write it to the queue that the message
    /// came from.
    #[must_use]
    pub fn retry(&self, eta: Option<Timestamp>, now: Timestamp, origin: &str) -> Task {
        let mut task = self.clone();
        task.retries = self.retries.saturating_add(1);
        task.eta = eta;
        task.root_id = Some(self.root().to_owned());
        task.parent_id = Some(self.parent_id.as_ref().unwrap_or(&self.id).clone());
        if let Some(expires) = self.expires {
            task.set_expires(expires, now);
        }
        if let Ok(origin) = to_raw_value(origin) {
            task.properties.extra.insert("origin", origin);
        }
        // These values belong to the received message, not to the new one.
        task.redelivered = false;
        task.delivery_tag = None;
        task.delivery_info = DeliveryInfo::default();
        task
    }
}
