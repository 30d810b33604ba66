//! Makes the message of a due time. It has the fields of a message of Python's beat.

use std::sync::Arc;

use celery_protocol::RawValue;
use celery_protocol::fields::Fields;
use celery_protocol::message::{DecodeOptions, EncodeOptions, Task};
use celery_protocol::repr;
use celery_protocol::schedule::Entry;
use celery_protocol::serializer::Serializer;
use celery_protocol::time::Timestamp;
use uuid::Uuid;

use crate::consumer::Routes;
use crate::events::Events;
use crate::monitor::Observer;
use crate::trace::{Produced, Traces};

/// The namespace of the ids of tasks that schedules send, as UUIDs of version 5 have one.
const NAMESPACE: Uuid = Uuid::from_u128(0x6c1f_0f6e_2a55_4d6a_9d0b_6f1d_7f0c_8a11);

/// The process that sends, and where it sends to.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// The node's name.
    pub(crate) origin: String,
    pub(crate) reply_to: String,
    /// The queues of tasks that name none.
    pub(crate) routes: Routes,
    pub(crate) default_queue: String,
    /// The priority of tasks that name none.
    pub(crate) default_priority: Option<u8>,
    /// If they are on, each message begins a trace.
    pub(crate) traces: Traces,
    /// Where it is reported that messages were sent, if that is enabled.
    pub(crate) events: Events,
}

/// A message to be sent.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) place: Place,
    pub(crate) message: Vec<u8>,
    /// Its span, if its trace is recorded.
    pub(crate) span: Option<Box<Produced>>,
}

/// The place of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: Arc<str>,
    pub(crate) priority: u8,
}

/// Returns the id of the task of a due time. It is always the same one, so that a message that is
/// sent again can be recognised.
pub(crate) fn task_id(name: &[u8], due: i64) -> String {
    let text = [name, b"\n", due.to_string().as_bytes()].concat();
    Uuid::new_v5(&NAMESPACE, &text).to_string()
}

impl Sender {
    /// Returns the message of an entry that is sent now.
    pub(crate) fn message(&self, entry: &Entry, id: String, now: i64) -> Result<Outgoing, String> {
        let now = Timestamp::from_unix_micros(now.saturating_mul(1_000));
        let args = entry.args.clone();
        let mut task = Task::new(id, entry.task.as_str(), args, entry.kwargs.clone());
        entry.options.apply(&mut task, now)?;
        task.properties.priority = task.properties.priority.or(self.default_priority);
        // Python's beat has its arguments in a list, where other clients show a tuple.
        task.argsrepr = Some(repr::value(entry.args.get(), repr::MAX_CHARS));
        // Python's beat marks its messages with this header.
        let mut headers = Fields::new();
        headers.insert("celery_beat_task", RawValue::TRUE.to_owned());
        for (name, value) in task.headers.iter() {
            headers.insert(name, value.to_owned());
        }
        task.headers = headers;
        let span = self.traces.begin(&mut task);
        let queue = self.queue(entry);
        let tag = Uuid::new_v4().to_string();
        let options = EncodeOptions::new(&queue, &tag)
            .origin(&self.origin)
            .reply_to(&self.reply_to)
            .serializer(task.serializer)
            .compression(task.compression);
        let message = task.encode_redis(&options);
        let message = message.map_err(|error| error.to_string())?;
        let priority = task.priority();
        Ok(Outgoing {
            place: Place { queue, priority },
            message,
            span,
        })
    }

    /// Reports messages that were sent to a queue.
    pub(crate) fn report(&self, messages: &[Vec<u8>], queue: &str) {
        if !self.events.reports_sent() {
            return;
        }
        let options = DecodeOptions::default().accept(&Serializer::ALL);
        for message in messages {
            if let Ok(task) = Task::decode_redis_with(message, &options) {
                self.events.sent(&task, queue);
            }
        }
    }

    fn queue(&self, entry: &Entry) -> Arc<str> {
        match &entry.options.queue {
            Some(queue) => Arc::from(queue.as_str()),
            None => match self.routes.queue(&entry.task) {
                Some(queue) => Arc::clone(queue),
                None => Arc::from(self.default_queue.as_str()),
            },
        }
    }
}
