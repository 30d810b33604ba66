//! The common base of all decisions about messages: the settings, and how a task becomes a message.
//!
//! `verdict` uses it to decide what an outcome means, `canvas` what follows, and `transition` which
//! steps are due. This module imports none of these.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use celery_protocol::canvas::CanvasError;
use celery_protocol::message::{EncodeError, EncodeOptions, Task};
use celery_protocol::result::StoredForm;
use celery_protocol::serializer::{Serializer, SerializerError};
use serde_json::value::RawValue;

use super::routes::Routes;
use crate::broker::Reply;
use crate::delivery::TaskNames;
use crate::trace::Traces;

/// The module of Celery's own exceptions, as results name it.
pub(super) const CELERY: &str = "celery.exceptions";

/// The module of the exceptions about processes.
pub(super) const BILLIARD: &str = "billiard.exceptions";

/// Why chords cannot be called where results are replies: Celery's words, from
/// `celery/backends/rpc.py`.
pub(crate) const NO_CHORDS: &str = r#"The "rpc" result backend does not support chords!

Note that a group chained with a task is also upgraded to be a chord,
as this pattern requires synchronization.

Result backends that supports chords: Redis, Database, Memcached, and more."#;

/// Returns the result of `this`, or `None` if it panics. The process's panic hook logs the panic.
///
/// If a bug that one message triggers ended the worker, the message would go to the next worker and
/// end it, too.
pub(super) fn caught<T>(this: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(AssertUnwindSafe(this)).ok()
}

/// The settings that all decisions of a worker about messages depend on.
#[expect(clippy::struct_excessive_bools, reason = "each is a setting")]
pub(crate) struct Rules {
    /// `true` if results are stored at all.
    pub(crate) results: bool,
    /// `true` if results are replies, which this worker cannot read again: Celery's `rpc://`.
    pub(crate) replies: bool,
    /// The form in which results are stored (`result_serializer`, `result_compression`).
    pub(crate) form: StoredForm,
    /// `true` if results also describe the request (`result_extended`).
    pub(crate) extended: bool,
    /// `true` if a redelivered message whose task has succeeded is not run again
    /// (`worker_deduplicate_successful_tasks`).
    pub(crate) deduplicates: bool,
    /// `true` if callbacks and the next steps of chains get the priority of the task that they
    /// follow (`task_inherit_parent_priority`).
    pub(crate) inherit_priority: bool,
    /// `true` if the error callbacks of a chord are also those of the members of its header
    /// (`task_allow_error_cb_on_chord_header`).
    pub(crate) errbacks_on_headers: bool,
    /// The priority of calls that have none (`task_default_priority`).
    pub(crate) default_priority: Option<u8>,
    /// The queue of follow-ups that name none and have no route (`task_default_queue`).
    pub(crate) default_queue: Arc<str>,
    /// The queues of follow-ups that name none (`task_routes`).
    pub(crate) routes: Routes,
    /// The origin in the messages that this worker publishes.
    pub(crate) origin: String,
    pub(crate) reply_to: String,
    /// The most bytes that may follow from one task; see `canvas`.
    pub(crate) most: usize,
    pub(crate) names: Arc<dyn TaskNames>,
    /// Writes a task in the form in which the broker carries messages.
    pub(crate) encode: Encode,
    /// Reads such a message again, if what the worker sends is reported (`task_send_sent_event`).
    pub(crate) decode_sent: Option<Decode>,
    /// If they are on, messages that a traced task sends get spans of their own.
    pub(crate) traces: Traces,
}

/// The function [`Broker::encode`](crate::broker::Broker::encode) of the broker in use.
pub(crate) type Encode = fn(&Task, &EncodeOptions<'_>) -> Result<Vec<u8>, EncodeError>;

/// The function [`Broker::decode`](crate::broker::Broker::decode) of the broker in use.
pub(crate) type Decode = fn(&[u8], &str) -> Option<Task>;

impl Rules {
    /// Returns the queue of a follow-up that names none.
    pub(crate) fn queue_of(&self, task: &str) -> Arc<str> {
        let route = self.routes.queue(task);
        Arc::clone(route.unwrap_or(&self.default_queue))
    }

    /// Returns `true` if results are kept where workers find them. Only then can chords be counted.
    pub(crate) fn keeps_results(&self) -> bool {
        self.results && !self.replies
    }

    /// Returns the address of the replies to a task, if results are replies. As in Celery, a message
    /// that names no queue gets none.
    pub(crate) fn reply(&self, task: &Task) -> Option<Box<Reply>> {
        if !self.replies {
            return None;
        }
        let properties = &task.properties;
        let queue = properties.reply_to.as_deref().filter(|it| !it.is_empty())?;
        let correlation_id = properties.correlation_id.as_ref().unwrap_or(&task.id);
        Some(Box::new(Reply {
            queue: queue.to_owned(),
            correlation_id: correlation_id.clone(),
        }))
    }

    /// Returns why a canvas is not called.
    pub(super) fn refusal(&self, why: &CanvasError) -> String {
        match why {
            CanvasError::NoResults if self.replies => NO_CHORDS.to_owned(),
            other => other.to_string(),
        }
    }

    /// Returns `true` if the result of this task is stored.
    pub(crate) fn stores(&self, task: &Task) -> bool {
        self.results
            && !task
                .ignore_result
                .unwrap_or_else(|| self.names.ignores_result(&task.name))
    }

    /// Returns `true` if a failure, a retry or a revocation of this task is stored. Celery's
    /// `task_store_errors_even_if_ignored` counts here.
    pub(crate) fn stores_errors(&self, task: &Task) -> bool {
        self.stores(task) || (self.results && self.names.stores_errors(&task.name))
    }

    /// Checks that the serializer of results has a form for this value.
    pub(super) fn check_storable(&self, value: &RawValue) -> Result<(), SerializerError> {
        match self.form.serializer {
            Serializer::Json => Ok(()),
            other => other.from_json(value.get().as_bytes()).map(drop),
        }
    }

    /// Returns `true` if the serializer of results has a form for this value.
    pub(super) fn can_store(&self, value: &RawValue) -> bool {
        self.check_storable(value).is_ok()
    }

    /// Writes a task as a message for a queue.
    pub(crate) fn encode(&self, task: &Task, queue: &str) -> Result<Vec<u8>, EncodeError> {
        let tag = uuid::Uuid::new_v4().to_string();
        let options = EncodeOptions::new(queue, &tag)
            .origin(&self.origin)
            .reply_to(&self.reply_to)
            .protocol(task.protocol)
            .serializer(task.serializer)
            .compression(task.compression);
        (self.encode)(task, &options)
    }
}
